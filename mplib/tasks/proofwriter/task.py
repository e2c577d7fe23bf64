"""Which ProofWriter questions a study asks: cases of depth, size and kind of text.

The questions are drawn (``data="generated"``) or read from the official release or one file of it.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from mplib.errors import InputError
from mplib.files import resolve
from mplib.tasks.examples import Example, ExampleSet
from mplib.tasks.proofwriter import generator, release
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
            raise InputError(
                f"case {text!r}: write the depth, the number of statements and, if it is so, "
                "'hidden', such as 'd1 s8' or 'd2 s8 hidden'; 'd1' takes any number of statements"
            )
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
    """

    data: str = "generated"
    cases: tuple[str, ...] = ("d1 s4", "d1 s8")
    style: str = "attribute"
    negation: bool = False
    world: str = "closed"
    order: str = "random"
    seed: int = 0

    name: ClassVar[str] = "proofwriter"
    template: ClassVar[str] = "proofwriter"
    checkpoint: ClassVar[str] = "checkpoints/proofwriter/{model}_{hash}_{trainable}_seed{seed}"
    checkpoint_hash: ClassVar[tuple[str, ...]] = (
        "data", "cases", "style", "negation", "world", "order",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Checks the choices.

        Raises:
            InputError: an unknown world, no case, or one that cannot be.
        """
        if self.world not in ("closed", "open"):
            raise InputError(f"world={self.world!r}: expected 'closed' or 'open'")
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
        found = [
            example
            for example in self._read(split)
            if example.tree.depth == case.depth and case.size in (0, len(example.statements))
        ]
        if not found:
            raise InputError(f"{self.data} has no {split} questions of {case}: choose another case")
        return found[:n]

    def demonstrations(self, case: Case, n: int) -> list[Example]:
        """At most n training questions to show before a case's own.

        From the release they have any depth, as in the paper; drawn ones are of the case's kind.
        """
        if self.data == "generated":
            return self.examples(case, "train", n)
        return self._read("train")[:n]

    def sets(self, split: str, n: int) -> list[ExampleSet]:
        """The cases, at most n questions of each."""
        return [
            ExampleSet(
                str(case), self.examples(case, split, n), self.demonstrations(case, DEMONSTRATIONS),
                case.depth, case.size,
            )
            for case in self.parsed
        ]  # fmt: skip

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
        counts = {"train": n - 2 * held_out, "dev": held_out, "test": held_out}
        train, dev, test = (self.training(split, count) for split, count in counts.items())
        return train, dev, test

    def training(self, split: str, n: int) -> list[Example]:
        """N questions, the cases mixed evenly, to finetune on."""
        share = -(-n // len(self.cases))
        mixed = zip(*(self.examples(case, split, share) for case in self.parsed), strict=False)
        return [*chain.from_iterable(mixed)][:n]

    def _read(self, split: str) -> list[Example]:
        world = {"closed": "CWA", "open": "OWA"}[self.world]
        return _read(resolve(self.data), world, split, self.order, self.seed)


@cache
def _read(path: Path, world: str, split: str, order: str, seed: int) -> list[Example]:
    """All cleaned questions of a split; a single file is divided by theory, a fifth for each."""
    if not path.is_file():
        return list(release.examples(path, world, [split], order=order, seed=seed))
    number = {"train": (0,), "dev": (1,), "test": (2, 3, 4)}[split]
    return [
        example
        for example in release.examples(path, world, order=order, seed=seed)
        if zlib.crc32(example.group.encode()) % 5 in number
    ]
