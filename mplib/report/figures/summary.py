"""TODO."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mplib.report.figures.style import SCORE_NAMES, _distances
from mplib.report.summary import POOLED


def summary_points(pooled: pd.DataFrame) -> Figure:
    """Scores of all settings over both baselines, a panel a score, with 95 % intervals."""
    scores = pooled[pooled.quantity.isin(["S_P1", "S_P2"])]
    label = scores.task + ": " + scores.setting
    swept = [name for name in scores if name not in POOLED and scores[name].notna().any()]
    for name in swept:
        label = label + scores[name].map(lambda value, name=name: f", {name} {value}")
    scores = scores.assign(label=label)
    places = {name: i for i, name in enumerate(dict.fromkeys(scores.label))}
    figure, axes = plt.subplots(
        1, 2, figsize=(11, 1.2 + 0.34 * len(places)), sharey=True, layout="constrained"
    )
    colours = dict(zip(("random twin", "text"), sns.color_palette(), strict=False))
    for axis, score in zip(axes, ("S_P1", "S_P2"), strict=True):
        for shift, (over, colour) in zip((-0.15, 0.15), colours.items(), strict=True):
            part = scores[(scores.quantity == score) & (scores.over == over)].dropna(subset="value")
            axis.errorbar(
                part.value, part.label.map(places) + shift, xerr=_distances(part, "value"),
                fmt="o", color=colour, markersize=4, capsize=2, label=f"over the {over}",
            )  # fmt: skip
            # One setting without a signal would else take the room of all others.
            off = part[part.value < -1]
            axis.plot([-1.02] * len(off), off.label.map(places) + shift, "<", color=colour)
        axis.axvline(0, color="grey", linewidth=0.8)
        axis.set(title=SCORE_NAMES[score], xlabel="score", xlim=(-1.05, 1.05))
    axes[0].set_yticks(list(places.values()), list(places))
    axes[0].invert_yaxis()
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize="small", loc="outside upper right", ncols=2)
    sns.despine(figure)
    return figure


def sweep_curves(pooled: pd.DataFrame, along: str, paper: pd.DataFrame) -> Figure:
    """Accuracy and scores along a swept number, beside the paper's curves where there are any.

    Args:
        pooled: figures over seeds, from ``summary.pool_seeds``.
        along: the swept number's column.
        paper: columns quantity, ``along``, value and label.
    """
    table = pooled.dropna(subset=[along, "value"])
    others = [name for name in table if name not in (*POOLED, along)]
    panels = [
        (quantity, over)
        for quantity in ("accuracy", "S_P1", "S_P2", "S_P2_root")
        for over in ("", "random twin", "text")
        if ((table.quantity == quantity) & (table.over == over)).any()
    ]
    columns = min(len(panels), 4)
    figure, axes = plt.subplots(
        -(-len(panels) // columns), columns, squeeze=False, sharex=True, layout="constrained",
        figsize=(1 + 3 * columns, 0.6 + 3 * -(-len(panels) // columns)),
    )  # fmt: skip
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (quantity, over) in zip(axes.flat, panels, strict=False):
        part = table[(table.quantity == quantity) & (table.over == over)]
        for key, line in part.groupby(["task", "setting", *others], sort=False, dropna=False):
            line = line.sort_values(along)
            axis.errorbar(
                line[along], line.value, yerr=_distances(line, "value"), marker="o", markersize=4,
                capsize=2, label=", ".join(str(word) for word in key if not pd.isna(word)),
            )  # fmt: skip
        if over != "text":
            for label, line in paper[paper.quantity == quantity].groupby("label", sort=False):
                axis.plot(line[along], line.value, "--", color="grey", linewidth=1, label=label)
        axis.set(title=f"{quantity}{f', over the {over}' if over else ''}", xlabel=along)
        axis.title.set_fontsize("medium")
        axis.set_ylim(min(-0.02, max(part.value.min() - 0.05, -1.05)), 1.05)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].legend(fontsize="x-small")
    sns.despine(figure)
    return figure
