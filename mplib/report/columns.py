"""Columns of the summary's tables, which its figures and its sentences share."""

import pandas as pd

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
