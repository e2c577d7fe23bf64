"""The probe: two kNN classifiers on attention, their scores, controls and intervals.

The first classifier tells useful statements from useless ones (V), the second tells the height of a
useful statement in the gold tree (G given V); paper, sections 3.3 and 3.4.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mplib.probe import knn
from mplib.probe.knn import DEFAULT, Predictions, ProbeSettings
from mplib.stats import group_numbers, group_weights, percentile_interval
from mplib.tasks.trees import PADDING, USELESS

TARGETS = {"S_P1": "V", "S_P2": "G", "S_P2_root": "G_root"}
"""Each score and the F1 it normalises: V, G over all heights, and G of the root's height alone.

The paper prints the last under the name S_P2: its source labels heights in two columns, one of them
constant, and Eq 2 cancels the constant one. ``S_P2`` here is the macro-F1 of Eq 2 as written.
"""


@dataclass
class Comparison:
    """F1s and scores of several sources over the same examples.

    Attributes:
        f1: a row for each source and target: macro-F1 with its 95 % interval.
        scores: a row for each model, score and baseline, with its 95 % interval.
        predictions: out-of-fold predictions of each source.
    """

    f1: pd.DataFrame
    scores: pd.DataFrame
    predictions: dict[str, Predictions] = field(default_factory=dict)


def permuted_labels(heights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same labels, dealt anew to the statements of all examples."""
    shuffled = heights.copy()
    real = heights != PADDING
    shuffled[real] = rng.permutation(heights[real])
    return shuffled


Control = Callable[[np.ndarray, np.random.Generator], np.ndarray]

CONTROLS: dict[str, Control] = {"permuted labels": permuted_labels}
"""Controls by name: heights in, the labels that the first model's features are probed for out.

What the classifiers reach without any information. The first word of the name is its kind.
"""


def compare(
    models: Mapping[str, np.ndarray],
    heights: np.ndarray,
    *,
    twins: Sequence[np.ndarray],
    text: Mapping[str, np.ndarray] | None = None,
    controls: Collection[str] = tuple(CONTROLS),
    groups: np.ndarray | None = None,
    settings: ProbeSettings = DEFAULT,
) -> Comparison:
    """Probes models, their random twins and the controls, and scores the models over the baselines.

    All sources share examples, folds and bootstrap resamples, so the intervals of a score are
    those of paired differences. A resample draws groups of examples, and twins where several stand
    for the random baseline. The text baseline is the strongest of its feature sets.

    Args:
        models: features of each model, shape (examples, statements, layers).
        heights: gold heights, shape (examples, statements).
        twins: features of random twins, one a seed.
        text: features of the text alone, by name, shape (examples, statements, features).
        controls: some of ``CONTROLS``.
        groups: group of each example; each its own if None.
        settings: of the classifiers and intervals.

    Returns:
        The tables, with ``kind`` one of model, twin, text, or a control's (permuted).
    """
    groups = group_numbers(len(heights), groups)
    rng = np.random.default_rng(settings.seed)
    # All are dealt, wanted or not, so that the resamples behind them are always the same.
    dealt = {name: _dealt(control, heights, groups, rng) for name, control in CONTROLS.items()}
    first = next(iter(models.values()), None)
    sources: list[tuple[str, str, np.ndarray, np.ndarray]] = [
        *(("model", name, values, heights) for name, values in models.items()),
        *(("twin", f"random twin {i}", values, heights) for i, values in enumerate(twins)),
        *(("text", name, values, heights) for name, values in (text or {}).items()),
        *((name.split()[0], name, first, dealt[name]) for name in controls if first is not None),
    ]
    weights = group_weights(int(groups.max()) + 1, settings.resamples, rng)
    predictions: dict[str, Predictions] = {}
    f1: dict[str, dict[tuple[str, str], np.ndarray]] = {target: {} for target in TARGETS.values()}
    table = []
    for kind, name, values, labels in sources:
        predictions[name] = found = knn.predict(values, labels, groups, settings)
        useful = knn.confusions(knn.usefulness(labels), found.useful, groups)
        height = knn.confusions(knn.useful_heights(labels), found.height, groups)
        own = {"V": knn.resampled_f1(useful, weights)[0]}
        # With one height there is nothing to tell (k = 1, depth 0): F1 would be 1 for anybody.
        if (height.sum(axis=(0, 2)) > 0).sum() > 1:
            own["G"], own["G_root"] = knn.resampled_f1(height, weights)
        for target, values in own.items():
            f1[target][kind, name] = values
            estimate = percentile_interval(values).columns("f1")
            table.append({"kind": kind, "source": name, "target": target, **estimate})
    scores = _scores(f1, rng) if twins or text else []
    return Comparison(pd.DataFrame(table), pd.DataFrame(scores), predictions)


def _dealt(
    control: Control, heights: np.ndarray, groups: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """What a control makes of the heights, anew where it leaves one group all that is useful."""

    def told(labels: np.ndarray) -> int:
        return min(2, len(np.unique(groups[(labels > USELESS).any(axis=1)])))

    labels = control(heights, rng)
    while told(labels) < told(heights):
        labels = control(heights, rng)
    return labels


def _scores(
    f1: Mapping[str, Mapping[tuple[str, str], np.ndarray]], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Scores (Eqs 1 and 2) of models over both baselines, and of each twin over the others."""
    rows = []
    for score, target in TARGETS.items():
        texts = {name: values for (kind, name), values in f1[target].items() if kind == "text"}
        twins = {name: values for (kind, name), values in f1[target].items() if kind == "twin"}
        for (kind, name), own in f1[target].items():
            baselines = {}
            others = [values for twin, values in twins.items() if twin != name]
            if others and kind in ("model", "twin"):
                baselines["random twin"] = _resample_twins(np.stack(others), rng)
            if kind == "model" and texts:
                best = max(texts, key=lambda text: texts[text][0])
                baselines[f"text ({best})"] = texts[best]
            for over, base in baselines.items():
                found: dict[str, Any] = {"note": "undefined: the baseline is perfect"}
                if base[0] < 1:
                    with np.errstate(divide="ignore", invalid="ignore"):
                        values = (own - base) / (1 - base)
                    found = percentile_interval(values[np.isfinite(values)]).columns()
                rows.append({"kind": kind, "source": name, "score": score, "over": over, **found})
    return rows


def _resample_twins(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mean over twins, which each resample draws anew; (resamples,) from (twins, resamples)."""
    drawn = rng.integers(len(values), size=values.shape)
    drawn[:, 0] = np.arange(len(values))
    return np.take_along_axis(values, drawn, axis=0).mean(axis=0)


def compare_prefixes(
    models: Mapping[str, np.ndarray],
    heights: np.ndarray,
    *,
    twins: Sequence[np.ndarray],
    groups: np.ndarray | None = None,
    settings: ProbeSettings = DEFAULT,
) -> Comparison:
    """Scores from the first l layers, for every l, over the twins' own first l layers (Fig 6)."""
    parts: dict[str, list[pd.DataFrame]] = {"f1": [], "scores": []}
    for layers in range(1, next(iter(models.values())).shape[-1] + 1):
        own = {name: values[..., :layers] for name, values in models.items()}
        beside = [values[..., :layers] for values in twins]
        found = compare(own, heights, twins=beside, controls=(), groups=groups, settings=settings)
        for name, tables in parts.items():
            tables.append(getattr(found, name))
            tables[-1].insert(0, "layers", layers)
    return Comparison(*map(pd.concat, parts.values()))


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
        if source not in CONTROLS
    )  # fmt: skip
