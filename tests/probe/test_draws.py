"""Draws of examples: the probe's own numbers in each."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import draw, outcome, probed
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from mplib.errors import InputError
from mplib.probe.draws import Draws, change, draws
from mplib.probe.knn import ProbeSettings, predict, useful_heights, usefulness
from mplib.probe.scores import compare
from mplib.tasks.trees import PADDING, USELESS

NAME = "useless negated"


def drawn(members: np.ndarray) -> np.ndarray:
    return members[members >= 0]


def confusions(gold: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Confusion counts of each example, shape (examples, labels, labels)."""
    labels = range(gold.max() + 1)
    pairs = [
        confusion_matrix(own[own != PADDING], told[own != PADDING], labels=labels)
        for own, told in zip(gold, guess, strict=True)
    ]
    return np.stack(pairs)


def expect_the_probes_numbers(found: Draws, features, heights, twins, groups, settings) -> None:
    """Every draw has the predictions and scores that the probe makes from it alone."""
    for row, members in zip(found.table.itertuples(), found.members, strict=True):
        own = drawn(members)
        assert len(own) == row.examples == len({*own})
        same = replace(settings, seed=row.seed, fold_seeds=1, halves=0)
        for source, values in enumerate((features, *twins)):
            guess = predict(values[own], heights[own], groups[own], same)
            expected = {
                "V": confusions(usefulness(heights[own]), guess.useful),
                "G": confusions(useful_heights(heights[own]), guess.height),
            }
            for target, counts in expected.items():
                ours = found.counts[target][row.draw, : len(own), source]
                np.testing.assert_array_equal(ours, counts)
                assert found.counts[target][row.draw, len(own) :].sum() == 0
        table = compare(
            {"model": features[own]}, heights[own], twins=[x[own] for x in twins],
            controls=(), groups=groups[own], settings=same, classifiers=["kNN"],
        ).scores  # fmt: skip
        for score in ("S_P1", "S_P2"):
            chosen = table[(table.source == "model") & (table.score == score)]
            assert chosen.value.item() == pytest.approx(getattr(row, score), abs=1e-12)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("layers", [2, 20])  # scikit-learn searches many features in another way
def test_every_draw_has_the_probes_own_predictions(power, layers):
    clean, features, heights, twins = probed(layers=layers, padded=True)
    features, twins = features.astype(np.float32), [x.astype(np.float32) for x in twins]
    probe = ProbeSettings(metric_power=power, folds=3, seed=5)
    groups = np.array([f"theory {i}" for i in np.arange(40) // 2])
    found = draw(
        clean, features, heights, twins=twins, groups=groups, settings=probe, count=10,
        sizes=(20, 60),
    )  # fmt: skip
    expect_the_probes_numbers(found, features, heights, twins, groups, probe)
    assert found.table.examples.between(20, 40).all(), "no draw has more than there are"


@given(st.integers(0, 10_000))
@settings(max_examples=8)
def test_equal_features_and_equal_votes_are_judged_alike(seed):
    # Distances of 0, 1 and 2 alone, and every statement of the other folds is a neighbour.
    clean, features, heights, twins = probed(n=14, statements=3, layers=1, seed=seed)
    rng = np.random.default_rng(seed)
    features = rng.integers(0, 3, size=features.shape).astype(float)
    twins = [rng.integers(0, 3, size=features.shape).astype(float)]
    probe = ProbeSettings(neighbours=100, folds=4, metric_power=1)
    found = draw(clean, features, heights, twins=twins, count=8, sizes=(8, 12), settings=probe)
    for row, members in zip(found.table.itertuples(), found.members, strict=True):
        own = drawn(members)
        guess = predict(features[own], heights[own], settings=replace(probe, seed=row.seed))
        counts = confusions(usefulness(heights[own]), guess.useful)
        np.testing.assert_array_equal(found.counts["V"][row.draw, : len(own), 0], counts)


def test_neighbours_are_found_however_far_they_are():
    # The nearest statements are all of one's own group, which stands in one's own fold.
    clean, features, heights, twins = probed(n=60, statements=6)
    groups = np.arange(60) // 20
    far = 100 * groups[:, None, None]
    features, twins = features + far, [x + far for x in twins]
    probe = ProbeSettings(folds=3, neighbours=4)
    found = draw(
        clean, features, heights, twins=twins, groups=groups, settings=probe, count=8,
        sizes=(50, 60),
    )  # fmt: skip
    expect_the_probes_numbers(found, features, heights, twins, groups, probe)


def test_draws_hang_on_the_seed_alone():
    clean, features, heights, twins = probed()
    case = {"twins": twins, "count": 40, "sizes": (10, 20), "corrupted": {NAME: clean}}
    first, second = (draw(clean, features, heights, **case) for _ in range(2))
    pd.testing.assert_frame_equal(first.table, second.table)
    assert (first.members == second.members).all()
    fewer = draw(clean, features, heights, **{**case, "count": 10})
    pd.testing.assert_frame_equal(fewer.table, first.table[:10])
    other = draw(clean, features, heights, **case, settings=ProbeSettings(seed=1))
    assert not (other.members == first.members).all()


def test_draws_are_uniform_over_examples_and_sizes():
    clean, features, heights, twins = probed(n=12, statements=2)
    found = draw(clean, features, heights, twins=twins, count=800, sizes=(5, 8))
    sizes, counts = np.unique(found.table.examples, return_counts=True)
    assert sizes.tolist() == [5, 6, 7, 8] and abs(counts / 800 - 0.25).max() < 0.05
    counts = np.bincount(found.members[found.members >= 0])
    assert abs(counts / counts.sum() - 1 / 12).max() < 0.012


def test_accuracy_and_change_are_those_of_the_draw():
    clean, features, heights, twins = probed()
    worse = np.where(np.arange(40) < 8, clean.correct, np.nan)
    worse[:4] = 0
    found = draw(
        clean, features, heights, twins=twins, count=30, sizes=(5, 9),
        corrupted={NAME: outcome(worse)},
    )  # fmt: skip
    for row, members in zip(found.table.to_dict("records"), found.members, strict=True):
        own = drawn(members)
        assert row["accuracy"] == pytest.approx(clean.correct[own].mean())
        both = own[own < 8]
        expected = (worse[both] - clean.correct[both]).mean() if len(both) else np.nan
        assert row[change(NAME)] == pytest.approx(expected, nan_ok=True)
    none = found.table[change(NAME)].isna()
    assert none.any() and not none.all()
    assert found.table.note[none].str.contains("possible in none of the examples").all()


def test_an_undefined_score_is_said():
    clean, features, heights, _ = probed(noise=0.01)
    seen = [features]
    perfect = draw(clean, features, heights, twins=seen, count=8, sizes=(20, 30))
    assert perfect.table[["S_P1", "S_P2"]].isna().all(axis=None)
    assert (perfect.table.note == (
        "S_P1 undefined: the baseline is perfect; S_P2 undefined: the baseline is perfect"
    )).all()  # fmt: skip
    flat = np.where(heights > 0, 0, heights)
    rng = np.random.default_rng(0)
    blind = [rng.normal(size=features.shape)]
    one = draw(clean, features, flat, twins=blind, count=8, sizes=(20, 30))
    assert one.table.S_P1.notna().all() and one.table.S_P2.isna().all()
    assert one.table.note.str.contains("S_P2 undefined: there is one height only").all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"count": 7}, "count=7 draws: ask for 8 or more"),
        ({"sizes": (64, 128)}, r"sizes=\(64, 128\): no draw can have 64 to 128 of 40 examples"),
        ({"sizes": (20, 10)}, "no draw can have 20 to 10"),
        ({"twins": []}, "twins is empty"),
        ({"heights": np.full((40, 4), USELESS)}, "heights name no useful statement"),
        ({"features": np.zeros((40, 3, 2))}, r"features of shape \(40, 3, 2\)"),
        ({"features": np.full((40, 4, 2), np.nan)}, "features are missing for a statement"),
        ({"groups": np.arange(40) // 20}, "examples of 2 groups for 5 folds"),
        ({"groups": np.arange(39)}, "groups of 39 examples for 40 examples"),
        ({"values": {"accuracy": np.ones(2)}}, "accuracy: 2 examples, but heights for 40"),
    ],
)
def test_what_cannot_be_drawn_is_said(given, words):
    clean, features, heights, twins = probed()
    case = {
        "values": {"accuracy": clean.correct}, "features": features, "heights": heights,
        "twins": twins, "sizes": (20, 30), "count": 8,
    }  # fmt: skip
    with pytest.raises(InputError, match=words):
        draws(**{**case, **given})
