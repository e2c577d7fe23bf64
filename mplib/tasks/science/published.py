"""Science questions as the paper's source has them; for comparison with the paper's figures only.

Every unit but the answer is a statement, be it the question or an option, and what stands in any
step but the last is useful.
"""

from collections.abc import Iterable, Sequence
from graphlib import TopologicalSorter

from mplib.errors import InputError
from mplib.tasks.jsonl import Record
from mplib.tasks.published import Published
from mplib.tasks.science import formats
from mplib.tasks.trees import ReasoningTree


def question(record: Record) -> tuple[int, Published] | None:
    """Depth and question of a STREET line as the source has them; None where it stops at one.

    The depth is that of the steps before the last. At depth 1 the source has one class alone, from
    depth 2 on its leaf is one of the units beside the longest way up. Which one hangs on the order
    of a Python set there; here it is the last named.

    Raises:
        InputError: the line is not STREET's, or cannot be used.
    """
    if not record.keys() & {*formats.STREET}:
        raise InputError("the published protocol reads STREET's lines alone: take a file of them")
    known = formats.parse(record)
    units = {str(number): text for number, text in record["textual_logical_units"].items()}
    answers = [number for number, text in units.items() if "The answer is" in text]
    shown = [number for number in units if number not in answers]
    last = int(answers[-1]) if answers else 1
    edges = [
        (str(premise), str(edge["consequent"]))
        for edge in record["reasoning_graph_edges"]
        for premise in edge["antecedents"]
        if max(int(premise), int(edge["consequent"])) < last
    ]
    if not edges:
        return None
    way, beside = longest_way(edges)
    depth, leaf = len(way) - 1, (beside or way)[-1 if beside else 0]
    place = {number: i for i, number in enumerate(shown)}
    classes = {place[n]: int(depth > 1 and n != leaf) for n in (*way, *beside)}
    tree = ReasoningTree(len(shown), classes, (), place[way[-1]])
    asked = record["question"] + " ".join(record["options"])
    told = tuple(units[number] for number in shown)
    kept = (record["answer"][0], tree, known.name, known.choices)
    return depth, Published(told, asked, *kept, context=record["context"] or "")


def longest_way(edges: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """The longest way up, premises first, and what stands in a step but not on it, as named.

    >>> longest_way([("1", "3"), ("2", "3"), ("3", "4"), ("5", "4")])
    (['1', '3', '4'], ['2', '5'])
    """
    premises: dict[str, list[str]] = {}
    for premise, conclusion in edges:
        premises.setdefault(premise, [])
        premises.setdefault(conclusion, []).append(premise)
    ways: dict[str, list[str]] = {}
    for name in TopologicalSorter(premises).static_order():
        ways[name] = [*max((ways[p] for p in premises[name]), key=len, default=[]), name]
    way = max(ways.values(), key=len)
    return way, [name for name in premises if name not in way]


def questions(records: Iterable[Record]) -> dict[int, list[Published]]:
    """Questions by the source's depth, those left out at which it stops."""
    found: dict[int, list[Published]] = {}
    for depth, example in filter(None, map(question, records)):
        found.setdefault(depth, []).append(example)
    return found
