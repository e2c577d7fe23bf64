"""Examples in words, set by set, as models are asked them and read.

Model and twins of a set see the same prompts, so the scores are those of Eqs 1 and 2 for it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from mplib.errors import InputError
from mplib.models import fewshot
from mplib.models.attention import Reduction
from mplib.models.inference import Reading, attention_features, read
from mplib.models.loading import LoadedModel, random_twins
from mplib.models.prompts import Prompts
from mplib.probe import knn
from mplib.studies.heads import head_shape
from mplib.studies.layers import parse_layers, select_layers
from mplib.tasks.examples import Example
from mplib.tasks.proofwriter.task import ProofWriter
from mplib.tasks.science.task import Science
from mplib.tasks.trees import PADDING, stack_labels

EVERY_DEPTH = "all depths"
"""Name of the set that holds the questions of all depths together."""


DEMONSTRATIONS = 256
"""Training examples from which demonstrations are drawn."""


@dataclass(frozen=True)
class ExampleSet:
    """Examples that are probed together.

    Attributes:
        name: what to call them in tables and figures.
        examples: the examples.
        train: examples to draw demonstrations from.
        depth: height of their trees' roots.
        size: number of statements, 0 where it varies.
    """

    name: str
    examples: Sequence[Example]
    train: Sequence[Example]
    depth: int
    size: int = 0

    @cached_property
    def heights(self) -> np.ndarray:
        """Gold heights, shape (examples, statements)."""
        return stack_labels([example.tree for example in self.examples])

    @cached_property
    def groups(self) -> np.ndarray:
        """Group of each example; its own where the task names none."""
        return np.array(
            [example.group or f"example {i}" for i, example in enumerate(self.examples)]
        )

    @cached_property
    def rules(self) -> np.ndarray | None:
        """Gold heights of the rules alone, the facts left out; None where the task has no kinds."""
        if not all(example.kinds for example in self.examples):
            return None
        rules = np.full(self.heights.shape, False)
        for row, example in zip(rules, self.examples, strict=True):
            row[: len(example.kinds)] = [kind == "rule" for kind in example.kinds]
        return np.where(rules, self.heights, PADDING)


@dataclass(frozen=True)
class Subject:
    """A model in one way of asking it.

    Attributes:
        name: such as ``4-shot`` or ``finetuned (attention)``.
        loaded: the model.
        shots: demonstrations before each question.
    """

    name: str
    loaded: LoadedModel
    shots: int


@dataclass(frozen=True)
class Procedure:
    """How examples are asked, read and probed.

    Attributes:
        template: a key of ``mplib.fewshot.TEMPLATES``.
        shared: whether all examples of a set have the same demonstrations; else drawn anew.
        twins: random twins of each model.
        layers: layers whose attention is probed, counted from 1; all if None.
        reduction: how attention is reduced.
        batch_size: examples a forward pass.
        settings: of the classifiers; the paper takes the Manhattan distance for language.
        seed: of the demonstrations and the twins.
    """

    template: str
    shared: bool = True
    twins: int = 1
    layers: tuple[int, ...] | None = None
    reduction: Reduction = field(default_factory=Reduction)
    batch_size: int = 16
    settings: knn.ProbeSettings = field(default_factory=lambda: knn.ProbeSettings(metric_power=1))
    seed: int = 0

    def ask(self, subject: Subject, one: ExampleSet) -> tuple[Prompts, np.ndarray | None]:
        """The prompts of a set for a model, and the tokens among which its answer is looked for."""
        return self.write(subject, one.examples, self.demonstrate(subject, one))

    def demonstrate(self, subject: Subject, one: ExampleSet) -> list[list[Example]]:
        """The demonstrations of each example of a set."""
        return fewshot.demonstrate(
            one.train, subject.shots, len(one.examples), shared=self.shared, seed=self.seed
        )

    def write(
        self, subject: Subject, examples: Sequence[Example], shown: Sequence[Sequence[Example]]
    ) -> tuple[Prompts, np.ndarray | None]:
        """Prompts of examples behind given demonstrations; see ``mplib.fewshot.few_shot``."""
        return fewshot.few_shot(
            subject.loaded.tokenizer, examples, shown, template=self.template,
            max_tokens=subject.loaded.positions,
        )  # fmt: skip


@dataclass(frozen=True)
class Readings:
    """What a model and its twins gave for a set of examples.

    Attributes:
        subject: name of the model as it was asked.
        examples: the set.
        model: the model's features and answers.
        twins: features of each twin.
    """

    subject: str
    examples: ExampleSet
    model: Reading
    twins: tuple[np.ndarray, ...]

    @property
    def about(self) -> dict[str, object]:
        """Columns that identify it in tables."""
        of = self.examples
        return {"set": of.name, "depth": of.depth, "size": of.size, "subject": self.subject}


def divide(readings: Readings, sets: Sequence[ExampleSet]) -> list[Readings]:
    """The readings of parts of a set, so that its examples need not be run again for them."""
    assert readings.model.correct is not None and readings.model.log_probability is not None
    place = {id(example): i for i, example in enumerate(readings.examples.examples)}
    found = []
    for one in sets:
        own, width = [place[id(example)] for example in one.examples], one.heights.shape[1]
        model = Reading(
            readings.model.features[own][:, :width],
            readings.model.correct[own],
            readings.model.log_probability[own],
        )
        twins = tuple(values[own][:, :width] for values in readings.twins)
        found.append(Readings(readings.subject, one, model, twins))
    return found


def read_sets(
    subjects: Sequence[Subject], sets: Sequence[ExampleSet], how: Procedure
) -> list[Readings]:
    """Runs every model over every set, once, and its twins likewise.

    Only one twin is in memory at a time.
    """
    readings = []
    chosen = None if how.layers is None else np.array(how.layers) - 1
    for subject in subjects:
        asked = [how.ask(subject, one) for one in sets]
        models = [
            read(subject.loaded.model, prompts, reduction=how.reduction, choices=choices,
                 batch_size=how.batch_size)
            for prompts, choices in asked
        ]  # fmt: skip
        twins: list[list[np.ndarray]] = [[] for _ in sets]
        for twin in random_twins(subject.loaded.model, how.twins, how.seed):
            for found, (prompts, _) in zip(twins, asked, strict=True):
                found.append(
                    attention_features(
                        twin, prompts, reduction=how.reduction, batch_size=how.batch_size
                    )
                )
        for one, model, found in zip(sets, models, twins, strict=True):
            if chosen is not None:
                model = replace(model, features=model.features[..., chosen])
                found = [values[..., chosen] for values in found]
            readings.append(Readings(subject.name, one, model, tuple(found)))
    return readings


def theory_sets(
    task: ProofWriter, split: str, n: int, shots: Sequence[int] = ()
) -> list[ExampleSet]:
    """The cases of a study of theories, at most n questions of each; see ``question_sets``."""
    sets = [
        ExampleSet(
            str(case), task.examples(case, split, n), task.demonstrations(case, DEMONSTRATIONS),
            case.depth, case.size,
        )
        for case in task.parsed
    ]  # fmt: skip
    _check_shots(sets, shots)
    return sets


def question_sets(task: Science, n: int, shots: Sequence[int] = ()) -> list[ExampleSet]:
    """The questions of each depth, at most n, and where there are several depths all together.

    Raises:
        InputError: one of the numbers of ``shots`` is more than the training examples.
    """
    train = [example for _, example in task.examples("train")]
    by_depth: dict[int, list[Example]] = {}
    for depth, example in task.examples("test"):
        by_depth.setdefault(depth, []).append(example)
    sets = [ExampleSet(f"depth {d}", of[:n], train, d) for d, of in sorted(by_depth.items())]
    if len(sets) > 1:
        every = [example for one in sets for example in one.examples]
        sets.append(ExampleSet(EVERY_DEPTH, every, train, max(by_depth)))
    _check_shots(sets, shots)
    return sets


def _check_shots(sets: Sequence[ExampleSet], shots: Sequence[int]) -> None:
    """Finds at once what would else be found after an hour."""
    for one in sets:
        if (most := max(shots, default=0)) > len(one.train):
            raise InputError(
                f"{most} demonstrations, but {one.name} has {len(one.train)} training examples: "
                "lower shots and shot_counts or name a larger file"
            )


def words(sets: Sequence[ExampleSet]) -> list[str]:
    """Every word and mark of the examples, the vocabulary of a model that has none of its own."""
    every = (example for one in sets for example in (*one.examples, *one.train))
    texts = [*fewshot.TEMPLATES.values()]
    for example in every:
        texts += [*example.statements, example.question, example.answer, *example.choices]
    return sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text)})


def choose_layers(
    subject: Subject, dev: Sequence[ExampleSet], layers: str, how: Procedure
) -> tuple[Procedure, pd.DataFrame, list[str]]:
    """The protocol with the layers that a notebook's parameter names (paper, appendix C.2).

    Args:
        subject: the model whose layers they are.
        dev: development examples, needed only for ``selected``.
        layers: see ``mplib.layers.parse_layers``.
        how: the protocol.

    Returns:
        The protocol; the layers as a table (of the selection, where there was one); a sentence
        about the selection, if there was one. Where the model answers no better than chance, the
        selection says nothing and all layers are probed.
    """
    total = head_shape(subject.loaded.model)[0]
    chosen = parse_layers(layers, total)
    if chosen is not None:
        table = pd.DataFrame({"layer": chosen})
        return replace(how, layers=chosen if len(chosen) < total else None), table, []
    examples = [example for one in dev for example in one.examples]
    together = ExampleSet("development", examples, dev[0].train, 0)
    prompts, choices = how.ask(subject, together)
    found = select_layers(subject.loaded.model, prompts, choices=choices, batch_size=how.batch_size)
    if not found.meaningful:
        return replace(how, layers=None), found.table, [f"{found.says} All are probed."]
    if not found.kept:
        raise InputError(
            "layers='selected': the answers need no layer's attention, so none is left to probe: "
            "write layers='all'"
        )
    return replace(how, layers=found.kept), found.table, [found.says]
