"""What all figures share: the look, curves, rows of points or bars, their intervals, the legend."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.figure import Figure

LEGENDS = {"legend.fontsize": "small", "legend.frameon": False}
sns.set_theme(style="ticks", palette="colorblind", rc=LEGENDS)
so.Plot.config.theme.update({key: plt.rcParams[key] for key in so.Plot.config.theme})


TARGET_NAMES = {"V": "V: useful or useless", "G": "G: height (macro-F1)", "G_root": "G: root alone"}
"""Names of what is probed, as panels bear them."""


SCORE_NAMES = {"S_P1": "S_P1", "S_P2": "S_P2 (macro)", "S_P2_root": "S_P2 (root)"}
"""Names of scores, as panels bear them."""


def curves(table: pd.DataFrame, x: str, y: str, by: str, mark: so.Mark, *moves: so.Move) -> so.Plot:
    """A line through a column for each group, with its interval (low, high).

    Args:
        table: a row for each point.
        x: the column along which lines run.
        y: the column of values.
        by: the column of groups, a colour each.
        mark: what stands for an interval.
        *moves: what keeps groups apart.
    """
    line = so.Line(marker="o", pointsize=5 if table[x].nunique() <= 12 else 2)
    # Here and below: seaborn wants each index once, and a layer drops values without an interval.
    plot = so.Plot(table.reset_index(drop=True), x=x, y=y, color=by).add(line, *moves)
    return plot.add(mark, *moves, ymin="low", ymax="high")


def rows(
    table: pd.DataFrame, x: str, y: str, panel: str, mark: so.Mark, interval: so.Mark, **looks: str
) -> so.Plot:
    """A row for each name, with a column's values and their intervals (low, high).

    Args:
        table: a row for each value; none make an empty panel.
        x: the column of values.
        y: the column of names; colours that share a name stand beside one another.
        panel: the column of panels, which share the rows.
        mark: what stands for a value.
        interval: what stands for its interval.
        **looks: columns that colours and the like tell apart; the legend is that of the first,
            if it is a colour.
    """
    if table.empty:
        return so.Plot()
    plot = so.Plot(table.reset_index(drop=True), x=x, y=y, **looks).facet(panel)
    beside, told = so.Dodge(by=["color"], empty="fill"), "color" in looks
    plot = plot.add(mark, beside, legend=told)
    return plot.add(interval, beside, legend=told, xmin="low", xmax="high")


def draw(plot: so.Plot, size: tuple[float, float], zero: str = "", **labels: Any) -> Figure:
    """Draws a plot, with its legend below all panels.

    Args:
        plot: of seaborn's objects.
        size: width and height in inches.
        zero: the axis, x or y, on which zero is marked in every panel.
        **labels: of axes and panels, as ``so.Plot.label`` takes them.
    """
    figure = plt.figure(figsize=size, layout="constrained")
    plot.label(**labels).on(figure).plot()
    sns.despine(figure)
    for axis in figure.axes if zero else ():
        {"x": axis.axvline, "y": axis.axhline}[zero](0, color="grey", lw=0.8)
    for legend in figure.legends[:]:  # seaborn's own lies over the panels
        figure.legends.remove(legend)
        handles: Any = legend.legend_handles
        names = [text.get_text() for text in legend.get_texts()]
        columns = max(1, int(12 * size[0] / (8 + max(map(len, names)))))  # twelve letters an inch
        figure.legend(handles, names, loc="outside lower center", ncols=columns)
    return figure


def panels(columns: int, size: tuple[float, float], rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of empty panels, row by row, for images; those of a row share their y axis."""
    settings: dict[str, Any] = {"sharey": "row", "layout": "constrained", "squeeze": False}
    figure, axes = plt.subplots(rows, columns, figsize=size, **settings)
    return figure, list(axes.flat)
