"""Reasoning trees: heights from edges, labels, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mplib.errors import InputError
from mplib.tasks.trees import HIGHEST, PADDING, USELESS, ReasoningTree, heights, stack_labels


@st.composite
def rooted_graphs(draw):
    """Edges from lower to higher indices among n nodes, every node leading to node n - 1."""
    n = draw(st.integers(2, 8))
    edges = [(node, draw(st.integers(node + 1, n - 1))) for node in range(n - 1)]
    pairs = st.tuples(st.integers(0, n - 2), st.integers(1, n - 1)).filter(lambda e: e[0] < e[1])
    return n, draw(st.permutations(edges + draw(st.lists(pairs, max_size=4))))


@given(rooted_graphs(), st.integers(0, 3))
def test_heights_are_the_longest_ways_up_from_a_leaf(graph, useless):
    n, edges = graph
    tree = ReasoningTree.from_edges(edges, n + useless)

    def longest(node):
        return max((longest(a) + 1 for a, b in edges if b == node), default=0)

    assert tree.heights == {node: longest(node) for node in range(n)}
    assert (tree.root, tree.depth, tree.useful) == (n - 1, longest(n - 1), frozenset(range(n)))
    assert set(tree.edges) == set(edges) and len(tree.edges) == len(set(edges))
    assert tree.labels().tolist() == [longest(i) for i in range(n)] + [USELESS] * useless


def test_a_single_statement_is_a_tree_when_its_root_is_named():
    tree = ReasoningTree.from_edges([], n_statements=3, root=1)
    assert (tree.depth, tree.labels().tolist()) == (0, [USELESS, 0, USELESS])


def test_labels_of_several_examples_are_padded():
    trees = [ReasoningTree.from_edges([(0, 1)], 2), ReasoningTree.from_edges([(2, 0)], 3)]
    labels = stack_labels(trees)
    assert labels.tolist() == [[0, 1, PADDING], [1, USELESS, 0]]
    assert labels.dtype == np.int8


@pytest.mark.parametrize(
    ("edges", "n", "root", "message"),
    [
        ([(0, 1), (1, 2), (2, 0)], 3, None, "circle"),
        ([(1, 1)], 2, None, "circle"),
        ([], 3, None, "root"),
        ([(0, 1), (2, 3)], 4, None, "one root"),
        ([(0, 1)], 3, 2, "statement 2 as the only root"),
        ([(0, 5)], 3, None, "statement 5"),
        ([(-1, 0)], 3, None, "statement -1"),
    ],
)
def test_what_is_no_tree_is_refused(edges, n, root, message):
    with pytest.raises(InputError, match=message):
        ReasoningTree.from_edges(edges, n, root)


def test_a_node_without_a_height_is_refused():
    with pytest.raises(InputError, match=r"statement 0 .*no height"):
        ReasoningTree(2, {1: 0}, ((0, 1),), 1)


@pytest.mark.parametrize("height", [-1, HIGHEST + 1])
def test_a_height_that_labels_cannot_tell_is_refused(height):
    with pytest.raises(InputError, match=f"statement 1 has height {height}"):
        ReasoningTree(2, {1: height}, (), 1)
    with pytest.raises(InputError, match="has height 127"):
        ReasoningTree.from_edges([(i, i + 1) for i in range(199)], 200)


def test_heights_of_anything_that_has_a_name():
    assert heights({"c": ["a", "b"], ("d", 1): ["c", "a"]}) == {"a": 0, "b": 0, "c": 1, ("d", 1): 2}
    assert heights({}) == {}
    with pytest.raises(InputError, match=r"circle: (a -> b -> a|b -> a -> b); remove an edge"):
        heights({"a": ["b"], "b": ["a"]})
