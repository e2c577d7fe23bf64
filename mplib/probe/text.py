"""The text's features, laid out so that a linear classifier can go by any of their values."""

import numpy as np
from sklearn.preprocessing import SplineTransformer

MANY, KNOTS = 64, 9
"""A feature of more values than ``MANY`` has a column for each of ``KNOTS`` quantiles instead."""


def by_value(text: np.ndarray) -> np.ndarray:
    """Gives each value of each feature a column of its own, between which others are interpolated.

    A place is a number, and a weight on it prefers the first or the last: attention to a place in
    the middle would tell a linear classifier what the text shows already, and be taken for more.

    Args:
        text: shape (examples, statements, features); NaN where there is no statement.

    Returns:
        Shape (examples, statements, columns); features of one value have none.

    >>> by_value(np.array([[[0.0, 7.0], [0.5, 7.0], [1.0, 7.0]]])).tolist()
    [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]
    """
    told = ~np.isnan(text).any(axis=-1)
    columns = [np.empty((int(told.sum()), 0))]
    for values in text[told].T:
        knots = np.unique(values)
        if len(knots) > MANY:
            knots = np.unique(np.quantile(values, np.linspace(0, 1, KNOTS)))
        if len(knots) > 1:
            hats = SplineTransformer(degree=1, knots=knots[:, None])
            columns.append(hats.fit_transform(values[:, None]))
    rows = np.concatenate(columns, axis=-1)
    found = np.full((*told.shape, rows.shape[-1]), np.nan)
    found[told] = rows
    return found


def shown(text: np.ndarray, classifier: str) -> np.ndarray:
    """The text as a classifier can use it.

    Neighbours are found by the features themselves: more columns would drown the others.
    """
    return by_value(text) if classifier == "logistic" else text
