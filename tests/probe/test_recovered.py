"""Whole trees: what is read where all is shown, where nothing is, and what of it is wrong."""

import numpy as np
import pytest

from mplib.errors import InputError
from mplib.probe.knn import ProbeSettings, predict, told_once, useful_heights
from mplib.probe.recovered import (
    GOLD,
    edges_by_height,
    marks,
    measures,
    read_trees,
    recover,
)
from mplib.tasks.custom import parse
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.trees import PADDING, USELESS, ReasoningTree, stack_labels

FAST = ProbeSettings()


def lists(n: int = 120, k: int = 3, m: int = 6) -> list[ReasoningTree]:
    """Gold trees of random lists of numbers."""
    task = KSmallest(k, m=m, pool=40)
    return [example.tree for example in task.as_examples(task.draw(n, seed=0))]


def shown(trees: list[ReasoningTree], noise: float, seed: int = 0) -> np.ndarray:
    """Features that show the heights as well as the noise allows, NaN where there is nothing."""
    heights = stack_labels(trees)
    noises = np.random.default_rng(seed).normal(size=(*heights.shape, 2)) * noise
    return np.where((heights != PADDING)[..., None], heights[..., None] + noises, np.nan)


def value(found, measure: str, source: str, minus: str = "") -> tuple[float, float, float]:
    """The one estimate of a table of recovered trees."""
    table = found.table
    chosen = (table.measure == measure) & (table.source == source) & (table["minus"] == minus)
    (row,) = table[chosen].itertuples()
    return row.value, row.low, row.high


def test_planted_attention_gives_whole_trees_and_noise_gives_chance() -> None:
    trees = lists()
    twins = [shown(trees, 1e9, seed) for seed in (1, 2)]
    found = recover(
        shown(trees, 1e-3), trees, twins=twins, text=shown(trees, 1e9, 3), settings=FAST
    )
    for measure in ("exact match", "node F1", "height accuracy", "edge F1"):
        low = 1 - 3 / 120  # the rule of three: no failure in 120 lists is no proof of none
        assert value(found, measure, "model") == (1, low, 1)
    # Half of six numbers are useful, a third of those the root: one guess in hundreds is right.
    assert value(found, "exact match", "twin")[0] < 0.02
    assert 0.4 < value(found, "node F1", "twin")[0] < 0.6
    assert 0.15 < value(found, "height accuracy", "twin")[0] < 0.35
    for measure in ("exact match", "node F1", "height accuracy", "edge F1"):
        model, twin = (value(found, measure, name)[0] for name in ("model", "twin"))
        middle, low, high = value(found, measure, "model", "twin")
        assert middle == pytest.approx(model - twin) and 0 < low <= middle <= high <= 1
    assert (found.read["model"] == stack_labels(trees)).all()


def test_all_heights_are_those_of_the_probe_where_it_has_any() -> None:
    trees = lists()
    heights, features = stack_labels(trees), shown(trees, 0.7)
    useful, groups = heights > USELESS, np.arange(len(heights)) // 3
    there = heights != PADDING
    found = told_once(features, useful_heights(heights), groups, FAST, "logistic", there)
    told = predict(features, heights, groups, FAST, "logistic")
    assert (found[useful] == told.height[useful]).all(), "the same folds and the same classifier"
    assert (found[~useful] > USELESS).all(), "useless statements are given a height too"
    read = read_trees(features, heights, groups, FAST)
    assert ((read > USELESS) == (told.useful == 1)).all()
    assert (read[read > USELESS] == found[read > USELESS]).all()


def test_no_gold_height_of_a_useless_statement_or_of_the_own_group_is_seen() -> None:
    # Within a group all features are the same and tell the heights; between groups nothing does.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    heights = np.repeat(rng.integers(0, 2, size=60), 5)[:, None].astype(np.int8)
    features = np.repeat(rng.normal(size=(60, 1, 3)), 5, axis=0)

    def right(members: np.ndarray) -> float:
        found = told_once(features, useful_heights(heights), members, FAST, "kNN", heights >= 0)
        return float((found == heights).mean())

    assert right(groups) < 0.7
    assert right(np.arange(len(heights))) > 0.95, "the trap works"


def test_measures_of_trees_read_by_hand() -> None:
    gold = ReasoningTree.from_edges([(0, 1), (1, 2)], n_statements=4)
    small = ReasoningTree.from_edges([(0, 1)], n_statements=2)
    read = np.array([
        [0, 1, 2, -1],  # all right
        [0, 2, -1, 0],  # one right, one at a wrong height, one missed, one extra
        [-1, -1, -1, -1],  # nothing
        [0, 1, PADDING, PADDING],
    ])  # fmt: skip
    found = measures([gold, gold, gold, small], read)
    assert found["exact match"].tolist() == [1, 0, 0, 1]
    assert found["node F1"].tolist() == pytest.approx([1, 2 * 2 / (3 + 3), 0, 1])
    assert found["height accuracy"].tolist() == pytest.approx([1, 1 / 3, 0, 1])
    # Read edges of the second: 0 -> 1 and 3 -> 1; only the first is gold.
    assert found["edge F1"].tolist() == pytest.approx([1, 2 * 1 / (2 + 2), 0, 1])
    assert marks(stack_labels([gold, small]), read[[1, 3]]).tolist() == [
        ["right", "wrong height", "missed", "extra"], ["right", "right", "left out", "left out"],
    ]  # fmt: skip


def test_edges_join_neighbouring_heights_whatever_these_are() -> None:
    assert edges_by_height(np.array([0, 0, 2, USELESS, PADDING])) == {(0, 2), (1, 2)}
    assert edges_by_height(np.array([1, 1])) == edges_by_height(np.array([USELESS])) == set()


def test_what_heights_cannot_tell_of_edges_is_said() -> None:
    # Statement 2 draws on 1 and on 0, which is two heights below: no pair of heights tells that.
    trees = [ReasoningTree.from_edges([(0, 1), (1, 2), (0, 2)], n_statements=4)] * 40
    twins, text = [shown(trees, 1e9)], shown(trees, 1e9, 1)
    found = recover(shown(trees, 1e-3), trees, twins=twins, text=text, settings=FAST)
    assert value(found, "exact match", "model")[0] == 1
    assert value(found, "edge F1", "model") == value(found, "edge F1", GOLD)
    assert value(found, "edge F1", GOLD)[0] == pytest.approx(0.8)


def test_a_users_own_trees_with_heights_alone_have_no_edges_to_find() -> None:
    def line(n: int, place: int) -> ReasoningTree:
        told = {"statements": [f"Box {i}." for i in range(n)], "question": "?", "answer": "yes"}
        return parse(told | {"useful": [place, n - 1], "heights": [0, 1]}).tree

    trees = [line(3 + i % 3, i % 2) for i in range(60)]
    features = shown(trees, 1e-3)
    found = recover(features, trees, twins=[], text=shown(trees, 1e9), settings=FAST)
    assert set(found.table.measure) == {"exact match", "node F1", "height accuracy"}
    assert set(found.table.source) == {"model", "text", "joint"}
    assert value(found, "exact match", "model")[0] == 1
    assert (found.read["model"] == stack_labels(trees)).all(), "padding stays padding"
    one = [ReasoningTree.from_edges([], 3, root=i % 3) for i in range(60)]
    found = recover(shown(one, 1e-3), one, twins=[], text=shown(one, 1e9), settings=FAST)
    assert "edge F1" not in set(found.table.measure)
    assert value(found, "exact match", "model")[0] == 1


def test_groups_are_kept_whole_in_the_intervals() -> None:
    # One problem told twenty times over is no more sure than told once.
    few = lists(30)
    trees, groups = [tree for tree in few for _ in range(20)], np.repeat(np.arange(30), 20)
    once, noise = shown(few, 0.6), shown(few, 1e9)
    many = {"twins": [], "text": np.repeat(noise, 20, axis=0), "groups": groups, "settings": FAST}
    told = value(recover(np.repeat(once, 20, axis=0), trees, **many), "node F1", "model")
    alone = recover(once, few, twins=[], text=noise, settings=FAST)
    single = value(alone, "node F1", "model")
    assert told[2] - told[1] > 0.6 * (single[2] - single[1]), "a fifth, were they taken apart"


def test_features_of_other_trees_and_too_few_trees_are_refused() -> None:
    trees = [ReasoningTree.from_edges([(0, 1)], n_statements=2)] * 6
    text = np.zeros((6, 2, 1))
    for wrong in ({"model": np.zeros((6, 3, 1))}, {"twins": [text[:5]]}, {"text": text[:, :1]}):
        given = {"model": text, "twins": [text], "text": text} | wrong
        with pytest.raises(InputError, match="give both alike"):
            recover(given.pop("model"), trees, **given)
    with pytest.raises(InputError, match="4 groups of examples for 5 folds"):
        recover(text[:4], trees[:4], twins=[], text=text[:4])
