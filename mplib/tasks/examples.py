"""Examples: problems in words whose gold reasoning tree is known, alone and in sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mplib.errors import InputError
from mplib.tasks.trees import PADDING, ReasoningTree, stack_labels


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
    """

    statements: tuple[str, ...]
    question: str
    answer: str
    tree: ReasoningTree
    group: str = ""
    choices: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks that tree, kinds and answer fit the statements and choices."""
        if self.tree.n_statements != len(self.statements):
            raise InputError(
                f"tree over {self.tree.n_statements} statements, example with "
                f"{len(self.statements)}: they must agree"
            )
        if self.kinds and len(self.kinds) != len(self.statements):
            raise InputError(f"{len(self.kinds)} kinds for {len(self.statements)} statements")
        if self.choices and self.answer not in self.choices:
            raise InputError(f"answer {self.answer!r} is none of the choices {self.choices}")


def group_names(examples: Sequence[Example]) -> np.ndarray:
    """Group of each example, its own where the task names none; shape (examples,)."""
    return np.array([example.group or f"example {i}" for i, example in enumerate(examples)])


@dataclass(frozen=True)
class ExampleSet:
    """Examples that are probed together.

    Attributes:
        name: what to call them in tables and figures.
        examples: the examples.
        train: examples to draw demonstrations from.
        depth: height of their trees' roots.
        size: number of statements, 0 where it varies.
    """

    name: str
    examples: Sequence[Example]
    train: Sequence[Example]
    depth: int
    size: int = 0

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
        rules = np.full(self.heights.shape, False)
        for row, example in zip(rules, self.examples, strict=True):
            row[: len(example.kinds)] = [kind == "rule" for kind in example.kinds]
        return np.where(rules, self.heights, PADDING)


def joined(sets: Sequence[ExampleSet], name: str) -> ExampleSet:
    """One set of the examples of several, demonstrations likewise."""
    return ExampleSet(
        name,
        [example for one in sets for example in one.examples],
        [example for one in sets for example in one.train],
        max(one.depth for one in sets),
    )
