"""The k-th smallest task: find the k-th smallest of m numbers (paper, section 4.1)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mplib.errors import InputError
from mplib.tasks.examples import Example
from mplib.tasks.trees import USELESS, ReasoningTree


@dataclass(frozen=True)
class KSmallest:
    """Which of the numbers is asked for, and how the lists are drawn.

    Attributes:
        k: the k-th smallest is the answer; from 1 to m.
        m: how many numbers a list has.
        pool: the lists draw from the numbers 0 to pool - 1 of the tokenizer's single-token numbers.
        repeats: whether a number may stand in a list twice. The paper's text says no, its source
            draws with repeats.
    """

    k: int
    m: int = 16
    pool: int = 512
    repeats: bool = False

    def __post_init__(self) -> None:
        """Checks that such lists exist.

        Raises:
            InputError: k is outside 1 to m, or the pool is too small for lists without repeats.
        """
        if self.m < 2:
            raise InputError(f"m={self.m}: a list needs at least 2 numbers")
        if not 1 <= self.k <= self.m:
            raise InputError(
                f"k={self.k} of m={self.m} numbers: k must be from 1 to m; lower k or raise m"
            )
        if self.pool < (2 if self.repeats else self.m):
            raise InputError(
                f"pool={self.pool} numbers cannot fill lists of m={self.m} without repeats: "
                "raise pool or set repeats=True"
            )

    @property
    def depth(self) -> int:
        """Height of the root: 1, or 0 where the smallest number is both leaf and root."""
        return int(self.k > 1)

    def draw(self, n: int, seed: int) -> np.ndarray:
        """Draws n lists; shape (n, m), uniform over all lists that the task allows."""
        rng = np.random.default_rng(seed)
        if self.repeats:
            return rng.integers(self.pool, size=(n, self.m), dtype=np.int32)
        # Floyd's sampling, one column a step for all lists at once: a million lists in seconds
        # and in memory that does not grow with the pool.
        lists = np.empty((n, self.m), dtype=np.int32)
        for column, last in enumerate(range(self.pool - self.m, self.pool)):
            drawn = rng.integers(last + 1, size=n, dtype=np.int32)
            taken = (lists[:, :column] == drawn[:, None]).any(axis=1)
            lists[:, column] = np.where(taken, last, drawn)
        return rng.permuted(lists, axis=1)

    def splits(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws n lists and splits them 98/1/1 into training, development and test lists."""
        held_out = max(1, n // 100)
        if n < 3:
            raise InputError(
                f"{n} lists cannot be split into train, dev and test: ask for 3 or more"
            )
        return tuple(np.split(self.draw(n, seed), [n - 2 * held_out, n - held_out]))  # type: ignore[return-value]

    def answers(self, lists: np.ndarray) -> np.ndarray:
        """The k-th smallest number of each list, repeated numbers counted as often; shape (n,)."""
        return np.partition(lists, self.k - 1, axis=1)[:, self.k - 1]

    def heights(self, lists: np.ndarray) -> np.ndarray:
        """Gold height of each number, shape (n, m).

        The numbers below the k-th smallest are leaves (0), the k-th smallest is the root, larger
        ones are ``USELESS``. Copies of one number share its label.
        """
        answers = self.answers(lists)[:, None]
        labels = np.where(lists < answers, 0, np.where(lists == answers, self.depth, USELESS))
        return labels.astype(np.int8)

    def published_heights(self, lists: np.ndarray) -> np.ndarray:
        """Gold heights as the paper's source labels them, shape (n, m).

        Of a repeated number only the first copy is labelled, so fewer than k may be useful.
        """
        earlier = np.tril(lists[:, :, None] == lists[:, None, :], k=-1).any(axis=2)
        return np.where(earlier, USELESS, self.heights(lists)).astype(np.int8)

    def order(self, lists: np.ndarray) -> np.ndarray:
        """Positions from the smallest number to the largest, ties by position; shape (n, m)."""
        return np.argsort(lists, axis=1, kind="stable")

    def baseline_features(self, lists: np.ndarray) -> dict[str, np.ndarray]:
        """What the text alone shows of each number: its value, its value and its place in the list.

        Both are scaled to [0, 1]; each array has shape (n, m, features).
        """
        value = lists[..., None] / max(1, self.pool - 1)
        place = np.broadcast_to(np.arange(self.m)[:, None] / (self.m - 1), value.shape)
        return {"value": value, "value and position": np.concatenate([value, place], axis=-1)}

    def examples(self, lists: np.ndarray) -> Iterator[Example]:
        """The lists as examples with gold trees, for display and for other tools."""
        for row, labels in zip(lists.tolist(), self.heights(lists).tolist(), strict=True):
            heights = {i: height for i, height in enumerate(labels) if height != USELESS}
            root = labels.index(self.depth)
            edges = tuple((i, root) for i, height in heights.items() if height < self.depth)
            tree = ReasoningTree(self.m, heights, edges, root)
            yield Example(tuple(map(str, row)), "", str(row[root]), tree)
