"""Corruptions: one thing that a model is told is changed, to see what its answer hangs on.

Statements in words are negated, removed, shuffled or reworded (paper, section 6); of a list of
numbers one is replaced. The paper's text negates a useless statement, its source always the first
one, useful or not; here each kind has its own name.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from mplib.errors import InputError, one_of
from mplib.tasks.examples import Example
from mplib.tasks.proofwriter.logic import FORMS, Rule, read, write

Wordings = dict[int, list[str]]
"""What statements may say instead, by their index."""


class Impossible(InputError):
    """A corruption that none of the given problems allows."""


@dataclass(frozen=True)
class Corrupted:
    """An example after a corruption.

    Attributes:
        example: what the model is asked now. Its answer is the clean example's, so accuracy tells
            how often a model still gives that. Its tree is what is left of the clean one: useful
            statements keep their heights, and where the root was removed the highest of the others
            takes its place.
        hit: index, in the clean example, of the statement that was reworded or removed; None where
            only the order changed.
    """

    example: Example
    hit: int | None


def _useful(example: Example) -> list[int]:
    return sorted(example.tree.useful)


def _useless(example: Example) -> list[int]:
    return sorted({*range(len(example.statements))} - example.tree.useful)


def _shuffle(example: Example, rng: random.Random) -> Corrupted | None:
    if len({*example.statements}) < 2:
        return None
    places = list(range(len(example.statements)))
    while True:
        rng.shuffle(places)
        other = example.arranged(places)
        if other.statements != example.statements:
            return Corrupted(other, None)


def _remove(example: Example, which: Sequence[int], rng: random.Random) -> Corrupted | None:
    # A tree has at least one statement, so the only useful one cannot be removed.
    if not which or example.tree.useful == {which[0]}:
        return None
    hit = rng.choice(which)
    return Corrupted(_without(example, hit), hit)


def _without(example: Example, hit: int) -> Example:
    return example.arranged([i for i in range(len(example.statements)) if i != hit])


def _reword(example: Example, wordings: Wordings, rng: random.Random) -> Corrupted | None:
    """One of the statements in one of its new wordings."""
    if not wordings:
        return None
    hit = rng.choice(sorted(wordings))
    statements = list(example.statements)
    statements[hit] = rng.choice(wordings[hit])
    return Corrupted(replace(example, statements=tuple(statements)), hit)


def _denials(example: Example, which: Iterable[int]) -> Wordings:
    """Statements in the paper's words for their being false."""
    texts = {i: example.statements[i].strip().removesuffix(".") for i in which}
    return {i: [f"That {text} is false."] for i, text in texts.items()}


def _rules(example: Example) -> dict[int, tuple[Rule, str, bool]]:
    """Useful rules with their form; a rule that ``write`` would word otherwise is left out."""
    found: dict[int, tuple[Rule, str, bool]] = {}
    for i in _useful(example):
        with suppress(InputError):  # it is in another English
            rule = read(example.statements[i])
            for form, people in product(FORMS, (False, True)):
                if isinstance(rule, Rule) and write(rule, form, people) == example.statements[i]:
                    found.setdefault(i, (rule, form, people))
    return found


def _negated_conclusions(example: Example) -> Wordings:
    return {
        i: [write(rule._replace(head=rule.head.negated()), form, people)]
        for i, (rule, form, people) in _rules(example).items()
    }


def _paraphrases(example: Example) -> Wordings:
    """Other forms of useful rules, where there are any and they say the same."""
    found = {}
    for i, (rule, _, people) in _rules(example).items():
        texts = {write(rule, form, people) for form in FORMS} - {example.statements[i]}
        if same := sorted(text for text in texts if read(text) == rule):
            found[i] = same
    return found


CORRUPTIONS: dict[str, Callable[[Example, random.Random], Corrupted | None]] = {
    "useful negated": lambda e, rng: _reword(e, _denials(e, _useful(e)), rng),
    "useless negated": lambda e, rng: _reword(e, _denials(e, _useless(e)), rng),
    "first negated": lambda e, rng: _reword(e, _denials(e, [e.first]), rng),
    "useful removed": lambda e, rng: _remove(e, _useful(e), rng),
    "useless removed": lambda e, rng: _remove(e, _useless(e), rng),
    "conclusion negated": lambda e, rng: _reword(e, _negated_conclusions(e), rng),
    "paraphrased": lambda e, rng: _reword(e, _paraphrases(e), rng),
    "shuffled": _shuffle,
}
"""Corruptions of statements in words; ``first negated`` is what the paper's source does.

First is what comes first in the source's order, a fact before all rules, wherever it stands here.
``conclusion negated`` and ``paraphrased`` hit a useful rule and need ProofWriter's English; the
latter keeps the meaning. Of one example and seed, the negated useful statement is the one that is
removed, so that the two can be compared; likewise the useless one.
"""


def corrupt(example: Example, name: str, seed: int = 0) -> Corrupted | None:
    """Corrupts an example, by chance that depends on its text and the seed alone.

    Args:
        example: the clean example.
        name: one of ``CORRUPTIONS``.
        seed: of the choice among its statements.

    Returns:
        The corrupted example; None where there is nothing to corrupt, such as no useless statement,
        no rule that can be worded otherwise, or no other useful statement than the one to remove.

    Raises:
        InputError: no such corruption.

    >>> from mplib.tasks.trees import ReasoningTree
    >>> tree = ReasoningTree.from_edges([(0, 1)], n_statements=3)
    >>> told = ("Bob is red.", "Red things are big.", "Bob is kind.")
    >>> found = corrupt(Example(told, "Bob is big.", "True", tree), "useless negated")
    >>> found.hit, found.example.statements[found.hit]
    (2, 'That Bob is kind is false.')
    """
    one_of("corruption", name, CORRUPTIONS)
    text = "\n".join([*example.statements, example.question])
    return CORRUPTIONS[name](example, random.Random(f"{seed} {text}"))


def corrupt_all(
    examples: Sequence[Example], name: str, seed: int = 0
) -> tuple[list[Corrupted], np.ndarray]:
    """Corrupts every example where that is possible; see ``corrupt``.

    Returns:
        The corrupted examples, and which of the examples they come from: True where the corruption
        was possible, shape (examples,).

    Raises:
        InputError: no such corruption.
        Impossible: none of the examples allows it.
    """
    found = [corrupt(example, name, seed) for example in examples]
    done = [one for one in found if one is not None]
    if not done:
        where = f"none of the {len(examples)} examples"
        raise Impossible(f"{name!r} is possible in {where}: leave it out or take others")
    return done, np.array([one is not None for one in found])


def removed(examples: Sequence[Example], height: int) -> list[Example]:
    """The examples without a useful statement of a height, each such statement left out in turn.

    Of trees of one statement there are none, since a tree has at least one.
    """
    return [
        _without(x, hit)
        for x in examples if len(x.tree.useful) > 1
        for hit, own in x.tree.heights.items() if own == height
    ]  # fmt: skip
