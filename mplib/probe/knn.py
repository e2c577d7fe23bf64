"""The two classifiers: which statements are useful, and at which height; out of fold.

Paper, sections 3.3 and 3.4.
"""

from dataclasses import dataclass

import numpy as np
from sklearn import config_context
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from mplib.errors import InputError
from mplib.stats import group_numbers, group_weights, percentile_interval
from mplib.tasks.trees import PADDING, USELESS


@dataclass(frozen=True)
class ProbeSettings:
    """How the classifiers are fitted and how sure the scores are.

    Attributes:
        neighbours: number of neighbours; each counts by the inverse of its distance.
        metric_power: 2 for the Euclidean distance (numbers), 1 for Manhattan (language).
        folds: cross-validation folds; all statements of a group stand in one fold.
        resamples: bootstrap resamples of the groups behind each 95 % interval.
        seed: of the folds, the permutation and the resamples.
    """

    neighbours: int = 8
    metric_power: int = 2
    folds: int = 5
    resamples: int = 1000
    seed: int = 0


DEFAULT = ProbeSettings()
"""The paper's classifiers for numbers."""


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
) -> Predictions:
    """Fits both classifiers in cross-validation and predicts every statement out of fold.

    Args:
        features: shape (examples, statements, features).
        heights: gold heights with ``USELESS`` and ``PADDING``, shape (examples, statements).
        groups: group of each example, shape (examples,); each its own if None.
        settings: of the classifiers.

    Raises:
        InputError: shapes disagree, or there are fewer groups than folds.
    """
    return Predictions(
        _out_of_fold(features, usefulness(heights), groups, settings),
        _out_of_fold(features, useful_heights(heights), groups, settings),
    )


def same_shape(features: np.ndarray, heights: np.ndarray) -> None:
    """Refuses features of other examples or statements than the heights."""
    if (found := features.shape)[:2] != (wanted := heights.shape):
        raise InputError(
            f"features of shape {found} for heights of shape {wanted}: give both alike"
        )


def _out_of_fold(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, settings: ProbeSettings
) -> np.ndarray:
    """Predicted label of each statement that has one, from folds that do not hold its group."""
    same_shape(features, labels)
    groups, folds = group_numbers(len(labels), groups), settings.folds
    if (found := len(np.unique(groups))) < folds:
        raise InputError(f"{found} groups of examples for {folds} folds: add groups or lower folds")
    example, statement = np.nonzero(labels != PADDING)
    rows, gold, group = features[example, statement], labels[example, statement], groups[example]
    if (told := len(np.unique(group))) < 2:
        where = f"statements to tell apart stand in {told} group of examples"
        raise InputError(f"{where}: two are needed, to predict one from the other")
    predicted = np.full_like(labels, PADDING)
    # Fewer folds where few groups have a statement of these labels.
    split = GroupKFold(min(folds, told), shuffle=True, random_state=settings.seed)
    # Many small searches: threads that share one would wait for each other more than they work.
    with threadpool_limits(1), config_context(skip_parameter_validation=True):
        for train, test in split.split(rows, gold, group):
            number, power = min(settings.neighbours, len(train)), settings.metric_power
            near = KNeighborsClassifier(number, weights="distance", p=power)
            near.fit(rows[train], gold[train])
            predicted[example[test], statement[test]] = near.predict(rows[test])
    return predicted


def usefulness_f1(
    features: np.ndarray,
    heights: np.ndarray,
    groups: np.ndarray | None = None,
    settings: ProbeSettings = DEFAULT,
) -> dict[str, float]:
    """Macro-F1 of the first classifier alone with its 95 % interval: ``f1``, ``low``, ``high``.

    Arguments and errors are those of ``predict``.
    """
    gold = usefulness(heights)
    predicted = _out_of_fold(features, gold, groups, settings)
    counts = confusions(gold, predicted, groups)
    weights = group_weights(len(counts), settings.resamples, np.random.default_rng(settings.seed))
    return percentile_interval(resampled_f1(counts, weights)[0]).columns("f1")


def confusions(gold: np.ndarray, predicted: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Confusion counts of each group, shape (groups, classes, classes), gold first."""
    example, statement = np.nonzero(gold != PADDING)
    truth, guess = gold[example, statement], predicted[example, statement]
    members = group_numbers(len(gold), groups)
    counts = np.zeros((members.max() + 1, *(int(truth.max(initial=0)) + 1,) * 2))
    np.add.at(counts, (members[example], truth, guess), 1)
    return counts


def class_f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each class from confusion counts; shape (..., classes) from (..., classes, classes).

    >>> class_f1(np.array([[2.0, 1.0], [1.0, 4.0]])).round(3).tolist()
    [0.667, 0.8]
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    total = counts.sum(-1) + counts.sum(-2)
    return np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)


def resampled_f1(counts: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Macro-F1 and top-class F1 for each row of weights over groups; two arrays (resamples,)."""
    totals = np.tensordot(weights, counts, axes=1)
    f1, occurs = class_f1(totals), counts.sum(axis=(0, 2)) > 0
    return f1[..., occurs].mean(-1), f1[..., -1]
