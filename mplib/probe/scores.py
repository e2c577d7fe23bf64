"""The probe's scores: models over their random twins and over the text, with controls.

The first classifier tells useful statements from useless ones (V), the second tells the height of a
useful statement in the gold tree (G given V); paper, sections 3.3 and 3.4. Beside the paper's
scores stands the *gain*: what attention adds to the text, over what the twins' attention adds.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import joblib
import numpy as np
import pandas as pd

from mplib.errors import InputError
from mplib.probe.knn import (
    CLASSIFIERS,
    DEFAULT,
    Predictions,
    ProbeSettings,
    Told,
    Trials,
    enough_groups,
    same_shape,
    useful_heights,
    usefulness,
)
from mplib.probe.permutation import permutation_p, permuted
from mplib.probe.text import shown
from mplib.stats import band, false_discoveries, from_halves, group_numbers
from mplib.tasks.trees import PADDING, USELESS

MEASURES = ("V", "G", "G_root", "V bits", "G bits")
"""Macro-F1 of usefulness, of heights, F1 of the root's height; bits that a label still costs."""


TARGETS = {"S_P1": "V", "S_P2": "G", "S_P2_root": "G_root"}
"""Each score and the F1 it normalises: V, G over all heights, and G of the root's height alone.

The paper prints the last under the name S_P2: its source labels heights in two columns, one of them
constant, and Eq 2 cancels the constant one. ``S_P2`` here is the macro-F1 of Eq 2 as written.
"""


ROOM = 0.1
"""A baseline's F1 this near to 1 leaves nothing to divide by."""


PREFIXES = 10
"""Prefixes of layers that are probed, at most, the last among them."""


KEPT = 128
"""Sources of which what they tell is kept, about a megabyte each."""

_TOLD: dict[tuple[Callable[..., Any], str], list[list[Told]]] = {}


@dataclass
class Comparison:
    """F1s, scores and gains of several sources over the same examples.

    Attributes:
        f1: a row for each source, target and classifier: macro-F1 with its 95 % interval; for
            models ``p_permuted``, see ``permutation_p``.
        scores: a row for each model, score and classifier, with its 95 % interval, and the
            difference of the F1s behind it with its own.
        gains: a row for each model, target, measure, classifier and what it is over.
        predictions: out-of-fold predictions of each source by the paper's classifier, if asked.
    """

    f1: pd.DataFrame
    scores: pd.DataFrame
    gains: pd.DataFrame
    predictions: dict[str, Predictions] = field(default_factory=dict)


Control = Callable[[np.ndarray, np.random.Generator], np.ndarray]

CONTROLS: dict[str, Control] = {"permuted labels": permuted}
"""Controls by name: heights in, the labels that the first model's features are probed for out.

What the classifiers reach without any information. The first word of the name is its kind.
"""


@dataclass(frozen=True)
class Plan:
    """The trials of both targets: over fold seeds, then in both halves of the groups, many times.

    They are the same for all sources, so that differences are paired. With one height (k = 1,
    depth 0) or without useless statements there is nothing to tell: F1 would be 1 for anybody.

    Attributes:
        useful: trials of the first classifier, if there is something to tell.
        height: of the second.
        groups: how many groups of examples there are.
        statements: how many statements there may be.
        settings: of the classifiers and intervals.
    """

    useful: Trials | None
    height: Trials | None
    groups: int
    statements: int
    settings: ProbeSettings

    @classmethod
    def of(cls, heights: np.ndarray, groups: np.ndarray, settings: ProbeSettings) -> "Plan":
        """The trials for gold heights (examples, statements) and the group of each example.

        Raises:
            InputError: neither classifier has anything to tell apart.
        """
        number, rng = int(groups.max()) + 1, np.random.default_rng([settings.seed, 1])
        ways: list[tuple[int, Any]] = [
            (settings.seed + i, slice(None)) for i in range(settings.fold_seeds)
        ]
        for _ in range(settings.halves if number >= 4 else 0):
            order = rng.permutation(number)
            ways += [(settings.seed, part) for part in np.split(order, [number // 2])]

        def trials(labels: np.ndarray) -> Trials | None:
            kinds = len(np.unique(labels[labels != PADDING]))
            return Trials.of(labels, groups, settings, ways) if kinds > 1 else None

        both = (trials(usefulness(heights)), trials(useful_heights(heights)))
        if both == (None, None):
            alike = "the statements are all useful or all useless, and of one height"
            raise InputError(f"nothing to tell apart: {alike}; add useless ones, or deeper trees")
        return cls(*both, number, heights.size, settings)

    def tell(self, features: np.ndarray, classifier: str) -> list[list[Told]]:
        """What one source tells in every trial of the first and of the second classifier.

        The same is not fitted again: pages compare models in several ways, and models of one shape
        have the same twins.
        """
        both = (self.useful, self.height)
        key = CLASSIFIERS[classifier], str(joblib.hash((both, features, self.settings)))
        if key not in _TOLD:
            if len(_TOLD) == KEPT:
                del _TOLD[next(iter(_TOLD))]
            _TOLD[key] = [[*x.run(features, classifier, self.settings)] if x else [] for x in both]
        return _TOLD[key]

    def measures(self, told: Sequence[Sequence[Told]], classifier: str) -> np.ndarray:
        """The ``MEASURES`` of what one source tells.

        Returns:
            Shape (1 + 2 halves, 5): means over fold seeds, then each half; NaN where there is
            nothing to tell.
        """
        once = self.settings.fold_seeds
        found = np.full((max(once, *map(len, told)), len(MEASURES)), np.nan)
        # As many observations as stand behind a probability: neighbours, or all.
        certain = self.settings.neighbours if classifier == "kNN" else self.statements
        for trials, columns, kept in zip(
            told, ([0, 3], [1, 2, 4]), ([0, 2], [0, 1, 2]), strict=True
        ):
            for row, one in enumerate(trials):
                if len(f1 := one.f1) > 1:
                    figures = np.array([f1.mean(), f1[-1], one.bits(certain)])
                    found[row, columns] = figures[kept]
        return np.concatenate([found[:once].mean(axis=0, keepdims=True), found[once:]])

    def run(self, features: np.ndarray, classifier: str) -> np.ndarray:
        """The ``measures`` of one source."""
        return self.measures(self.tell(features, classifier), classifier)

    def predictions(self, heights: np.ndarray, told: Sequence[Sequence[Told]]) -> Predictions:
        """Labels by the first trial, of all examples; the gold ones where nothing is to be told."""
        both = zip(
            (self.useful, self.height), told, (usefulness(heights), useful_heights(heights)),
            strict=True,
        )  # fmt: skip
        return Predictions(*(
            trials.likeliest(of[0], heights.shape) if trials else gold for trials, of, gold in both
        ))  # fmt: skip


def compare(
    models: Mapping[str, np.ndarray],
    heights: np.ndarray,
    *,
    twins: Sequence[np.ndarray],
    text: Mapping[str, np.ndarray] | None = None,
    controls: Collection[str] = tuple(CONTROLS),
    groups: np.ndarray | None = None,
    settings: ProbeSettings = DEFAULT,
    classifiers: Sequence[str] = tuple(CLASSIFIERS),
) -> Comparison:
    """Probes models, their random twins and the controls, and scores the models over them.

    All sources share examples, folds and halves, so the intervals are those of paired differences;
    those over several twins hold for other seeds of twins too.

    Args:
        models: features of each model, shape (examples, statements, layers).
        heights: gold heights, shape (examples, statements).
        twins: features of random twins, one a seed.
        text: features of the text alone, by name, shape (examples, statements, features): ``text``,
            what stands there, is part of the gain; others, such as what a reader could compute,
            stand beside. To the logistic regression each is ``shown`` value by value.
        controls: some of ``CONTROLS``.
        groups: group of each example; each its own if None.
        settings: of the classifiers and intervals.
        classifiers: some of ``CLASSIFIERS``.

    Returns:
        The tables, with ``kind`` one of model, twin, text, joint (text and model), joint twin (text
        and twin), or a control's (permuted).

    Raises:
        InputError: shapes disagree, or there are fewer groups than folds.
    """
    groups = group_numbers(len(heights), groups)
    rng = np.random.default_rng(settings.seed)
    plain = {
        **{("model", name): values for name, values in models.items()},
        **{("twin", f"random twin {i}"): values for i, values in enumerate(twins)},
    }
    for values in (*plain.values(), *(text or {}).values()):
        same_shape(values, heights)
    enough_groups(groups, settings)
    plan, dealt = Plan.of(heights, groups, settings), {}
    for name in controls if models else ():
        dealt[name] = Plan.of(CONTROLS[name](heights, rng), groups, settings)
    parts: dict[str, list[dict[str, Any]]] = {"f1": [], "scores": [], "gains": []}
    predictions: dict[str, Predictions] = {}
    for classifier in classifiers:
        found = {}
        sources = _laid_out(plain, text or {}, classifier)
        sources |= {(name.split()[0], name): next(iter(models.values())) for name in dealt}
        for key, values in sources.items():
            own = dealt.get(key[1], plan)
            told = own.tell(values, classifier)
            found[key] = own.measures(told, classifier)
            if key[0] in ("model", "twin", "text") and classifier == "kNN":
                predictions[key[1]] = own.predictions(heights, told)
        one = _Found(found, plan.groups)
        for name, rows in (("f1", one.f1()), ("scores", one.scores()), ("gains", one.gains())):
            parts[name] += [row | {"classifier": classifier} for row in rows]
    tables = {name: pd.DataFrame(rows) for name, rows in parts.items()}
    tables["f1"]["p_permuted"] = np.nan
    asked = "permuted labels" in controls and "logistic" in classifiers
    for name, values in models.items() if asked else ():
        of = tables["f1"][["source", "classifier"]].eq([name, "logistic"]).all(axis=1)
        p = permutation_p(values, heights, groups, settings)
        tables["f1"].loc[of, "p_permuted"] = tables["f1"].target[of].map(p)
    return Comparison(**tables, predictions=predictions)


def _laid_out(
    plain: Mapping[tuple[str, str], np.ndarray], text: Mapping[str, np.ndarray], classifier: str
) -> dict[tuple[str, str], np.ndarray]:
    """All sources as a classifier can use them, and models and twins with the text beside them."""
    told = {("text", name): shown(values, classifier) for name, values in text.items()}
    joint = {}
    for (kind, name), values in plain.items() if "text" in text else ():
        together = np.concatenate([told["text", "text"], values], axis=-1)
        joint["joint" if kind == "model" else "joint twin", f"text + {name}"] = together
    return {**plain, **told, **joint}


def over_twins(own: np.ndarray, twins: np.ndarray, ratio: bool) -> np.ndarray:
    """A difference to the mean of the twins, or the share of what they leave (Eqs 1 and 2).

    Args:
        own: F1 of the whole and of halves, shape (1 + 2 halves,).
        twins: that of each twin, shape (twins, 1 + 2 halves).
        ratio: whether the share is meant.

    Returns:
        Over their mean, then over each, shape (1 + twins, 1 + 2 halves); NaN without room above.
    """
    base = np.vstack([twins.mean(axis=0), twins])
    room = 1 - base if ratio else np.ones_like(base)
    if not room[0, 0] > ROOM:
        return np.full_like(base, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):  # halves without room are left out
        return (own - base) / room


@dataclass(frozen=True)
class _Found:
    """Replicates of every source, by kind and name, and how many groups are behind them."""

    by: dict[tuple[str, str], np.ndarray]
    groups: int

    def of(self, kind: str, measure: str, but: str = "") -> dict[str, np.ndarray]:
        """Replicates of one measure by all sources of a kind, but one."""
        place = MEASURES.index(measure)
        found = {name: values[:, place] for (of, name), values in self.by.items() if of == kind}
        return {name: values for name, values in found.items() if name != but}

    def f1(self) -> list[dict[str, Any]]:
        """Rows of F1s and of bits that are left."""
        rows = []
        for (kind, name), values in self.by.items():
            for target, own in zip(MEASURES, values.T, strict=True):
                if np.isfinite(own[0]):
                    found = from_halves(own, self.groups)
                    most = np.inf if "bits" in target else 1
                    low, high = np.clip([found.low, found.high], 0, most)
                    about = {"kind": kind, "source": name, "target": target}
                    rows.append(about | {"f1": found.value, "low": low, "high": high})
        return rows

    def scores(self) -> list[dict[str, Any]]:
        """Rows of scores (Eqs 1 and 2) of models over their twins, and of each twin over others."""
        rows = []
        for score, target in TARGETS.items():
            for kind in ("model", "twin"):
                for name, own in self.of(kind, target).items():
                    others = [*self.of("twin", target, but=name).values()]
                    if others and np.isfinite(own[0]):
                        about = {"kind": kind, "source": name, "score": score}
                        rows.append(about | {"over": "random twin"} | self._score(own, others))
        return rows

    def _score(self, own: np.ndarray, others: Sequence[np.ndarray]) -> dict[str, Any]:
        """A score, the difference behind it, or why it has no value."""
        base = np.mean(others, axis=0)
        apart = from_halves(own - base, self.groups, np.array([own[0] - x[0] for x in others]))
        away = {"difference": apart.value, "difference_low": apart.low,
                "difference_high": apart.high}  # fmt: skip
        sure = from_halves(base, self.groups)
        if not 1 - sure.value > max(ROOM, sure.value - sure.low):
            note = f"not defined here: the baseline's F1 is {sure.value:.3f}"
            return dict.fromkeys(("value", "low", "high", "p"), np.nan) | away | {"note": note}
        value = over_twins(own, np.array(others), ratio=True)
        found = from_halves(value[0], self.groups, value[1:, 0])
        return found.columns() | {"p": found.p} | away

    def gains(self) -> list[dict[str, Any]]:
        """Rows of gains over text and twins, and of selectivity: over the same labels, dealt."""
        rows = []
        for target in MEASURES:
            unit, sign = ("bits", -1) if "bits" in target else ("F1", 1)
            cases = [
                (name.removeprefix("text + "), "text and twins", own, self.of("joint twin", target))
                for name, own in self.of("joint", target).items()
            ]
            first = next(iter(self.of("model", target).items()), None)
            if first and unit == "F1":
                dealt = self.of("permuted", target)
                cases.append((first[0], "permuted labels", first[1], dealt))
            for name, over, own, others in cases:
                if others and np.isfinite(own[0]):
                    apart = sign * (own - np.stack([*others.values()]))
                    found = from_halves(apart.mean(axis=0), self.groups, apart[:, 0])
                    about = {"kind": "model", "source": name, "target": target.split()[0]}
                    about |= {"measure": unit, "over": over}
                    rows.append(about | found.columns() | {"p": found.p, "against": len(others)})
        return rows


def discoveries(gains: pd.DataFrame) -> pd.DataFrame:
    """Gains with a column ``q``: p-values that hold the share of false discoveries over the rows.

    Each measure, classifier and comparison is a family of its own (Benjamini and Hochberg 1995).
    """
    family = gains.groupby(["measure", "classifier", "over"], sort=False).p
    return gains.assign(q=family.transform(false_discoveries))


def compare_prefixes(
    models: Mapping[str, np.ndarray],
    heights: np.ndarray,
    *,
    twins: Sequence[np.ndarray],
    groups: np.ndarray | None = None,
    settings: ProbeSettings = DEFAULT,
) -> pd.DataFrame:
    """Scores from the first l layers over the twins' own first l layers (Figs 6 to 8).

    At most ``PREFIXES`` prefixes; folds are cut in one way. The intervals of a curve hold for all
    of its points at once.

    Returns:
        A row for each model, score and prefix: ``layers``, value, low, high, and the F1s behind.
    """
    for values in (*models.values(), *twins):
        same_shape(values, heights)
    groups = group_numbers(len(heights), groups)
    plan = Plan.of(heights, groups, replace(settings, fold_seeds=1))
    counts = prefix_lengths(next(iter(models.values())).shape[-1])
    parts = [
        [plan.run(values[..., :n], "kNN") for n in counts] for values in (*models.values(), *twins)
    ]
    beside = np.array(parts[len(models) :])  # (twins, prefixes, replicates, measures)
    rows = []
    for (name, _), own in zip(models.items(), np.array(parts[: len(models)]), strict=True):
        for score, target in TARGETS.items():
            place = MEASURES.index(target)
            mine, theirs = own[..., place], beside[..., place]
            base = theirs[..., 0].mean(axis=0)
            each = zip(mine, theirs.swapaxes(0, 1), strict=True)
            curve = np.array([over_twins(*one, ratio=True) for one in each])
            found = band(curve[:, 0], plan.groups, curve[:, 1:, 0])
            rows += [
                {"layers": n, "kind": "model", "source": name, "score": score,
                 "over": "random twin", **one.columns(), "f1": f1, "twin_f1": twin_f1}
                for n, one, f1, twin_f1 in zip(counts, found, mine[:, 0], base, strict=True)
                if np.isfinite(f1)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def prefix_lengths(layers: int) -> list[int]:
    """How many of the first layers are probed: every number, or ``PREFIXES`` spread over them.

    >>> prefix_lengths(4), prefix_lengths(30)
    ([1, 2, 3, 4], [1, 4, 7, 11, 14, 17, 20, 24, 27, 30])
    """
    return np.unique(np.linspace(1, layers, min(PREFIXES, layers)).round().astype(int)).tolist()


def tidy_predictions(
    predictions: Mapping[str, Predictions], heights: np.ndarray, statements: np.ndarray
) -> pd.DataFrame:
    """Predictions as a tidy table, a row for each source and statement.

    Args:
        predictions: of each source.
        heights: gold heights, shape (examples, statements).
        statements: what to call the statements, shape (examples, statements).
    """
    example, place = at = np.nonzero(heights != PADDING)
    gold = heights[at]
    return pd.concat(
        pd.DataFrame({
            "source": source, "example": example, "position": place, "statement": statements[at],
            "height": gold, "predicted_useful": found.useful[at],
            "predicted_height": pd.Series(found.height[at], dtype="Int8").mask(gold == USELESS),
        })
        for source, found in predictions.items()
    )  # fmt: skip
