"""Examples: problems in words whose gold reasoning tree is known, alone and in sets."""

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest

import numpy as np

from mplib.errors import InputError, one_of
from mplib.tasks.trees import PADDING, ReasoningTree, stack_labels
from mplib.tasks.words import same


@dataclass(frozen=True)
class Example:
    """One reasoning problem in words.

    Attributes:
        statements: what the model is told, in the order it is shown.
        question: what it is asked; empty where the task's question never changes.
        answer: the expected continuation, one of ``choices`` where there are any.
        tree: the gold reasoning tree over ``statements``.
        group: examples of one group (one theory, say) never stand in two folds of a probe.
        choices: the answers among which the model's is looked for; empty for any token.
        kinds: kind of each statement (``fact`` or ``rule``), where the task knows it.
        first: index of the statement that its source tells first.
    """

    statements: tuple[str, ...]
    question: str
    answer: str
    tree: ReasoningTree
    group: str = ""
    choices: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    first: int = 0

    def __post_init__(self) -> None:
        """Checks that tree, kinds and answer fit the statements and choices."""
        n = len(self.statements)
        if self.tree.n_statements != n:
            raise InputError(f"tree over {self.tree.n_statements} statements, but there are {n}")
        if self.kinds and len(self.kinds) != n:
            raise InputError(f"{len(self.kinds)} kinds for {n} statements")
        if self.choices and self.answer not in self.choices:
            raise InputError(f"answer {self.answer!r} is none of the choices {self.choices}")

    @cached_property
    def key(self) -> tuple[frozenset[str], str]:
        """What it shares with the same problem told elsewhere: the statements in any order."""
        return frozenset(map(same, self.statements)), same(self.question)

    def arranged(self, places: Sequence[int]) -> "Example":
        """The example with the statements of these places, in this order.

        Of the tree, what is left: where its root was left out, the highest of the others is root.
        """
        new = {old: place for place, old in enumerate(places)}
        heights = {new[i]: height for i, height in self.tree.heights.items() if i in new}
        edges = tuple((new[a], new[b]) for a, b in self.tree.edges if a in new and b in new)
        highest = max(heights, key=heights.__getitem__)
        tree = ReasoningTree(len(places), heights, edges, new.get(self.tree.root, highest))
        statements = tuple(self.statements[i] for i in places)
        kinds = tuple(self.kinds[i] for i in places if self.kinds)
        first = new.get(self.first, 0)
        return replace(self, statements=statements, kinds=kinds, tree=tree, first=first)


def ordered(n: int, order: str, seed: str) -> list[int]:
    """Places of n statements in the order they are told: ``random`` by the seed, or ``given``.

    Raises:
        InputError: another order.
    """
    one_of("order", order, ("random", "given"))
    places = list(range(n))
    if order == "random":
        random.Random(seed).shuffle(places)
    return places


def group_names(examples: Sequence[Example]) -> np.ndarray:
    """Group of each example, its own where the task names none; shape (examples,).

    Groups that hold the same problem are one, by one of their names.
    """
    names = [example.group or f"example {i}" for i, example in enumerate(examples)]
    first: dict[Hashable, str] = {}
    one: dict[str, str] = {}

    def group(name: str) -> str:
        while name in one:
            name = one[name]
        return name

    for name, example in zip(names, examples, strict=True):
        known, own = group(first.setdefault(example.key, name)), group(name)
        if known != own:
            one[own] = known
    return np.array([group(name) for name in names])


@dataclass(frozen=True)
class ExampleSet:
    """Examples that are probed together.

    Attributes:
        name: what to call them in tables and figures.
        examples: the examples.
        train: examples to draw demonstrations from.
        depth: height of their trees' roots.
        size: number of statements, 0 where it varies.
        left_out: how many of those to draw from were left out, as they are asked (see ``unasked``).
    """

    name: str
    examples: Sequence[Example]
    train: Sequence[Example]
    depth: int
    size: int = 0
    left_out: int = 0

    @cached_property
    def heights(self) -> np.ndarray:
        """Gold heights, shape (examples, statements)."""
        return stack_labels([example.tree for example in self.examples])

    @cached_property
    def groups(self) -> np.ndarray:
        """Group of each example, shape (examples,)."""
        return group_names(self.examples)

    @cached_property
    def rules(self) -> np.ndarray | None:
        """Gold heights of the rules alone, the facts left out; None where the task has no kinds."""
        if not all(example.kinds for example in self.examples):
            return None
        kinds = np.array([*zip_longest(*(example.kinds for example in self.examples))]).T
        return np.where(kinds == "rule", self.heights, PADDING)


def unasked(sets: Sequence[ExampleSet]) -> list[ExampleSet]:
    """The sets without the training examples that they ask: no question shows its own answer."""
    asked = {example.key for one in sets for example in one.examples}
    kept = [[example for example in one.train if example.key not in asked] for one in sets]
    return [
        replace(one, train=train, left_out=one.left_out + len(one.train) - len(train))
        for one, train in zip(sets, kept, strict=True)
    ]


def joined(sets: Sequence[ExampleSet], name: str) -> ExampleSet:
    """One set of the examples of several, demonstrations likewise."""
    examples = [example for one in sets for example in one.examples]
    train = [example for one in sets for example in one.train]
    left_out = sum(one.left_out for one in sets)
    return ExampleSet(name, examples, train, max(one.depth for one in sets), left_out=left_out)
