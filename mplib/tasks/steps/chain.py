"""A problem with its reasoning written out: the one language of all files that have steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mplib.errors import InputError
from mplib.tasks.trees import heights


@dataclass(frozen=True)
class Chain:
    """A problem, its reasoning in steps, and the units that each step follows from.

    Units are numbered from 0 in the order in which they are told: statements, the question if
    there is one, steps.

    Attributes:
        name: of the problem.
        statements: what is told.
        steps: the reasoning, in order.
        premises: for each step the units that it follows from, all of them before it; none where
            nobody said.
        question: what is asked; empty where it is among the statements.
        errs: for each step whether an annotator found an error in it; empty where nobody looked.
        correct: whether the last step's answer is right, where that is known.
        group: chains of one group (one problem, say) never stand in two folds of a probe; each is
            its own where none is given.
    """

    name: str
    statements: tuple[str, ...]
    steps: tuple[str, ...]
    premises: tuple[tuple[int, ...], ...]
    question: str = ""
    errs: tuple[bool, ...] = ()
    correct: bool | None = None
    group: str = ""

    def __post_init__(self) -> None:
        """Checks that there is something to read, and that steps follow from what is before them.

        Raises:
            InputError: there is not, or one does not.
        """
        object.__setattr__(self, "group", self.group or self.name)
        if not self.steps:
            raise InputError("no steps: a chain needs one or more")
        if empty := [number for number, text in enumerate(self.units) if not text.strip()]:
            raise InputError(f"unit {empty[0]} has no text: complete it")
        for name, of in (("premises", self.premises), ("errs", self.errs or self.steps)):
            if len(of) != len(self.steps):
                raise InputError(f"{name} of {len(of)} steps, but there are {len(self.steps)}")
        for step, own in enumerate(self.premises):
            last = self.first + step - 1
            if wrong := [unit for unit in own if not 0 <= unit <= last]:
                raise InputError(
                    f"step {step + 1} follows from unit {wrong[0]}: expected units before it, "
                    f"0 to {last}"
                )

    @cached_property
    def units(self) -> tuple[str, ...]:
        """The texts of all units."""
        return (*self.statements, *filter(None, [self.question]), *self.steps)

    @property
    def first(self) -> int:
        """Number of the first step."""
        return len(self.units) - len(self.steps)

    @cached_property
    def edges(self) -> np.ndarray:
        """Whether each step follows from each unit, shape (steps, units)."""
        found = np.zeros((len(self.steps), len(self.units)), dtype=bool)
        for step, own in enumerate(self.premises):
            found[step, [*own]] = True
        return found

    @cached_property
    def before(self) -> np.ndarray:
        """Whether each unit is told before each step, shape (steps, units)."""
        ends = self.first + np.arange(len(self.steps))
        return np.arange(len(self.units)) < ends[:, None]

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """For each step the longest way up to it from what is told."""
        premises = {self.first + step: own for step, own in enumerate(self.premises)}
        found = heights(premises)
        return tuple(found.get(self.first + step, 0) for step in range(len(self.steps)))


@dataclass(frozen=True)
class Trace:
    """One problem with its edges, to be drawn.

    Attributes:
        name: of the problem.
        units: their texts.
        first: number of the first step.
        edges: by name (gold, read, needed) whether each step has each unit, (steps, units).
    """

    name: str
    units: Sequence[str]
    first: int
    edges: Mapping[str, np.ndarray]
