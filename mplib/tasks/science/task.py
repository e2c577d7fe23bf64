"""Which science questions, or questions of a user's own, a study asks."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mplib.errors import InputError
from mplib.files import resolve
from mplib.tasks import custom
from mplib.tasks.examples import Example, ExampleSet
from mplib.tasks.jsonl import first_record
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

    >>> [(one.name, len(one.examples)) for one in Science().sets("test", 3)]
    [('depth 1', 3), ('depth 2', 3), ('all depths', 6)]
    """

    data: str = "science"
    train_data: str = ""
    depths: tuple[int, ...] = (1, 2)
    conclusions: bool = True
    distractors: bool = True
    order: str = "random"
    seed: int = 0

    name = "science"
    template = "arc"
    checkpoint_hash = ("data", "order")

    def examples(self, split: str) -> list[tuple[int, Example]]:
        """Pairs of depth and question, of the ``train`` (of any depth) or the ``test`` part.

        Raises:
            InputError: a file cannot be used, or no question has such a depth.
        """
        if self.train_data and split == "train":
            return self._read(self.train_data)
        every = self._read(self.data)
        held_out = set() if self.train_data else {*sorted({x.group for _, x in every})[::HELD_OUT]}
        if split == "train":
            return [pair for pair in every if pair[1].group in held_out]
        found = [p for p in every if p[0] in self.depths and p[1].group not in held_out]
        if not found:
            asked, depths = [*self.depths], sorted({depth for depth, _ in every})
            raise InputError(f"{self.data} has no question of depths {asked}: it has {depths}")
        return found

    @classmethod
    def typical(cls, parameters: Mapping[str, Any]) -> Typical:
        """Two hundred tokens a question; this project's own are counted."""
        lengths = [200] * len(parameters["depths"])
        problems = parameters["examples"] * len(lengths)
        if parameters["questions"] != "science":
            return Typical("questions", lengths, problems)
        ours = len(formats.SCIENCE.read_text().splitlines())
        return Typical("science questions", lengths, min(problems, ours))

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

    def _read(self, data: str) -> list[tuple[int, Example]]:
        path = formats.SCIENCE if data == "science" else resolve(data)
        if "statements" in first_record(path):
            return [(example.tree.depth, example) for example in custom.examples(path)]
        shown = (self.conclusions, self.distractors, self.order, self.seed)
        return [(q.depth, q.example(*shown)) for q in formats.questions(path)]
