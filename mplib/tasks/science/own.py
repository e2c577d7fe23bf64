"""A file of questions as a whole: all depths together, and no more held out than is asked for."""

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self

from mplib.errors import InputError
from mplib.tasks.examples import Example, ExampleSet, group_names
from mplib.tasks.science.task import HELD_OUT, Science

LEFT = 2
"""Groups of questions that are probed at least: one is told from the other."""


@dataclass(frozen=True)
class Own(Science):
    """All questions of a file as one set.

    Attributes:
        shots: how many demonstrations are asked for. One group in five is held out for them, or as
            many as it takes; without demonstrations, and where a folder has a part of its own for
            them, none.

    >>> [[(len(x.examples), len(x.train)) for x in Own(shots=n).sets("test", 100)] for n in (0, 4)]
    [[(64, 0)], [(51, 13)]]
    """

    shots: int = 0

    name = "own"

    @classmethod
    def _of(cls, parameters: Mapping[str, Any]) -> Self:
        return cls(parameters["data"], shots=parameters["shots"])

    def sets(self, split: str, n: int) -> list[ExampleSet]:
        """One set: at most n questions, drawn by the seed and in the order of the file.

        Raises:
            InputError: the file cannot be used, or gives too few questions or demonstrations.
        """
        files = self._files()
        every, train = [x for _, x in self._read(files["test"])], list[Example]()
        if "train" in files:
            train = [x for _, x in self._read(files["train"])]
        elif self.shots:
            every, train = self._held_out(every)
        kept = sorted(random.Random(self.seed).sample(range(len(every)), min(n, len(every))))
        chosen = [every[i] for i in kept]
        if len({*group_names(chosen)}) < LEFT:
            few = f"the questions of {self.data} that are probed ({len(chosen)}) are of one group"
            why = "so none is told from others (the same question twice is always of one)"
            raise InputError(f"{few}, {why}: add questions, or give lines different groups")
        return [ExampleSet("all questions", chosen, train, max(x.tree.depth for x in chosen))]

    def _held_out(self, every: Sequence[Example]) -> tuple[list[Example], list[Example]]:
        """Questions to probe, and those held out for demonstrations, whole groups of both."""
        of = group_names(every).tolist()
        names = sorted({*of})
        # One in five first, then as many more as it takes.
        order = [*names[::HELD_OUT], *(name for i, name in enumerate(names) if i % HELD_OUT)]
        sizes, most = Counter(of), max(0, len(names) - LEFT)
        given = [0, *accumulate(sizes[name] for name in order[:most])]
        if given[-1] < self.shots:
            has = f"{self.data} has {len(every)} questions in {len(names)} groups"
            lacks = f"with {LEFT} groups left to probe it gives {given[-1]} demonstrations at most"
            raise InputError(f"shots={self.shots}: {has}; {lacks}: lower shots, or add questions")
        fifth = min(len(names[::HELD_OUT]), most)
        out = {*order[: max(bisect_left(given, self.shots), fifth)]}
        train = [x for x, name in zip(every, of, strict=True) if name in out]
        return [x for x, name in zip(every, of, strict=True) if name not in out], train
