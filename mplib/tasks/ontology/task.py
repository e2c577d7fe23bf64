"""Which trees of kinds a study asks, and in which worlds they are told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from zlib import crc32

from mplib.errors import InputError, one_of
from mplib.files import resolve
from mplib.tasks.examples import Example, ExampleSet
from mplib.tasks.jsonl import Record, load_jsonl
from mplib.tasks.ontology import prontoqa
from mplib.tasks.ontology.generator import WORLDS, draw
from mplib.tasks.ontology.lexicon import FRAME, read_lexicon
from mplib.tasks.task import DEMONSTRATIONS, TEMPLATES, Typical, WordTask
from mplib.tasks.words import tokens

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Ontology(WordTask):
    """The trees of a study.

    Demonstrations are told in the invented world in every arm, with other invented nouns than those
    asked: they show the form, and nothing of the world.

    Attributes:
        data: ``generated``, or a file of PrOntoQA's questions.
        worlds: in which each tree is told, of ``WORLDS`` (generated trees).
        depths: heights of the trees, 1 to 5.
        chains: the useful one and its distractors, an even number (generated trees).
        lexicon: ``ontology`` for this project's own, or a file; see ``lexicon``.
        order: of the statements, ``random`` or ``given``, which tells heights by positions.
        seed: of trees and orders.

    >>> task = Ontology(depths=(1,))
    >>> for one in task.sets("test", 1):
    ...     print(*one.examples[0].statements, one.examples[0].question)
    Kim is a cedar. Every cedar is woody. Morgan is a goat. No goat is woody. Kim is woody.
    Kim is a perull. Every perull is woody. Morgan is a dubosk. No dubosk is woody. Kim is woody.
    Kim is a goat. Every goat is woody. Morgan is a cedar. No cedar is woody. Kim is woody.
    """

    data: str = "generated"
    worlds: tuple[str, ...] = WORLDS
    depths: tuple[int, ...] = (1, 2)
    chains: int = 2
    lexicon: str = "ontology"
    order: str = "random"
    seed: int = 0

    name = "ontology"
    template = "proofwriter"
    checkpoint_hash = ("data", "worlds", "depths", "chains", "lexicon", "order")

    def __post_init__(self) -> None:
        """Checks the choices.

        Raises:
            InputError: an unknown world, no depth or one that cannot be, an odd number of chains.
        """
        for world in self.worlds:
            one_of("worlds", world, WORLDS)
        if not (self.worlds and self.depths and {*self.depths} <= {*range(1, 6)}):
            given = f"worlds={[*self.worlds]}, depths={[*self.depths]}"
            raise InputError(f"{given}: expected one world or more, and depths from 1 to 5")
        if self.chains not in (2, 4, 6):
            few = "half of the chains end in having the property, half in lacking it"
            raise InputError(f"chains={self.chains}: expected 2, 4 or 6, since {few}")

    def sets(self, split: str, n: int) -> list[ExampleSet]:
        """Each depth in each world, at most n trees, the same ones in every world.

        Raises:
            InputError: unknown split, or no such question.
        """
        one_of("split", split, SPLITS)
        if self.data != "generated":
            return self._read(split, n)
        sets = []
        for depth in self.depths:
            shown = self._drawn("train", DEMONSTRATIONS, depth, ["invented"])["invented"]
            size = self.chains * (depth + 1)
            for world, examples in self._drawn(split, n, depth, self.worlds).items():
                sets.append(ExampleSet(f"depth {depth}, {world}", examples, shown, depth, size))
        return sets

    def _drawn(
        self, split: str, n: int, depth: int, worlds: Sequence[str]
    ) -> dict[str, list[Example]]:
        """N trees of a depth in each of some worlds."""
        part, words = SPLITS.index(split), read_lexicon(self.lexicon)
        seed = self.seed * len(SPLITS) + part
        found: dict[str, list[Example]] = {world: [] for world in worlds}
        unknown = words.invented[min(part, 1) :: 2]
        for i, tree in enumerate(draw(words, n, depth, self.chains, seed, unknown)):
            for world, examples in found.items():
                group = f"tree {depth}-{self.chains}-{seed}-{i}"
                examples.append(tree.example(world, self.order, group))
        return found

    def _file(self) -> dict[str, list[Example]]:
        """All questions of a file, a fifth by their names to train, a fifth to develop."""
        parts: dict[str, list[Example]] = {split: [] for split in SPLITS}

        def read(record: Record) -> Example:
            return prontoqa.parse(record, self.order, self.seed)

        for _, example in load_jsonl(resolve(self.data), read):
            part = min(crc32(example.group.encode()) % 5, len(SPLITS) - 1)
            parts[SPLITS[part]].append(example)
        return parts

    def _read(self, split: str, n: int) -> list[ExampleSet]:
        """The questions of each depth, at most n."""
        parts, sets = self._file(), []
        for depth in self.depths:
            found = [example for example in parts[split] if example.tree.depth == depth]
            if not found:
                has = sorted({example.tree.depth for example in parts[split]})
                none = f"{self.data} has no {split} question of depth {depth}"
                raise InputError(f"{none}: it has {has}; choose other depths")
            sets.append(ExampleSet(f"depth {depth}", found[:n], parts["train"], depth))
        return sets

    @classmethod
    def typical(cls, parameters: Mapping[str, Any]) -> Typical:
        """Seven and a half tokens a statement; PrOntoQA's trees stand between two others."""
        own = {key: parameters.get(key, getattr(cls, key)) for key in ("data", "depths", "chains")}
        drawn = own["data"] == "generated"
        worlds = len(parameters.get("worlds", cls.worlds)) if drawn else 1
        chains = own["chains"] if drawn else 3
        sizes = [chains * (depth + 1) for depth in own["depths"] for _ in range(worlds)]
        problems, mean = parameters.get("examples", 0) * len(sizes), sum(sizes) / len(sizes)
        lengths = [7.5 * (size + 1) for size in sizes]
        heights = 1 + sum(own["depths"]) / len(own["depths"])
        return Typical("trees of kinds", lengths, problems, mean, heights=heights)

    @property
    def vocabulary(self) -> list[str]:
        """Every word and mark of the lexicon and its sentences, or of the file."""
        if self.data == "generated":
            words = read_lexicon(self.lexicon)
            texts = [*words.nouns, *words.properties, *words.invented, *words.names, FRAME]
        else:
            every = chain(*self._file().values())
            texts = [text for x in every for text in (*x.statements, x.question, *x.choices)]
        return sorted({*tokens(" ".join([*texts, *TEMPLATES.values()]))})

    def splits(self, n: int, seed: int) -> tuple[list[Example], list[Example], list[Example]]:
        """N questions, 98 % to train on, depths and worlds mixed evenly, by the task's own seed.

        Training questions that are held out too are left out.
        """
        held_out = max(8, n // 100)
        sizes = {"train": n - 2 * held_out, "dev": held_out, "test": held_out}
        train, dev, test = (self._mixed(split, size) for split, size in sizes.items())
        held = {x.key for x in (*dev, *test)}  # few words make the same tree twice
        return [x for x in train if x.key not in held], dev, test

    def _mixed(self, split: str, n: int) -> list[Example]:
        kinds = len(self.depths) * (len(self.worlds) if self.data == "generated" else 1)
        examples = (one.examples for one in self.sets(split, -(-n // kinds)))
        return [*chain(*zip(*examples, strict=False))][:n]
