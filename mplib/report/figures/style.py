"""What all figures share: the look, rows of panels, curves with bands, points with intervals."""

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

sns.set_theme(style="ticks", context="notebook", palette="colorblind")


TARGET_NAMES = {
    "V": "V: useful or useless",
    "G": "G: height (macro-F1)",
    "G_root": "G: root alone",
}


SCORE_NAMES = {"S_P1": "S_P1", "S_P2": "S_P2 (macro)", "S_P2_root": "S_P2 (root, as published)"}


def panels(
    columns: int, size: tuple[float, float], rows: int = 1, *, frame: bool = False, **settings: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of empty panels, row by row; those of a row share their y axis.

    Args:
        columns: panels beside one another.
        size: width and height of the figure, in inches.
        rows: panels one below the other.
        frame: whether panels keep their upper and right edges, as images do.
        **settings: of ``plt.subplots``.
    """
    settings = {"sharey": "row", "layout": "constrained"} | settings
    figure, axes = plt.subplots(rows, columns, squeeze=False, figsize=size, **settings)
    if not frame:
        sns.despine(figure)
    return figure, list(axes.flat)


def curves(
    axis: Axes, table: pd.DataFrame, x: str, value: str, by: str, band: float = 0.2, **style: Any
) -> None:
    """A line through a column for each group, its interval as a band of the given opacity."""
    for name, part in table.groupby(by, sort=False):
        line = axis.plot(part[x], part[value], label=name, **style)[0]
        axis.fill_between(part[x], part.low, part.high, color=line.get_color(), alpha=band)


def points(
    axis: Axes, table: pd.DataFrame, value: str, places: pd.Series, along: str = "x", **style: Any
) -> None:
    """Points of a column with their intervals along one axis, at these places on the other."""
    distances = np.abs(np.stack([table[value] - table.low, table.high - table[value]]))
    x, y = (table[value], places) if along == "x" else (places, table[value])
    axis.errorbar(x, y, **{f"{along}err": distances}, **style)


def rows_of(axis: Axes, names: Iterable[str]) -> dict[str, int]:
    """The row of each name, in the order in which they come first; the panel names them."""
    rows = {name: row for row, name in enumerate(dict.fromkeys(names))}
    axis.set_yticks(list(rows.values()), list(rows))
    return rows


def offsets(n: int, gap: float) -> np.ndarray:
    """Where n things stand that share a place, around it; shape (n,)."""
    return gap * (np.arange(n) - (n - 1) / 2)


def legend_below(figure: Figure, axis: Axes, columns: int) -> None:
    """What one panel shows, named below all of them."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
