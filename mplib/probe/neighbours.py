"""Nearest neighbours, found once for any number of folds and draws of the same statements."""

import numpy as np
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

MANY = 4096
"""Rows from which on a search tree is faster than all distances."""


class Neighbours:
    """Which rows are nearest to which.

    Args:
        values: shape (rows, features).
        columns: how many of the nearest are found at once; where more are needed, more are found.
        power: of the metric; see ``ProbeSettings.metric_power``.
    """

    def __init__(self, values: np.ndarray, columns: int, power: int) -> None:
        self.values, self.power = values.astype(np.float64), power
        self.order, self.distance = self._find(slice(None), columns)

    def nearest(self, rows: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows nearest to some, nearest first, and their distances."""
        if columns <= self.order.shape[1]:
            return self.order[rows, :columns], self.distance[rows, :columns]
        return self._find(rows, columns)

    def votes(
        self, rows: np.ndarray, labels: np.ndarray, fold: np.ndarray, neighbours: int
    ) -> np.ndarray:
        """Share of each label among the nearest rows of other folds, each by its inverse distance.

        Of rows at exactly the same distance the earlier ones count, where there are no more than
        ``MANY``; scikit-learn and its search tree leave that open.

        Args:
            rows: which rows are asked for, shape (asked,).
            labels: label of every row; one that is negative has no vote.
            fold: of every row, -1 where a row is left out.
            neighbours: how many count; fewer where the other folds have fewer.

        Returns:
            Shape (asked, labels).
        """
        voters = np.bincount(fold[rows], labels[rows] >= 0).astype(int)
        wanted = np.minimum(neighbours, voters.sum() - voters[fold[rows]])
        votes = np.empty((len(rows), int(labels.max()) + 1))
        # Most find enough neighbours among a few; the others look further.
        left, columns = np.arange(len(rows)), max(1, self.order.shape[1] // 4)
        while len(left):
            order, distance = self.nearest(rows[left], columns)
            train = (fold[order] >= 0) & (fold[order] != fold[rows[left], None])
            train &= labels[order] >= 0
            used = train & (train.cumsum(axis=1) <= neighbours)
            with np.errstate(divide="ignore"):
                weight = np.where(used, 1 / distance, 0)
            # As in scikit-learn, neighbours at distance zero count alone.
            same = np.isinf(weight)
            weight = np.where(same.any(axis=1, keepdims=True), same, weight)
            done = used.sum(axis=1) >= wanted[left]
            for label in range(votes.shape[1]):
                share = (weight * (labels[order] == label)).sum(axis=1)
                votes[left[done], label] = share[done]
            left, columns = left[~done], 4 * columns
        return votes / votes.sum(axis=1, keepdims=True)

    def _find(self, rows: np.ndarray | slice, columns: int) -> tuple[np.ndarray, np.ndarray]:
        columns = min(columns, len(self.values))
        if len(self.values) > MANY:
            tree = NearestNeighbors(n_neighbors=columns, p=self.power).fit(self.values)
            distance, order = tree.kneighbors(self.values[rows])
            return order.astype(np.int32), distance

        def closest(away: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
            some = np.sort(np.argpartition(away, columns - 1, axis=1)[:, :columns], axis=1)
            away = np.take_along_axis(away, some, axis=1)
            ranks = away.argsort(axis=1, kind="stable")
            order = np.take_along_axis(some, ranks, axis=1).astype(np.int32)
            return order, np.take_along_axis(away, ranks, axis=1)

        parts = pairwise_distances_chunked(
            self.values[rows], self.values, reduce_func=closest, metric="minkowski", p=self.power,
            working_memory=128,
        )  # fmt: skip
        order, distance = map(np.concatenate, zip(*parts, strict=True))
        return order, distance
