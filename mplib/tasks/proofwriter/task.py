"""Which ProofWriter questions a study asks: cases of depth, size and kind of text.

The questions are drawn (``data="generated"``) or read from the official release or one file of it.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mplib.errors import InputError
from mplib.files import resolve
from mplib.tasks.examples import Example, ExampleSet
from mplib.tasks.proofwriter import generator, release
from mplib.tasks.proofwriter.logic import WORLDS
from mplib.tasks.proofwriter.release import SPLITS
from mplib.tasks.task import DEMONSTRATIONS, Typical, WordTask


@dataclass(frozen=True)
class Case:
    """Questions that are probed together.

    Attributes:
        depth: height of the gold tree's root.
        size: number of statements, |S| of the paper; 0 for any, which only the release has.
        hidden: whether the text is such that it alone does not tell what is useful.
    """

    depth: int
    size: int
    hidden: bool = False

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Reads a case as a notebook's parameter names it: ``d1 s8``, ``d2 s8 hidden``, ``d0``.

        Raises:
            InputError: it is written in another way.

        >>> str(Case.parse("d2 s8 hidden"))
        'depth 2, |S| = 8, hidden'
        """
        if not (match := re.fullmatch(r"d(\d)(?: s(\d+))?( hidden)?", text.strip())):
            known = "'d1 s8' (depth 1, 8 statements), 'd1' (any number) or 'd2 s8 hidden'"
            raise InputError(f"case {text!r}: expected such as {known}")
        return cls(int(match[1]), int(match[2] or 0), bool(match[3]))

    def __str__(self) -> str:
        """As a label."""
        size = f", |S| = {self.size}" if self.size else ""
        return f"depth {self.depth}{size}" + (", hidden" if self.hidden else "")


@dataclass(frozen=True)
class ProofWriter(WordTask):
    """The theories of a study.

    Attributes:
        data: ``generated``, or the folder of the official release, or one of its files.
        cases: which questions; see ``Case.parse``.
        style: ``attribute`` or ``relation`` (generated theories).
        negation: whether "not" occurs in theories (generated ones).
        world: ``closed`` or ``open``.
        order: of the statements, ``random`` or ``given`` (facts first, as the paper's source).
        seed: of theories and orders.

    >>> task = ProofWriter(cases=("d1 s4 hidden",))
    >>> (example,) = task.examples(task.parsed[0], "test", 1)
    >>> len(example.statements), example.tree.depth, example.choices
    (4, 1, ('True', 'False'))
    """

    data: str = "generated"
    cases: tuple[str, ...] = ("d1 s4", "d1 s8")
    style: str = "attribute"
    negation: bool = False
    world: str = "closed"
    order: str = "random"
    seed: int = 0

    name = "proofwriter"
    template = "proofwriter"
    checkpoint_hash = ("data", "cases", "style", "negation", "world", "order")

    def __post_init__(self) -> None:
        """Checks the choices.

        Raises:
            InputError: an unknown world, no case, or one that cannot be.
        """
        if self.world not in WORLDS:
            raise InputError(f"world={self.world!r}: expected one of {WORLDS}")
        if not self.cases:
            raise InputError("no cases: name one or more, such as 'd1 s8'")
        for case in self.parsed:
            if self.data == "generated":
                self._settings(case)
            elif case.hidden:
                raise InputError(f"case '{case}': {self.data} has none; only generated data do")

    @property
    def parsed(self) -> list[Case]:
        """The cases."""
        return [Case.parse(text) for text in self.cases]

    def _settings(self, case: Case) -> generator.TheorySettings:
        return generator.TheorySettings(
            depth=case.depth, n_statements=case.size, giveaway=not case.hidden,
            style=self.style, negation=self.negation, world=self.world,
        )  # fmt: skip

    def examples(self, case: Case, split: str, n: int) -> list[Example]:
        """At most n questions of a case, from one of the splits, which share no theory.

        Raises:
            InputError: unknown split, or no such question.
        """
        if split not in SPLITS:
            raise InputError(f"split={split!r}: expected one of {', '.join(SPLITS)}")
        if self.data == "generated":
            seed = self.seed * len(SPLITS) + SPLITS.index(split)
            return generator.examples(n, seed=seed, order=self.order, **vars(self._settings(case)))
        of_depth = [example for example in self._read(split) if example.tree.depth == case.depth]
        found = [example for example in of_depth if case.size in (0, len(example.statements))]
        if not found:
            raise InputError(f"{self.data} has no {split} questions of {case}: choose another case")
        return found[:n]

    def sets(self, split: str, n: int) -> list[ExampleSet]:
        """The cases, at most n questions of each.

        Demonstrations drawn are of the case's kind; from the release they have any depth, as in
        the paper.
        """
        drawn, sets = self.data == "generated", []
        for case in self.parsed:
            examples = self.examples(case, split, n)
            train = self.examples(case, "train", DEMONSTRATIONS) if drawn else self._read("train")
            train = train[:DEMONSTRATIONS]
            sets.append(ExampleSet(str(case), examples, train, case.depth, case.size))
        return sets

    @classmethod
    def typical(cls, parameters: Mapping[str, Any]) -> Typical:
        """Nine tokens a statement, 16 statements where their number is open."""
        cases = parameters["cases"]
        named = [re.search(r"\bs(\d+)", case) for case in cases]
        lengths = [9 * ((int(match[1]) if match else 16) + 2) for match in named]
        return Typical("theories", lengths, parameters.get("examples", 0) * len(cases))

    @property
    def vocabulary(self) -> list[str]:
        """Every word and mark of a drawn theory."""
        return generator.vocabulary()

    def splits(self, n: int, seed: int) -> tuple[list[Example], list[Example], list[Example]]:
        """N questions, 98 % for training, the cases mixed evenly; drawn by the task's own seed."""
        held_out = max(8, n // 100)
        train = self.training("train", n - 2 * held_out)
        return train, self.training("dev", held_out), self.training("test", held_out)

    def training(self, split: str, n: int) -> list[Example]:
        """N questions, the cases mixed evenly, to finetune on."""
        share = -(-n // len(self.cases))
        mixed = zip(*(self.examples(case, split, share) for case in self.parsed), strict=False)
        return [example for row in mixed for example in row][:n]

    def _read(self, split: str) -> list[Example]:
        world = {"closed": "CWA", "open": "OWA"}[self.world]
        return _read(resolve(self.data), world, split, self.order, self.seed)


@cache
def _read(path: Path, world: str, split: str, order: str, seed: int) -> list[Example]:
    """All cleaned questions of a split; a single file is divided by theory, a fifth for each."""
    found = release.examples(release.files(path, world, [split]), order, seed)
    part = {"train": (0,), "dev": (1,), "test": (2, 3, 4)}[split]
    in_folders = path.is_dir()
    return [x for x in found if in_folders or zlib.crc32(x.group.encode()) % 5 in part]
