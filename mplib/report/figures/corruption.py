"""Figures of what corruptions of the input do."""

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure

from mplib.report.figures.style import curves, draw, rows


def corruption_effects(table: pd.DataFrame) -> Figure:
    """Changes by each corruption, or differences of two, with 95 % intervals, a panel a measure.

    A colour for each ``subject``, where the table has them.
    """
    table = table[table.measure.str.startswith("change") & table.value.notna()]
    name = table.corruption + np.where(table.minus != "", "\nminus " + table.minus, "")
    looks = {"color": "subject"} if "subject" in table else {}
    plot = rows(table.assign(name=name), "value", "name", "measure", so.Dot(), so.Range(), **looks)
    size = 2.5 + 3.4 * table.measure.nunique(), 1.2 + 0.42 * max(3, name.nunique())
    return draw(plot.share(x=False), size, zero="x", x="", y="")


def change_by_bin(binned: pd.DataFrame) -> Figure:
    """Mean change in accuracy of the draws in bins of a score, a line a corruption (Fig 10)."""
    table = binned.assign(centre=(binned["from"] + binned["to"]) / 2).dropna(subset="value")
    labels = {"x": f"{binned.score.iloc[0]} of the draw", "y": "change in accuracy"}
    plot = curves(table, "centre", "value", "corruption", so.Band())
    return draw(plot, (8.5, 4.8), zero="y", **labels)
