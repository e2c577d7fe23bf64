"""The k-th smallest task against plain loops, and the evenness of its lists."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from mplib.errors import InputError
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.trees import USELESS


@st.composite
def tasks(draw, repeats=None):
    m = draw(st.integers(2, 10))
    again = draw(st.booleans()) if repeats is None else repeats
    pool = draw(st.integers(2 if again else m, 30))
    return KSmallest(draw(st.integers(1, m)), m, pool, again)


@given(tasks(), st.integers(0, 2**32 - 1))
def test_lists_are_of_the_pool_and_the_seed(task, seed):
    lists = task.draw(50, seed)
    assert lists.shape == (50, task.m) and lists.min() >= 0 and lists.max() < task.pool
    assert (lists == task.draw(50, seed)).all()
    if not task.repeats:
        assert all(len(set(row)) == task.m for row in lists.tolist())


def test_another_seed_gives_other_lists():
    task = KSmallest(2)
    assert (task.draw(50, 0) != task.draw(50, 1)).any(axis=1).all()


def test_lists_without_repeats_are_uniform_over_all_ordered_lists():
    task = KSmallest(2, m=3, pool=5)
    found = Counter(map(tuple, task.draw(60_000, seed=3).tolist()))
    everything = list(permutations(range(5), 3))
    assert set(found) == set(everything)
    assert chisquare([found[each] for each in everything]).pvalue > 0.001


def test_the_whole_pool_comes_as_uniform_permutations():
    found = Counter(map(tuple, KSmallest(1, m=4, pool=4).draw(24_000, seed=1).tolist()))
    assert len(found) == 24 and chisquare(list(found.values())).pvalue > 0.001


def test_repeats_are_drawn_as_often_as_chance_has_it():
    lists = KSmallest(2, repeats=True).draw(20_000, seed=0)
    distinct = np.mean([len(set(row)) == 16 for row in lists.tolist()])
    expected = np.prod(1 - np.arange(16) / 512)
    assert abs(distinct - expected) < 0.02


@given(tasks(), st.integers(0, 1000))
def test_gold_answers_and_heights_follow_the_definition(task, seed):
    lists = task.draw(20, seed)
    heights, published = task.heights(lists), task.published_heights(lists)
    for row, answer, gold, source in zip(
        lists.tolist(), task.answers(lists), heights, published, strict=True
    ):
        ordered = sorted(row)
        assert answer == ordered[task.k - 1]
        depth = 0 if task.k == 1 else 1
        for i, number in enumerate(row):
            # Copies of a number share its label, whether or not they are among the first k.
            expected = 0 if number < answer else depth if number == answer else USELESS
            assert gold[i] == expected
            assert source[i] == (expected if row.index(number) == i else USELESS)
        assert (gold[row.index(answer)], heights.max()) == (depth, depth)


def test_the_published_labels_are_those_of_the_first_copies():
    task = KSmallest(3, m=5, pool=10, repeats=True)
    lists = np.array([[4, 1, 4, 1, 9]])
    assert task.heights(lists).tolist() == [[1, 0, 1, 0, USELESS]]
    assert task.published_heights(lists).tolist() == [[1, 0, USELESS, USELESS, USELESS]]


@pytest.mark.parametrize("k", [1, 4])
def test_the_ends_of_k(k):
    task = KSmallest(k, m=4, pool=9)
    lists = np.array([[7, 2, 5, 0]])
    assert task.answers(lists) == [0 if k == 1 else 7]
    expected = [[USELESS, USELESS, USELESS, 0]] if k == 1 else [[1, 0, 0, 0]]
    assert task.heights(lists).tolist() == expected and task.depth == int(k > 1)


@given(tasks(), st.integers(0, 1000))
def test_the_order_sorts_and_leaves_ties_in_place(task, seed):
    lists = task.draw(10, seed)
    for row, order in zip(lists.tolist(), task.order(lists).tolist(), strict=True):
        assert order == sorted(range(task.m), key=lambda i: (row[i], i))


@given(tasks(), st.integers(0, 1000))
def test_examples_carry_the_same_tree(task, seed):
    lists = task.draw(5, seed)
    for row, gold, example in zip(
        lists.tolist(), task.heights(lists), task.examples(lists), strict=True
    ):
        assert example.statements == tuple(map(str, row))
        assert example.tree.labels().tolist() == gold.tolist()
        assert (
            example.answer == example.statements[example.tree.root] == str(sorted(row)[task.k - 1])
        )
        assert all(row[a] < row[b] for a, b in example.tree.edges)


def test_splits_share_no_draw_and_keep_everything():
    train, dev, test = KSmallest(2).splits(1000, seed=4)
    assert (len(train), len(dev), len(test)) == (980, 10, 10)
    assert (np.concatenate([train, dev, test]) == KSmallest(2).draw(1000, seed=4)).all()


def test_baseline_features_are_value_and_position_only():
    task = KSmallest(2, m=3, pool=11)
    found = task.baseline_features(np.array([[10, 0, 5]]))
    assert found["value"].tolist() == [[[1.0], [0.0], [0.5]]]
    assert found["value and position"].tolist() == [[[1.0, 0.0], [0.0, 0.5], [0.5, 1.0]]]


@pytest.mark.slow
def test_a_million_lists_take_seconds():
    from time import perf_counter

    began = perf_counter()
    assert KSmallest(2).draw(1_000_000, seed=0).shape == (1_000_000, 16)
    assert perf_counter() - began < 60  # about 2 s on an idle core


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 17}, "k=17 of m=16.*lower k or raise m"),
        ({"k": 0}, "k=0"),
        ({"k": 1, "m": 1}, "m=1"),
        ({"k": 2, "m": 16, "pool": 15}, "pool=15.*repeats=True"),
        ({"k": 1, "m": 4, "pool": 1, "repeats": True}, "pool=1"),
    ],
)
def test_lists_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        KSmallest(**arguments)


def test_too_few_lists_to_split_are_refused():
    with pytest.raises(InputError, match="2 lists"):
        KSmallest(2).splits(2, seed=0)
