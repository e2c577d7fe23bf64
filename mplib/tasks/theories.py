"""Which ProofWriter questions a study asks: cases of depth, size and kind of text.

The questions are drawn (``data="generated"``) or read from the official release or one file of it.
"""

import zlib
from dataclasses import dataclass
from functools import cache
from itertools import chain, product
from pathlib import Path

from mplib.errors import InputError
from mplib.paths import resolve
from mplib.tasks import Example, proofwriter, theory_generator
from mplib.tasks.proofwriter import SPLITS

TEXTS = ("natural", "hidden")
"""Kinds of text: like ProofWriter's, or such that the text alone does not tell what is useful."""


@dataclass(frozen=True, order=True)
class Case:
    """Questions that are probed together.

    Attributes:
        text: one of ``TEXTS``.
        depth: height of the gold tree's root.
        size: number of statements, |S| of the paper; 0 for any.
    """

    text: str
    depth: int
    size: int

    def __str__(self) -> str:
        """As a label: ``depth 1, |S| = 8, hidden``."""
        size = f", |S| = {self.size}" if self.size else ""
        return f"depth {self.depth}{size}" + (", hidden" if self.text == "hidden" else "")


@dataclass(frozen=True)
class ProofWriter:
    """The theories of a study.

    Attributes:
        data: ``generated``, or the folder of the official release, or one of its files.
        depths: depths of the questions.
        sizes: numbers of statements; 0 for any, which only the release has.
        texts: some of ``TEXTS``; the release has ``natural`` alone.
        style: ``attribute`` or ``relation`` (generated theories).
        negation: whether "not" occurs in theories (generated ones).
        world: ``closed`` or ``open``.
        order: of the statements, ``random`` or ``given`` (facts first, as the paper's source).
        seed: of theories and orders.
    """

    data: str = "generated"
    depths: tuple[int, ...] = (1,)
    sizes: tuple[int, ...] = (4, 8)
    texts: tuple[str, ...] = ("natural",)
    style: str = "attribute"
    negation: bool = False
    world: str = "closed"
    order: str = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the choices.

        Raises:
            InputError: an unknown text or world, or no case that can be.
        """
        if unknown := {*self.texts} - {*TEXTS}:
            raise InputError(f"texts={sorted(unknown)[0]!r}: expected some of {', '.join(TEXTS)}")
        if self.world not in ("closed", "open"):
            raise InputError(f"world={self.world!r}: expected 'closed' or 'open'")
        if not self.cases:
            raise InputError(
                f"no such theories: depths={list(self.depths)}, sizes={list(self.sizes)}, "
                f"texts={list(self.texts)}; a proof of depth d needs d + 1 statements, a hidden "
                "one twice as many and a depth of 1 or more"
            )

    @property
    def cases(self) -> list[Case]:
        """Every combination of text, depth and size that can be."""
        return [
            case
            for case in (Case(*x) for x in product(self.texts, self.depths, self.sizes))
            if self._possible(case)
        ]

    def _possible(self, case: Case) -> bool:
        if self.data != "generated":
            return case.text == "natural"
        try:
            self._settings(case)
        except InputError:
            return False
        return True

    def _settings(self, case: Case) -> theory_generator.Settings:
        return theory_generator.Settings(
            depth=case.depth, n_statements=case.size, giveaway=case.text == "natural",
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
            return theory_generator.examples(
                n, seed=seed, order=self.order, **vars(self._settings(case))
            )
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

    def training(self, split: str, n: int) -> list[Example]:
        """N questions, the cases mixed evenly, to finetune on."""
        share = -(-n // len(self.cases))
        mixed = zip(*(self.examples(case, split, share) for case in self.cases), strict=False)
        return [*chain.from_iterable(mixed)][:n]

    def _read(self, split: str) -> list[Example]:
        world = {"closed": "CWA", "open": "OWA"}[self.world]
        return _read(resolve(self.data), world, split, self.order, self.seed)


@cache
def _read(path: Path, world: str, split: str, order: str, seed: int) -> list[Example]:
    """All cleaned questions of a split; a single file is divided by theory, a fifth for each."""
    if not path.is_file():
        return list(proofwriter.examples(path, world, [split], order=order, seed=seed))
    number = {"train": (0,), "dev": (1,), "test": (2, 3, 4)}[split]
    return [
        example
        for example in proofwriter.examples(path, world, order=order, seed=seed)
        if zlib.crc32(example.group.encode()) % 5 in number
    ]
