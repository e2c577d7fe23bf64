"""TODO."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mplib.report.figures.style import SCORE_NAMES, TARGET_NAMES, _distances


def f1_bars(f1: pd.DataFrame) -> Figure:
    """Raw F1 of every source with its 95 % interval, a panel for each target (Table 4)."""
    targets = [target for target in TARGET_NAMES if target in set(f1.target)]
    figure, axes = plt.subplots(
        1, len(targets), figsize=(1.6 + 3.2 * len(targets), 1 + 0.36 * f1.source.nunique()),
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    kinds = dict(zip(f1.kind.unique(), sns.color_palette(), strict=False))
    for axis, target in zip(axes[0], targets, strict=True):
        part = f1[f1.target == target]
        axis.barh(part.source, part.f1, color=[kinds[kind] for kind in part.kind], alpha=0.8)
        axis.errorbar(
            part.f1, part.source, xerr=_distances(part, "f1"), fmt="none", ecolor="black", capsize=2
        )
        axis.set(title=TARGET_NAMES[target], xlabel="F1", xlim=(0, 1.02))
    axes[0, 0].invert_yaxis()
    sns.despine(figure)
    return figure


def score_points(scores: pd.DataFrame) -> Figure:
    """Normalised scores with 95 % intervals, over each baseline (Table 1).

    Scores have no lower bound: what lies below -1 is drawn at -1 as a triangle.
    """
    part = scores[scores.value.notna()]
    names = [score for score in SCORE_NAMES if score in set(part.score)]
    figure, axes = plt.subplots(
        1, len(names), figsize=(1.6 + 3.2 * len(names), 1.6 + 0.3 * part.source.nunique()),
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    rows = {source: place for place, source in enumerate(part.source.unique())}
    baselines = part.over.str.partition(" (")[0]
    colors = dict(zip(baselines.unique(), sns.color_palette(), strict=False))
    for axis, score in zip(axes[0], names, strict=True):
        axis.axvline(0, color="grey", lw=0.8)
        for shift, (over, color) in enumerate(colors.items()):
            chosen = part[(part.score == score) & (baselines == over)]
            places = chosen.source.map(rows) + 0.22 * shift - 0.11 * (len(colors) - 1)
            seen = chosen.assign(
                value=chosen.value.clip(lower=-1),
                low=chosen.low.clip(lower=-1),
                high=chosen.high.clip(lower=-1),
            )
            axis.errorbar(
                seen.value, places, xerr=_distances(seen, "value"), fmt="o", color=color,
                capsize=3, label=f"over the {over}",
            )  # fmt: skip
            beyond = chosen.value < -1
            axis.plot(seen.value[beyond], places[beyond], "<", color=color, ms=10)
        axis.set(title=SCORE_NAMES[score], xlabel="score", yticks=list(rows.values()))
    axes[0, 0].set_yticklabels(list(rows))
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(colors), frameon=False)
    sns.despine(figure)
    return figure


def prefix_curves(scores: pd.DataFrame) -> Figure:
    """Scores from the first l layers over the twin's own first l layers, with bands (Fig 6)."""
    part = scores[(scores.kind == "model") & scores.value.notna()]
    names = [score for score in SCORE_NAMES if score in set(part.score)]
    few = part.layers.nunique() <= 12
    figure, axes = plt.subplots(
        1, len(names), figsize=(1 + 3.4 * len(names), 3.8), squeeze=False, sharey=True,
        layout="constrained",
    )  # fmt: skip
    for axis, score in zip(axes[0], names, strict=True):
        axis.axhline(0, color="grey", lw=0.8)
        for source, curve in part[part.score == score].groupby("source", sort=False):
            line = axis.plot(curve.layers, curve.value, marker="o" if few else "", label=source)[0]
            axis.fill_between(
                curve.layers, curve.low, curve.high, color=line.get_color(), alpha=0.2
            )
        axis.set(title=SCORE_NAMES[score], xlabel="first layers used")
        axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    # Scores have no lower bound; what lies below -1 is in the table.
    axes[0, 0].set(ylabel="score over the random twin", ylim=(max(-1, part.low.min()) - 0.05, 1.05))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    sns.despine(figure)
    return figure


def height_curves(table: pd.DataFrame) -> Figure:
    """F1 of useful statements of each height against useless ones, by layers used (Fig 7f)."""
    names = list(dict.fromkeys(zip(table.set, table.subject, strict=True)))
    figure, axes = plt.subplots(
        1, len(names), figsize=(1 + 2.9 * len(names), 3.2), squeeze=False, sharey=True,
        layout="constrained",
    )  # fmt: skip
    for axis, (name, subject) in zip(axes[0], names, strict=True):
        part = table[(table.set == name) & (table.subject == subject)]
        for height, curve in part.groupby("height"):
            line = axis.plot(curve.layers, curve.f1, label=f"height {height}")[0]
            axis.fill_between(
                curve.layers, curve.low, curve.high, color=line.get_color(), alpha=0.2
            )
        axis.set(title=f"{name}\n{subject}", xlabel="first layers used", ylim=(0, 1.02))
    axes[0, 0].set_ylabel("F1: useful or useless")
    axes[0, -1].legend(frameon=False)
    sns.despine(figure)
    return figure
