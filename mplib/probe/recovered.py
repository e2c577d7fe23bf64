"""Whole trees: what the two classifiers say of the statements of one example, put together.

A statement that is predicted useful stands in the read tree, at the height that is predicted for
it; how much of the gold tree is found there is measured example by example.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import pandas as pd

from mplib.probe import knn
from mplib.probe.knn import DEFAULT, ProbeSettings
from mplib.probe.text import shown
from mplib.stats import Estimate, example_weights, group_numbers, weighted_mean
from mplib.tasks.trees import PADDING, USELESS, ReasoningTree, stack_labels

MEASURES = ("exact match", "node F1", "height accuracy", "edge F1")
"""What is measured of each read tree, from 0 to 1; see ``measures``."""

PAIRS = (("model", "twin"), ("joint", "text"))
"""Sources whose difference is told, the second subtracted from the first."""

GOLD = "gold heights"
"""The source that shows what edges by heights could reach at best; see ``edges_by_height``."""


@dataclass(frozen=True)
class Recovered:
    """Trees as they were read from several sources.

    Attributes:
        table: a row for each measure and source, or difference of two (``minus`` is empty where
            nothing is subtracted): mean over examples with its 95 % interval.
        read: read heights by source (of the twins the first), ``USELESS`` for what stands in no
            tree, shape (examples, statements).
    """

    table: pd.DataFrame
    read: dict[str, np.ndarray]


def read_trees(
    features: np.ndarray, heights: np.ndarray, members: np.ndarray, settings: ProbeSettings
) -> np.ndarray:
    """Both classifiers' answers as labels like the gold ones; out of fold, by logistic regression.

    The second is fitted on the useful statements of the other folds, as ``probe.predict`` does, in
    the same folds. That one predicts useful statements alone; a read tree needs the height of
    whatever is predicted useful.

    Args:
        features: shape (examples, statements, features).
        heights: gold heights with ``USELESS`` and ``PADDING``, shape (examples, statements).
        members: group of each example, shape (examples,).
        settings: of the classifiers.
    """
    asked = heights != PADDING
    useful, height = (
        knn.told_once(features, of(heights), members, settings, "logistic", asked)
        for of in (knn.usefulness, knn.useful_heights)
    )
    return np.where(asked & (useful != 1), USELESS, height).astype(np.int8)


def edges_by_height(labels: np.ndarray) -> set[tuple[int, int]]:
    """Edges of a read tree: from each statement to all of the next height that occurs.

    Two classifiers of statements say nothing of pairs, so this is the most that their answers
    imply. An edge that skips a height, or leads to one of two statements of a height alone, is
    beyond it: the gold heights themselves may not reach an edge F1 of 1.

    Args:
        labels: heights of one example's statements, shape (statements,).

    >>> sorted(edges_by_height(np.array([0, 2, -1, 0, 3])))
    [(0, 1), (1, 4), (3, 1)]
    """
    heights = np.unique(labels[labels > USELESS])
    levels = [np.flatnonzero(labels == height).tolist() for height in heights]
    return {edge for low, high in pairwise(levels) for edge in product(low, high)}


def marks(gold: np.ndarray, read: np.ndarray) -> np.ndarray:
    """What is right or wrong of each statement; shape of the labels.

    >>> marks(np.array([0, 1, 0, -1, -1]), np.array([0, 0, -1, 1, -1])).tolist()
    ['right', 'wrong height', 'missed', 'extra', 'left out']
    """
    missed, extra = read <= USELESS, gold <= USELESS
    cases = [missed & extra, missed, extra, gold == read]
    return np.select(cases, ["left out", "missed", "extra", "right"], "wrong height")


def measures(trees: Sequence[ReasoningTree], read: np.ndarray) -> pd.DataFrame:
    """How much of each gold tree is in the read one; a row for each example.

    Columns are ``MEASURES``: whether every statement has its gold label; F1 of the nodes; share of
    gold nodes that are read at their height; F1 of the edges, NaN where the gold tree has heights
    alone, and where no tree has edges. A tree of one height has none; then to read none is right.

    Args:
        trees: the gold trees.
        read: read heights, shape (examples, statements); there may be more padding than needed.
    """
    gold = stack_labels(trees)
    read = read[:, : gold.shape[1]]
    useful, found, same = gold > USELESS, read > USELESS, gold == read
    steps = any(tree.edges for tree in trees)
    edges = [
        _f1({*tree.edges}, edges_by_height(row))
        if tree.edges or (steps and not tree.depth)
        else np.nan
        for tree, row in zip(trees, read, strict=True)
    ]
    columns = (
        same.all(axis=1).astype(float),
        2 * (useful & found).sum(axis=1) / (useful.sum(axis=1) + found.sum(axis=1)),
        (same & useful).sum(axis=1) / useful.sum(axis=1),
        np.array(edges),
    )
    return pd.DataFrame(dict(zip(MEASURES, columns, strict=True)))


def _f1(gold: set[tuple[int, int]], read: set[tuple[int, int]]) -> float:
    """F1 of two sets; 1 where both are empty."""
    return 2 * len(gold & read) / (len(gold) + len(read)) if gold or read else 1.0


def recover(
    model: np.ndarray,
    trees: Sequence[ReasoningTree],
    *,
    twins: Sequence[np.ndarray],
    text: np.ndarray,
    groups: np.ndarray | None = None,
    settings: ProbeSettings = DEFAULT,
) -> Recovered:
    """Reads each example's tree from the model, its twins, the text, and text and model together.

    By the logistic classifier, which is fit for text and attention together.

    All sources share folds and resamples, so the differences are paired. A twin's measure is the
    mean over twins, example by example.

    Args:
        model: features of the model, shape (examples, statements, layers).
        trees: the gold trees.
        twins: features of random twins, one a seed.
        text: features of the text alone, shape (examples, statements, features).
        groups: group of each example; each its own if None.
        settings: of the classifiers and intervals.

    Raises:
        InputError: shapes disagree, or there are fewer groups than folds.
    """
    heights, members = stack_labels(trees), group_numbers(len(trees), groups)
    knn.enough_groups(members, settings)
    for values in (model, *twins, text):
        knn.same_shape(values, heights)
    told = shown(text, "logistic")
    sources = {"model": [model], "twin": twins, "text": [told]}
    sources["joint"] = [np.concatenate([told, model], axis=-1)]
    read = {
        name: [read_trees(values, heights, members, settings) for values in several]
        for name, several in sources.items()
    }
    found = {
        name: pd.concat(measures(trees, labels) for labels in several).groupby(level=0).mean()
        for name, several in read.items()
        if several
    }
    found[GOLD] = measures(trees, heights)[["edge F1"]]
    table = _table(found, members, settings)
    return Recovered(table, {name: several[0] for name, several in read.items() if several})


def _table(
    found: Mapping[str, pd.DataFrame], groups: np.ndarray, settings: ProbeSettings
) -> pd.DataFrame:
    """Means of measures over examples, and of their paired differences, with intervals."""
    weights = example_weights(len(groups), groups, settings.resamples, settings.seed)
    rows = []
    wanted = [(name, "") for name in found] + [pair for pair in PAIRS if {*pair} <= {*found}]
    for measure, (source, minus) in product(MEASURES, wanted):
        values = found[source].reindex(columns=[measure]).to_numpy()[:, 0]
        values = values - found[minus][measure].to_numpy() if minus else values
        if not (known := np.isfinite(values)).any():
            continue
        estimate = weighted_mean(values[known], weights[:, known])
        if np.ptp(values[known]) == 0:
            estimate = _never(estimate.value, len(np.unique(groups[known])), -1 if minus else 0)
        about = {"measure": measure, "source": source, "minus": minus}
        rows.append({**about, **estimate.columns(), "examples": int(known.sum())})
    return pd.DataFrame(rows)


def _never(value: float, groups: int, least: int) -> Estimate:
    """Interval where no example differs from the others, by the rule of three over groups."""
    return Estimate(value, max(least, value - 3 / groups), min(1, value + 3 / groups))
