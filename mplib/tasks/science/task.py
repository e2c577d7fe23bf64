"""Which science questions, or questions of a user's own, a study asks."""

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np

from mplib.errors import InputError
from mplib.files import resolve
from mplib.tasks import custom
from mplib.tasks.examples import Example, ExampleSet, group_names
from mplib.tasks.jsonl import Record, first_record, load_jsonl
from mplib.tasks.science import formats, published
from mplib.tasks.task import Typical, WordTask, mean_length

HELD_OUT = 5
"""One question in so many is held out for demonstrations where they have no file of their own."""

EVERY_DEPTH = "all depths"
"""Name of the set that holds the questions of all depths together."""


@dataclass(frozen=True)
class Science(WordTask):
    """The questions of a study.

    Attributes:
        data: ``science`` (this project's own questions), a file: STREET, EntailmentBank, or a
            user's own (see ``mplib.tasks.custom``), or STREET's folder with a file for each split.
        train_data: file that demonstrations are drawn from; empty to hold out some of ``data``, or
            for the folder's own.
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
        files = self._files()
        every = self._read(files["test"])
        if "train" in files and split == "train":
            train = self._read(files["train"])
            if {x.key for _, x in train} <= {x.key for _, x in every}:
                same = f"all questions of {files['train']} stand in {files['test']} too"
                raise InputError(f"{same}: leave train_questions empty, or name others")
            return train
        groups = group_names([example for _, example in every])
        names = [] if "train" in files else sorted({*groups})[::HELD_OUT]
        held_out = zip(every, np.isin(groups, names), strict=True)
        left = [pair for pair, out in held_out if out == (split == "train")]
        if not left:
            one = (
                f"all {len(every)} questions of {self.data} are of one group (the same always are)"
            )
            lost = "which is held out for demonstrations, so none is left to probe"
            raise InputError(f"{one}, {lost}: give more groups, or name train_questions")
        if not (found := [x for x in left if split == "train" or x[0] in self.depths]):
            asked, depths = [*self.depths], sorted({depth for depth, _ in left})
            raise InputError(f"{self.data} has no question of depths {asked}: it has {depths}")
        return found

    @classmethod
    def _of(cls, parameters: Mapping[str, Any]) -> Self:
        """The questions that a notebook's parameters name."""
        shown = {x: parameters[x] for x in ("conclusions", "distractors") if x in parameters}
        return cls(parameters["questions"], depths=tuple(parameters["depths"]), **shown)

    @classmethod
    def typical(cls, parameters: Mapping[str, Any]) -> Typical:
        """The words and marks of its questions; 200 where they cannot be read."""
        task, most = cls._of(parameters), parameters["examples"]
        depths = task.depths
        label = "science questions" if task.data == "science" else "questions"
        try:
            sets = task.sets("test", most)
        except InputError:
            return Typical(label, [200] * len(depths), most * len(depths))
        lengths = [mean_length(one.examples) for one in sets]
        # Those of all depths together are read once, and probed once more.
        problems = sum(len(one.examples) for one in sets[: len(depths)])
        probed = sum(len(x.statements) for one in sets for x in one.examples)
        return Typical(label, lengths, problems, probed / problems)

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

    def published_sets(self, n: int) -> list[ExampleSet]:
        """The questions of each depth as the paper's source has them: of all files together.

        Its demonstrations are of the training file, or of the only one, which is asked too.

        Raises:
            InputError: the files are not STREET's, or no question has such a depth.
        """
        files = self._files().values()
        read = [published.questions(x for _, x in load_jsonl(path, dict)) for path in files]
        train = [example for of in read[0].values() for example in of]
        sets = []
        for depth in self.depths:
            if not (found := [example for one in read for example in one.get(depth, [])]):
                has = sorted({depth for one in read for depth in one})
                raise InputError(f"{self.data} has no question of depth {depth}: it has {has}")
            random.Random(f"{self.seed} {depth}").shuffle(found)
            sets.append(ExampleSet(f"depth {depth}", found[:n], train, depth))
        return sets

    def _files(self) -> dict[str, Path]:
        """The file of each split, the training one first if there is one."""
        path = formats.SCIENCE if self.data == "science" else resolve(self.data)
        own = {"train": resolve(self.train_data)} if self.train_data else {}
        if not path.is_dir():
            return {**own, "test": path}
        splits = ("train", "dev", "test")
        return {split: path / f"reasoning_annotated_{split}.jsonl" for split in splits} | own

    def splits(self, n: int, seed: int) -> tuple[list[Example], list[Example], list[Example]]:
        """At most n questions to finetune on, by groups: four fifths, and half of the rest each."""
        questions = [example for _, example in self.examples("test")]
        random.Random(seed).shuffle(questions)
        questions, groups = questions[:n], defaultdict(list)
        for name, example in zip(group_names(questions), questions, strict=True):
            groups[name].append(example)
        if (found := len(groups)) < 3:
            raise InputError(f"{found} groups of questions cannot be split: ask for 3 or more")
        held_out, parts = max(1, found // 10), [*groups.values()]
        places = (slice(-2 * held_out), slice(-2 * held_out, -held_out), slice(-held_out, None))
        train, dev, test = ([*chain(*parts[place])] for place in places)
        return train, dev, test

    def _read(self, path: Path) -> list[tuple[int, Example]]:
        if "statements" in first_record(path):
            return [(example.tree.depth, example) for example in custom.examples(path)]

        def read(record: Record) -> tuple[int, Example]:
            question = formats.parse(record)
            shown = (self.conclusions, self.distractors, self.order, self.seed)
            return question.depth, question.example(*shown)

        if not (found := [pair for _, pair in load_jsonl(path, read)]):
            raise InputError(f"{path} holds no question: write one JSON object a line")
        return found
