"""Which science questions, or questions of a user's own, a study asks."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mplib.errors import InputError
from mplib.paths import resolve
from mplib.tasks import Example, arc, custom

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
        """Pairs of depth and question, of the ``train`` or the ``test`` part.

        Raises:
            InputError: a file cannot be used, or no question has such a depth.
        """
        if self.train_data:
            return list(self._read(self.train_data if split == "train" else self.data))
        return [
            (depth, example)
            for depth, example in self._read(self.data)
            if (zlib.crc32(example.group.encode()) % HELD_OUT == 0) == (split == "train")
        ]

    def _read(self, data: str) -> Iterator[tuple[int, Example]]:
        path = resolve(data)
        if data != "science" and _is_custom(path):
            found = list(custom.examples(path))
            chosen = [(e.tree.depth, e) for e in found if e.tree.depth in self.depths]
            if not chosen:
                depths = sorted({example.tree.depth for example in found})
                raise InputError(f"{path} has no tree of depths {self.depths}: it has {depths}")
            yield from chosen
            return
        for depth in self.depths:
            load = arc.science_questions if data == "science" else partial(arc.examples, path)
            read = load(
                depths=(depth,), conclusions=self.conclusions, distractors=self.distractors,
                order=self.order, seed=self.seed,
            )  # fmt: skip
            yield from ((depth, example) for example in read)


def _is_custom(path: Path) -> bool:
    """Whether a file's first line is a question of a user's own format."""
    try:
        with path.open(encoding="utf-8") as lines:
            first = json.loads(next(lines, "{}"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return False  # the loaders say what is wrong
    return isinstance(first, dict) and "statements" in first
