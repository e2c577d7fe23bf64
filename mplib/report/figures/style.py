"""TODO."""

import numpy as np
import pandas as pd
import seaborn as sns

sns.set_theme(style="ticks", context="notebook", palette="colorblind")


TARGET_NAMES = {
    "V": "V: useful or useless",
    "G": "G: height (macro-F1)",
    "G_root": "G: root alone",
}


SCORE_NAMES = {"S_P1": "S_P1", "S_P2": "S_P2 (macro)", "S_P2_root": "S_P2 (root, as published)"}


def _ticks(n: int) -> np.ndarray:
    """At most sixteen ticks over n places, the first among them."""
    return np.arange(0, n, -(-n // 16))


def _distances(table: pd.DataFrame, value: str) -> np.ndarray:
    """Lengths of the error bars to either side; shape (2, rows)."""
    return np.abs(np.stack([table[value] - table.low, table.high - table[value]]))
