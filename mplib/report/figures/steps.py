"""Figures of written reasoning: rankings, what steps need, and whole chains with their edges."""

from collections.abc import Sequence
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Arc
from matplotlib.ticker import MaxNLocator

from mplib.report.figures.style import curves, draw, panels, rows
from mplib.report.figures.view import View, view
from mplib.tasks.steps import Trace


def precision_curves(table: pd.DataFrame) -> Figure:
    """Average precision of what a step follows from, by the layer whose attention ranks it.

    Args:
        table: of ``mplib.studies.step_tables.precision_table``; rankings without a layer are lines.
    """
    layers = table[table.layer > 0].rename(columns={"precision": "value"})
    plot = curves(layers, "layer", "value", "source", so.Band())
    plot = plot.scale(x=so.Continuous().tick(MaxNLocator(8, integer=True)))
    figure = draw(plot, (7.2, 4.2), y="average precision", color="")
    by_rank = table[~table.source.isin(layers.source)].groupby("source", sort=False).precision
    for style, (name, values) in zip((":", "--"), by_rank, strict=False):
        figure.axes[0].axhline(values.iloc[0], color="grey", ls=style)
        place = layers.layer.max(), values.iloc[0]
        figure.axes[0].annotate(name, place, color="dimgrey", ha="right", va="bottom")
    return figure


def needs_points(table: pd.DataFrame) -> Figure:
    """What a step's own log-probability loses where it cannot look, and what more than elsewhere.

    Args:
        table: of ``mplib.studies.step_tables.needs_table``.
    """
    row = table.cut + table["minus"].map(lambda other: f"\nminus {other}" if other else "")
    panel = table.subject if "subject" in table else "change in log-probability"
    shown = table.assign(row=row, panel=panel)
    plot = rows(shown, "value", "row", "panel", so.Dot(), so.Range())
    size = 2.6 + 3.8 * shown.panel.nunique(), 3.6
    return draw(plot, size, zero="x", x="nats a token", y="")


def found_shares(table: pd.DataFrame) -> Figure:
    """Share of edges that a ranking finds, by how far they reach and by how deep their step stands.

    Args:
        table: of ``mplib.studies.step_tables.found_table``.
    """
    plot = so.Plot(table.reset_index(drop=True), y="part", x="value", color="source").facet("by")
    plot = plot.share(y=False).limit(x=(-0.02, 1.02))
    plot = plot.add(so.Dot(), so.Dodge()).add(so.Range(), so.Dodge(), xmin="low", xmax="high")
    return draw(plot, (8.4, 3.8), x="share of edges found", y="", color="")


LOOKS = {"right": ("-", "C0"), "extra": ("--", "C1"), "missed": (":", "C3")}
"""Line and colour of an edge beside the gold ones; lines tell them apart without colours too."""


def arcs(trace: Trace) -> Figure:
    """One problem from top to bottom, with an arc from each step back to what it has.

    A panel for each kind of edges; behind the gold ones, those of other panels are right, extra or
    missed.
    """
    n = len(trace.units)
    gold = trace.edges.get("gold")
    figure, axes = panels(len(trace.edges), (5 + 1.6 * len(trace.edges), 1.2 + 0.34 * n))
    for axis, (name, own) in zip(axes, trace.edges.items(), strict=True):
        marked = own if gold is None else own | gold
        for step, unit in np.argwhere(marked):
            here, base = own[step, unit], own if gold is None else gold
            kind = "missed" if not here else "right" if base[step, unit] else "extra"
            line, color = LOOKS[kind]
            low, high = unit, trace.first + step
            middle, far = (low + high) / 2, high - low
            looks: dict[str, Any] = {"theta1": -90, "theta2": 90, "ls": line, "lw": 1.4}
            axis.add_patch(Arc((0, middle), far, far, color=color, **looks))
        axis.scatter(np.zeros(n), range(n), s=12, c=["grey"] * trace.first + ["k"] * len(own))
        axis.set(title=name, xlim=(-0.4, n / 2), ylim=(n - 0.5, -0.5), xticks=[])
        sns.despine(ax=axis, left=True, bottom=True)
        axis.tick_params(length=0)
    labels = [f"{shorten(text, 58)}  {i}" for i, text in enumerate(trace.units, 1)]
    axes[0].set_yticks(range(n), labels, fontsize="x-small")
    if gold is not None:
        handles = [Line2D([], [], ls=ls, color=color) for ls, color in LOOKS.values()]
        figure.legend(handles, [*LOOKS], loc="outside lower right", ncols=3)
    return figure


def written_page(traces: Sequence[Trace]) -> View:
    """Problems as a page to play with: choose a step to see what it follows from, read and needed.

    By mouse, touch or arrow keys; see ``view``.
    """
    data = [
        {"name": shorten(trace.name, 60), "units": [*trace.units], "first": trace.first,
         "edges": {name: _numbers(own) for name, own in trace.edges.items()}}
        for trace in traces
    ]  # fmt: skip
    tallest = max(sum(1 + len(text) // 60 for text in trace.units) for trace in traces)
    return view("written_reasoning", "Written reasoning", data, 150 + 42 * tallest)


def _numbers(edges: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in edges]
