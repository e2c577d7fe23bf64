"""Draws of examples: the probe's own numbers in each, and intervals that know they overlap."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from mplib.errors import InputError
from mplib.probe.draws import Draws, change, draws
from mplib.probe.knn import ProbeSettings, confusions, predict, useful_heights, usefulness
from mplib.probe.scores import compare
from mplib.studies.corruption import Outcome
from mplib.studies.robustness import all_bins, by_bin, correlations, per_example
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.trees import PADDING, USELESS

NAME = "useless negated"


def outcome(correct) -> Outcome:
    correct = np.asarray(correct, dtype=float)
    return Outcome(correct, np.where(correct == 1, -0.1, -2.0))


def study(n=40, statements=4, layers=2, seed=0, noise=0.8, padded=False):
    """Answers by chance, features that show heights as well as the noise allows, a blind twin."""
    rng = np.random.default_rng(seed)
    task = KSmallest(2, m=statements, pool=40)
    heights = task.heights(task.draw(n, seed))
    shape = (*heights.shape, layers)
    features = heights[..., None] + rng.normal(size=shape) * noise
    if padded:
        # The largest number of some lists is taken away: it is of no use.
        last = (heights == USELESS) & (rng.random(heights.shape) < 0.3)
        heights, features = heights.copy(), np.where(last[..., None], np.nan, features)
        heights[last] = PADDING
    twins = [np.where(np.isnan(features), np.nan, rng.normal(size=shape)) for _ in range(2)]
    return outcome(rng.random(n) < 0.7), features, heights, twins


def drawn(members: np.ndarray) -> np.ndarray:
    return members[members >= 0]


def expect_the_probes_numbers(found: Draws, features, heights, twins, groups, how) -> None:
    """Every draw has the predictions and scores that the probe makes from it alone."""
    for row, members in zip(found.table.itertuples(), found.members, strict=True):
        own = drawn(members)
        assert len(own) == row.examples == len({*own})
        same = replace(how, seed=row.seed, resamples=0)
        for source, values in enumerate((features, *twins)):
            guess = predict(values[own], heights[own], groups[own], same)
            each = np.arange(len(own))
            expected = {
                "V": confusions(usefulness(heights[own]), guess.useful, each),
                "G": confusions(useful_heights(heights[own]), guess.height, each),
            }
            for target, counts in expected.items():
                ours = found.counts[target][row.draw, : len(own), source]
                np.testing.assert_array_equal(ours, counts)
                assert found.counts[target][row.draw, len(own) :].sum() == 0
        table = compare(
            {"model": features[own]}, heights[own], twins=[x[own] for x in twins],
            groups=groups[own], settings=same,
        ).scores  # fmt: skip
        for score in ("S_P1", "S_P2"):
            chosen = table[(table.source == "model") & (table.score == score)]
            assert chosen.value.item() == pytest.approx(getattr(row, score), abs=1e-12)


# Draws


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("layers", [2, 20])  # scikit-learn searches many features in another way
def test_every_draw_has_the_probes_own_predictions(power, layers):
    clean, features, heights, twins = study(layers=layers, padded=True)
    features, twins = features.astype(np.float32), [x.astype(np.float32) for x in twins]
    how = ProbeSettings(metric_power=power, folds=3, seed=5)
    groups = np.array([f"theory {i}" for i in np.arange(40) // 2])
    found = draws(
        clean, features, heights, twins=twins, groups=groups, count=10, sizes=(20, 60), settings=how
    )
    expect_the_probes_numbers(found, features, heights, twins, groups, how)
    assert found.table.examples.between(20, 40).all(), "no draw has more than there are"


@given(st.integers(0, 10_000))
@settings(max_examples=8)
def test_equal_features_and_equal_votes_are_judged_alike(seed):
    # Distances of 0, 1 and 2 alone, and every statement of the other folds is a neighbour.
    clean, features, heights, twins = study(n=14, statements=3, layers=1, seed=seed)
    rng = np.random.default_rng(seed)
    features = rng.integers(0, 3, size=features.shape).astype(float)
    twins = [rng.integers(0, 3, size=features.shape).astype(float)]
    how = ProbeSettings(neighbours=100, folds=4, metric_power=1)
    found = draws(clean, features, heights, twins=twins, count=8, sizes=(8, 12), settings=how)
    for row, members in zip(found.table.itertuples(), found.members, strict=True):
        own = drawn(members)
        guess = predict(features[own], heights[own], settings=replace(how, seed=row.seed))
        counts = confusions(usefulness(heights[own]), guess.useful, np.arange(len(own)))
        np.testing.assert_array_equal(found.counts["V"][row.draw, : len(own), 0], counts)


def test_neighbours_are_found_however_far_they_are():
    # The nearest statements are all of one's own group, which stands in one's own fold.
    clean, features, heights, twins = study(n=60, statements=6)
    groups = np.arange(60) // 20
    far = 100 * groups[:, None, None]
    features, twins = features + far, [x + far for x in twins]
    how = ProbeSettings(folds=3, neighbours=4)
    found = draws(
        clean, features, heights, twins=twins, groups=groups, count=8, sizes=(50, 60), settings=how
    )
    expect_the_probes_numbers(found, features, heights, twins, groups, how)


def test_draws_hang_on_the_seed_alone():
    clean, features, heights, twins = study()
    case = {"twins": twins, "count": 40, "sizes": (10, 20), "corrupted": {NAME: clean}}
    first, second = (draws(clean, features, heights, **case, workers=workers) for workers in (1, 2))
    pd.testing.assert_frame_equal(first.table, second.table)
    assert (first.members == second.members).all()
    fewer = draws(clean, features, heights, **{**case, "count": 10})
    pd.testing.assert_frame_equal(fewer.table, first.table[:10])
    other = draws(clean, features, heights, **case, settings=ProbeSettings(seed=1))
    assert not (other.members == first.members).all()


def test_draws_are_uniform_over_examples_and_sizes():
    clean, features, heights, twins = study(n=12, statements=2)
    found = draws(clean, features, heights, twins=twins, count=800, sizes=(5, 8))
    sizes, counts = np.unique(found.table.examples, return_counts=True)
    assert sizes.tolist() == [5, 6, 7, 8] and abs(counts / 800 - 0.25).max() < 0.05
    counts = np.bincount(found.members[found.members >= 0])
    assert abs(counts / counts.sum() - 1 / 12).max() < 0.012


def test_accuracy_and_change_are_those_of_the_draw():
    clean, features, heights, twins = study()
    worse = np.where(np.arange(40) < 8, clean.correct, np.nan)
    worse[:4] = 0
    found = draws(
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
    clean, features, heights, _ = study(noise=0.01)
    seen = [features]
    perfect = draws(clean, features, heights, twins=seen, count=8, sizes=(20, 30))
    assert perfect.table[["S_P1", "S_P2"]].isna().all(axis=None)
    assert (perfect.table.note == (
        "S_P1 undefined: the baseline is perfect; S_P2 undefined: the baseline is perfect"
    )).all()  # fmt: skip
    table = correlations(perfect)
    assert table.value.isna().all() and (table.draws == 0).all()
    assert table.note.str.startswith("undefined: both are defined in 0 draws").all()
    flat = np.where(heights > 0, 0, heights)
    rng = np.random.default_rng(0)
    blind = [rng.normal(size=features.shape)]
    one = draws(clean, features, flat, twins=blind, count=8, sizes=(20, 30))
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
        ({"groups": np.arange(39)}, "groups: 39 examples, but 40 clean ones"),
        ({"corrupted": {NAME: outcome([1, 0])}}, "useless negated: 2 examples, but 40"),
    ],
)
def test_what_cannot_be_drawn_is_said(given, words):
    clean, features, heights, twins = study()
    case = {"features": features, "heights": heights, "twins": twins, "sizes": (20, 30)}
    with pytest.raises(InputError, match=words):
        draws(clean, **{**case, "count": 8, **given})


# Correlations


def test_a_real_correlation_is_found_and_its_interval_is_honest():
    rng = np.random.default_rng(0)
    _, features, heights, twins = study(n=200, noise=0.2)
    hard = rng.random(200) < 0.5
    features[hard] = rng.normal(size=features[hard].shape)
    clean = outcome(~hard)
    found = draws(clean, features, heights, twins=twins, count=150, sizes=(40, 80))
    table = correlations(found)
    pairs = [("accuracy", "S_P1"), ("accuracy", "S_P2"), ("S_P1", "S_P2")]
    assert [*zip(table["first"], table.second, strict=True)] == pairs
    assert (table.value > 0.3).all() and (table.low > 0).all() and table.note.isna().all()
    assert table.value[0] == pytest.approx(pearsonr(found.table.accuracy, found.table.S_P1)[0])
    widths = [table.high - table.low, table.naive_high - table.naive_low]
    assert (widths[0] > widths[1]).all()
    # More draws of the same examples tell no more about others.
    more = draws(clean, features, heights, twins=twins, count=600, sizes=(40, 80))
    more = correlations(more, measures=["accuracy", "S_P1"], resamples=200)
    naive = (more.naive_high - more.naive_low)[0] / widths[1][0]
    assert naive < 0.6 and (more.high - more.low)[0] / widths[0][0] > 1.2 * naive


@pytest.mark.slow
def test_the_naive_interval_misses_what_the_other_holds():
    # Answers know nothing of how well the probe reads an example, so the true correlation is 0.
    held = []
    for seed in range(16):
        clean, features, heights, twins = study(n=80, statements=3, seed=seed, noise=0.5)
        found = draws(
            clean, features, heights, twins=twins[:1], count=300, sizes=(25, 50),
            settings=ProbeSettings(folds=2, seed=seed),
        )  # fmt: skip
        table = correlations(found, resamples=100)
        table = table[table["first"] == "accuracy"]
        held.append([
            (table[low] < 0) & (table[high] > 0)
            for low, high in (("naive_low", "naive_high"), ("low", "high"))
        ])  # fmt: skip
    naive, ours = np.mean(held, axis=(0, 2))
    assert naive < 0.8
    assert ours > 0.85


def test_what_never_varies_has_no_correlation():
    _, features, heights, twins = study()
    found = draws(outcome(np.ones(40)), features, heights, twins=twins, count=20, sizes=(10, 20))
    table = correlations(found)
    constant = table["first"] == "accuracy"
    assert table.value.isna().eq(constant).all()
    assert (table.note[constant] == "undefined: accuracy is the same in every draw").all()
    with pytest.raises(InputError, match=r"no column 'S_P3' in the draws.*Did you mean 'S_P"):
        correlations(found, ["accuracy", "S_P3"])


def test_draws_without_a_value_are_left_out_and_counted():
    clean, features, heights, twins = study()
    known = outcome(np.where(np.arange(40) < 10, 1 - clean.correct, np.nan))
    found = draws(
        clean, features, heights, twins=twins, count=60, sizes=(5, 12), corrupted={NAME: known}
    )
    missing = found.table[change(NAME)].isna()
    assert missing.any()
    row = correlations(found, ["accuracy", change(NAME)]).iloc[0]
    assert row.draws == 60 - missing.sum()
    assert row.note == f"{missing.sum()} draws left out: one of the two is undefined"
    kept = found.table[~missing]
    assert row.value == pytest.approx(pearsonr(kept.accuracy, kept[change(NAME)])[0])


# Bins


def test_bins_hold_every_draw_and_the_largest_score():
    clean, features, heights, twins = study(n=60)
    rng = np.random.default_rng(1)
    worse = outcome(clean.correct * (rng.random(60) < 0.8))
    found = draws(
        clean, features, heights, twins=twins, count=200, sizes=(20, 40), corrupted={NAME: worse}
    )
    table = by_bin(found, NAME)
    assert len(table) == 8 and table.draws.sum() == 200
    score = found.table.S_P2
    assert (table["from"].iloc[0], table.to.iloc[-1]) == (score.min(), score.max())
    assert np.ptp(table.to - table["from"]) < 1e-12
    cut = pd.cut(score, np.append(table["from"], np.inf), right=False, labels=False)
    means = found.table.groupby(cut)[change(NAME)].mean()
    for place, row in table.iterrows():
        if row.draws:
            assert row.value == pytest.approx(means[place]) and row.low < row.value < row.high
    assert table.value.isna().eq(table.draws == 0).all()
    # The mean of all draws is as unsure as the mean of all examples, however many draws there are.
    whole = by_bin(found, NAME, bins=1).iloc[0]
    error = (worse.correct - clean.correct).std() / np.sqrt(60)
    assert (whole.high - whole.low) / 3.92 == pytest.approx(error, rel=0.2)


def test_empty_bins_and_a_score_that_never_varies():
    clean, features, heights, twins = study()
    found = draws(
        clean, features, heights, twins=twins, count=10, sizes=(8, 12), corrupted={NAME: clean}
    )
    table = by_bin(found, NAME, bins=40)
    assert (table.note[table.draws == 0] == "no draw in this bin").all()
    assert (table.draws == 0).any() and (table.value.dropna() == 0).all()
    same = by_bin(replace(found, table=found.table.assign(S_P2=0.5)), NAME)
    assert len(same) == 1 and same.draws.item() == 10
    with pytest.raises(InputError, match="expected one of accuracy, change in accuracy, useless"):
        by_bin(found, "shuffled")
    with pytest.raises(InputError, match="no draw has both S_P2 and a change"):
        by_bin(replace(found, table=found.table.assign(S_P2=np.nan)), NAME)


# Examples


def test_a_measure_that_foretells_the_answer_is_told_from_one_that_does_not():
    rng = np.random.default_rng(0)
    telling, noise = rng.normal(size=(2, 400))
    likely = 1 / (1 + np.exp(-(telling * 3 + 5) / 3))  # one standard deviation is one in log-odds
    clean = outcome(rng.random(400) < likely)
    lost = outcome(np.where(rng.random(400) < 0.2, np.nan, clean.correct * (noise > 0)))
    table = per_example({"telling": telling * 3 + 5, "noise": noise}, clean, {NAME: lost})
    table = table.set_index(["outcome", "measure"])
    right = table.loc["answers rightly"]
    assert right.low["telling"] < 1 < right.high["telling"] and right.low["telling"] > 0.5
    assert right.low["noise"] < 0 < right.high["noise"]
    loses = table.loc[f"loses the right answer, {NAME}"]
    assert abs(loses.value["telling"]) < 0.5 < right.value["telling"]
    assert (loses.examples == ((clean.correct == 1) & ~np.isnan(lost.correct)).sum()).all()
    assert loses.note["noise"] == "undefined: the measure tells the outcomes apart without fail"
    doubled = per_example(
        {"telling": np.repeat(telling, 2)}, outcome(np.repeat(clean.correct, 2)), {},
        groups=np.repeat(np.arange(400), 2),
    ).iloc[0]  # fmt: skip
    assert doubled.value == pytest.approx(right.value["telling"], rel=0.01)
    width = right.high["telling"] - right.low["telling"]
    assert doubled.high - doubled.low == pytest.approx(width, rel=0.2), "copies tell nothing new"


def test_what_no_regression_can_tell_is_said():
    rng = np.random.default_rng(0)
    measures = {"share": rng.random(20), "whole": np.ones(20)}
    wrong = outcome(np.zeros(20))
    table = per_example(measures, wrong, {NAME: wrong}).set_index(["outcome", "measure"])
    assert table.value.isna().all()
    assert "the outcome is the same" in table.note["answers rightly", "share"]
    assert "there is no such example" in table.note[f"loses the right answer, {NAME}", "share"]
    mixed = per_example(measures, outcome(np.arange(20) % 2), {}).set_index("measure")
    assert mixed.note["whole"] == "undefined: the measure is the same in every example"
    assert mixed.low["share"] < mixed.value["share"] < mixed.high["share"]


def test_a_score_that_no_draw_defines_is_a_note_in_the_bins():
    clean, features, heights, twins = study(n=40, statements=3)
    flat = np.where(heights > 0, 0, heights)
    same = {"none": clean}
    found = draws(clean, features, flat, twins=twins, corrupted=same, count=10, sizes=(20, 30))
    (row,) = all_bins(found, same).to_dict("records")
    assert row["draws"] == 0 and "undefined" in row["note"]
