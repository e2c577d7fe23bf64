"""Robustness: correlations over draws whose intervals know that they overlap."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import draw, outcome, probed
from scipy.stats import pearsonr

from mplib.errors import InputError
from mplib.probe.draws import change
from mplib.probe.knn import ProbeSettings
from mplib.report.figures import change_by_bin
from mplib.studies.robustness import all_bins, by_bin, correlations, per_example

NAME = "useless negated"


# Correlations


def test_a_real_correlation_is_found_and_its_interval_is_honest():
    rng = np.random.default_rng(0)
    _, features, heights, twins = probed(n=200, noise=0.2)
    hard = rng.random(200) < 0.5
    features[hard] = rng.normal(size=features[hard].shape)
    clean = outcome(~hard)
    found = draw(clean, features, heights, twins=twins, count=150, sizes=(40, 80))
    table = correlations(found)
    pairs = [("accuracy", "S_P1"), ("accuracy", "S_P2"), ("S_P1", "S_P2")]
    assert [*zip(table["first"], table.second, strict=True)] == pairs
    assert (table.value > 0.3).all() and (table.low > 0).all() and table.note.isna().all()
    assert table.value[0] == pytest.approx(pearsonr(found.table.accuracy, found.table.S_P1)[0])
    widths = [table.high - table.low, table.naive_high - table.naive_low]
    assert (widths[0] > widths[1]).all()
    # More draws of the same examples tell no more about others.
    more = draw(clean, features, heights, twins=twins, count=600, sizes=(40, 80))
    more = correlations(more, measures=["accuracy", "S_P1"], resamples=200)
    naive = (more.naive_high - more.naive_low)[0] / widths[1][0]
    assert naive < 0.6 and (more.high - more.low)[0] / widths[0][0] > 1.1 * naive


@pytest.mark.slow
def test_the_naive_interval_misses_what_the_other_holds():
    # Answers know nothing of how well the probe reads an example, so the true correlation is 0.
    held = []
    for seed in range(16):
        clean, features, heights, twins = probed(n=80, statements=3, seed=seed, noise=0.5)
        found = draw(
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
    _, features, heights, twins = probed()
    found = draw(outcome(np.ones(40)), features, heights, twins=twins, count=20, sizes=(10, 20))
    table = correlations(found)
    constant = table["first"] == "accuracy"
    assert table.value.isna().eq(constant).all()
    assert (table.note[constant] == "undefined: accuracy is the same in every draw").all()
    with pytest.raises(
        InputError, match=r"measure='S_P3': expected one of accuracy, S_P1.*Did you mean 'S_P"
    ):
        correlations(found, ["accuracy", "S_P3"])


def test_draws_without_a_value_are_left_out_and_counted():
    clean, features, heights, twins = probed()
    known = outcome(np.where(np.arange(40) < 10, 1 - clean.correct, np.nan))
    found = draw(
        clean, features, heights, twins=twins, count=60, sizes=(5, 12), corrupted={NAME: known}
    )
    missing = found.table[change(NAME)].isna()
    assert missing.any()
    row = correlations(found, ["accuracy", change(NAME)]).iloc[0]
    assert row.draws == 60 - missing.sum()
    assert row.note.endswith(f"; {missing.sum()} draws left out: one of the two is undefined")
    assert f"{NAME} differs in 2 of 10 groups from the rest; 10 are needed" in row.note
    assert np.isnan(row.low) and row.over == "draws of these 40 examples"
    kept = found.table[~missing]
    assert row.value == pytest.approx(pearsonr(kept.accuracy, kept[change(NAME)])[0])


def test_without_scores_there_is_no_correlation():
    clean, features, heights, _ = probed(noise=0.01)
    perfect = draw(clean, features, heights, twins=[features], count=8, sizes=(20, 30))
    table = correlations(perfect)
    assert table.value.isna().all() and (table.draws == 0).all()
    assert table.note.str.startswith("undefined: both are defined in 0 draws").all()


# Bins


def test_bins_hold_every_draw_and_the_largest_score():
    clean, features, heights, twins = probed(n=60)
    rng = np.random.default_rng(1)
    worse = outcome(clean.correct * (rng.random(60) < 0.6))
    found = draw(
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


def test_bins_that_differ_are_told_from_flat_ones():
    rng = np.random.default_rng(0)
    _, features, heights, twins = probed(n=120, noise=0.2)
    hard = rng.random(120) < 0.5
    features[hard] = rng.normal(size=features[hard].shape)
    clean = outcome(np.ones(120))
    lost = {"linked": outcome(~hard), "flat": outcome(rng.random(120) < 0.5), "none": clean}
    found = draw(clean, features, heights, twins=twins, corrupted=lost, count=200, sizes=(30, 60))
    tables = {name: by_bin(found, name) for name in lost}
    assert (tables["linked"].q < 0.05).any() and not (tables["flat"].q < 0.05).any()
    for table in (tables["linked"], tables["flat"]):
        told = table.p.notna()
        assert (table.q[told] >= table.p[told]).all() and told.eq(table.draws > 0).all()
    none = tables["none"]
    assert none.low.isna().all() and (none.value.dropna() == 0).all()
    assert "differs in 0 of 120 groups" in none.note[none.draws > 0].iloc[0]


def test_empty_bins_and_a_score_that_never_varies():
    clean, features, heights, twins = probed()
    found = draw(
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
    table = per_example(
        {"telling": telling * 3 + 5, "noise": noise}, clean, {NAME: lost}, resamples=80
    )
    table = table.set_index(["outcome", "measure"])
    right = table.loc["answers rightly"]
    assert right.low["telling"] < 1 < right.high["telling"] and right.low["telling"] > 0.5
    assert right.low["noise"] < 0 < right.high["noise"]
    loses = table.loc[f"loses the right answer, {NAME}"]
    assert abs(loses.value["telling"]) < 0.5 < right.value["telling"]
    assert (loses.examples == ((clean.correct == 1) & ~np.isnan(lost.correct)).sum()).all()
    assert loses.note["noise"] == "no value: the measure tells the outcomes apart without fail"
    assert loses.p["noise"] < 0.01 < 0.05 < right.p["noise"], "an exact test needs no finite value"
    assert (table.q >= table.p).all() and right.q["telling"] < 0.01
    doubled = per_example(
        {"telling": np.repeat(telling, 2)}, outcome(np.repeat(clean.correct, 2)), {},
        groups=np.repeat(np.arange(400), 2), resamples=80,
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
    counts = "undefined: {} groups have the outcome, {} have not; 10 of each are needed"
    assert table.note["answers rightly", "share"] == counts.format(0, 20)
    assert table.note[f"loses the right answer, {NAME}", "share"] == counts.format(0, 0)
    mixed = per_example(measures, outcome(np.arange(20) % 2), {}).set_index("measure")
    assert mixed.note["whole"] == "undefined: the measure is the same in every example"
    assert mixed.low["share"] < mixed.value["share"] < mixed.high["share"]


def test_a_score_that_no_draw_defines_is_a_note_in_the_bins():
    clean, features, heights, twins = probed(n=40, statements=3)
    flat = np.where(heights > 0, 0, heights)
    same = {"none": clean}
    found = draw(clean, features, flat, twins=twins, corrupted=same, count=10, sizes=(20, 30))
    table = all_bins(found, same)
    assert change_by_bin(table).axes
    (row,) = table.to_dict("records")
    assert row["draws"] == 0 and "undefined" in row["note"]
