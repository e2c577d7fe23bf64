"""Gold reasoning trees: the one language that every task and every probe speaks."""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Self, TypeVar

import numpy as np

from mplib.errors import InputError

USELESS = -1
"""Height label of a statement that the tree does not use."""


PADDING = -2
"""Height label of a place in an array that holds no statement."""


HIGHEST = 126
"""The greatest height of a tree: labels are 8-bit numbers."""


Name = TypeVar("Name", bound=Hashable)


def heights(premises: Mapping[Name, Collection[Name]]) -> dict[Name, int]:
    """Longest way up from a leaf to each conclusion and premise.

    Raises:
        InputError: the reasoning goes in a circle.

    >>> heights({"c": ["a", "b"], "d": ["c", "a"]})
    {'a': 0, 'b': 0, 'c': 1, 'd': 2}
    """
    found: dict[Name, int] = {}
    try:
        for name in TopologicalSorter(premises).static_order():
            found[name] = max((found[p] + 1 for p in premises.get(name, ())), default=0)
    except CycleError as error:
        circle = " -> ".join(map(str, error.args[1]))
        raise InputError(f"the reasoning goes in a circle: {circle}; remove an edge") from None
    return found


@dataclass(frozen=True)
class ReasoningTree:
    """A gold reasoning tree over the statements of one example (paper, section 3.1).

    Attributes:
        n_statements: how many statements the example shows, useful or not.
        heights: height of each useful statement, by its index; leaves have height 0.
        edges: pairs ``(premise, conclusion)`` of statement indices.
        root: the statement that gives the answer.
    """

    n_statements: int
    heights: dict[int, int]
    edges: tuple[tuple[int, int], ...]
    root: int

    def __post_init__(self) -> None:
        """Checks that every index names a statement of the example, and that labels can tell it."""
        named = {*self.heights, self.root, *(node for edge in self.edges for node in edge)}
        if outside := sorted(node for node in named if not 0 <= node < self.n_statements):
            known = f"statements 0 to {self.n_statements - 1}"
            raise InputError(f"tree names statement {outside[0]}, but there are {known}: renumber")
        if missing := sorted(named - {*self.heights}):
            raise InputError(f"statement {missing[0]} of the tree has no height: give it one")
        for node, height in self.heights.items():
            if not 0 <= height <= HIGHEST:
                raise InputError(f"statement {node} has height {height}: expected 0 to {HIGHEST}")

    @classmethod
    def from_edges(
        cls, edges: Iterable[tuple[int, int]], n_statements: int, root: int | None = None
    ) -> Self:
        """Builds the tree from its edges; a height is the longest way up from a leaf.

        Args:
            edges: pairs ``(premise, conclusion)``; none for a tree of a single statement.
            n_statements: how many statements the example shows.
            root: the answer's statement; needed only where there are no edges.

        Raises:
            InputError: the edges go in a circle, or do not meet in one root.

        >>> tree = ReasoningTree.from_edges([(0, 2), (1, 2), (2, 3)], n_statements=5)
        >>> tree.root, tree.depth, tree.labels().tolist()
        (3, 2, [0, 0, 1, 2, -1])
        """
        edges = tuple(dict.fromkeys((int(a), int(b)) for a, b in edges))
        premises: dict[int, list[int]] = {} if root is None else {root: []}
        for premise, conclusion in edges:
            premises.setdefault(conclusion, []).append(premise)
        ways = heights(premises)
        if not ways:
            raise InputError("a tree without edges needs its root named: pass root=")
        tops = sorted(ways.keys() - {premise for premise, _ in edges})
        if len(tops) != 1 or (root is not None and tops != [root]):
            wanted = "one root" if root is None else f"statement {root} as the only root"
            raise InputError(f"expected {wanted}, found the roots {tops}: join or drop edges")
        return cls(n_statements, ways, edges, tops[0])

    @property
    def depth(self) -> int:
        """Height of the root."""
        return self.heights[self.root]

    @property
    def useful(self) -> frozenset[int]:
        """Indices of the useful statements, the node set V of the paper."""
        return frozenset(self.heights)

    def labels(self) -> np.ndarray:
        """Height of each statement, ``USELESS`` where the tree has it not; shape (statements,)."""
        labels = np.full(self.n_statements, USELESS, dtype=np.int8)
        labels[list(self.heights)] = list(self.heights.values())
        return labels


def stack_labels(trees: Sequence[ReasoningTree]) -> np.ndarray:
    """Height labels of several examples, padded; shape (examples, statements)."""
    stacked = np.full((len(trees), max(t.n_statements for t in trees)), PADDING, dtype=np.int8)
    for row, tree in zip(stacked, trees, strict=True):
        row[: tree.n_statements] = tree.labels()
    return stacked
