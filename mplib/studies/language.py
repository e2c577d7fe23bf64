"""Examples in words, set by set, as models are asked them and read.

Model and twins of a set see the same prompts, so the scores are those of Eqs 1 and 2 for it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from mplib.errors import InputError
from mplib.models.fewshot import Asked, demonstrate
from mplib.models.inference import Reading, attention_features, read
from mplib.models.loading import LoadedModel, load_model, random_twins
from mplib.probe.knn import ProbeSettings
from mplib.studies.checkpoints import finetuned_models
from mplib.studies.layers import (
    LayerSelection,
    named_layers,
    published_layers,
    select_layers,
    write_layers,
)
from mplib.tasks.examples import Example, ExampleSet, joined, unasked
from mplib.tasks.task import WordTask, template_text
from mplib.tasks.trees import PADDING


@dataclass(frozen=True)
class Subject:
    """A model in one way of asking it.

    Attributes:
        name: such as ``4-shot`` or ``finetuned (attention)``.
        loaded: the model.
        shots: demonstrations before each question.
        layers: its layers that are probed, counted from 1; those of the procedure if None.
    """

    name: str
    loaded: LoadedModel
    shots: int
    layers: tuple[int, ...] | None = None

    def places(self, layers: tuple[int, ...] | None) -> list[int]:
        """Where its probed layers, else these or all, stand among those whose attention is read."""
        there = self.loaded.attention_layers
        probed = self.layers or layers or [number + 1 for number in there]
        return [there.index(number - 1) for number in probed]


@dataclass(frozen=True)
class Procedure:
    """How examples are asked, read and probed.

    Attributes:
        template: what asks for the answer, a key of ``mplib.tasks.task.TEMPLATES``.
        shared: whether all examples of a set have the same demonstrations; else drawn anew.
        twins: random twins of each model.
        layers: layers whose attention is probed, counted from 1; all if None.
        batch_size: examples a forward pass.
        settings: of the classifiers; the paper takes the Manhattan distance for language.
        seed: of the demonstrations and the twins.
    """

    template: str
    shared: bool = True
    twins: int = 1
    layers: tuple[int, ...] | None = None
    batch_size: int = 16
    settings: ProbeSettings = ProbeSettings(metric_power=1)
    seed: int = 0

    @classmethod
    def of(cls, template: str, parameters: Mapping[str, Any]) -> Self:
        """The procedure that a notebook's parameters ask for."""
        probing = ("neighbours", "folds", "halves", "seed", "resamples")
        given = {key: parameters[key] for key in probing if key in parameters}
        own = {key: parameters[key] for key in ("twins", "batch_size", "seed") if key in parameters}
        settings = ProbeSettings(metric_power=1, **given)
        return cls(template, parameters["shared_shots"], settings=settings, **own)

    @classmethod
    def fitting(cls, template: str, one: ExampleSet, seed: int = 0) -> Self:
        """The procedure that suits a set of any size: three twins, and no more folds than groups.

        Raises:
            InputError: there is nothing to probe.
        """
        labels = np.unique(one.heights[one.heights != PADDING])
        if len(labels) < 2:
            alike = (
                f"{one.name}: every statement is useful and of one height, so no tree can be told"
            )
            raise InputError(f"{alike}: add statements that lead nowhere, or steps of reasoning")
        folds = min(ProbeSettings.folds, len({*one.groups}))
        settings = ProbeSettings(metric_power=1, folds=folds, seed=seed)
        return cls(template, twins=3, settings=settings, seed=seed)

    def ask(self, subject: Subject, one: ExampleSet) -> Asked:
        """The prompts of a set for a model, and the tokens among which its answer is looked for."""
        shown, text = self.demonstrate(subject, one), template_text(self.template)
        return subject.loaded.write_words(one.examples, shown, text)

    def demonstrate(self, subject: Subject, one: ExampleSet) -> list[list[Example]]:
        """The demonstrations of each example of a set."""
        n, shared = len(one.examples), self.shared
        return demonstrate(one.train, subject.shots, n, shared=shared, seed=self.seed)


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

    @property
    def probed(self) -> dict[str, Any]:
        """What a comparison over the twins takes of it."""
        models, of = {self.subject: self.model.features}, self.examples
        return {"models": models, "heights": of.heights, "twins": self.twins, "groups": of.groups}


def divide(readings: Readings, sets: Sequence[ExampleSet]) -> list[Readings]:
    """The readings of parts of a set, so that its examples need not be run again for them."""
    assert readings.model.answers is not None
    place = {id(example): i for i, example in enumerate(readings.examples.examples)}
    found = []
    for one in sets:
        own, width = [place[id(example)] for example in one.examples], one.heights.shape[1]
        model = Reading(readings.model.features[own][:, :width], readings.model.answers[own])
        twins = tuple(values[own][:, :width] for values in readings.twins)
        found.append(Readings(readings.subject, one, model, twins))
    return found


def read_sets(
    subjects: Sequence[Subject], sets: Sequence[ExampleSet], procedure: Procedure
) -> list[Readings]:
    """Runs every model over every set, once, and its twins likewise.

    Only one twin is in memory at a time. Models of one shape that see the same prompts, such as one
    before and after its finetuning, have the same twins.
    """
    readings, size = [], procedure.batch_size
    twins_of: dict[Any, list[list[np.ndarray]]] = {}
    for subject in subjects:
        whole, chosen = subject.loaded.model, subject.places(procedure.layers)
        asked = [procedure.ask(subject, one) for one in sets]
        models = [read(whole, prompts, choices=of, batch_size=size) for prompts, of in asked]
        same = _shape(whole), *(prompts.whole().input_ids.tobytes() for prompts, _ in asked)
        if same not in twins_of:
            twins_of[same] = [
                [attention_features(twin, prompts, batch_size=size) for prompts, _ in asked]
                for twin in random_twins(whole, procedure.twins, procedure.seed)
            ]
        for one, model, *beside in zip(sets, models, *twins_of[same], strict=True):
            model = replace(model, features=model.features[..., chosen])
            features = tuple(values[..., chosen] for values in beside)
            readings.append(Readings(subject.name, one, model, features))
    return readings


def _shape(model: PreTrainedModel) -> str:
    """What models have in common whose random twins are equal."""
    told = {key: value for key, value in model.config.to_dict().items() if key != "_name_or_path"}
    return json.dumps([told, str(model.dtype)], sort_keys=True, default=str)


def chosen_sets(task: WordTask, split: str, n: int, shots: Sequence[int] = ()) -> list[ExampleSet]:
    """The sets of a task, at most n examples of each; finds at once what else comes after an hour.

    Training examples that are asked too are left out, and counted.

    Args:
        task: the task.
        split: ``train``, ``dev`` or ``test``.
        n: how many examples of each set.
        shots: the numbers of demonstrations that will be drawn.

    Raises:
        InputError: there are fewer training examples than demonstrations.
    """
    sets = unasked(task.sets(split, n))
    for one in sets:
        if (most := max(shots, default=0)) > (there := len(one.train)):
            asked = f" ({one.left_out} more are asked themselves)" if one.left_out else ""
            few = f"{most} demonstrations, but {one.name} has {there} training examples{asked}"
            raise InputError(f"{few}: lower shots and shot_counts or name a larger file")
    return sets


def joined_sets(task: WordTask, split: str, n: int, shots: Sequence[int] = ()) -> ExampleSet:
    """All sets of a task as one, n examples of each; see ``chosen_sets``.

    Raises:
        InputError: a set has fewer.
    """
    sets = chosen_sets(task, split, n, shots)
    for one in sets:
        if (there := len(one.examples)) < n:
            few = f"examples={n}: there are {there} {split} questions of {one.name!r}"
            raise InputError(f"{few}; lower examples or leave the case out")
    return joined(sets, task.name)


def _finetuned(part: str, loaded: LoadedModel, parameters: Mapping[str, Any]) -> Subject:
    """A finetuned model, with its own list of layers where the paper's are asked for."""
    published = parameters["layers"] == "published"
    layers = published_layers("finetuned", loaded.layers) if published else None
    return Subject(f"finetuned ({part})", loaded, 0, layers)


def asked_subjects(parameters: Mapping[str, Any], task: WordTask) -> list[Subject]:
    """All models that a notebook's parameters name, on the same questions.

    The model with its demonstrations, or the one finetuned on these problems in its place where the
    notebook asks for it; the model with ``more_shots``, where the notebook has them; those
    ``beside`` it, which are asked without, as the model is too where it
    stands among them; and else whatever was finetuned, if the notebook has a ``checkpoint``.

    Raises:
        InputError: there is no such model, or one is named twice, or a number of demonstrations.
    """
    names, shots = parameters["beside"], parameters["shots"]
    counts = [shots, *parameters.get("more_shots", [])]
    if len({*counts}) < len(counts):
        raise InputError(f"more_shots={counts[1:]} beside shots={shots}: name each number once")
    if len({*names}) < len(names):
        raise InputError(f"beside={names}: a model is named twice; name each once")
    loading = ("device", "dtype", "partial_attention", "seed")
    own = {key: parameters[key] for key in loading if key in parameters}
    own["vocabulary"] = task.vocabulary
    if parameters.get("finetuned"):
        part = parameters["trainable"]
        first = _finetuned(part, finetuned_models(parameters, task)[part], parameters)
    else:
        first = Subject(f"{shots}-shot", load_model(parameters["model"], **own), shots)
    found = [first, *(Subject(f"{count}-shot", first.loaded, count) for count in counts[1:])]
    for name in names:
        if name != parameters["model"] or parameters.get("finetuned"):
            found.append(Subject(name, load_model(name, **own), 0))
        elif 0 not in counts:
            found.append(Subject("0-shot", first.loaded, 0))
    every = "checkpoint" in parameters and "finetuned" not in parameters
    return found + (finetuned_subjects(parameters, task) if every else [])


def side_by_side(names: Sequence[str], shots: int, task: WordTask, **loading: Any) -> list[Subject]:
    """Models that are asked alike, each called after the last part of its name or folder.

    Args:
        names: of presets, packaged models, folders or the Hub's.
        shots: demonstrations before each question, of all of them.
        task: whose words are the vocabulary of a preset.
        **loading: what else ``load_model`` takes.

    Raises:
        InputError: there is no such model, or one is named twice.
    """
    if len({*names}) < len(names):
        raise InputError(f"models={[*names]}: a model is named twice; name each once")
    short = [Path(name).name or name for name in names]
    called = short if len({*short}) == len(names) else names
    loaded = [load_model(name, vocabulary=task.vocabulary, **loading) for name in names]
    return [Subject(name, model, shots) for name, model in zip(called, loaded, strict=True)]


def finetuned_subjects(parameters: Mapping[str, Any], task: WordTask) -> list[Subject]:
    """Whatever was finetuned on these problems, each asked without demonstrations.

    With ``layers="published"`` each has the layers of the paper's finetuned model.
    """
    tuned = finetuned_models(parameters, task, required=False)
    return [_finetuned(part, loaded, parameters) for part, loaded in tuned.items()]


def choose_layers(
    subject: Subject, dev: Sequence[ExampleSet], layers: str, procedure: Procedure
) -> tuple[Procedure, pd.DataFrame, LayerSelection | None]:
    """The procedure with the layers that a notebook's parameter names (paper, appendix C.2).

    Args:
        subject: the model whose layers they are.
        dev: development examples, needed only for ``selected``.
        layers: ``published`` for the layers of the paper's source, ``published_layers``; else see
            ``mplib.studies.layers.parse_layers``.
        procedure: how the examples are asked.

    Returns:
        The procedure; the layers as a table (of the selection, where there was one); the selection.
        Where the model answers no better than chance, the selection says nothing and all layers
        are probed.
    """
    if layers == "published":
        layers = write_layers(published_layers(procedure.template, subject.loaded.layers))
    if (chosen := named_layers(subject.loaded, layers)) is not None:
        kept = chosen if len(chosen) < len(subject.loaded.attention_layers) else None
        return replace(procedure, layers=kept), pd.DataFrame({"layer": chosen}), None
    if not dev:
        lacks = "layers='selected' needs development examples, which this task does not have"
        raise InputError(f"{lacks}: write layers='all' or numbers such as '1-10,12'")
    examples = [example for one in dev for example in one.examples]
    (together,) = unasked([ExampleSet("development", examples, dev[0].train, 0)])
    prompts, choices = procedure.ask(subject, together)
    size = procedure.batch_size
    found = select_layers(subject.loaded.model, prompts, choices=choices, batch_size=size)
    if found.meaningful and not found.kept:
        none = "the answers need no layer's attention, so none is left to probe"
        raise InputError(f"layers='selected': {none}: write layers='all'")
    kept = found.kept if found.meaningful else None
    return replace(procedure, layers=kept), found.table, found
