"""TODO."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from mplib.report.figures.style import _distances


def pruning_curves(averaged: pd.DataFrame) -> Figure:
    """Accuracy while heads are switched off in several orders, with 95 % bands (Fig 9)."""
    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    for name, curve in averaged.groupby("order", sort=False):
        label = f"at {name}" if name == "random" else f"small {name} first"
        line = axis.plot(curve.percentage, curve.accuracy, marker="o", label=label)[0]
        axis.fill_between(
            curve.percentage, curve.low, curve.high, color=line.get_color(), alpha=0.2
        )
    axis.set(xlabel="heads switched off (%)", ylabel="accuracy", ylim=(-0.02, 1.02))
    axis.legend(frameon=False)
    sns.despine(figure)
    return figure


def knock_out_effects(table: pd.DataFrame, guess: float) -> Figure:
    """What cutting edges does, a row for each measure and a column for each size of the window.

    Args:
        table: of the knock-out.
        guess: accuracy of always giving the most frequent answer, drawn as a dotted line.
    """
    measures, sizes = ["accuracy", "change in log-probability"], sorted(table.window.unique())
    counts = [table[table.window == size].first_layer.nunique() for size in sizes]
    figure, axes = plt.subplots(
        len(measures), len(sizes), figsize=(2 + 0.9 * sum(counts), 5.6), sharey="row",
        sharex="col", squeeze=False, width_ratios=[count + 0.5 for count in counts],
        layout="constrained",
    )  # fmt: skip
    cuts = list(dict.fromkeys(table.cut))
    for (row, column), axis in np.ndenumerate(axes):
        part = table[(table.measure == measures[row]) & (table.window == sizes[column])]
        axis.axhline(guess if row == 0 else 0, color="grey", lw=1, ls=":")
        for shift, cut in enumerate(cuts):
            chosen = part[part.cut == cut]
            axis.errorbar(
                chosen.first_layer + 0.12 * (shift - (len(cuts) - 1) / 2), chosen.value,
                yerr=_distances(chosen, "value"), fmt="o-", lw=1, capsize=2, label=cut,
            )  # fmt: skip
        spans = part.drop_duplicates("first_layer")
        names = [
            str(a) if a == b else f"{a}-{b}"
            for a, b in zip(spans.first_layer, spans.last_layer, strict=True)
        ]
        axis.set_xticks(spans.first_layer, names)
        if row:
            axis.set_xlabel("layer" if sizes[column] == 1 else "layers")
    axes[0, 0].set(ylabel="accuracy", ylim=(-0.03, 1.03))
    axes[1, 0].set_ylabel("change in log-probability")
    rest = "sums to one again" if table.renormalised.all() else "is not renormalised"
    figure.suptitle(f"attention to these statements cut; what is left {rest}", fontsize="medium")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    sns.despine(figure)
    return figure


def rollout_curve(table: pd.DataFrame) -> Figure:
    """Share of the first token in the last one's attention roll-out, by layer (appendix A)."""
    figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    lines = {
        "first_token": ("first token", "o-"),
        "first_token_if_even": ("first token, attention spread evenly", "s--"),
        "bound": ("bound of appendix A", "^:"),
        "one_token": ("one token of a list", "k:"),
    }
    for column, (label, style) in lines.items():
        axis.plot(table.layer, table[column], style, label=label)
    axis.set(xlabel="layers rolled out", ylabel="share of the last token", xticks=table.layer)
    axis.set_ylim(0, 1)
    axis.legend(frameon=False)
    sns.despine(figure)
    return figure
