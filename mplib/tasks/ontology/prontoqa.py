"""PrOntoQA's questions (Saparov and He 2023), as Logic-LLM's files have them.

A record's ``context`` tells facts and rules, its ``explanation`` a premise and then, in turn, the
next premise and what follows. The premises are the tree, a chain.
"""

import re
from itertools import pairwise

from mplib.errors import InputError
from mplib.tasks.examples import Example, ordered
from mplib.tasks.jsonl import Record, field
from mplib.tasks.trees import ReasoningTree


def parse(record: Record, order: str = "given", seed: int = 0) -> Example:
    """Makes the example of a record, its group the question's id.

    Args:
        record: one of the file's objects.
        order: of the statements: ``random``, drawn from the seed and the id alone, or ``given``.
        seed: of the order.

    Raises:
        InputError: a field cannot be used, or a premise is not told.

    >>> told = "Every cat is a feline. Felines are not shy. Max is a cat."
    >>> proof = ["Max is a cat.", "Every cat is a feline.", "Max is a feline."]
    >>> proof += ["Felines are not shy.", "Max is not shy."]
    >>> record = {"id": "1", "context": told, "explanation": proof, "answer": "B"}
    >>> record |= {"question": "True or false? Max is shy.", "options": ["A) True", "B) False"]}
    >>> example = parse(record)
    >>> example.question, example.answer, example.tree.labels().tolist()
    ('Max is shy.', 'False', [1, 2, 0])
    """
    name, context, asked, answer = (
        field(record, key, str, filled=True) for key in ("id", "context", "question", "answer")
    )
    options = dict(str(x).partition(") ")[::2] for x in field(record, "options", list))
    if answer not in options:
        raise InputError(f"field 'answer': expected one of {', '.join(options)}, found {answer!r}")
    told = re.findall(r"[^.\s][^.]*\.", context)
    proof = field(record, "explanation", list)
    premises = [*proof[:1], *proof[1::2]]
    if len(premises) < 2 or (lost := [x for x in premises if told.count(x) != 1]):
        found = f"found {lost[0]!r:.60}" if len(premises) > 1 else f"found {len(premises)}"
        raise InputError(f"field 'explanation': expected premises that the context tells, {found}")
    question = asked.split("? ")[-1]
    thing = question.split()[0]
    kinds = tuple("fact" if x.split()[0] == thing else "rule" for x in told)
    edges = pairwise(map(told.index, premises))
    tree, choices = ReasoningTree.from_edges(edges, len(told)), tuple(options.values())
    whole = Example(tuple(told), question, options[answer], tree, name, choices, kinds)
    return whole.arranged(ordered(len(told), order, f"{seed} {name}"))
