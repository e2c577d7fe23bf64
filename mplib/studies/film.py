"""A film of a training: what the probe reads at each evaluation. Does the tree come first?"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from mplib import files
from mplib.models.adapters import adapted
from mplib.models.facts import backend
from mplib.models.inference import read, scale_examples, twin_features
from mplib.models.loading import LoadedModel
from mplib.models.trained import autocast
from mplib.probe.knn import ProbeSettings
from mplib.probe.scores import Plan, over_twins
from mplib.probe.text import shown
from mplib.stats import Estimate, accuracy, from_halves, group_numbers
from mplib.studies.about import FILMED
from mplib.studies.checkpoints import read_training
from mplib.tasks.task import Problems, Task

QUANTITIES = ("accuracy", "S_P1", "S_P2", "gain V", "gain G")
"""What is measured: scores by the paper's kNN, gains over the text by a logistic regression."""


class Film:
    """Probes a model on the same problems at each evaluation of its training.

    ``mplib.studies.finetune`` calls it. Problems, folds, halves and twins stay the same, so that
    the curves differ by what the training did.

    Args:
        task: what the model is trained for.
        start: the model before training; its random twins are the baseline.
        problems: held-out ones, of which the first ``FILMED`` are probed.
        twins: random twins, a seed each.
        seed: of twins, folds and halves.
    """

    def __init__(
        self, task: Task, start: LoadedModel, problems: Problems, twins: int = 3, seed: int = 0
    ) -> None:
        problems = problems[:FILMED]
        heights, groups = task.heights(problems), task.groups(problems)
        self.identity = {"film": {"problems": len(heights), "twins": twins, "seed": seed}}
        self.scales = task.scales
        self.prompts, self.choices = task.prompts(problems, start)
        self.text = shown(task.text_baseline(problems)["text"], "logistic")
        settings = ProbeSettings(metric_power=task.metric_power, seed=seed)
        self.plan = Plan.of(heights, group_numbers(len(heights), groups), settings)
        with backend(start.model):  # what is found of it holds for its twins, in any precision
            pass
        # As large models train: half the time, and scores move by less than they vary.
        with autocast(start.model, "auto"):
            blind = twin_features(start.model, self.prompts, twins, seed)
        self.twins = np.array([self._f1(features) for features in blind])

    def _f1(self, features: np.ndarray) -> np.ndarray:
        features = scale_examples(features) if self.scales else features
        return both_f1(self.plan, features, self.text)

    def __call__(self, model: PreTrainedModel) -> dict[str, float]:
        """Each of ``QUANTITIES`` with its 95 % interval over problems, for a row of a history."""
        given = read(model, self.prompts, choices=self.choices)
        assert given.answers is not None
        found: dict[str, Estimate] = {"accuracy": accuracy(given.answers.correct)}
        own = self._f1(given.features)
        for name, values in scored(own, self.twins).items():
            found[name] = from_halves(values[0], self.plan.groups, values[1:, 0])
        return {
            f"{name}{end}": value
            for name, one in found.items()
            for end, value in (("", one.value), (" low", one.low), (" high", one.high))
        }


def both_f1(plan: Plan, features: np.ndarray, text: np.ndarray) -> np.ndarray:
    """F1 of V and G, by attention alone (kNN), and with the text's features (logistic regression).

    Args:
        plan: of folds and halves.
        features: attention, shape (examples, statements, layers).
        text: as ``shown`` to a logistic regression.

    Returns:
        Shape (2, 1 + 2 halves, 2).
    """
    ways = (features, "kNN"), (np.concatenate([text, features], axis=-1), "logistic")
    return np.array([plan.run(values, by)[:, :2] for values, by in ways])


def scored(own: np.ndarray, twins: np.ndarray) -> dict[str, np.ndarray]:
    """Scores and gains of all replicates over the twins' mean and over each, see ``over_twins``.

    Args:
        own: F1s of ``both_f1``.
        twins: those of each twin, shape (twins, 2, 1 + 2 halves, 2).

    Returns:
        By name, in the order of ``QUANTITIES``; shape (1 + twins, 1 + 2 halves).
    """
    return {
        name: over_twins(own[way, :, place], twins[:, way, :, place], ratio=way == 0)
        for place, pair in enumerate((("S_P1", "gain V"), ("S_P2", "gain G")))
        for way, name in enumerate(pair)
    }


def frames(history: pd.DataFrame) -> pd.DataFrame:
    """The film in a history: a row for each quantity and step, with value, low and high."""
    parts = []
    for name in QUANTITIES:
        part = history[["step", name, f"{name} low", f"{name} high"]]
        part = part.set_axis(["step", "value", "low", "high"], axis=1)
        parts.append(part.assign(quantity=name)[["quantity", *part]])
    return pd.concat(parts, ignore_index=True).dropna(subset="value")


def films(models: Iterable[LoadedModel]) -> pd.DataFrame:
    """The films of those models whose own training was filmed, one below another.

    Returns:
        The rows of ``frames``, the model under ``subject``; empty where no training was.
    """
    parts = []
    for one in {each.name: each for each in models}.values():
        _, folder = adapted(one.name) or ("", files.resolve(one.name))
        history = pd.DataFrame((read_training(folder) or {}).get("history", []))
        if QUANTITIES[-1] in history:
            parts.append(frames(history).assign(subject=one.name))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def rises(film: pd.DataFrame) -> pd.DataFrame:
    """When each quantity has risen half of its way: what comes first?

    Args:
        film: of ``frames``, or of ``films``.

    Returns:
        By quantity (and model): its first and last value and the step, between evaluations by a
        straight line, at which it first stands halfway; NaN where the last interval holds the
        first value.

    >>> rows = {"quantity": "accuracy", "step": [0, 10, 20], "value": [0.0, 0.25, 0.75], "low": 0.1}
    >>> rises(pd.DataFrame(rows)).to_dict("records")
    [{'quantity': 'accuracy', 'first': 0.0, 'last': 0.75, 'halfway': 12.5}]
    """
    rows = []
    among = [name for name in ("subject", "quantity") if name in film]
    for key, part in film.groupby(among, sort=False) if among else ():
        value, step = part.value.to_numpy(), part.step.to_numpy()
        half, halfway = (value[0] + value[-1]) / 2, np.nan
        if part.low.iloc[-1] > value[0]:
            place = int((value >= half).argmax())  # not the first one, which lies below
            near = slice(place - 1, place + 1)
            halfway = float(np.interp(half, value[near], step[near]))
        ends = {"first": float(value[0]), "last": float(value[-1])}
        rows.append(dict(zip(among, key, strict=True)) | ends | {"halfway": halfway})
    return pd.DataFrame(rows)
