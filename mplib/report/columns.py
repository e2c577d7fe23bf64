"""Columns of the summary's tables, which its figures and its sentences share."""

import pandas as pd

from mplib.stats import Estimate

FOUND = ["notebook", "task", "setting", "quantity", "over", "value", "low", "high"]
"""Columns of every figure; parameters that a profile sweeps follow."""


POOLED = [*FOUND, "spread", "seeds"]
"""The same over seeds."""


def swept(pooled: pd.DataFrame) -> list[str]:
    """Names of the parameters that a profile sweeps: all columns beyond ``POOLED``."""
    return [name for name in pooled if name not in POOLED]


def gained(gains: pd.DataFrame) -> pd.DataFrame:
    """The rows of gains in F1 over text and twins, by the classifier that is fit for both."""
    rows = gains[(gains.over == "text and twins") & (gains.measure == "F1")]
    return rows[(rows.classifier == "logistic") & rows.target.isin(["V", "G"])]


def gains_overview(gains: pd.DataFrame) -> pd.DataFrame:
    """Gains in words for a page: a column for each target, and what tells the rows apart."""
    if gains.empty:
        return gains
    keys = ["set", "subject", "among", "source", "measure", "over", "classifier"]
    known = [name for name in keys if name in gains]
    rows = [name for name in known if gains[name].nunique() > 1] or known[:1]
    return in_words(gains, rows, "target", "+.3f")


def contrasted(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Differences named in a column of their own: ``a less b`` where ``minus`` has a name."""
    less = table["minus"].map(lambda minus: f" less {minus}" if minus else "")
    return table.assign(**{name: table[name] + less})


def in_words(
    table: pd.DataFrame, rows: list[str], column: str, form: str = ".2f", value: str = "value"
) -> pd.DataFrame:
    """Figures with their intervals side by side, for a page; rows without any are left out.

    Args:
        table: with low and high; empty where there is no figure.
        rows: columns that tell the rows apart, in whose order they come.
        column: what stands side by side.
        form: of the numbers.
        value: column of the figures.
    """
    if table.empty:
        return table
    figures = table[[value, "low", "high"]].to_numpy(dtype=float)
    said = [f"{Estimate(*row):{form}}" for row in figures]
    said = ["" if text == "nan" else text for text in said]
    wide = table.assign(said=said).pivot(index=rows, columns=column, values="said")
    order = table[rows].drop_duplicates().itertuples(index=False, name=None)
    order = [row if len(rows) > 1 else row[0] for row in order]
    found = wide.loc[order, [*table[column].unique()]].fillna("")
    return found[(found != "").any(axis=1)].reset_index()
