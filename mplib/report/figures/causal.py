"""Figures of the causal study: heads switched off, edges cut, outputs patched, the roll-out."""

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


def _layers(table: pd.DataFrame) -> pd.Series:
    """The window of each row, as the axis bears it."""
    first, last = table.first_layer.astype(str), table.last_layer.astype(str)
    return first.where(first == last, first + "-" + last)


def knock_out_effects(table: pd.DataFrame, guess: float) -> Figure:
    """What cutting edges does, a row for each measure and a column for each size of the window.

    Args:
        table: of the knock-out.
        guess: accuracy of always giving the most frequent answer, drawn as a dotted line.
    """
    zeros = {"accuracy": guess, "change in log-probability": 0}
    table = table.assign(layers=_layers(table))
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
    who = f"{table.subject.iloc[0]}\n" if "subject" in table else ""
    title = f"{who}attention to these statements cut; what is left {rest}"
    figure.suptitle(title, fontsize="medium")
    return figure


def patching_rates(table: pd.DataFrame) -> Figure:
    """How often the answer follows the attention output that the last token is given.

    Donors with another answer: the share that gives the other prompt's answer. Donors with the
    same answer, the control: the share of answers that change. Left each layer or block of layers
    alone, right all layers from the first; above donors' outputs in clean runs, below the other way
    round.

    Args:
        table: of patching, with the column ``donor``; of one ``subject`` if there is such a column.
    """
    followed = {"noising": "donor's answer", "denoising": "clean answer"}
    titles = {
        "noising": "donor's output in the clean run", "denoising": "clean output in the donor's run"
    }  # fmt: skip
    other = table.groupby("donor").measure.transform(
        lambda names: (names == "donor's answer").any()
    )
    wanted = table.direction.map(followed).where(other, "answers changed")
    said = np.where(other, ": the other's answer", ": another answer than before")
    shown = table.assign(series=table.donor + said, layers=_layers(table))
    shown = shown[(table.measure == wanted) & (table.first_layer > 0)]
    up = shown[shown.first_layer == 1].assign(window="all from the first layer")
    # The first block is both: it ends before another begins.
    others = shown[shown.first_layer > 1].first_layer
    alone = shown[(shown.first_layer > 1) | (shown.last_layer < others.min())]
    wide = (alone.first_layer < alone.last_layer).any()
    alone = alone.assign(window=f"each {'block' if wide else 'layer'} alone")
    both = pd.concat([alone, up]).replace({"direction": titles})
    plot = curves(both, "layers", "value", "series", so.Range())
    plot = plot.facet("window", "direction", order={"row": list(titles.values())})
    figure = draw(plot.share(x="col").limit(y=(-0.03, 1.03)), (7.2, 5.4), y="share of pairs")
    for axis in figure.axes:
        axis.set_title(axis.get_title().replace(" | ", "\n"), fontsize="small")
    if "subject" in table:
        figure.suptitle(table.subject.iloc[0], fontsize="medium")
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
