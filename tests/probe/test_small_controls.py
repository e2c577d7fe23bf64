"""Controls of small files: labels dealt anew that leave a question without a useful statement."""

import numpy as np
import pytest

from mplib.probe.knn import ProbeSettings
from mplib.probe.scores import CONTROLS, compare
from mplib.tasks.trees import USELESS


def alone(n: int, statements: int = 4) -> np.ndarray:
    """Questions of one useful statement each."""
    heights = np.full((n, statements), USELESS, dtype=np.int8)
    heights[np.arange(n), np.arange(n) % statements] = 0
    return heights


@pytest.mark.parametrize(("n", "folds"), [(6, 5), (6, 6), (2, 2), (3, 2), (40, 40)])
def test_dealt_labels_never_stop_a_comparison(n: int, folds: int) -> None:
    heights = alone(n)
    features = np.random.default_rng(0).normal(size=(*heights.shape, 2))
    for seed in range(4 if folds < 40 else 1):
        settings = ProbeSettings(1, folds=folds, halves=2, fold_seeds=1, seed=seed)
        found = compare({"model": features}, heights, twins=[features[::-1]], settings=settings)
        assert set(found.f1.kind) == {"model", "twin", "permuted"} and found.f1.f1.notna().all()


def test_labels_are_dealt_once_where_every_fold_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    dealt = []

    def deal(heights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        dealt.append(heights)
        return heights[:, ::-1].copy()

    monkeypatch.setitem(CONTROLS, "permuted labels", deal)
    heights = alone(10)
    features = np.random.default_rng(0).normal(size=(*heights.shape, 2))
    compare({"model": features}, heights, twins=[], settings=ProbeSettings(halves=2))
    assert len(dealt) == 1
