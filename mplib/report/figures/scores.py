"""Figures of training and of the probe's scores, of one run and of many."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mplib.report.columns import swept
from mplib.report.figures import style
from mplib.report.figures.style import SCORE_NAMES, TARGET_NAMES, panels


def training_curves(history: pd.DataFrame) -> Figure:
    """Loss and development accuracy by optimiser step."""
    figure, axes = panels(2, (9, 3.2), sharey=False)
    columns = {"loss": "training loss", "dev_accuracy": "development accuracy"}
    for axis, (column, label) in zip(axes, columns.items(), strict=True):
        sns.lineplot(history, x="step", y=column, marker="o", ax=axis)
        axis.set(ylabel=label, xlabel="optimiser step")
    axes[1].set_ylim(-0.02, 1.02)
    return figure


def f1_bars(f1: pd.DataFrame) -> Figure:
    """Raw F1 of every source with its 95 % interval, a panel for each target (Table 4)."""
    targets = [target for target in TARGET_NAMES if target in set(f1.target)]
    size = 1.6 + 3.2 * len(targets), 1 + 0.36 * f1.source.nunique()
    figure, axes = panels(len(targets), size)
    kinds = dict(zip(f1.kind.unique(), sns.color_palette(), strict=False))
    for axis, target in zip(axes, targets, strict=True):
        part = f1[f1.target == target]
        axis.barh(part.source, part.f1, color=[kinds[kind] for kind in part.kind], alpha=0.8)
        style.points(axis, part, "f1", part.source, fmt="none", ecolor="black", capsize=2)
        axis.set(title=TARGET_NAMES[target], xlabel="F1", xlim=(0, 1.02))
    axes[0].invert_yaxis()
    return figure


def score_points(scores: pd.DataFrame) -> Figure:
    """Normalised scores with 95 % intervals, over each baseline (Table 1).

    Scores have no lower bound: what lies below -1 is drawn at -1 as a triangle.
    """
    part = scores[scores.value.notna()]
    part = part.assign(over=part.over.str.partition(" (")[0], row=part.source)
    names = [score for score in SCORE_NAMES if score in set(part.score)]
    rows, baselines = part.row.nunique(), part.over.nunique()
    size = 1.6 + 3.2 * len(names), 1.6 + 0.3 * rows
    figure, axes = _over_baselines(part, names, size, gap=0.22, markersize=6, capsize=3)
    axes[0].set_ylim(rows - 0.5, -0.5)
    style.legend_below(figure, axes[0], baselines)
    return figure


def summary_points(pooled: pd.DataFrame) -> Figure:
    """Scores of all settings over both baselines, a panel a score, with 95 % intervals.

    One setting without a signal would else take the room of all others: what lies below -1 is
    drawn at -1 as a triangle.
    """
    names = ["S_P1", "S_P2"]
    scores = pooled[pooled.quantity.isin(names)]
    label = scores.task + ": " + scores.setting
    for name in swept(scores):
        if scores[name].notna().any():
            label = label + scores[name].map(lambda value, name=name: f", {name} {value}")
    part = scores.assign(row=label, score=scores.quantity)
    inches = 11, 1.2 + 0.34 * label.nunique()
    figure, axes = _over_baselines(part, names, inches, gap=0.3, markersize=4, capsize=2)
    axes[0].invert_yaxis()
    for axis in axes:
        axis.set_xlim(-1.05, 1.05)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize="small", loc="outside upper right", ncols=2)
    return figure


def _over_baselines(
    table: pd.DataFrame, names: Sequence[str], inches: tuple[float, float], gap: float, **look: Any
) -> tuple[Figure, list[Axes]]:
    """A panel for each score, with a row for each of the table's, baselines side by side."""
    figure, axes = panels(len(names), inches)
    rows = style.rows_of(axes[0], table.row)
    colors = dict(zip(("random twin", "text"), sns.color_palette(), strict=False))
    baselines = [over for over in colors if over in set(table.over)]
    for axis, score in zip(axes, names, strict=True):
        axis.axvline(0, color="grey", lw=0.8)
        for over, shift in zip(baselines, style.offsets(len(baselines), gap), strict=True):
            part = table[(table.score == score) & (table.over == over)].dropna(subset="value")
            seen = part.assign(**part[["value", "low", "high"]].clip(lower=-1))
            seen["place"] = part.row.map(rows) + shift
            look |= {"color": colors[over], "label": f"over the {over}"}
            style.points(axis, seen, "value", seen.place, fmt="o", **look)
            beyond, size = seen[part.value < -1], 4 + look["markersize"]
            axis.plot(beyond.value, beyond.place, "<", color=colors[over], markersize=size)
        axis.set(title=SCORE_NAMES[score], xlabel="score")
    return figure, axes


def prefix_curves(scores: pd.DataFrame) -> Figure:
    """Scores from the first l layers over the twin's own first l layers, with bands (Fig 6)."""
    part = scores[(scores.kind == "model") & scores.value.notna()]
    names = [score for score in SCORE_NAMES if score in set(part.score)]
    marker = "o" if part.layers.nunique() <= 12 else ""
    figure, axes = panels(len(names), (1 + 3.4 * len(names), 3.8))
    for axis, score in zip(axes, names, strict=True):
        axis.axhline(0, color="grey", lw=0.8)
        style.curves(axis, part[part.score == score], "layers", "value", "source", marker=marker)
        axis.set(title=SCORE_NAMES[score], xlabel="first layers used")
        axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    # Scores have no lower bound; what lies below -1 is in the table.
    axes[0].set(ylabel="score over the random twin", ylim=(max(-1, part.low.min()) - 0.05, 1.05))
    style.legend_below(figure, axes[0], 3)
    return figure


def height_curves(table: pd.DataFrame) -> Figure:
    """F1 of useful statements of each height against useless ones, by layers used (Fig 7f)."""
    table = table.assign(label="height " + table.height.astype(str))
    groups = list(table.groupby(["set", "subject"], sort=False))
    figure, axes = panels(len(groups), (1 + 2.9 * len(groups), 3.2))
    for axis, ((name, subject), part) in zip(axes, groups, strict=True):
        style.curves(axis, part, "layers", "f1", "label")
        axis.set(title=f"{name}\n{subject}", xlabel="first layers used", ylim=(0, 1.02))
    axes[0].set_ylabel("F1: useful or useless")
    axes[-1].legend(frameon=False)
    return figure


def sweep_curves(pooled: pd.DataFrame, along: str, paper: pd.DataFrame) -> Figure:
    """Accuracy and scores along a swept number, beside the paper's curves where there are any.

    Args:
        pooled: figures over seeds, from ``summary.pool_seeds``.
        along: the swept number's column.
        paper: columns quantity, ``along``, value and label.
    """
    table = pooled.dropna(subset=[along, "value"])
    others = [name for name in swept(table) if name != along]
    shown = table[table.quantity.isin(["accuracy", *SCORE_NAMES])]
    groups = list(shown.groupby(["quantity", "over"]))
    groups.sort(key=lambda group: group[0][0] != "accuracy")  # which comes first
    columns, rows = min(len(groups), 4), -(-len(groups) // 4)
    size = 1 + 3 * columns, 0.6 + 3 * rows
    figure, axes = panels(columns, size, rows, sharex=True, sharey=False)
    for axis in axes[len(groups) :]:
        axis.set_visible(False)
    for axis, ((quantity, over), part) in zip(axes, groups, strict=False):
        for key, line in part.groupby(["task", "setting", *others], sort=False, dropna=False):
            line = line.sort_values(along)
            label = ", ".join(str(word) for word in key if not pd.isna(word))
            look = {"marker": "o", "markersize": 4, "capsize": 2, "label": label}
            style.points(axis, line, "value", line[along], along="y", **look)
        if over != "text":
            for label, line in paper[paper.quantity == quantity].groupby("label", sort=False):
                axis.plot(line[along], line.value, "--", color="grey", linewidth=1, label=label)
        axis.set_title(f"{quantity}{f', over the {over}' if over else ''}", fontsize="medium")
        axis.set(xlabel=along, ylim=(min(-0.02, max(part.value.min() - 0.05, -1.05)), 1.05))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].legend(fontsize="x-small")
    return figure
