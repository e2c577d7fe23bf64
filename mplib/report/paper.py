"""TODO."""

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
