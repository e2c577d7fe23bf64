"""Figures of the causal study: heads switched off, edges cut, the roll-out."""

from itertools import product

import pandas as pd
from matplotlib.figure import Figure

from mplib.report.figures.style import curves, legend_below, offsets, panels, points


def pruning_curves(averaged: pd.DataFrame) -> Figure:
    """Accuracy while heads are switched off in several orders, with 95 % bands (Fig 9)."""
    figure, (axis,) = panels(1, (6.4, 3.8))
    names = ("small " + averaged.order + " first").replace("small random first", "at random")
    curves(axis, averaged.assign(name=names), "percentage", "accuracy", "name", marker="o")
    axis.set(xlabel="heads switched off (%)", ylabel="accuracy", ylim=(-0.02, 1.02))
    axis.legend(frameon=False)
    return figure


def knock_out_effects(table: pd.DataFrame, guess: float) -> Figure:
    """What cutting edges does, a row for each measure and a column for each size of the window.

    Args:
        table: of the knock-out.
        guess: accuracy of always giving the most frequent answer, drawn as a dotted line.
    """
    zeros = {"accuracy": guess, "change in log-probability": 0}
    windows = table.groupby("window").first_layer.nunique()
    figure, axes = panels(
        len(windows), (2 + 0.9 * windows.sum(), 5.6), len(zeros), sharex="col",
        width_ratios=list(windows + 0.5),
    )  # fmt: skip
    cuts = table.cut.unique()
    for axis, (measure, size) in zip(axes, product(zeros, windows.index), strict=True):
        part = table[(table.measure == measure) & (table.window == size)]
        axis.axhline(zeros[measure], color="grey", lw=1, ls=":")
        for cut, shift in zip(cuts, offsets(len(cuts), 0.12), strict=True):
            chosen = part[part.cut == cut]
            places, look = chosen.first_layer + shift, {"fmt": "o-", "lw": 1, "capsize": 2}
            points(axis, chosen, "value", places, along="y", label=cut, **look)
        spans = part.drop_duplicates("first_layer")
        ends = zip(spans.first_layer, spans.last_layer, strict=True)
        axis.set_xticks(spans.first_layer, [str(a) if a == b else f"{a}-{b}" for a, b in ends])
    for axis, size in zip(axes[len(windows) :], windows.index, strict=True):
        axis.set_xlabel("layer" if size == 1 else "layers")
    axes[0].set(ylabel="accuracy", ylim=(-0.03, 1.03))
    axes[len(windows)].set_ylabel("change in log-probability")
    rest = "sums to one again" if table.renormalised.all() else "is not renormalised"
    figure.suptitle(f"attention to these statements cut; what is left {rest}", fontsize="medium")
    legend_below(figure, axes[0], 2)
    return figure


def rollout_curve(table: pd.DataFrame) -> Figure:
    """Share of the first token in the last one's attention roll-out, by layer (appendix A)."""
    figure, (axis,) = panels(1, (6.4, 3.4))
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
    return figure
