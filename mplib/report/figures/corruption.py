"""TODO."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from mplib.report.figures.style import _distances


def corruption_effects(table: pd.DataFrame) -> Figure:
    """Changes by each corruption, or differences of two, with 95 % intervals, a panel a measure."""
    measures = [name for name in dict.fromkeys(table.measure) if name.startswith("change")]
    names = table.corruption + np.where(table.minus != "", "\nminus " + table.minus, "")
    table = table.assign(name=names)[table.value.notna()]
    rows = {name: place for place, name in enumerate(dict.fromkeys(table.name))}
    figure, axes = plt.subplots(
        1, len(measures), figsize=(2.5 + 3.4 * len(measures), 1.2 + 0.42 * max(3, len(rows))),
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    for axis, measure in zip(axes[0], measures, strict=True):
        part = table[table.measure == measure]
        axis.axvline(0, color="grey", lw=0.8)
        axis.errorbar(
            part.value, part.name.map(rows), xerr=_distances(part, "value"), fmt="o", capsize=3
        )
        axis.set(xlabel=measure, yticks=list(rows.values()))
    axes[0, 0].set_yticklabels(list(rows))
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    sns.despine(figure)
    return figure


def change_by_bin(binned: pd.DataFrame) -> Figure:
    """Mean change in accuracy of the draws in bins of a score, a line a corruption (Fig 10)."""
    figure, axis = plt.subplots(figsize=(8.5, 4.2), layout="constrained")
    axis.axhline(0, color="grey", lw=0.8)
    for name, part in binned[binned.value.notna()].groupby("corruption", sort=False):
        centre = (part["from"] + part["to"]) / 2
        line = axis.plot(centre, part.value, marker="o", label=name)[0]
        axis.fill_between(centre, part.low, part.high, color=line.get_color(), alpha=0.12)
    axis.set(xlabel=f"{binned.score.iloc[0]} of the draw", ylabel="change in accuracy")
    axis.legend(frameon=False, fontsize="small", bbox_to_anchor=(1.01, 1), loc="upper left")
    sns.despine(figure)
    return figure
