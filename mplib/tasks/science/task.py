"""Which science questions, or questions of a user's own, a study asks."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mplib.errors import InputError
from mplib.files import resolve
from mplib.tasks import custom
from mplib.tasks.examples import Example
from mplib.tasks.science import formats

HELD_OUT = 5
"""One question in so many is held out for demonstrations where they have no file of their own."""


@dataclass(frozen=True)
class Science:
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

    def _read(self, data: str) -> Iterator[tuple[int, Example]]:
        path = formats.SCIENCE if data == "science" else resolve(data)
        if _is_custom(path):
            yield from ((example.tree.depth, example) for example in custom.examples(path))
            return
        for question in formats.questions(path):
            how = (self.conclusions, self.distractors, self.order, self.seed)
            yield question.depth, question.example(*how)


def _is_custom(path: Path) -> bool:
    """Whether a file's first line is a question of a user's own format."""
    try:
        with path.open(encoding="utf-8") as lines:
            first = json.loads(next(lines, "{}"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return False  # the loaders say what is wrong
    return isinstance(first, dict) and "statements" in first
