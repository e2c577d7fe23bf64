"""How sure a figure is: estimates with their intervals, as columns and as text."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, false_discovery_control, multivariate_t
from scipy.stats import t as student

from mplib.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float

    def columns(self, name: str = "value") -> dict[str, float]:
        """The figure under a name of its own, with ``low`` and ``high``, for a row of a table."""
        return {name: self.value, "low": self.low, "high": self.high}

    def __format__(self, form: str) -> str:
        """The figure with its interval, if it has one, each in the given form.

        >>> f"{Estimate(0.5, 0.25, 0.75):+.2f}"
        '+0.50 [+0.25, +0.75]'
        """
        if not form:
            return str(self)
        figure = f"{self.value:{form}}"
        return (
            figure if self.low != self.low else f"{figure} [{self.low:{form}}, {self.high:{form}}]"
        )

    def __str__(self) -> str:
        """As percentages, for a sentence: ``98.1 % [97.0, 98.8]``."""
        return f"{self.value:.1%} [{self.low * 100:.1f}, {self.high * 100:.1f}]".replace("%", " %")


@dataclass(frozen=True)
class Tested(Estimate):
    """A figure with its interval and what speaks against 0.

    Attributes:
        p: two-sided p-value of 0; NaN where there is none.
        cuts: how many cuts into halves the interval rests on; fewer than asked where some have no
            figure.
    """

    p: float
    cuts: int


def accuracy(correct: np.ndarray) -> Estimate:
    """Share of correct answers with its Wilson interval.

    Args:
        correct: True where the answer was right, shape (examples,).
    """
    interval = binomtest(int(correct.sum()), len(correct)).proportion_ci(method="wilson")
    return Estimate(float(correct.mean()), interval.low, interval.high)


def constant_guess(answers: np.ndarray) -> float:
    """Accuracy of always giving the most frequent answer."""
    return float(np.unique(answers, return_counts=True)[1].max() / len(answers))


def percentile_interval(values: np.ndarray) -> Estimate:
    """The first value, with the percentiles of the others as its 95 % interval.

    Args:
        values: the sample's own value, then those of its resamples; NaN where one is undefined.
    """
    low, high = np.nanpercentile(values[1:], [2.5, 97.5]) if len(values) > 1 else (np.nan, np.nan)
    return Estimate(float(values[0]), float(low), float(high))


def over_seeds(
    values: ArrayLike, low: ArrayLike = (np.nan,), high: ArrayLike = (np.nan,)
) -> Estimate:
    """Mean over seeds, with its 95 % t-interval; of a single one, the value without an interval.

    Seeds that agree do not show how far they could be: then the interval is their own.

    Args:
        values: the figure of each seed.
        low: lower ends of their own intervals.
        high: upper ends.
    """
    found = np.asarray(values, dtype=float)
    mean, n = float(found.mean()), len(found)
    if n > 1 and np.ptp(found) < 1e-9:
        return Estimate(mean, float(np.min(low)), float(np.max(high)))
    reach = student.ppf(0.975, n - 1) * found.std(ddof=1) / n**0.5 if n > 1 else np.nan
    return Estimate(mean, float(mean - reach), float(mean + reach))


def group_numbers(n: int, groups: np.ndarray | None) -> np.ndarray:
    """Number of each example's group, shape (n,); each its own if ``groups`` is None.

    Raises:
        InputError: there are groups for another number of examples.
    """
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise InputError(f"groups of {len(groups)} examples for {n} examples: give each its group")
    return np.unique(groups, return_inverse=True)[1]


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
    member = group_numbers(n, groups)
    rng = np.random.default_rng(seed)
    return group_weights(int(member.max()) + 1, resamples, rng)[:, member]


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> Estimate:
    """Mean over examples with its 95 % percentile interval.

    Args:
        values: shape (examples,).
        weights: of ``example_weights``; resamples that hold none of the examples are left out.
    """
    weights = weights[weights.sum(axis=1) > 0]
    return percentile_interval(weights @ values / weights.sum(axis=1))


def from_halves(values: np.ndarray, groups: int, spread: np.ndarray | None = None) -> Tested:
    """A figure with its 95 % interval, from what it is in both halves of the groups, many times.

    Halves are disjoint, so half of their difference has the variance of the whole's figure, that of
    fitting included (half-sample replication: McCarthy 1969); a bootstrap of predictions that were
    made once lacks the latter. Where all halves agree, the interval is that of the rule of three.

    Args:
        values: the figure of the whole, then of either half of each cut, shape (1 + 2 cuts,); NaN
            where one half does not have it.
        groups: how many groups of examples there are.
        spread: the figure by each of several random baselines alone, if it is the mean over them:
            other seeds would have given others.
    """
    apart = values[1::2] - values[2::2]
    apart = apart[np.isfinite(apart)]
    if not len(apart) or not np.isfinite(values[0]):
        return Tested(float(values[0]), np.nan, np.nan, np.nan, len(apart))
    variance, freedom = float((apart**2).mean()) / 4, float(len(apart))
    if spread is not None and len(spread) > 1 and (also := spread.var(ddof=1) / len(spread)):
        both = variance + also
        freedom = both**2 / (variance**2 / freedom + also**2 / (len(spread) - 1))
        variance = both
    reach = student.ppf(0.975, freedom) * variance**0.5 if variance else 3 / groups
    value = float(values[0])
    # The rule of three is exp(-n x) < 5 %, so this agrees with its interval.
    p = (
        2 * student.sf(abs(value) / variance**0.5, freedom)
        if variance
        else np.exp(-groups * abs(value))
    )
    return Tested(value, value - reach, value + reach, float(p), len(apart))


def band(values: np.ndarray, groups: int, spread: np.ndarray | None = None) -> list[Tested]:
    """Figures along a curve with intervals that hold for all of them at once.

    The intervals of ``from_halves``, as wide as the largest deviation along the curve asks
    (max-statistic; the deviations' correlation is that of the halves, shrunk by Ledoit and Wolf).

    Args:
        values: as there, for each place, shape (places, 1 + 2 cuts).
        groups: how many groups of examples there are.
        spread: as there, for each place, shape (places, baselines).
    """
    from sklearn.covariance import ledoit_wolf  # late: few need it, and it is slow to load

    found = [
        from_halves(row, groups, None if spread is None else spread[place])
        for place, row in enumerate(values)
    ]
    apart = (values[:, 1::2] - values[:, 2::2]).T
    deviation = np.sqrt((apart**2).mean(axis=0))
    known = np.isfinite(deviation) & (deviation > 0)
    if known.sum() < 2:
        return found
    shared, _ = ledoit_wolf(apart[:, known] / deviation[known], assume_centered=True)
    scale = np.sqrt(np.diag(shared))
    correlation = shared / np.outer(scale, scale)  # singular where one cut is all there is
    drawn = multivariate_t(shape=correlation, df=len(apart), seed=0, allow_singular=True)
    draws = drawn.rvs(20_000)
    factor = np.quantile(abs(draws).max(axis=1), 0.95) / student.ppf(0.975, len(apart))
    return [
        replace(one, low=one.value - factor * reach, high=one.value + factor * reach)
        for one in found
        for reach in [one.value - one.low]
    ]


def false_discoveries(p: ArrayLike) -> np.ndarray:
    """P-values that hold the share of false discoveries over all of them; NaN where there is none.

    Benjamini and Hochberg 1995.
    """
    found = np.array(p, dtype=float)
    known = np.isfinite(found)
    found[known] = false_discovery_control(found[known])
    return found


FEWEST_EVENTS = 10
"""Of fewer groups that differ from the rest, resamples cannot tell how sure a figure is."""

CHANGE, SHARE = (-1.0, 1.0), (0.0, 0.0, 1.0, 1.0)
"""What is added to few changes (Bonett and Price) or to few right answers (Agresti and Coull)."""


def rare(values: np.ndarray, groups: np.ndarray) -> int:
    """How many groups have another value than the most frequent one."""
    kinds, counts = np.unique(values, return_counts=True)
    return len(np.unique(groups[values != kinds[counts.argmax()]]))


def mean_of_outcomes(
    values: np.ndarray, groups: np.ndarray, weights: np.ndarray, added: tuple[float, ...] = CHANGE
) -> tuple[Estimate, str | None]:
    """Mean of right answers (0, 1) or of paired changes in them (-1, 0, 1), with its 95 % interval.

    Percentiles of the bootstrap, unless fewer than ten groups differ from the most frequent value:
    where none does, every resample is the sample, and all of them say that nothing ever differs.
    The interval of few is that of a sample to which a little was added: a loss and a gain (Bonett
    and Price 2012, for paired proportions; none in 64 give +-0.042, the rule of three 0.047) or two
    right and two wrong answers (Agresti and Coull 1998). A group there counts as one example.

    Args:
        values: shape (examples,).
        groups: group of each example, shape (examples,).
        weights: of ``example_weights``, shape (1 + resamples, examples).
        added: ``CHANGE`` or ``SHARE``.

    Returns:
        The estimate, and a note where few groups differ.
    """
    if (few := rare(values, groups)) >= FEWEST_EVENTS:
        return weighted_mean(values, weights), None
    sizes = np.unique(groups, return_counts=True)[1]
    whole = sizes.sum() / (sizes**2).sum()  # Kish: 1 / size of the groups where they are alike
    padded = np.append(values, added)
    shares = np.append(np.full(len(values), whole), np.ones(len(added)))
    centre = np.average(padded, weights=shares)
    spread = np.average((padded - centre) ** 2, weights=shares)
    ends = centre + np.array([-1.96, 1.96]) * np.sqrt(spread / shares.sum())
    low, high = np.clip(ends, min(added), max(added))
    note = f"{few} of {len(sizes)} groups differ from the rest: interval of rare events"
    return Estimate(float(np.mean(values)), float(low), float(high)), note
