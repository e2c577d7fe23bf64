"""Robustness: does accuracy, or what a corruption does to it, go with the probe's scores?

Over the draws of ``mplib.probe.draws``, with intervals that know that draws share examples, and
without any draws, example by example.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import pearsonr
from sklearn.linear_model import LogisticRegression

from mplib.errors import InputError, one_of
from mplib.models.inference import Answers
from mplib.probe.draws import FEWEST_DRAWS, SCORES, Draws, change, divide, measure
from mplib.stats import example_weights, percentile_interval
from mplib.studies.corruption import same_examples


def correlations(
    found: Draws,
    measures: Sequence[str] = ("accuracy", *SCORES),
    *,
    resamples: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Pearson's correlations over the draws (Table 3), with two 95 % intervals.

    The *naive* one is Fisher's, as if every draw held new examples. But all draws come from the
    same examples. More draws only tell more exactly how the draws of these examples correlate, not
    how those of others would; the naive interval shrinks all the same.

    The other one asks how far the correlation moves with the examples. A random half of the groups
    is kept, in all draws at once; every draw's accuracy and scores are computed from its kept
    examples, and correlated. A half differs from the whole as much as the whole does from the truth
    (McCarthy 1969; Shao and Wu 1989: the jackknife that deletes half), so the standard error is the
    spread of the halves' correlations, on Fisher's scale. Halves and no bootstrap: over draws an
    example counts by the square of how often it is kept, and only 0 and 1 are their own squares.
    Predictions stay those made in the whole draw, as in ``probe.compare``. With fewer than about a
    hundred examples the interval is a little narrow.

    Args:
        found: the draws.
        measures: columns of their table, each to be correlated with each.
        resamples: halves behind each interval.
        seed: of the halves.

    Returns:
        A row for each pair; without a value, and with a note, where one of the two does not vary.
    """
    for name in measures:
        one_of("measure", name, _columns(found))
    halves = measure(found.members, found.values, found.counts, _halves(found, resamples, seed))
    rows: list[dict[str, object]] = []
    for pair in combinations(measures, 2):
        a, b = (found.table[name].to_numpy() for name in pair)
        both = np.isfinite(a) & np.isfinite(b)
        row: dict[str, object] = {"first": pair[0], "second": pair[1], "draws": int(both.sum())}
        rows.append(row)
        if both.sum() < FEWEST_DRAWS:
            row["note"] = f"undefined: both are defined in {both.sum()} draws only"
        elif constant := [x for x, y in zip(pair, (a, b), strict=True) if _flat(y[both])]:
            row["note"] = f"undefined: {constant[0]} is the same in every draw"
        else:
            naive = pearsonr(a[both], b[both])
            row["value"] = naive.statistic
            row["naive_low"], row["naive_high"] = naive.confidence_interval(0.95)
            by_half = _fisher(_correlate(*(halves[name] for name in pair)))
            row["low"], row["high"] = np.tanh(_interval(_fisher(naive.statistic), by_half))
            if not both.all():
                row["note"] = f"{(~both).sum()} draws left out: one of the two is undefined"
    return pd.DataFrame(rows, columns=[
        "first", "second", "value", "naive_low", "naive_high", "low", "high", "draws", "note"
    ])  # fmt: skip


def _columns(found: Draws) -> list[str]:
    return [*found.values, *SCORES, *SCORES.values()]


def _halves(found: Draws, resamples: int, seed: int) -> np.ndarray:
    """Random halves of the groups: True for examples that are kept, shape (resamples, examples)."""
    size = int(found.groups.max()) + 1
    chance = np.random.default_rng(seed).random((resamples, size))
    return (chance.argsort(axis=1) < size // 2)[:, found.groups]


def _flat(values: np.ndarray) -> bool:
    return bool(np.ptp(values) < 1e-9)


def _correlate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each pair of rows over the columns where both are known."""
    known = np.isfinite(a) & np.isfinite(b)
    number = known.sum(axis=1, keepdims=True)
    a, b = (np.where(known, x, 0) for x in (a, b))
    a, b = (np.where(known, x - divide(x.sum(axis=1, keepdims=True), number), 0) for x in (a, b))
    return divide((a * b).sum(axis=1), np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1)))


def _fisher(correlation: np.ndarray) -> Any:
    """Fisher's scale, on which the spread of a correlation hardly depends on its value."""
    return np.arctanh(np.clip(correlation, -1 + 1e-12, 1 - 1e-12))


def _interval(value: float, by_half: np.ndarray) -> tuple[float, float]:
    """95 % interval from the spread of the halves where they are defined."""
    error = 1.96 * float(np.std(by_half[np.isfinite(by_half)]))
    return value - error, value + error


def by_bin(
    found: Draws,
    corruption: str,
    score: str = "S_P2",
    *,
    bins: int = 8,
    resamples: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean change in accuracy of the draws in bins of a score (Fig 10).

    Bins are equally wide, from the smallest to the largest score; the last holds the largest, which
    the paper's source leaves out. Intervals as in ``correlations``; draws stay in their bins.

    Args:
        found: the draws.
        corruption: name of a corruption.
        score: column that is binned.
        bins: how many; one where the score is the same in every draw.
        resamples: halves behind each interval.
        seed: of the halves.

    Returns:
        A row for each bin; without a value, and with a note, where it is empty.
    """
    column = change(corruption)
    one_of("corruption", column, _columns(found))
    one_of("score", score, _columns(found))
    scores, changes = (found.table[name].to_numpy() for name in (score, column))
    known = np.isfinite(scores) & np.isfinite(changes)
    if not known.any():
        raise InputError(f"no draw has both {score} and a {column}: see the notes of its table")
    low, high = scores[known].min(), scores[known].max()
    edges = np.linspace(low, high, 2 if _flat(scores[known]) else bins + 1)
    place = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, len(edges) - 2)
    values = {column: found.values[column]}
    halves = measure(found.members, values, {}, _halves(found, resamples, seed))[column]
    rows = []
    for number, (start, end) in enumerate(pairwise(edges)):
        here = known & (place == number)
        row = {"from": start, "to": end, "draws": int(here.sum())}
        if here.any():
            row["value"] = changes[here].mean()
            defined = np.isfinite(halves[:, here])
            total = np.where(defined, halves[:, here], 0).sum(axis=1)
            row["low"], row["high"] = _interval(row["value"], divide(total, defined.sum(axis=1)))
        else:
            row["note"] = "no draw in this bin"
        rows.append(row)
    columns = ["corruption", "score", "from", "to", "draws", "value", "low", "high", "note"]
    return pd.DataFrame(rows, columns=columns).assign(corruption=corruption, score=score)


def all_bins(
    found: Draws, corruptions: Iterable[str], *, bins: int = 8, seed: int = 0
) -> pd.DataFrame:
    """``by_bin`` of every corruption; a row with a note where it or S_P2 is undefined."""
    parts = []
    for name in corruptions:
        known = found.table[[change(name), "S_P2"]].notna().all(axis=1).any()
        note = {"corruption": name, "score": "S_P2", "draws": 0, "note": "undefined in every draw"}
        none = pd.DataFrame([note])
        parts.append(by_bin(found, name, bins=bins, seed=seed) if known else none)
    return pd.concat(parts, ignore_index=True)


def per_example(
    measures: Mapping[str, np.ndarray],
    clean: Answers,
    corrupted: Mapping[str, Answers],
    *,
    groups: np.ndarray | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Does the probe's correctness in an example foretell the model's? Logistic regression.

    No draws are needed. The outcomes are that the model answers rightly and, where it does, that a
    corruption makes it lose the right answer. Each measure is standardised and stands alone: its
    coefficient is the change in log-odds for one standard deviation.

    Args:
        measures: of the probe, out of fold, each of shape (examples,), such as the share of an
            example's statements that it labels rightly; see ``knockout.probe_correctness``.
        clean: answers to the clean examples.
        corrupted: answers by corruption.
        groups: group of each example, drawn together by the bootstrap; each its own if None.
        resamples: bootstrap resamples behind each 95 % interval; each is a fit.
        seed: of the resamples.

    Returns:
        A row for each outcome and measure; without a value, and with a note, where one of them is
        the same in every example, or where the measure tells the outcomes apart without fail.
    """
    member = same_examples(clean, corrupted, groups)
    weights = example_weights(len(member), member, resamples, seed)
    outcomes = {"answers rightly": clean.correct.astype(float)} | {
        f"loses the right answer, {name}": np.where(clean.correct == 1, 1 - x.correct, np.nan)
        for name, x in corrupted.items()
    }
    rows = [
        {"outcome": outcome, "measure": name, **_regress(values, happened, weights)}
        for outcome, happened in outcomes.items()
        for name, values in measures.items()
    ]
    columns = ["outcome", "measure", "value", "low", "high", "examples", "note"]
    return pd.DataFrame(rows, columns=columns)


def _regress(measure: np.ndarray, outcome: np.ndarray, weights: np.ndarray) -> dict[str, object]:
    """Coefficient of the standardised measure, with its 95 % percentile interval."""
    known = ~np.isnan(outcome)
    x, y, weights = measure[known], outcome[known], weights[:, known]
    found: dict[str, object] = {"examples": int(known.sum())}
    if not known.any():
        return found | {"note": "undefined: there is no such example"}
    for name, values in (("outcome", y), ("measure", x)):
        if _flat(values):
            return found | {"note": f"undefined: the {name} is the same in every example"}
    yes, no = x[y == 1], x[y == 0]
    if yes.min() > no.max() or no.min() > yes.max():
        return found | {"note": "undefined: the measure tells the outcomes apart without fail"}
    x = ((x - x.mean()) / x.std())[:, None]
    # A weak penalty keeps the coefficient finite where a resample tells them apart.
    model = LogisticRegression(C=100, solver="newton-cholesky")
    varied = [weight for weight in weights if not _flat(y[weight > 0])]
    values = np.array([model.fit(x, y, weight).coef_[0, 0] for weight in varied])
    return found | percentile_interval(values).columns()
