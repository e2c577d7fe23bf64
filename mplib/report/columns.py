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
    said = [f"{Estimate(*row):+.3f}" for row in gains[["value", "low", "high"]].to_numpy()]
    table = gains.assign(said=said).pivot(index=rows, columns="target", values="said")
    order = gains[rows].drop_duplicates().itertuples(index=False, name=None)
    order = [row if len(rows) > 1 else row[0] for row in order]
    return table.loc[order, [*gains.target.unique()]].reset_index()
