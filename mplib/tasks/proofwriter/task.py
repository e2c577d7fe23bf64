"""Which ProofWriter questions a study asks: cases of depth, size and kind of text.

The questions are drawn (``data="generated"``) or read from the official release or one file of it.
"""

import heapq
import random
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from statistics import mean
from typing import Any

from mplib.errors import InputError, one_of
from mplib.files import resolve
from mplib.tasks.examples import Example, ExampleSet
from mplib.tasks.proofwriter import generator, release
from mplib.tasks.proofwriter.logic import WORLDS
from mplib.tasks.proofwriter.release import SPLITS
from mplib.tasks.published import theories
from mplib.tasks.task import DEMONSTRATIONS, Typical, WordTask, mean_length


@dataclass(frozen=True)
class Case:
    """Questions that are probed together.

    Attributes:
        depth: height of the gold tree's root.
        size: number of statements, |S| of the paper; 0 for any, which only the release has.
        kind: ``hidden`` where the text alone does not tell what is useful; ``rival`` where, beside
            this, a broken chain for the opposite is as long as the proof; or nothing of this.
    """

    depth: int
    size: int
    kind: str = ""

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Reads a case as a notebook's parameter names it: ``d0``, ``d1 s8``, ``d2 s8 hidden``.

        Raises:
            InputError: it is written in another way.

        >>> str(Case.parse("d2 s8 hidden"))
        'depth 2, |S| = 8, hidden'
        """
        if not (match := re.fullmatch(r"d(\d)(?: s(\d{1,4}))?(?: (hidden|rival))?", text.strip())):
            known = "'d1 s8' (depth 1, 8 statements), 'd1' (any), 'd2 s8 hidden' or 'd2 s8 rival'"
            raise InputError(f"case {text!r}: expected such as {known}")
        return cls(int(match[1]), int(match[2] or 0), match[3] or "")

    def holds(self, depth: int, size: int) -> bool:
        """Whether questions of this depth and number of statements are of the case."""
        return depth == self.depth and self.size in (0, size)

    def __str__(self) -> str:
        """As a label."""
        size = f", |S| = {self.size}" if self.size else ""
        return f"depth {self.depth}{size}" + (self.kind and f", {self.kind}")


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
        one_of("world", self.world, WORLDS)
        if not self.cases:
            raise InputError("no cases: name one or more, such as 'd1 s8'")
        for case in self.parsed:
            if self.data == "generated":
                self._settings(case)
            elif case.kind:
                raise InputError(f"case '{case}': {self.data} has none; only generated data do")

    @property
    def parsed(self) -> list[Case]:
        """The cases."""
        return [Case.parse(text) for text in self.cases]

    def _settings(self, case: Case) -> generator.TheorySettings:
        return generator.TheorySettings(
            depth=case.depth, n_statements=case.size, giveaway=not case.kind,
            rival=case.kind == "rival", style=self.style, negation=self.negation, world=self.world,
        )  # fmt: skip

    def examples(self, case: Case, split: str, n: int) -> list[Example]:
        """At most n questions of a case, from one of the splits, which share no theory.

        Raises:
            InputError: unknown split, or no such question.
        """
        return self._draw([case], split, n)[0]

    def _draw(
        self, cases: Sequence[Case | None], split: str, n: int, *more: str
    ) -> list[list[Example]]:
        """At most n questions of each case, of any kind where it is None.

        From the release they are drawn over all its folders and theories, and over more splits
        where they are named. The seed, the theory and the question alone say when a question is
        drawn, so that fewer are the first of more.
        """
        one_of("split", split, SPLITS)
        if self.data == "generated":
            seed = self.seed * len(SPLITS) + SPLITS.index(split)
            settings = [vars(self._settings(case)) for case in cases if case]
            return [generator.examples(n, seed=seed, order=self.order, **own) for own in settings]
        drawn: list[list[tuple[float, int, Example]]] = [[] for _ in cases]
        there: set[tuple[int, int]] = set()
        for i, x in enumerate(chain(*map(self._read, (split, *more)))):
            there.add(kind := (x.tree.depth, len(x.statements)))
            late = random.Random(f"{self.seed} {x.group} {x.question}").random()
            for case, heap in zip(cases, drawn, strict=True):
                if case is None or case.holds(*kind):
                    heapq.heappush(heap, (-late, -i, x))
                    if len(heap) > n:
                        heapq.heappop(heap)
        for case in cases:
            if case and not any(case.holds(*kind) for kind in there):
                by_depth = groupby(sorted(there), lambda kind: kind[0])
                known = [f"d{d} ({', '.join(f's{s}' for _, s in of)})" for d, of in by_depth]
                none = f"{self.data} has no {split} questions of {case}"
                has = ", ".join(known) or "none at all"
                raise InputError(f"{none}: it has {has}; choose another case")
        return [[x for *_, x in sorted(heap, reverse=True)] for heap in drawn]

    def sets(self, split: str, n: int) -> list[ExampleSet]:
        """The cases, at most n questions of each.

        Demonstrations drawn are of the case's kind; from the release they have any depth, as in
        the paper.
        """
        return self._sets(split, n)

    def published_sets(self, n: int) -> list[ExampleSet]:
        """The cases as the paper's source has them: the release's splits together, facts first."""
        given = replace(self, order="given")
        return list(map(theories, given._sets("test", n, "dev", "train")))

    def _sets(self, split: str, n: int, *more: str) -> list[ExampleSet]:
        cases, ours = self.parsed, self.data == "generated"
        examples = self._draw(cases, split, n, *more)
        train = self._draw(cases if ours else [None], "train", DEMONSTRATIONS)
        parts = zip(cases, examples, train if ours else train * len(cases), strict=True)
        return [ExampleSet(str(c), asked, shown, c.depth, c.size) for c, asked, shown in parts]

    @classmethod
    def typical(cls, parameters: Mapping[str, Any]) -> Typical:
        """Six tokens a statement, some more for what makes it longer; as they are in a release."""
        own, cases = parameters, [*map(Case.parse, parameters["cases"])]
        data, world = own.get("data", "generated"), own.get("world", cls.world)
        drawn, there = data == "generated", list[Example]()
        with suppress(InputError):  # which the run itself will tell
            there = [] if drawn else release.glance(_files(data, world, "test"))
        # Half of the whole release's theories are of relations.
        relations = 3 * (own.get("style") == "relation") if drawn else 1.5
        more = relations + bool(own.get("negation") or not drawn)
        sizes, lengths = list[float](), list[float]()
        for case in cases:
            found = [x for x in there if case.holds(x.tree.depth, len(x.statements))]
            sizes.append(mean(len(x.statements) for x in found) if found else case.size or 18)
            guess = 10 + sizes[-1] * (6 + more + (case.depth > 1))
            lengths.append(mean_length(found) if found else guess)
        problems = own.get("examples", 0) * len(sizes)
        return Typical("theories", lengths, problems, sum(sizes) / max(1, len(sizes)))

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
        mixed = zip(*self._draw(self.parsed, split, share), strict=False)
        return [example for row in mixed for example in row][:n]

    def _read(self, split: str) -> Iterator[Example]:
        """All cleaned questions of a split, into which a single file is divided by theory."""
        part = {"train": (0,), "dev": (1,), "test": (2, 3, 4)}[split]
        paths, folder = _files(self.data, self.world, split), resolve(self.data).is_dir()
        for x in release.examples(paths, self.order, self.seed):
            told = "open" if "Unknown" in x.choices else "closed"
            if told != self.world:
                wrong = f"{x.group} in {self.data} is a theory of the {told} world"
                raise InputError(f"world={self.world!r}: {wrong}; set world={told!r}")
            if folder or zlib.crc32(x.group.encode()) % 5 in part:
                yield x


def _files(data: str, world: str, split: str) -> list[Path]:
    """A split's files of a release, or the one file that was named."""
    one_of("world", world, WORLDS)
    return release.files(resolve(data), {"closed": "CWA", "open": "OWA"}[world], [split])
