"""Figures of what corruptions of the input do."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mplib.report.figures.style import curves, panels, points, rows_of


def corruption_effects(table: pd.DataFrame) -> Figure:
    """Changes by each corruption, or differences of two, with 95 % intervals, a panel a measure."""
    measures = [name for name in dict.fromkeys(table.measure) if name.startswith("change")]
    names = table.corruption + np.where(table.minus != "", "\nminus " + table.minus, "")
    table = table.assign(name=names)[table.value.notna()]
    size = 2.5 + 3.4 * len(measures), 1.2 + 0.42 * max(3, table.name.nunique())
    figure, axes = panels(len(measures), size)
    rows = rows_of(axes[0], table.name)
    for axis, measure in zip(axes, measures, strict=True):
        part = table[table.measure == measure]
        axis.axvline(0, color="grey", lw=0.8)
        points(axis, part, "value", part.name.map(rows), fmt="o", capsize=3)
        axis.set_xlabel(measure)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def change_by_bin(binned: pd.DataFrame) -> Figure:
    """Mean change in accuracy of the draws in bins of a score, a line a corruption (Fig 10)."""
    figure, (axis,) = panels(1, (8.5, 4.2))
    axis.axhline(0, color="grey", lw=0.8)
    table = binned.assign(centre=(binned["from"] + binned["to"]) / 2).dropna(subset="value")
    curves(axis, table, "centre", "value", "corruption", band=0.12, marker="o")
    axis.set(xlabel=f"{binned.score.iloc[0]} of the draw", ylabel="change in accuracy")
    axis.legend(frameon=False, fontsize="small", bbox_to_anchor=(1.01, 1), loc="upper left")
    return figure
