"""Figures of the causal study: heads switched off, edges cut, the roll-out."""

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mplib.report.figures.style import curves, draw


def pruning_curves(averaged: pd.DataFrame) -> Figure:
    """Accuracy while heads are switched off in several orders, with 95 % bands (Fig 9)."""
    names = ("small " + averaged.order + " first").replace("small random first", "at random")
    plot = curves(averaged.assign(order=names), "percentage", "accuracy", "order", so.Band())
    return draw(plot.limit(y=(-0.02, 1.02)), (6.4, 4.2), x="heads switched off (%)", y="accuracy")


def knock_out_effects(table: pd.DataFrame, guess: float) -> Figure:
    """What cutting edges does, a row for each measure and a column for each size of the window.

    Args:
        table: of the knock-out.
        guess: accuracy of always giving the most frequent answer, drawn as a dotted line.
    """
    zeros = {"accuracy": guess, "change in log-probability": 0}
    first, last = table.first_layer.astype(str), table.last_layer.astype(str)
    table = table.assign(layers=first.where(first == last, first + "-" + last))
    windows = table.groupby("window").first_layer.nunique()
    shown = table[table.measure.isin(zeros)]
    plot = curves(shown, "layers", "value", "cut", so.Range(), so.Dodge())
    plot = plot.facet("window", "measure", order={"row": list(zeros)}).share(x="col", y="row")
    figure = draw(plot, (2 + 0.9 * windows.sum(), 5.6))
    axes = np.array(figure.axes).reshape(len(zeros), -1)
    for line, (measure, zero) in zip(axes, zeros.items(), strict=True):
        line[0].set_ylabel(measure)
        for axis in line:
            axis.axhline(zero, color="grey", lw=1, ls=":")
            axis.set_title("")
    axes[0, 0].set_ylim(-0.03, 1.03)
    axes[0, 0].get_gridspec().set_width_ratios(windows + 0.5)
    rest = "sums to one again" if table.renormalised.all() else "is not renormalised"
    figure.suptitle(f"attention to these statements cut; what is left {rest}", fontsize="medium")
    return figure


def rollout_curve(table: pd.DataFrame) -> Figure:
    """Share of the first token in the last one's attention roll-out, by layer (appendix A)."""
    names = {
        "first_token": "first token",
        "first_token_if_even": "first token, attention spread evenly",
        "bound": "bound of appendix A",
        "one_token": "one token of a list",
    }
    long = table.rename(columns=names).melt("layer", names.values(), "share of")
    looks = dict.fromkeys(("color", "marker", "linestyle"), "share of")
    plot = so.Plot(long, x="layer", y="value", **looks).add(so.Line()).limit(y=(0, 1))
    plot = plot.scale(x=so.Continuous().tick(MaxNLocator(integer=True)))
    return draw(plot, (6.4, 3.8), x="layers rolled out", y="share of the last token")
