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
        InputError: a field cannot be used, a premise is not told, or the proof does not lead from
            premise to premise to the question.

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
    options = choices_of(record)
    told = re.findall(r"[^.\s][^.]*\.?", context)
    proof = field(record, "explanation", list)
    premises = [*proof[:1], *proof[1::2]]
    if len(premises) < 2 or (lost := [x for x in premises if told.count(x) != 1]):
        found = f"found {lost[0]!r:.60}" if len(premises) > 1 else f"found {len(premises)}"
        found += f" told {told.count(lost[0])} times" if len(premises) > 1 else ""
        raise InputError(f"field 'explanation': expected premises that the context tells, {found}")
    question = re.split(r"\?\s+", asked.strip())[-1]
    thing = premises[0].split()[0]
    if question.split()[0] != thing:
        told_of = f"'... true or false? {thing} is ...', found {asked!r:.90}"
        raise InputError(f"field 'question': expected {told_of}")
    kinds = tuple("fact" if x.split()[0] == thing else "rule" for x in told)
    edges = pairwise(map(told.index, premises))
    tree, choices = ReasoningTree.from_edges(edges, len(told)), tuple(options.values())
    _follow(proof, question, options[answer])
    whole = Example(tuple(told), question, options[answer], tree, name, choices, kinds)
    return whole.arranged(ordered(len(told), order, f"{seed} {name}"))


def choices_of(record: Record) -> dict[str, str]:
    """The options of a record by their letters, of which its answer is one.

    Raises:
        InputError: fewer than two, two alike, or an answer that is none of them.
    """
    given, answer = field(record, "options", list), field(record, "answer", str, filled=True)
    options = dict(str(x).partition(") ")[::2] for x in given)
    if len(given) < 2 or len({*options.values()} - {""}) < len(given):
        like = f"two or more that differ, like 'A) True', found {given!r:.90}"
        raise InputError(f"field 'options': expected {like}")
    if answer not in options:
        raise InputError(f"field 'answer': expected one of {', '.join(options)}, found {answer!r}")
    return options


def _follow(proof: list[str], question: str, answer: str) -> None:
    """Checks that each conclusion follows from what came before, and the last one is the answer.

    Raises:
        InputError: it does not.
    """
    wrong = "field 'explanation': expected a premise, then rules and conclusions in turn, the last "
    wrong += "one the question or its opposite as the answer says; "
    if len(proof) % 2 == 0 or not all(isinstance(x, str) and x.strip(" .") for x in proof):
        raise InputError(f"{wrong}found {len(proof)} sentences, the last {proof[-1]!r:.60}")
    stems = [text.rstrip(".").split()[-1].lower()[:-1] for text in proof]  # of plurals too
    for i in range(1, len(proof), 2):
        rule = proof[i].lower()
        if not (stems[i - 1] in rule and stems[i + 1] in rule):
            raise InputError(f"{wrong}{proof[i + 1]!r:.60} does not follow by {proof[i]!r:.60}")
    last, asked = proof[-1].split(), question.split()
    alike = [x for x in last if x != "not"] == [x for x in asked if x != "not"]
    if not alike or {"True": last != asked, "False": last == asked}.get(answer):
        raise InputError(f"{wrong}{proof[-1]!r:.60} does not make {question!r:.60} {answer}")
