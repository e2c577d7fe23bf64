"""Logistic regressions that share their rows: all folds of all trials are fitted at once.

A page fits thousands of them to the same thousand rows; one by one, a library spends most of the
time between the products. Each has the optimum of scikit-learn's ``LogisticRegression`` with C = 1
(a test compares both).
"""

from collections.abc import Iterator
from itertools import combinations_with_replacement

import numpy as np

ENOUGH = 1e-6
"""How far above its least a loss may be, by Newton's estimate, where a fit ends."""

MOST = 100
"""Newton steps, at most."""

ROOM = 2**23
"""Probabilities, or second derivatives, that are held at once."""


def out_of_fold(rows: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> Iterator[np.ndarray]:
    """Probabilities of the labels of each fold from the rows of the others, trial by trial.

    Args:
        rows: standardised features, shape (rows, features).
        labels: from 0 on, negative where a row is only asked about, shape (trials, rows).
        folds: fold of every row, -1 where it takes no part, shape (trials, rows).

    Yields:
        For each trial, shape (rows that take part, labels).
    """
    rows = np.column_stack([rows, np.ones(len(rows))])
    kinds, numbers = int(labels.max()) + 1, np.arange(folds.max() + 1)
    each = max(len(rows) * kinds, ((kinds - 1) * rows.shape[1]) ** 2)
    some = max(1, ROOM // (each * len(numbers)))
    for first in range(0, len(folds), some):
        part, label = folds[first : first + some], labels[first : first + some]
        trial, number = np.nonzero((part[:, None] == numbers[:, None]).any(axis=-1))
        fold, gold = part[trial], label[trial]
        test = fold == number[:, None]
        train = (fold >= 0) & ~test & (gold >= 0)
        seen = np.array([(train & (gold == kind)).any(axis=1) for kind in range(kinds)]).T
        chances = np.zeros((*part.shape, kinds))
        for known in np.unique(seen, axis=0):  # a label that others lack is not told there
            found, fits = np.flatnonzero(known), np.flatnonzero((seen == known).all(axis=1))
            which = np.searchsorted(found, gold[fits])
            first_one = fit(rows, which[:1], train[fits[:1]])
            told = _softmax(rows, fit(rows, which, train[fits], first_one))
            for one, of in zip(fits, told, strict=True):
                chances[trial[one], np.flatnonzero(test[one])[:, None], found] = of[:, test[one]].T
        for of, one in zip(part, chances, strict=True):
            yield one[of >= 0]


def fit(
    rows: np.ndarray, labels: np.ndarray, train: np.ndarray, start: np.ndarray | None = None
) -> np.ndarray:
    """Weights of several regressions on the same rows, by Newton's method.

    The last label's weights are 0 and the others' are told beside it. The penalty is half the
    squared weights of two labels, and of more that of all labels about their mean, as scikit-learn
    has it; the intercepts are free.

    Args:
        rows: shape (rows, columns), the last of them 1.
        labels: from 0 on, shape (fits, rows); of no account outside ``train``.
        train: rows that each regression is fitted to, shape (fits, rows); all labels are there.
        start: weights to begin with where better than none, shape (1, labels - 1, columns).

    Returns:
        Shape (fits, labels - 1, columns).
    """
    free, columns = int(labels[train].max()), rows.shape[1]
    weights = np.zeros((len(train), free, columns))
    if not free:
        return weights
    apart = np.eye(free) - (1 / (free + 1) if free > 1 else 0)
    penalty = np.kron(apart, np.diag([1.0] * (columns - 1) + [0.0]))
    labels = np.where(train, labels, 0)[:, None]
    gold = (labels == np.arange(free)[:, None]) & train[:, None]

    def loss(of: np.ndarray | slice, flat: np.ndarray, chances: np.ndarray) -> np.ndarray:
        right = np.take_along_axis(chances, labels[of], axis=1)[:, 0]
        bits = np.where(train[of], np.log(np.maximum(right, 1e-300)), 0)
        return ((flat @ penalty) * flat).sum(axis=1) / 2 - bits.sum(axis=1)

    chances = _softmax(rows, weights)
    cost = loss(slice(None), weights.reshape(len(train), -1), chances)
    if start is not None:
        near = np.broadcast_to(_softmax(rows, start), chances.shape)
        after = loss(slice(None), start.reshape(1, -1), near)
        better = after < cost
        weights[better], chances[better], cost[better] = start, near[better], after[better]
    going = np.arange(len(train))
    for _ in range(MOST):
        flat = weights[going].reshape(len(going), -1)
        wrong = np.where(train[going, None], chances[:, :free], 0) - gold[going]
        slope = (wrong @ rows).reshape(len(going), -1) + flat @ penalty
        bend = _curvature(rows, chances, train[going]) + penalty
        step = np.linalg.solve(bend, slope[..., None])[..., 0]
        size = np.ones((len(going), 1))
        while True:  # a whole step, or a shorter one where the loss would rise
            tried = flat - size * step
            chances = _softmax(rows, tried.reshape(-1, free, columns))
            after = loss(going, tried, chances)
            worse = (after > cost[going] + ENOUGH) & (size[:, 0] > 1e-6)
            if not worse.any():
                break
            size[worse] /= 2
        weights[going], cost[going] = tried.reshape(-1, free, columns), after
        more = (slope * step).sum(axis=1) / 2 > ENOUGH
        going, chances = going[more], chances[more]
        if not more.any():
            break
    return weights


def _softmax(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Probability of each label, the last one's weights being 0; shape (fits, labels, rows)."""
    found = np.zeros((len(weights), weights.shape[1] + 1, len(rows)))
    np.matmul(weights, rows.T, out=found[:, :-1])
    found -= found.max(axis=1, keepdims=True)
    np.exp(found, out=found)
    found /= found.sum(axis=1, keepdims=True)
    return found


def _curvature(rows: np.ndarray, chances: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Second derivatives of the losses without penalty; shape (fits, weights, weights)."""
    free, columns = chances.shape[1] - 1, rows.shape[1]
    found = np.empty((len(train), free, columns, free, columns))
    # Half the digits are enough: they lead the steps and not the end.
    rows, chances = rows.astype(np.float32), chances.astype(np.float32)
    for one, other in combinations_with_replacement(range(free), 2):
        share = train * chances[:, one] * (np.float32(one == other) - chances[:, other])
        for column in range(columns):  # one product for all fits, with what is not paired yet
            block = share @ (rows[:, column, None] * rows[:, column:])
            for a, b in ((one, other), (other, one)):
                found[:, a, column, b, column:] = found[:, a, column:, b, column] = block
    return found.reshape(len(train), free * columns, free * columns)
