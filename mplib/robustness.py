"""Robustness: does accuracy, or what a corruption does to it, go with the probe's scores?

No model runs here. Every example was asked once clean and once for each corruption; draws of
examples (paper, section 6) resample what is stored, and distances between statements are computed
once for all draws.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from scipy.stats import pearsonr
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.utils.parallel import Parallel, delayed
from tqdm.auto import tqdm

from mplib.corruption import Outcome, number_groups, resample
from mplib.errors import InputError, suggest
from mplib.probe import Settings, class_f1, useful_heights, usefulness
from mplib.trees import PADDING, USELESS

SCORES = {"S_P1": "V", "S_P2": "G"}
"""Each score and the macro-F1 that it normalises (Eqs 1 and 2)."""
FEWEST_DRAWS = 8
_BLOCK = 32
"""Draws that are worked on at once."""


@dataclass(frozen=True)
class Draws:
    """Random draws of examples and what was found in each (paper, section 6).

    Attributes:
        table: a row for each draw: number of examples, seed of its folds, accuracy, change in
            accuracy by each corruption, macro-F1 of the model, mean macro-F1 of its twins, scores.
        members: examples of each draw, -1 behind the last, shape (draws, most examples).
        groups: number of each example's group, shape (examples,).
        values: answers and changes by name, NaN where unknown, each of shape (examples,).
        counts: by target, confusion counts of each source in each example of each draw, shape
            (draws, most examples, sources, classes, classes); the model is the first source.
    """

    table: pd.DataFrame
    members: np.ndarray
    groups: np.ndarray
    values: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]


def change(corruption: str) -> str:
    """The column of a table of draws that holds a corruption's change in accuracy."""
    return f"change in accuracy, {corruption}"


def draws(
    clean: Outcome,
    features: np.ndarray,
    heights: np.ndarray,
    *,
    twins: Sequence[np.ndarray],
    corrupted: Mapping[str, Outcome] | None = None,
    groups: np.ndarray | None = None,
    count: int = 2048,
    sizes: tuple[int, int] = (64, 128),
    settings: Settings | None = None,
    workers: int = 1,
) -> Draws:
    """Draws examples without replacement, again and again, and measures each draw for itself.

    In each draw both classifiers are cross-validated on its own statements: the predictions are
    those of ``probe.predict`` for the draw's features, groups and seed. (Of statements at exactly
    the same distance the earlier ones count; scikit-learn leaves that open.) The draws are the same
    for any number of workers.

    Args:
        clean: answers to the clean examples.
        features: of the model, shape (examples, statements, layers).
        heights: gold heights, shape (examples, statements).
        twins: features of random twins, the baseline of the scores.
        corrupted: answers by corruption.
        groups: group of each example, never in two folds; each its own if None.
        count: how many draws.
        sizes: least and most examples of a draw; no draw has more than there are.
        settings: of the classifiers; its seed is that of the draws.
        workers: processes, -1 for as many as there are cores; worth their start where examples are
            many.

    Raises:
        InputError: too few draws, too few examples or groups for one, no useful statements, no
            twins, or arrays that do not fit together.
    """
    how = settings or Settings()
    corrupted = corrupted or {}
    group = number_groups(clean, corrupted, groups)
    _check([features, *twins], heights, len(group), count, sizes)
    n, least, most = len(group), sizes[0], min(sizes[1], len(group))
    rngs = [np.random.default_rng([how.seed, number]) for number in range(count)]
    chosen = [np.sort(r.choice(n, r.integers(least, most + 1), replace=False)) for r in rngs]
    seeds = [int(rng.integers(2**31)) for rng in rngs]
    if (fewest := min(len(np.unique(group[drawn])) for drawn in chosen)) < how.folds:
        raise InputError(
            f"a draw has examples of {fewest} groups for {how.folds} folds: draw more examples or "
            "use fewer folds"
        )
    labels = {"V": usefulness(heights), "G": useful_heights(heights)}
    # A quarter of these columns holds the wanted neighbours in the smallest draw, on average.
    columns = int(4 * how.neighbours * n / (least * (1 - 1 / how.folds))) + 1
    targets = {
        name: _Target.of([features, *twins], gold, columns, how) for name, gold in labels.items()
    }
    blocks = [slice(first, first + _BLOCK) for first in range(0, count, _BLOCK)]
    work = Parallel(n_jobs=workers, return_as="generator")(
        delayed(_count)(targets, chosen[block], seeds[block], group, most, how) for block in blocks
    )
    found: list[dict[str, np.ndarray]] = []
    with tqdm(total=count, desc="draws", unit="draw") as progress:
        for part in work:
            found.append(part)
            progress.update(len(part["V"]))
    counts = {name: np.concatenate([part[name] for part in found]) for name in targets}
    members = np.full((count, most), -1)
    for row, drawn in zip(members, chosen, strict=True):
        row[: len(drawn)] = drawn
    values = {"accuracy": clean.correct.astype(float)}
    values |= {change(name): x.correct - values["accuracy"] for name, x in corrupted.items()}
    measured = _measure(members, values, counts, np.ones((1, n), dtype=bool))
    table = pd.DataFrame({"draw": range(count), "examples": [*map(len, chosen)], "seed": seeds})
    table = table.assign(**{name: rows[0] for name, rows in measured.items()})
    table["note"] = [_undefined(row) for row in table.to_dict("records")]
    return Draws(table, members, group, values, counts)


def _check(
    sources: Sequence[np.ndarray], heights: np.ndarray, n: int, count: int, sizes: tuple[int, int]
) -> None:
    """Refuses what cannot be drawn or measured."""
    if count < FEWEST_DRAWS:
        raise InputError(f"count={count} draws: ask for {FEWEST_DRAWS} or more")
    if not 0 < sizes[0] <= min(sizes[1], n):
        raise InputError(
            f"sizes={sizes}: no draw can have {sizes[0]} to {sizes[1]} of {n} examples; lower the "
            "least size or use more examples"
        )
    if not (heights > USELESS).any():
        raise InputError("heights name no useful statement: draws need examples with gold trees")
    if len(sources) < 2:
        raise InputError("twins is empty: a score needs the features of one random twin or more")
    for values in sources:
        if values.shape[:2] != heights.shape or len(heights) != n:
            raise InputError(
                f"features of shape {values.shape}, heights of shape {heights.shape} and {n} "
                "answers: give all of them for the same examples"
            )
        if not np.isfinite(values[heights != PADDING]).all():
            raise InputError(
                "features are missing for a statement that has a height: read them from the same "
                "prompts, or give it the height PADDING"
            )


@dataclass(frozen=True)
class _Target:
    """The statements that a classifier tells apart, and which are near which in each source.

    Attributes:
        example: example of each statement, shape (statements,).
        label: gold label of each statement, shape (statements,).
        sources: features, each of shape (statements, layers).
        near: nearest statements and their distances, each of shape (statements, columns).
        power: of the metric.
    """

    example: np.ndarray
    label: np.ndarray
    sources: list[np.ndarray]
    near: list[tuple[np.ndarray, np.ndarray]]
    power: int

    @classmethod
    def of(
        cls, sources: Sequence[np.ndarray], labels: np.ndarray, columns: int, how: Settings
    ) -> "_Target":
        """The statements that have a label."""
        place = np.nonzero(labels != PADDING)
        rows = [values[place].astype(np.float64) for values in sources]
        everyone = np.arange(len(place[0]))
        near = [_nearest(values, everyone, columns, how.metric_power) for values in rows]
        return cls(place[0], labels[place], rows, near, how.metric_power)

    def nearest(self, source: int, rows: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """The statements nearest to some, nearest first, and their distances."""
        order, distance = self.near[source]
        if columns <= order.shape[1]:
            return order[rows, :columns], distance[rows, :columns]
        return _nearest(self.sources[source], rows, columns, self.power)


def _nearest(
    values: np.ndarray, rows: np.ndarray, columns: int, power: int
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of all statements to some of them, nearest first, ties in their order."""
    columns = min(columns, len(values))
    order = np.empty((len(rows), columns), dtype=np.int32)
    distance = np.empty((len(rows), columns))
    size = max(1, 2**24 // len(values))
    for first in range(0, len(rows), size):
        block = slice(first, first + size)
        away = cdist(values[rows[block]], values, "minkowski", p=power)
        some = np.sort(np.argpartition(away, columns - 1, axis=1)[:, :columns], axis=1)
        away = np.take_along_axis(away, some, axis=1)
        ranks = away.argsort(axis=1, kind="stable")
        order[block] = np.take_along_axis(some, ranks, axis=1)
        distance[block] = np.take_along_axis(away, ranks, axis=1)
    return order, distance


def _count(
    targets: Mapping[str, _Target], chosen: Sequence[np.ndarray], seeds: Sequence[int],
    group: np.ndarray, most: int, how: Settings,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Confusion counts of a few draws; see ``Draws.counts``."""
    counts, told = {}, {}
    for name, target in targets.items():
        classes = int(target.label.max()) + 1
        shape = (len(chosen), most, len(target.sources), classes, classes)
        counts[name] = np.zeros(shape, dtype=np.float32)
        told[name] = np.isin(np.arange(len(group)), target.example)
    for draw, (drawn, seed) in enumerate(zip(chosen, seeds, strict=True)):
        folds: dict[int, np.ndarray] = {}
        for name, target in targets.items():
            # Useful statements are some of all statements: as many examples are the same ones.
            own = drawn[told[name][drawn]]
            if len(own) not in folds:
                folds[len(own)] = _folds(own, group, seed, how.folds)
            fold = folds[len(own)][target.example]
            rows = np.flatnonzero(fold >= 0)
            place = np.searchsorted(drawn, target.example[rows])
            for source in range(len(target.sources)):
                guess = _classify(target, source, rows, fold, how.neighbours)
                cells = (place, np.full_like(place, source), target.label[rows], guess)
                np.add.at(counts[name][draw], cells, 1)
    return counts


def _folds(drawn: np.ndarray, group: np.ndarray, seed: int, number: int) -> np.ndarray:
    """Fold of every example, -1 where it is not drawn."""
    fold = np.full(len(group), -1)
    split = GroupKFold(number, shuffle=True, random_state=seed).split(drawn, groups=group[drawn])
    for place, (_, test) in enumerate(split):
        fold[drawn[test]] = place
    return fold


def _classify(
    target: _Target, source: int, rows: np.ndarray, fold: np.ndarray, neighbours: int
) -> np.ndarray:
    """Labels of a draw's statements, from their nearest neighbours in its other folds.

    Args:
        target: all statements.
        source: number of the features.
        rows: statements of the draw.
        fold: of every statement, -1 outside the draw.
        neighbours: how many count; fewer where the other folds have fewer.
    """
    wanted = np.minimum(neighbours, len(rows) - np.bincount(fold[rows])[fold[rows]])
    guess = np.empty(len(rows), dtype=np.intp)
    # Most find enough neighbours in the draw among a few; the others look further.
    left, columns = np.arange(len(rows)), max(1, target.near[source][0].shape[1] // 4)
    while len(left):
        order, distance = target.nearest(source, rows[left], columns)
        train = (fold[order] >= 0) & (fold[order] != fold[rows[left], None])
        used = train & (train.cumsum(axis=1) <= neighbours)
        with np.errstate(divide="ignore"):
            weight = np.where(used, 1 / distance, 0)
        # As in scikit-learn, neighbours at distance zero count alone.
        same = np.isinf(weight)
        weight = np.where(same.any(axis=1, keepdims=True), same, weight)
        labels = range(int(target.label.max()) + 1)
        votes = [(weight * (target.label[order] == label)).sum(axis=1) for label in labels]
        done = used.sum(axis=1) >= wanted[left]
        guess[left[done]] = np.argmax(votes, axis=0)[done]
        left, columns = left[~done], 4 * columns
    return guess


def _measure(
    members: np.ndarray, values: Mapping[str, np.ndarray], counts: Mapping[str, np.ndarray],
    kept: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Accuracy, changes, F1s and scores of every draw, from those of its examples that are kept.

    Args:
        members: see ``Draws``.
        values: see ``Draws``.
        counts: see ``Draws``.
        kept: True for the examples that are kept, in several ways, shape (ways, examples).

    Returns:
        Each of shape (ways, draws), NaN where undefined.
    """
    parts: dict[str, list[np.ndarray]] = {}
    for first in range(0, len(members), _BLOCK):
        who = members[first : first + _BLOCK]
        weights = (kept[:, who] & (who >= 0)).swapaxes(0, 1).astype(np.float32)
        found: dict[str, np.ndarray] = {}
        for name, value in values.items():
            known = ~np.isnan(value[who])
            sums = weights @ np.stack([np.where(known, value[who], 0), known], axis=-1)
            found[name] = _divide(sums[..., 0], sums[..., 1])
        for score, target in SCORES.items():
            if target in counts:
                cells = counts[target][first : first + _BLOCK]
                total = weights @ cells.reshape(*cells.shape[:2], -1)
                f1 = _macro_f1(total.reshape(*total.shape[:2], *cells.shape[2:]), target)
                found[target], base = f1[..., 0], f1[..., 1:].mean(axis=-1)
                found[f"{target} of twins"] = base
                found[score] = _divide(found[target] - base, 1 - base)
        for name, array in found.items():
            parts.setdefault(name, []).append(array)
    return {name: np.concatenate(arrays).T for name, arrays in parts.items()}


def _macro_f1(counts: np.ndarray, target: str) -> np.ndarray:
    """Mean F1 of the classes that occur; NaN for heights where there is only one to tell."""
    occurs = counts.sum(axis=-1) > 0
    classes = occurs.sum(axis=-1)
    f1 = _divide((class_f1(counts.astype(float)) * occurs).sum(axis=-1), classes)
    return np.where(classes < 2, np.nan, f1) if target == "G" else f1


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient, NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 1e-12)


def _undefined(row: Mapping[str, float]) -> str | None:
    """What is not defined in a draw, and why."""
    notes = []
    for name, value in row.items():
        if name in SCORES and np.isnan(value):
            one_height = np.isnan(row[SCORES[name]])
            reason = "there is one height only" if one_height else "the baseline is perfect"
            notes.append(f"{name} undefined: {reason}")
        elif name.startswith(change("")) and np.isnan(value):
            notes.append(f"{name} undefined: possible in none of the examples")
    return "; ".join(notes) or None


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
    _known(found, measures)
    halves = _measure(found.members, found.values, found.counts, _halves(found, resamples, seed))
    rows: list[dict[str, object]] = []
    for i, first in enumerate(measures):
        for second in measures[i + 1 :]:
            a, b = (found.table[name].to_numpy() for name in (first, second))
            both = np.isfinite(a) & np.isfinite(b)
            row: dict[str, object] = {"first": first, "second": second, "draws": int(both.sum())}
            rows.append(row)
            constant = [x for x, y in ((first, a), (second, b)) if both.any() and _flat(y[both])]
            if both.sum() < FEWEST_DRAWS:
                row["note"] = f"undefined: both are defined in {both.sum()} draws only"
            elif constant:
                row["note"] = f"undefined: {constant[0]} is the same in every draw"
            else:
                naive = pearsonr(a[both], b[both])
                row["value"] = naive.statistic
                row["naive_low"], row["naive_high"] = naive.confidence_interval(0.95)
                by_half = _fisher(_correlate(halves[first], halves[second]))
                row["low"], row["high"] = np.tanh(
                    _interval(float(_fisher(naive.statistic)), by_half)
                )
                if not both.all():
                    row["note"] = f"{(~both).sum()} draws left out: one of the two is undefined"
    return pd.DataFrame(rows, columns=[
        "first", "second", "value", "naive_low", "naive_high", "low", "high", "draws", "note"
    ])  # fmt: skip


def _known(found: Draws, names: Sequence[str]) -> None:
    columns = [*found.values, *SCORES, *SCORES.values()]
    for name in names:
        if name not in columns:
            raise InputError(
                f"no column {name!r} in the draws: expected one of {', '.join(columns)}."
                f"{suggest(name, columns)}"
            )


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
    a, b = (np.where(known, x - _divide(x.sum(axis=1, keepdims=True), number), 0) for x in (a, b))
    return _divide((a * b).sum(axis=1), np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1)))


def _fisher(correlation: np.ndarray) -> np.ndarray:
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
    _known(found, [column, score])
    scores, changes = (found.table[name].to_numpy() for name in (score, column))
    known = np.isfinite(scores) & np.isfinite(changes)
    if not known.any():
        raise InputError(f"no draw has both {score} and a {column}: see the notes of its table")
    low, high = scores[known].min(), scores[known].max()
    edges = np.linspace(low, high, 2 if _flat(scores[known]) else bins + 1)
    place = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, len(edges) - 2)
    values = {column: found.values[column]}
    halves = _measure(found.members, values, {}, _halves(found, resamples, seed))[column]
    rows = []
    for number, (start, end) in enumerate(pairwise(edges)):
        here = known & (place == number)
        row = {"corruption": corruption, "score": score, "from": start, "to": end}
        row["draws"] = int(here.sum())
        if here.any():
            row["value"] = changes[here].mean()
            defined = np.isfinite(halves[:, here])
            total = np.where(defined, halves[:, here], 0).sum(axis=1)
            row["low"], row["high"] = _interval(row["value"], _divide(total, defined.sum(axis=1)))
        else:
            row["note"] = "no draw in this bin"
        rows.append(row)
    return pd.DataFrame(rows, columns=[
        "corruption", "score", "from", "to", "draws", "value", "low", "high", "note"
    ])  # fmt: skip


def all_bins(
    found: Draws, corruptions: Iterable[str], *, bins: int = 8, seed: int = 0
) -> pd.DataFrame:
    """``by_bin`` of every corruption whose change is known in some draw."""
    return pd.concat(
        [by_bin(found, name, bins=bins, seed=seed) for name in corruptions], ignore_index=True
    )


def per_example(
    measures: Mapping[str, np.ndarray],
    clean: Outcome,
    corrupted: Mapping[str, Outcome],
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
            example's statements that it labels rightly; see ``edges.probe_correctness``.
        clean: answers to the clean examples.
        corrupted: answers by corruption.
        groups: group of each example, drawn together by the bootstrap; each its own if None.
        resamples: bootstrap resamples behind each 95 % interval; each is a fit.
        seed: of the resamples.

    Returns:
        A row for each outcome and measure; without a value, and with a note, where one of them is
        the same in every example, or where the measure tells the outcomes apart without fail.
    """
    weights = resample(number_groups(clean, corrupted, groups), resamples, seed)
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
    values = [model.fit(x, y, weight).coef_[0, 0] for weight in varied]
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return found | {"value": values[0], "low": low, "high": high}
