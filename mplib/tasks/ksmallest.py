"""The k-th smallest task: find the k-th smallest of m numbers (paper, section 4.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mplib.errors import InputError, one_of
from mplib.tasks.corruptions import Impossible
from mplib.tasks.examples import Example
from mplib.tasks.task import Changed, Corruption, Prompts, Shown, Task, Typical, Writer
from mplib.tasks.trees import USELESS, ReasoningTree

NUMBERS = ("root replaced", "leaf replaced", "useless replaced")
"""Corruptions of lists of numbers."""


@dataclass(frozen=True)
class KSmallest(Task):
    """Which of the numbers is asked for, and how the lists are drawn.

    Attributes:
        k: the k-th smallest is the answer; from 1 to m.
        m: how many numbers a list has.
        pool: the lists draw from the numbers 0 to pool - 1 of the tokenizer's single-token numbers.
        repeats: whether a number may stand in a list twice. The paper's text says no, its source
            draws with repeats.

    >>> task = KSmallest(k=2, m=4, pool=16)
    >>> task.heights(np.array([[5, 9, 0, 7]])).tolist()  # 5 is the root, 0 its leaf
    [[1, -1, 0, -1]]
    """

    k: int
    m: int = 16
    pool: int = 512
    repeats: bool = False

    name = "ksmallest"
    checkpoint = (
        "checkpoints/{task}/{model}_m{m}_pool{pool}_repeats{repeats:d}_k{k}_{trainable}_seed{seed}"
    )
    metric_power = 2
    scales = True
    renamed = True

    def __post_init__(self) -> None:
        """Checks that such lists exist.

        Raises:
            InputError: k is outside 1 to m, or the pool cannot fill a list.
        """
        if self.m < 2:
            raise InputError(f"m={self.m}: a list needs at least 2 numbers")
        if not 1 <= self.k <= self.m:
            raise InputError(f"k={self.k} of m={self.m}: k must be 1 to m; lower k or raise m")
        if self.pool < (2 if self.repeats else self.m):
            raise InputError(f"pool={self.pool} for m={self.m}: raise pool or set repeats=True")

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
            raise InputError(f"{n} lists cannot be split in three: ask for 3 or more")
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

    def text_baseline(self, problems: np.ndarray) -> dict[str, np.ndarray]:
        """What the text shows of each number, and what one who computes could say of it.

        ``text`` is its value and its place in the list; ``computing text`` the value, how far it
        lies above the smallest, and how many are smaller, which answers everything. All are scaled
        to [0, 1]; each array has shape (n, m, features).
        """
        value = problems[..., None] / max(1, self.pool - 1)
        place = np.broadcast_to(np.arange(self.m)[:, None] / (self.m - 1), value.shape)
        smaller = (problems[:, None, :] < problems[..., None]).mean(axis=-1, keepdims=True)
        computed = [value, value - value.min(axis=1, keepdims=True), smaller]
        return {
            "text": np.concatenate([value, place], axis=-1),
            "computing text": np.concatenate(computed, axis=-1),
        }

    @property
    def trained_for(self) -> dict[str, Any]:
        """All of it: a model trained for one k knows no other."""
        return self.identity

    @property
    def vocabulary(self) -> int:
        """The numbers of a model from random weights."""
        return self.pool

    @property
    def corruptions(self) -> Mapping[str, Corruption]:
        """Replacements by any other number; ``replacements`` for those that keep the order."""
        return self.replacements()

    def replacements(self, keep_order: bool = False) -> dict[str, Corruption]:
        """The corruptions that such lists allow; see ``replace_number``."""
        names = [name for name in NUMBERS if self.depth or name != "leaf replaced"]
        return {name: partial(self._replaced, name, keep_order) for name in names}

    def _replaced(self, name: str, keep_order: bool, lists: np.ndarray, seed: int) -> Changed:
        found = replace_number(self, lists, name, seed, keep_order=keep_order)
        possible = found.positions >= 0
        return found.lists[possible], possible

    @classmethod
    def typical(cls, parameters: Mapping[str, Any]) -> Typical:
        """Lists of m tokens, as many as there are test lists."""
        m, tests = parameters["m"], parameters["lists"] // 100
        problems = min(parameters.get("examples", tests), tests)
        return Typical(f"k-th smallest of {m}", [m], problems, m, parameters["pool"] + 2)

    def test_lists(self, lists: int, seed: int, n: int) -> np.ndarray:
        """The first n test lists of a study, none of them trained on.

        Raises:
            InputError: there are fewer.
        """
        if len(found := self.splits(lists, seed)[2][:n]) < n:
            left = f"lists={lists} leaves {len(found)} test lists"
            raise InputError(f"examples={n}: {left}; lower examples or finetune with more lists")
        return found

    def prompts(self, problems: Any, writer: Writer, shown: Shown | None = None) -> Prompts:
        """Lists as a model reads them: a number a token, never behind demonstrations."""
        return writer.write_numbers(problems, self.answers(problems), self.pool)

    def groups(self, problems: np.ndarray) -> np.ndarray:
        """Each list is its own group, shape (n,)."""
        return np.arange(len(problems))

    def as_examples(self, problems: np.ndarray) -> list[Example]:
        """The lists as examples with gold trees, for display and for other tools."""
        found = []
        for row, labels in zip(problems.tolist(), self.heights(problems).tolist(), strict=True):
            heights = {i: height for i, height in enumerate(labels) if height != USELESS}
            root = labels.index(self.depth)
            edges = tuple((i, root) for i, height in heights.items() if height < self.depth)
            tree = ReasoningTree(self.m, heights, edges, root)
            found.append(Example(tuple(map(str, row)), "", str(row[root]), tree))
        return found


class Replaced(NamedTuple):
    """Lists in each of which one number was replaced.

    Attributes:
        lists: shape (n, m); a list where that was impossible is unchanged.
        positions: where the new number stands, -1 where the list is unchanged; shape (n,).
    """

    lists: np.ndarray
    positions: np.ndarray


def replace_number(
    task: KSmallest, lists: np.ndarray, name: str, seed: int = 0, *, keep_order: bool = False
) -> Replaced:
    """Replaces one number of a kind, drawn uniformly, by another one of the pool.

    Args:
        task: which number is asked for; without its ``repeats`` the new number is not in the list.
        lists: shape (n, m).
        name: one of ``NUMBERS``.
        seed: of numbers and replacements.
        keep_order: whether the new number keeps the old one's place among the sorted numbers, so
            that leaves stay leaves, useless numbers stay useless, and neither changes the answer.
            Without it the new number is drawn uniformly from all that are allowed.

    Raises:
        InputError: no such corruption.
        Impossible: no list allows it.
    """
    one_of("corruption", name, NUMBERS)
    heights = task.heights(lists)
    kinds = (heights == task.depth, (heights == 0) & (task.depth > 0), heights == USELESS)
    smaller = np.where(lists[:, None] < lists[..., None], lists[:, None], -1).max(axis=2)
    larger = np.where(lists[:, None] > lists[..., None], lists[:, None], task.pool).min(axis=2)
    # The numbers strictly between low and high are candidates, but for those that are taken.
    low, high = (smaller, larger) if keep_order else (-1, task.pool)
    taken = 1 if keep_order or task.repeats else task.m
    eligible = kinds[NUMBERS.index(name)] & (high - low - 1 - taken > 0)
    possible = eligible.any(axis=1)
    if not possible.any():
        where = f"none of the {len(lists)} lists of {task}"
        mend = "k=1 has no leaves, k=m nothing useless; change k, raise pool or let the order go"
        raise Impossible(f"{name!r} is possible in {where}: {mend}")
    rng = np.random.default_rng(seed)
    position = np.where(eligible, rng.random(lists.shape), -1).argmax(axis=1)
    row = np.arange(len(lists))
    low, high = (np.broadcast_to(bound, lists.shape)[row, position] for bound in (low, high))
    old = lists[row, position][:, None]
    # Counted among the free numbers, the new one is found by skipping those taken below it.
    gone = old if taken == 1 else np.sort(lists, axis=1)
    free = rng.integers(np.maximum(1, high - low - 1 - taken))
    skipped = (gone - (low[:, None] + 1) - np.arange(taken) <= free[:, None]).sum(axis=1)
    changed = lists.copy()
    changed[row[possible], position[possible]] = (low + 1 + free + skipped)[possible]
    return Replaced(changed, np.where(possible, position, -1))
