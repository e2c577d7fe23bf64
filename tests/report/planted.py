"""Tables of the probe as it makes them, from features that show the tree as well as planted."""

from functools import cache

import numpy as np
import pandas as pd

from mplib.probe.knn import ProbeSettings
from mplib.probe.scores import Comparison, compare, compare_prefixes
from mplib.tasks.ksmallest import KSmallest

SETTINGS = ProbeSettings(halves=3, fold_seeds=1)
TASK = KSmallest(2, m=6, pool=40)
HEIGHTS = TASK.heights(TASK.draw(60, seed=0))


def seen(noise: float, seed: int, layers: int = 2) -> np.ndarray:
    """Features that show heights under noise, shape (examples, statements, layers)."""
    rng = np.random.default_rng(seed)
    return HEIGHTS[..., None] + rng.normal(size=(*HEIGHTS.shape, layers)) * noise


def blind(seed: int, layers: int = 2) -> np.ndarray:
    """Features that show nothing, of the same shape."""
    return np.random.default_rng(seed).normal(size=(*HEIGHTS.shape, layers))


@cache
def comparison() -> Comparison:
    """A tuned model that shows the tree, one before that shows nothing, a text between them."""
    return compare(
        {"tuned": seen(0.3, 1), "before": blind(2)}, HEIGHTS, twins=[blind(3), blind(4)],
        text={"text": seen(1.0, 5), "computing text": HEIGHTS[..., None].astype(float)},
        settings=SETTINGS,
    )  # fmt: skip


@cache
def prefixes(layers: int = 3) -> pd.DataFrame:
    """Scores of both models layer by layer."""
    models = {"tuned": seen(0.3, 1, layers), "before": blind(2, layers)}
    return compare_prefixes(models, HEIGHTS, twins=[blind(3, layers)], settings=SETTINGS)
