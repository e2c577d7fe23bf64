"""The probe: two kNN classifiers on attention, their scores, controls and intervals.

The first classifier tells useful statements from useless ones (V), the second tells the height of a
useful statement in the gold tree (G given V); paper, sections 3.3 and 3.4.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mplib.probe.knn import (
    DEFAULT,
    Predictions,
    ProbeSettings,
    confusions,
    predict,
    resampled_f1,
    useful_heights,
    usefulness,
)
from mplib.stats import group_weights, percentile_interval
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
    groups = np.arange(len(heights)) if groups is None else np.asarray(groups)
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
    weights = group_weights(len(np.unique(groups)), settings.resamples, rng)
    predictions: dict[str, Predictions] = {}
    f1: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for kind, name, values, labels in sources:
        predictions[name] = found = predict(values, labels, groups, settings)
        useful = confusions(usefulness(labels), found.useful, groups)
        height = confusions(useful_heights(labels), found.height, groups)
        macro, root = resampled_f1(height, weights)
        one_height = (height.sum(axis=(0, 2)) > 0).sum() < 2
        f1[kind, name] = {"V": resampled_f1(useful, weights)[0]}
        # With one height there is nothing to tell (k = 1, depth 0): F1 would be 1 for anybody.
        f1[kind, name] |= {} if one_height else {"G": macro, "G_root": root}
    table = [
        {
            "kind": kind,
            "source": name,
            "target": target,
            **percentile_interval(values).columns("f1"),
        }
        for (kind, name), by_target in f1.items()
        for target, values in by_target.items()
    ]
    scores = _scores(f1, rng) if twins or text else []
    return Comparison(pd.DataFrame(table), pd.DataFrame(scores), predictions)


def _dealt(
    control: Control, heights: np.ndarray, groups: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """What a control makes of the heights, anew where it leaves one group all that is useful."""
    labels = control(heights, rng)
    while _folds(2, labels, groups) < _folds(2, heights, groups):
        labels = control(heights, rng)
    return labels


def _folds(most: int, labels: np.ndarray, groups: np.ndarray) -> int:
    """As many folds, but no more than groups that have a useful statement."""
    return min(most, len(np.unique(groups[(labels > USELESS).any(axis=1)])))


def _scores(
    f1: dict[tuple[str, str], dict[str, np.ndarray]], rng: np.random.Generator
) -> list[dict[str, object]]:
    """Scores (Eqs 1 and 2) of models over both baselines, and of each twin over the others."""
    twins = [name for kind, name in f1 if kind == "twin"]
    texts = [name for kind, name in f1 if kind == "text"]
    rows: list[dict[str, object]] = []
    for score, target in TARGETS.items():
        for (kind, name), by_target in f1.items():
            if kind not in ("model", "twin") or target not in by_target:
                continue
            others = [f1["twin", twin][target] for twin in twins if twin != name]
            baselines = {}
            if others:
                baselines["random twin"] = _resample_twins(np.stack(others), rng)
            if texts and kind == "model":
                best = max(texts, key=lambda text: f1["text", text][target][0])
                baselines[f"text ({best})"] = f1["text", best][target]
            for over, base in baselines.items():
                row: dict[str, object] = {
                    "kind": kind,
                    "source": name,
                    "score": score,
                    "over": over,
                }
                if base[0] >= 1:
                    row["note"] = "undefined: the baseline is perfect"
                else:
                    with np.errstate(divide="ignore", invalid="ignore"):
                        values = (by_target[target] - base) / (1 - base)
                    row |= percentile_interval(values[np.isfinite(values)]).columns()
                rows.append(row)
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
    parts = []
    for layers in range(1, next(iter(models.values())).shape[-1] + 1):
        part = compare(
            {name: values[..., :layers] for name, values in models.items()},
            heights,
            twins=[values[..., :layers] for values in twins],
            controls=(),
            groups=groups,
            settings=settings,
        )
        part.f1.insert(0, "layers", layers)
        part.scores.insert(0, "layers", layers)
        parts.append(part)
    return Comparison(*(pd.concat([getattr(p, t) for p in parts]) for t in ("f1", "scores")))


def tidy_predictions(
    predictions: Mapping[str, Predictions], heights: np.ndarray, statements: np.ndarray
) -> pd.DataFrame:
    """Predictions as a tidy table, a row for each source and statement.

    Args:
        predictions: of each source.
        heights: gold heights, shape (examples, statements).
        statements: what to call the statements, shape (examples, statements).
    """
    example, place = np.nonzero(heights != PADDING)
    gold = heights[example, place]
    common = {
        "example": example,
        "position": place,
        "statement": statements[example, place],
        "height": gold,
    }  # fmt: skip
    return pd.concat(
        pd.DataFrame({
            "source": source,
            **common,
            "predicted_useful": found.useful[example, place],
            "predicted_height": pd.array(
                np.where(gold == USELESS, 0, found.height[example, place]), dtype="Int8"
            ),
        }).assign(predicted_height=lambda t: t.predicted_height.mask(t.height == USELESS))
        for source, found in predictions.items()
        if source not in CONTROLS
    )  # fmt: skip
