"""Which science questions, or questions of a user's own, a study asks."""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mplib.errors import InputError
from mplib.files import resolve
from mplib.tasks import custom
from mplib.tasks.examples import Example, ExampleSet
from mplib.tasks.science import formats
from mplib.tasks.task import Typical, WordTask

HELD_OUT = 5
"""One question in so many is held out for demonstrations where they have no file of their own."""

EVERY_DEPTH = "all depths"
"""Name of the set that holds the questions of all depths together."""


@dataclass(frozen=True)
class Science(WordTask):
    """The questions of a study.

    Attributes:
        data: ``science`` (this project's own questions), or a file: STREET, EntailmentBank, or a
            user's own (see ``mplib.tasks.custom``).
        train_data: file that demonstrations are drawn from; empty to hold out some of ``data``.
        depths: depths of the questions.
        conclusions: whether intermediate conclusions are statements, as in the paper.
        distractors: whether statements that do not lead to the answer are shown.
        order: of the statements: ``random``, or ``given`` (facts before conclusions).
        seed: of the order.
    """

    data: str = "science"
    train_data: str = ""
    depths: tuple[int, ...] = (1, 2)
    conclusions: bool = True
    distractors: bool = True
    order: str = "random"
    seed: int = 0

    name: ClassVar[str] = "science"
    template: ClassVar[str] = "arc"
    checkpoint: ClassVar[str] = "checkpoints/science/{model}_{hash}_{trainable}_seed{seed}"
    checkpoint_hash: ClassVar[tuple[str, ...]] = ("data", "order")

    def examples(self, split: str) -> list[tuple[int, Example]]:
        """Pairs of depth and question, of the ``train`` (of any depth) or the ``test`` part.

        Raises:
            InputError: a file cannot be used, or no question has such a depth.
        """
        every = list(self._read(self.train_data or self.data))
        if self.train_data:
            if split == "train":
                return every
            every, held_out = list(self._read(self.data)), set()
        else:
            held_out = {*sorted({example.group for _, example in every})[::HELD_OUT]}
        if split == "train":
            return [pair for pair in every if pair[1].group in held_out]
        found = [p for p in every if p[0] in self.depths and p[1].group not in held_out]
        if not found:
            depths = sorted({depth for depth, _ in every})
            raise InputError(
                f"{self.data} has no question of depths {list(self.depths)}: it has depths {depths}"
            )
        return found

    @classmethod
    def typical(cls, parameters: Mapping[str, Any]) -> Typical:
        """Two hundred tokens a question; this project's own are counted."""
        depths, ours = parameters["depths"], parameters["questions"] == "science"
        problems = parameters["examples"] * len(depths)
        if ours:
            problems = min(problems, len(formats.SCIENCE.read_text().splitlines()))
        label = "science questions" if ours else "questions"
        return Typical(label, [200] * len(depths), problems)

    def sets(self, split: str, n: int) -> list[ExampleSet]:
        """The questions of each depth, at most n, and where there are several all together."""
        train = [example for _, example in self.examples("train")]
        by_depth: dict[int, list[Example]] = {}
        for depth, example in self.examples(split):
            by_depth.setdefault(depth, []).append(example)
        sets = [ExampleSet(f"depth {d}", of[:n], train, d) for d, of in sorted(by_depth.items())]
        if len(sets) > 1:
            every = [example for one in sets for example in one.examples]
            sets.append(ExampleSet(EVERY_DEPTH, every, train, max(by_depth)))
        return sets

    def splits(self, n: int, seed: int) -> tuple[list[Example], list[Example], list[Example]]:
        """At most n questions to finetune on: four fifths, and half of the rest each."""
        questions = [example for _, example in self.examples("test")]
        random.Random(seed).shuffle(questions)
        questions = questions[:n]
        if len(questions) < 3:
            raise InputError(f"{len(questions)} questions cannot be split: ask for 3 or more")
        held_out = max(1, len(questions) // 10)
        rest, test = questions[:-held_out], questions[-held_out:]
        return rest[:-held_out], rest[-held_out:], test

    def _read(self, data: str) -> Iterator[tuple[int, Example]]:
        path = formats.SCIENCE if data == "science" else resolve(data)
        if _is_custom(path):
            yield from ((example.tree.depth, example) for example in custom.examples(path))
            return
        shown = (self.conclusions, self.distractors, self.order, self.seed)
        for question in formats.questions(path):
            yield question.depth, question.example(*shown)


def _is_custom(path: Path) -> bool:
    """Whether a file's first line is a question of a user's own format."""
    try:
        with path.open(encoding="utf-8") as lines:
            first = json.loads(next(lines, "{}"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return False  # the loaders say what is wrong
    return isinstance(first, dict) and "statements" in first
