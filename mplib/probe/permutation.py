"""Does a source tell anything at all? The same labels, dealt anew within each example."""

import numpy as np

from mplib.probe.knn import DEFAULT, ProbeSettings, Trials, useful_heights, usefulness
from mplib.stats import group_numbers
from mplib.tasks.trees import PADDING


def permuted(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same labels, dealt anew among the statements of each example that have one.

    Not among all examples: how many statements an example has tells how many of them are useful,
    and attention, which sums to one over them, knows how many there are.
    """
    shuffled = labels.copy()
    for row in shuffled:
        real = row != PADDING
        row[real] = rng.permutation(row[real])
    return shuffled


def permutation_p(
    features: np.ndarray,
    heights: np.ndarray,
    groups: np.ndarray | None = None,
    settings: ProbeSettings = DEFAULT,
    deals: int = 99,
    most: int = 256,
    classifier: str = "logistic",
) -> dict[str, float]:
    """The share of deals in which labels dealt anew are told as well as the gold ones, or better.

    A level of 5 % is held whatever the features know of an example as a whole, since within it all
    deals are alike without information (Phipson and Smyth 2010). The statistic is macro-F1 of one
    cross-validation.

    Args:
        features: shape (examples, statements, features).
        heights: gold heights with ``USELESS`` and ``PADDING``, shape (examples, statements).
        groups: group of each example; each its own if None.
        settings: of the classifiers.
        deals: how often labels are dealt; 1 / (deals + 1) is the smallest p-value.
        most: examples that are looked at, at most, the first ones.
        classifier: one of ``knn.CLASSIFIERS``.

    Returns:
        By target, V and G; a target with nothing to tell is left out.
    """
    features, heights = features[:most], heights[:most]
    members = group_numbers(len(heights), None if groups is None else groups[:most])
    rng, found = np.random.default_rng([settings.seed, 2]), {}
    for target, labels in (("V", usefulness(heights)), ("G", useful_heights(heights))):
        if len(np.unique(labels[labels != PADDING])) < 2:
            continue
        trials = Trials.of(labels, members, settings, [(settings.seed, slice(None))])
        dealt = [labels, *(permuted(labels, rng) for _ in range(deals))]
        every = Trials(
            trials.place,
            np.array([one[trials.place] for one in dealt]),
            np.repeat(trials.folds, len(dealt), axis=0),
        )
        f1 = np.array([told.f1.mean() for told in every.run(features, classifier, settings)])
        found[target] = float((f1 >= f1[0]).mean())
    return found
