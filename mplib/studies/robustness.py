"""Robustness: does accuracy, or what a corruption does to it, go with the probe's scores?

Over the draws of ``mplib.probe.draws``, with intervals that know that draws share examples, and
without any draws, example by example.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm, pearsonr
from sklearn.linear_model import LogisticRegression

from mplib.errors import InputError, one_of
from mplib.models.inference import Answers
from mplib.probe.draws import FEWEST_DRAWS, SCORES, Draws, change, divide, measure
from mplib.stats import FEWEST_EVENTS, example_weights, false_discoveries, rare
from mplib.studies.corruption import same_examples


def correlations(
    found: Draws,
    measures: Sequence[str] = ("accuracy", *SCORES),
    *,
    resamples: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Pearson's correlations over the draws (Table 3), with two 95 % intervals.

    All draws come from the same examples, and overlap: a correlation is one *of these examples'
    draws* (column ``over``), and more draws only tell it more exactly. The *naive* interval is
    Fisher's, as if every draw held new examples; it shrinks all the same.

    The other one holds what the draws of as many other examples would give. A random half of the
    groups is kept, in all draws at once; every draw's accuracy and scores are computed from its
    kept examples, and correlated. A half differs from the whole as much as the whole does from the
    truth (McCarthy 1969; Shao and Wu 1989: the jackknife that deletes half), so the standard error
    is the spread of the halves' correlations, on Fisher's scale, with the naive one added: the
    halves have their draws in common. Halves and no bootstrap: over draws an example counts by the
    square of how often it is kept, and only 0 and 1 are their own squares. Predictions stay those
    made in the whole draw, as in ``probe.compare``.

    In 40 simulated pools with a true link the interval held its own target 37, 37 and 38 times
    with 64 examples (800 draws; accuracy with S_P1, with S_P2, and both scores), 38, 38 and 36
    times with 256 (500 draws). It is not made for draws that never share an example. Their
    correlation can be larger, since what folds add by chance counts for more where draws are
    alike: with 64 examples .46, .33, .36 for .39, .32, .29, and held 37, 37 and 31 times.

    Args:
        found: the draws.
        measures: columns of their table, each to be correlated with each.
        resamples: halves behind each interval.
        seed: of the halves.

    Returns:
        A row for each pair; with a note, without a value where one of the two does not vary, and
        without an interval where fewer than ten groups differ from the rest in one of them.
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
            notes = [few for name in pair if (few := _few(found, name))]
            if not notes:
                by_half = _fisher(_correlate(*(halves[name] for name in pair)))
                ends = _interval(_fisher(naive.statistic), by_half, 1 / (both.sum() - 3))
                row["low"], row["high"] = np.tanh(ends)
                notes = [*filter(None, [_left_out(by_half)])]
            if not both.all():
                notes.append(f"{(~both).sum()} draws left out: one of the two is undefined")
            row["note"] = "; ".join(notes) or None
    table = pd.DataFrame(rows, columns=[
        "first", "second", "value", "naive_low", "naive_high", "low", "high", "draws", "note"
    ])  # fmt: skip
    table.insert(2, "over", f"draws of these {len(found.groups)} examples")
    return table


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


def _interval(value: float, again: np.ndarray, chance: float = 0) -> tuple[float, float]:
    """95 % interval from the spread of the halves or resamples where they are defined.

    Args:
        value: of the whole.
        again: of the halves or resamples.
        chance: variance that they have in common, and so do not show.
    """
    error = 1.96 * float(np.hypot(np.std(again[np.isfinite(again)]), np.sqrt(chance)))
    return value - error, value + error


BINNED = ["corruption", "score", "from", "to", "draws", "value", "low", "high", "p", "q", "note"]
"""Columns of ``by_bin``."""


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
    the paper's source leaves out. Intervals by halves as in ``correlations``; draws stay in their
    bins. ``p`` asks whether a bin differs from the mean of all draws, by the halves' spread of that
    difference; ``q`` is ``p`` after false discovery control over the bins.

    Args:
        found: the draws.
        corruption: name of a corruption.
        score: column that is binned.
        bins: how many; one where the score is the same in every draw.
        resamples: halves behind each interval.
        seed: of the halves.

    Returns:
        A row for each bin; without a value, and with a note, where it is empty; without interval
        and ``p`` where fewer than ten groups change, or fewer than ten do not.
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
    values, kept = {column: found.values[column]}, _halves(found, resamples, seed)
    halves = measure(found.members, values, {}, kept)[column]
    note = _few(found, column)
    rows = []
    for number, (start, end) in enumerate(pairwise(edges)):
        here = known & (place == number)
        row = {"from": start, "to": end, "draws": int(here.sum()), "note": note}
        rows.append(row)
        if not here.any():
            row["note"] = "no draw in this bin"
            continue
        row["value"] = changes[here].mean()
        if not note:
            again, whole = (_known_mean(halves[:, some]) for some in (here, known))
            row["low"], row["high"] = _interval(row["value"], again)
            row["note"] = _left_out(again)
            if not here[known].all():
                apart = (row["value"] - changes[known].mean()) / np.nanstd(again - whole)
                row["p"] = 2 * norm.sf(abs(apart))
    table = pd.DataFrame(rows, columns=BINNED)
    q = false_discoveries(table.p)
    return table.assign(q=q, corruption=corruption, score=score)


def _left_out(again: np.ndarray) -> str | None:
    """A note of the halves in which something is undefined."""
    missing = int((~np.isfinite(again)).sum())
    return f"{missing} of {len(again)} halves left out: undefined there" if missing else None


def _few(found: Draws, name: str) -> str | None:
    """A note where too few answers or changes differ from the rest for an interval."""
    if name not in found.values:
        return None
    known = ~np.isnan(found.values[name])
    groups = found.groups[known]
    few = rare(found.values[name][known], groups)
    if few >= FEWEST_EVENTS:
        return None
    return (
        f"no interval: {name} differs in {few} of {len(np.unique(groups))} groups from the rest; "
        f"{FEWEST_EVENTS} are needed"
    )


def _known_mean(values: np.ndarray) -> np.ndarray:
    """Mean of each row over the columns where it is known."""
    known = np.isfinite(values)
    return divide(np.where(known, values, 0).sum(axis=1), known.sum(axis=1))


def all_bins(
    found: Draws, corruptions: Iterable[str], *, bins: int = 8, seed: int = 0
) -> pd.DataFrame:
    """``by_bin`` of every corruption; a row with a note where it or S_P2 is undefined."""
    parts = []
    for name in corruptions:
        known = found.table[[change(name), "S_P2"]].notna().all(axis=1).any()
        note = {"corruption": name, "score": "S_P2", "draws": 0, "note": "undefined in every draw"}
        none = pd.DataFrame([note], columns=BINNED)
        parts.append(by_bin(found, name, bins=bins, seed=seed) if known else none)
    return pd.concat(parts, ignore_index=True)


def per_example(
    measures: Mapping[str, np.ndarray],
    clean: Answers,
    corrupted: Mapping[str, Answers],
    *,
    groups: np.ndarray | None = None,
    resamples: int = 200,
    permutations: int = 1999,
    seed: int = 0,
) -> pd.DataFrame:
    """Does the probe's correctness in an example foretell the model's? Logistic regression.

    No draws are needed. The outcomes are that the model answers rightly and, where it does, that a
    corruption makes it lose the right answer. Each measure is standardised and stands alone: its
    coefficient is the change in log-odds for one standard deviation.

    The interval is 1.96 times the spread of the resamples, since their percentiles leave 0 too
    often where events are few. ``p`` is exact for any number of events: whole groups exchange their
    measures with others as large, and the two outcomes' means are compared. ``q`` is ``p`` after
    false discovery control over the table (Benjamini and Hochberg 1995).

    Args:
        measures: of the probe, out of fold, each of shape (examples,), such as the share of an
            example's statements that it labels rightly; see ``knockout.probe_correctness``.
        clean: answers to the clean examples.
        corrupted: answers by corruption.
        groups: group of each example, drawn together by the bootstrap; each its own if None.
        resamples: bootstrap resamples behind each 95 % interval; each is a fit.
        permutations: behind each p-value.
        seed: of the resamples and permutations.

    Returns:
        A row for each outcome and measure; undefined, with a note of the counts, where fewer than
        ten groups have the outcome or fewer than ten have not; without a value, but with ``p``,
        where the measure tells the outcomes apart without fail.
    """
    member = same_examples(clean, corrupted, groups)
    weights = example_weights(len(member), member, resamples, seed)
    outcomes = {"answers rightly": clean.correct.astype(float)} | {
        f"loses the right answer, {name}": np.where(clean.correct == 1, 1 - x.correct, np.nan)
        for name, x in corrupted.items()
    }
    rows = []
    for outcome, happened in outcomes.items():
        known = ~np.isnan(happened)
        orders = _exchanged(member[known], permutations, seed)
        rows += [
            {"outcome": outcome, "measure": name, "examples": int(known.sum())}
            | _regress(values[known], happened[known], member[known], weights[:, known], orders)
            for name, values in measures.items()
        ]
    columns = ["outcome", "measure", "value", "low", "high", "p", "q", "examples", "note"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(q=false_discoveries(table.p))


def _exchanged(member: np.ndarray, times: int, seed: int) -> np.ndarray:
    """Orders of examples in which whole groups stand in for others as large, (times, examples)."""
    _, group, sizes = np.unique(member, return_inverse=True, return_counts=True)
    by_group, rng = np.argsort(group, kind="stable"), np.random.default_rng(seed)
    found = np.empty((times, len(member)), dtype=np.intp)
    for size in np.unique(sizes):
        blocks = by_group[sizes[group[by_group]] == size].reshape(-1, size)
        dealt = rng.random((times, len(blocks))).argsort(axis=1)
        found[:, blocks.ravel()] = blocks[dealt].reshape(times, -1)
    return found


def _regress(
    measure: np.ndarray, outcome: np.ndarray, member: np.ndarray, weights: np.ndarray,
    orders: np.ndarray,
) -> dict[str, object]:  # fmt: skip
    """Coefficient of the standardised measure, its interval and p-value; see ``per_example``."""
    have, have_not = (len(np.unique(member[outcome == happened])) for happened in (1, 0))
    if min(have, have_not) < FEWEST_EVENTS:
        counts = f"{have} groups have the outcome, {have_not} have not"
        return {"note": f"undefined: {counts}; {FEWEST_EVENTS} of each are needed"}
    if _flat(measure):
        return {"note": "undefined: the measure is the same in every example"}
    x, centred = (measure - measure.mean()) / measure.std(), outcome - outcome.mean()
    beyond = np.abs(x[orders] @ centred) > np.abs(x @ centred) - 1e-9
    found: dict[str, object] = {"p": (1 + beyond.sum()) / (1 + len(orders))}
    yes, no = x[outcome == 1], x[outcome == 0]
    if yes.min() >= no.max() or no.min() >= yes.max():
        return found | {"note": "no value: the measure tells the outcomes apart without fail"}
    # A weak penalty keeps the coefficient finite where a resample tells them apart.
    model = LogisticRegression(C=100, solver="newton-cholesky")
    varied = [weight for weight in weights if not _flat(outcome[weight > 0])]
    if left_out := len(weights) - len(varied):
        found["note"] = f"{left_out} of {len(weights) - 1} resamples left out: one outcome only"
    value, *again = (model.fit(x[:, None], outcome, weight).coef_[0, 0] for weight in varied)
    found["value"] = value
    found["low"], found["high"] = _interval(value, np.array(again))
    return found
