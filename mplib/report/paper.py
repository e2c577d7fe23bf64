"""The published numbers, to be put beside ours."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from mplib.files import ROOT


def paper_table(name: str, **chosen: Any) -> pd.DataFrame:
    """Rows of one of the paper's tables, kept in ``results/paper``, as fractions.

    Args:
        name: a file there without its suffix, such as ``table1`` or ``fig6``.
        **chosen: column values that the rows must have; a list for any of several.
    """
    table = pd.read_csv(ROOT / "results" / "paper" / f"{name}.csv")
    for column, value in chosen.items():
        table = table[table[column].isin(value if isinstance(value, list) else [value])]
    return table.assign(paper=name)


def paper_tables(*names: str, **chosen: Any) -> pd.DataFrame:
    """Rows of several of the paper's tables, one after the other; see ``paper_table``."""
    return pd.concat([paper_table(name, **chosen) for name in names])


def paper_curves(name: str, along: str, by: str, **chosen: Any) -> pd.DataFrame:
    """One of the paper's tables with a row for each value of one column, a column for another's."""
    table = paper_table(name, **chosen)
    return table.pivot(index=along, columns=by, values="value").reset_index()


def paper_figures(data: str, depths: Iterable[int]) -> pd.DataFrame:
    """The paper's F1s, scores and accuracies for LLaMA-7B, a row for each depth and |S|."""
    tables = [paper_table(name, data=data, depth=sorted(depths)) for name in ("table8", "table2")]
    paper = pd.concat(tables)
    paper["figure"] = paper.source + ", " + paper.quantity
    return paper.pivot_table("value", ["depth", "size"], "figure", sort=False).reset_index()
