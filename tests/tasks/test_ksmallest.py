"""The k-th smallest task against plain loops, and the evenness of its lists."""

import tracemalloc
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from mplib.errors import InputError
from mplib.tasks.ksmallest import NUMBERS, KSmallest, replace_number
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
        lists.tolist(), task.heights(lists), task.as_examples(lists), strict=True
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


def test_the_text_shows_value_and_position_and_what_can_be_computed():
    task = KSmallest(2, m=3, pool=11)
    found = task.text_baseline(np.array([[10, 1, 5]]))
    assert found["text"].tolist() == [[[1.0, 0.0], [0.1, 0.5], [0.5, 1.0]]]
    computed = [[[1.0, 0.9, 2 / 3], [0.1, 0.0, 0.0], [0.5, 0.4, 1 / 3]]]
    np.testing.assert_allclose(found["computing text"], computed)


def test_the_memory_of_a_draw_does_not_grow_with_the_pool():
    peaks = []
    for pool in (32, 100_000):
        tracemalloc.start()
        KSmallest(2, pool=pool).draw(1000, seed=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


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


def test_more_test_lists_than_there_are_are_refused():
    assert KSmallest(2).test_lists(1000, 0, 10).shape == (10, 16)
    with pytest.raises(InputError, match="examples=11: lists=1000 leaves 10 test lists"):
        KSmallest(2).test_lists(1000, 0, 11)


# Numbers replaced


def replacements(task, numbers, place, keep_order):
    """All numbers that may stand in the place of one."""
    old = numbers[place]
    low = max((x for x in numbers if x < old), default=-1) if keep_order else -1
    high = min((x for x in numbers if x > old), default=task.pool) if keep_order else task.pool
    free = [c for c in range(low + 1, high) if task.repeats or c not in numbers]
    return {*free} - {old}


@given(
    st.integers(2, 7), st.integers(1, 7), st.integers(0, 12), st.booleans(), st.booleans(),
    st.sampled_from(NUMBERS), st.integers(0, 20),
)  # fmt: skip
def test_one_number_of_the_kind_is_replaced(m, k, spare, repeats, keep_order, name, seed):
    task = KSmallest(min(k, m), m=m, pool=m + spare, repeats=repeats)
    lists = task.draw(20, seed)
    height = {NUMBERS[0]: task.depth, NUMBERS[1]: 0 if task.k > 1 else None, NUMBERS[2]: USELESS}
    room = [
        {
            place: may
            for place in range(m)
            if labels[place] == height[name]
            and (may := replacements(task, numbers, place, keep_order))
        }
        for numbers, labels in zip(lists.tolist(), task.heights(lists).tolist(), strict=True)
    ]
    if not any(room):
        with pytest.raises(InputError, match=f"{name}' is possible in none of the 20 lists"):
            replace_number(task, lists, name, seed, keep_order=keep_order)
        return
    found = replace_number(task, lists, name, seed, keep_order=keep_order)
    possible = found.positions >= 0
    assert possible.tolist() == [bool(places) for places in room]
    assert ((found.lists != lists).sum(axis=1) == possible).all()
    for i in np.flatnonzero(possible):
        place = found.positions[i]
        assert found.lists[i, place] in room[i][place]
    if keep_order and name != NUMBERS[0]:
        assert (task.answers(found.lists) == task.answers(lists)).all()
        assert (task.heights(found.lists) == task.heights(lists)).all()


def test_numbers_and_places_are_drawn_uniformly():
    task = KSmallest(3, m=5, pool=10)
    lists = np.tile([8, 1, 4, 9, 2], (20_000, 1))
    found = replace_number(task, lists, "leaf replaced", seed=1)
    places, counts = np.unique(found.positions, return_counts=True)
    assert places.tolist() == [1, 4] and abs(counts / 20_000 - 0.5).max() < 0.02
    new, counts = np.unique(found.lists[found.lists != lists], return_counts=True)
    assert new.tolist() == [0, 3, 5, 6, 7] and abs(counts / 20_000 - 0.2).max() < 0.02
    again = replace_number(task, lists, "leaf replaced", seed=1)
    assert (again.lists == found.lists).all()
    kept = replace_number(task, lists, "useless replaced", seed=1, keep_order=True)
    assert {*kept.lists[kept.positions == 0][:, 0].tolist()} == {5, 6, 7}
    assert (kept.positions == 0).all(), "nothing is left between 8 and 10"


@pytest.mark.parametrize(
    ("task", "name", "words"),
    [
        (KSmallest(1, m=4, pool=9), "leaf replaced", "k=1 has no leaves"),
        (KSmallest(4, m=4, pool=9), "useless replaced", "k=m nothing useless"),
        (KSmallest(2, m=4, pool=4), "root replaced", "raise pool"),
        (KSmallest(2, m=4, pool=9), "rot replaced", "Did you mean 'root replaced'"),
    ],
)
def test_numbers_that_cannot_be_replaced_are_said(task, name, words):
    with pytest.raises(InputError, match=words):
        replace_number(task, task.draw(5, 0), name)
