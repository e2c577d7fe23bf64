"""How sure a figure is: intervals of shares and means, bootstrap weights of groups."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """As percentages, for a sentence: ``98.1 % [97.0, 98.8]``."""
        return f"{self.value:.1%} [{self.low * 100:.1f}, {self.high * 100:.1f}]".replace("%", " %")


def accuracy(correct: np.ndarray) -> Estimate:
    """Share of correct answers with its Wilson interval.

    Args:
        correct: True where the answer was right, shape (examples,).
    """
    interval = binomtest(int(correct.sum()), len(correct)).proportion_ci(method="wilson")
    return Estimate(float(correct.mean()), interval.low, interval.high)


def group_weights(groups: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each group is drawn by a bootstrap, shape (1 + resamples, groups).

    The first row is the sample itself, so point estimates and resamples share one computation.
    """
    drawn = rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples)
    return np.vstack([np.ones(groups), drawn])


def example_weights(n: int, groups: np.ndarray | None, resamples: int, seed: int) -> np.ndarray:
    """How often each example is drawn with its group, shape (1 + resamples, n).

    Args:
        n: how many examples.
        groups: group of each example; each its own if None.
        resamples: bootstrap resamples; the first row is the sample itself.
        seed: of the draws.
    """
    member = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    return group_weights(int(member.max()) + 1, resamples, rng)[:, member]


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> Estimate:
    """Mean over examples with its 95 % percentile interval.

    Args:
        values: shape (examples,).
        weights: of ``example_weights``; resamples that hold none of the examples are left out.
    """
    weights = weights[weights.sum(axis=1) > 0]
    means = weights @ values / weights.sum(axis=1)
    low, high = np.percentile(means[1:], [2.5, 97.5])
    return Estimate(float(means[0]), float(low), float(high))
