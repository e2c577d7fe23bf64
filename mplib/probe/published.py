"""The published protocols: what the paper's source computes, for comparison only."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from mplib.tasks.trees import PADDING, USELESS


def published_f1(features: np.ndarray, heights: np.ndarray) -> dict[str, float]:
    """The two F1s that the paper's source prints for the k-th smallest, quirk by quirk.

    Two folds cut after the first ``len(features) // 2`` rows of statements, not of examples, so
    that the first fold trains on a few examples; the F1s of the folds are averaged. Heights are
    labelled in two columns (useful, root) of which the first never varies, so G is
    (1 + F1 of the root) / 2.

    Args:
        features: scaled by each example's maximum over all layers, shape (examples, statements,
            layers).
        heights: with only the first copy of a repeated number labelled, (examples, statements).

    Returns:
        ``V`` and ``G`` as printed, and ``G_root``, the F1 of the root behind the latter.
    """
    useful = heights != USELESS
    root = (heights == heights.max())[useful]
    cut = len(features) // 2
    f1_useful = _mean_f1(features.reshape(-1, features.shape[-1]), useful.ravel().astype(int), cut)
    f1_root = _mean_f1(features[useful], np.stack([np.ones_like(root), root], 1).astype(int), cut)
    return {"V": f1_useful, "G": f1_root, "G_root": 2 * f1_root - 1}


def _mean_f1(rows: np.ndarray, labels: np.ndarray, cut: int | None, power: int = 2) -> float:
    """Mean macro-F1 of two folds, on either side of a cut, or of five where there is no cut."""
    sides = np.split(np.arange(len(rows)), [cut or 0])
    near = KNeighborsClassifier(8, weights="distance", p=power)
    macro = make_scorer(f1_score, average="macro", pos_label=None, zero_division=0)
    folds = 5 if cut is None else [sides, sides[::-1]]
    found = cross_val_score(near, rows, labels, cv=folds, scoring=macro, error_score="raise")
    return float(found.mean())


def published_language_f1(
    features: np.ndarray, heights: np.ndarray, order: Sequence[Sequence[int]] | None = None
) -> dict[str, float]:
    """The two F1s that the paper's source prints for language: five folds over statements.

    Statements of one example, and examples of one theory, stand on both sides of a cut; the rows
    are not shuffled; the F1s of the folds are averaged. Where all are of one class, an F1 is 1.

    Args:
        features: shape (examples, statements, layers).
        heights: labels, shape (examples, statements): the whole tree's, or the source's own, which
            ``mplib.tasks.published`` gives.
        order: of each example's useful statements in G. The source's is that of a Python set,
            which differs from one process to the next; as they are told if None.

    Returns:
        ``V`` and ``G``; NaN where the source finds too few statements for its classifier.
    """
    if order is None:
        order = [np.flatnonzero(row > USELESS).tolist() for row in heights]
    useful = np.array([(i, j) for i, js in enumerate(order) for j in js], int).reshape(-1, 2)
    found = {}
    for target, gold, places in (
        ("V", heights != USELESS, np.nonzero(heights != PADDING)), ("G", heights, tuple(useful.T)),
    ):  # fmt: skip
        rows, classes = features[places], gold[places].astype(int)
        # Five folds, eight neighbours of the Manhattan distance, as the source has them.
        few = len(rows) < 10 or np.bincount(classes).max() < 5
        found[target] = np.nan if few else _mean_f1(rows, classes, None, power=1)
    return found


def compare_published(
    models: Mapping[str, np.ndarray],
    twins: Sequence[np.ndarray],
    heights: np.ndarray,
    protocol: Callable[[np.ndarray, np.ndarray], dict[str, float]] = published_f1,
) -> pd.DataFrame:
    """A published protocol's F1s of models and twins, and the scores that follow from them.

    Args:
        models: features of each model, shape (examples, statements, layers); for numbers scaled by
            each example's maximum.
        twins: features of random twins, likewise.
        heights: gold heights; for numbers with only the first copy of a repeated one labelled.
        protocol: ``published_f1`` (numbers) or ``published_language_f1``.
    """
    found = {name: protocol(values, heights) for name, values in models.items()}
    twin_f1 = pd.DataFrame([protocol(values, heights) for values in twins]).mean()
    found["random twin (mean)"] = dict(twin_f1)
    rows = []
    for source, f1 in found.items():
        row: dict[str, object] = {"source": source, "F1 of V": f1["V"], "F1 of G": f1["G"]}
        # Where the second label is the root's alone, so is the score.
        second = "S_P2_root" if "G_root" in f1 else "S_P2"
        for score, target in (("S_P1", "V"), (second, "G")):
            base = twin_f1[target]
            row[score] = (f1[target] - base) / (1 - base) if base < 1 else None
        rows.append(row)
    return pd.DataFrame(rows)
