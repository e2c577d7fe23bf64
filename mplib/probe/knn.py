"""The two classifiers: which statements are useful, and at which height; out of fold.

Paper, sections 3.3 and 3.4.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from mplib.errors import InputError
from mplib.probe.logistic import out_of_fold
from mplib.probe.neighbours import Neighbours
from mplib.stats import group_numbers
from mplib.tasks.trees import PADDING, USELESS


@dataclass(frozen=True)
class ProbeSettings:
    """How the classifiers are fitted and how sure the scores are.

    Attributes:
        neighbours: number of neighbours; each counts by the inverse of its distance.
        metric_power: 2 for the Euclidean distance (numbers), 1 for Manhattan (language).
        folds: cross-validation folds; all statements of a group stand in one fold.
        halves: how often the groups are halved and both halves probed, for each 95 % interval.
        seed: of the folds, the permutation and the halves.
        fold_seeds: how many ways of cutting the folds a figure is the mean of.
        resamples: bootstrap resamples behind the intervals of whole trees, which are read once.
    """

    neighbours: int = 8
    metric_power: int = 2
    folds: int = 5
    halves: int = 10
    seed: int = 0
    fold_seeds: int = 5
    resamples: int = 1000


DEFAULT = ProbeSettings()
"""The paper's classifiers for numbers."""


def _knn(
    values: np.ndarray, labels: np.ndarray, folds: np.ndarray, settings: ProbeSettings
) -> Iterator[np.ndarray]:
    # A quarter of these columns holds the wanted neighbours in a half, on average.
    near = Neighbours(values, 12 * settings.neighbours, settings.metric_power)
    for label, fold in zip(labels, folds, strict=True):
        yield near.votes(np.flatnonzero(fold >= 0), label, fold, settings.neighbours)


def _logistic(
    values: np.ndarray, labels: np.ndarray, folds: np.ndarray, settings: ProbeSettings
) -> Iterator[np.ndarray]:
    yield from out_of_fold(StandardScaler().fit_transform(values), labels, folds)


Classifier = Callable[[np.ndarray, np.ndarray, np.ndarray, ProbeSettings], Iterator[np.ndarray]]

CLASSIFIERS: dict[str, Classifier] = {"kNN": _knn, "logistic": _logistic}
"""Classifiers by name: the paper's, and one that weighs features of unlike kinds and scales.

Features (rows, features) in, and for each of several trials (trials, rows) the labels from 0 on,
negative where a row is only asked about, and the fold of every row, -1 where it takes no part; for
each trial, the probability of each label for the rows that take part out, from the other folds
alone, (rows, labels).
"""


@dataclass(frozen=True)
class Predictions:
    """Out-of-fold predictions for one source of features; ``PADDING`` where nothing is predicted.

    Attributes:
        useful: 1 useful, 0 useless, shape (examples, statements).
        height: predicted height of the statements that are useful, shape (examples, statements).
    """

    useful: np.ndarray
    height: np.ndarray


def usefulness(heights: np.ndarray) -> np.ndarray:
    """Gold labels of the first classifier from heights: 1 useful, 0 useless, else ``PADDING``."""
    return np.where(heights == PADDING, PADDING, heights != USELESS).astype(np.int8)


def useful_heights(heights: np.ndarray) -> np.ndarray:
    """Gold labels of the second classifier: heights of useful statements, else ``PADDING``."""
    return np.where(heights == USELESS, PADDING, heights)


def predict(
    features: np.ndarray,
    heights: np.ndarray,
    groups: np.ndarray | None = None,
    settings: ProbeSettings = DEFAULT,
    classifier: str = "kNN",
) -> Predictions:
    """Fits both classifiers in cross-validation and predicts every statement out of fold.

    Args:
        features: shape (examples, statements, features).
        heights: gold heights with ``USELESS`` and ``PADDING``, shape (examples, statements).
        groups: group of each example, shape (examples,); each its own if None.
        settings: of the classifiers.
        classifier: one of ``CLASSIFIERS``.

    Raises:
        InputError: shapes disagree, or there are fewer groups than folds.
    """
    members = group_numbers(len(heights), groups)
    same_shape(features, heights)
    enough_groups(members, settings)
    both = (usefulness(heights), useful_heights(heights))
    return Predictions(*(told_once(features, x, members, settings, classifier) for x in both))


def told_once(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, settings: ProbeSettings,
    classifier: str, asked: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """The likeliest label of each statement by one cross-validation; see ``Trials.of``."""
    trials = Trials.of(labels, groups, settings, [(settings.seed, slice(None))], asked)
    return trials.likeliest(next(trials.run(features, classifier, settings)), labels.shape)


def enough_groups(groups: np.ndarray, settings: ProbeSettings) -> None:
    """Refuses fewer groups of examples than folds."""
    if (found := int(groups.max()) + 1) < (folds := settings.folds):
        raise InputError(f"{found} groups of examples for {folds} folds: add groups or lower folds")


def same_shape(features: np.ndarray, heights: np.ndarray) -> None:
    """Refuses features of other examples or statements than the heights."""
    if (found := features.shape)[:2] != (wanted := heights.shape):
        raise InputError(
            f"features of shape {found} for heights of shape {wanted}: give both alike"
        )


@dataclass(frozen=True)
class Told:
    """What a classifier says of statements out of fold.

    Attributes:
        gold: their labels, shape (statements,).
        chances: probability of each label from 0 on, shape (statements, labels).
    """

    gold: np.ndarray
    chances: np.ndarray

    @property
    def f1(self) -> np.ndarray:
        """F1 of each label that occurs."""
        labels = self.chances.shape[1]
        pairs = self.gold.astype(int) * labels + self.chances.argmax(axis=1)
        counts = np.bincount(pairs, minlength=labels**2).reshape(labels, labels)
        return class_f1(counts.astype(float))[counts.sum(axis=1) > 0]

    def bits(self, certain: float) -> float:
        """Mean bits that the right label still costs after what is told.

        Args:
            certain: observations that a probability counts for; half a one is added to each label,
                since neighbours that agree are no proof.
        """
        labels = self.chances.shape[1]
        smooth = (self.chances * certain + 0.5) / (certain + 0.5 * labels)
        return float(-np.log2(smooth[np.arange(len(self.gold)), self.gold]).mean())


@dataclass(frozen=True)
class Trials:
    """Cross-validations of one target, the same for every source of features.

    Attributes:
        place: examples and statements that have a label, or are asked about without one.
        labels: theirs, shape (rows,) or (trials, rows); negative where there is none.
        folds: fold of each in every trial, -1 where it takes no part, shape (trials, rows).
    """

    place: tuple[np.ndarray, ...]
    labels: np.ndarray
    folds: np.ndarray

    @classmethod
    def of(
        cls, labels: np.ndarray, groups: np.ndarray, settings: ProbeSettings,
        ways: Sequence[tuple[int, Any]], asked: np.ndarray | None = None,
    ) -> Self:  # fmt: skip
        """Cuts folds of whole groups.

        Args:
            labels: ``PADDING`` where there is none, shape (examples, statements).
            groups: group of each example, shape (examples,).
            settings: there are fewer folds where few groups have a label.
            ways: of each trial, the seed of its folds and the groups that take part.
            asked: True for the statements that something is told of, shape (examples, statements);
                those that have a label if None.

        Raises:
            InputError: all labelled statements stand in one group.
        """
        place = np.nonzero(labels != PADDING if asked is None else asked)
        group = groups[place[0]]
        if (told := len(np.unique(group))) < 2:
            where = f"statements to tell apart stand in {told} group of examples"
            raise InputError(f"{where}: two are needed, to predict one from the other")
        folds = np.full((len(ways), len(group)), -1)
        for fold, (seed, part) in zip(folds, ways, strict=True):
            chosen = np.zeros(int(groups.max()) + 1, dtype=bool)
            chosen[part] = True
            rows = np.flatnonzero(chosen[group])
            number = min(settings.folds, len(np.unique(group[rows])))
            if number > 1:  # else it has no figure
                split = GroupKFold(number, shuffle=True, random_state=seed % 2**32)
                for i, (_, test) in enumerate(split.split(rows, groups=group[rows])):
                    fold[rows[test]] = i
        return cls(place, labels[place], folds)

    def run(
        self, features: np.ndarray, classifier: str, settings: ProbeSettings
    ) -> "Iterator[Told]":
        """What is told of each statement that takes part, trial by trial."""
        labels = np.broadcast_to(self.labels, self.folds.shape)
        found = CLASSIFIERS[classifier](features[self.place], labels, self.folds, settings)
        for label, fold, chances in zip(labels, self.folds, found, strict=True):
            yield Told(label[fold >= 0], chances)

    def likeliest(self, told: "Told", shape: tuple[int, ...]) -> np.ndarray:
        """The likeliest labels in a trial of all rows, ``PADDING`` elsewhere."""
        labels = np.full(shape, PADDING, dtype=np.int8)
        labels[self.place] = told.chances.argmax(axis=1)
        return labels


def class_f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each class from confusion counts; shape (..., classes) from (..., classes, classes).

    >>> class_f1(np.array([[2.0, 1.0], [1.0, 4.0]])).round(3).tolist()
    [0.667, 0.8]
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    total = counts.sum(-1) + counts.sum(-2)
    return np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
