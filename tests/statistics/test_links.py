"""Links between probe and answers: how often chance passes for one, and what intervals hold."""

import numpy as np
import pytest
from conftest import draw, outcome, probed

from mplib.probe.knn import ProbeSettings
from mplib.studies.corruption import effects
from mplib.studies.robustness import correlations, per_example

pytestmark = pytest.mark.statistics


def links(n: int, events: int, seed: int, copies: int = 1, **options):
    """Regressions of an outcome by chance on measures that know nothing of it."""
    rng = np.random.default_rng(seed)
    right = np.ones(n)
    right[rng.choice(n, events, replace=False)] = 0
    measures = {"share": rng.binomial(8, 0.85, n) / 8, "whole": (rng.random(n) < 0.6).astype(float)}
    return per_example(
        {name: np.repeat(values, copies) for name, values in measures.items()},
        outcome(np.repeat(right, copies)), {},
        groups=np.repeat(np.arange(n), copies), seed=seed, **options,
    )  # fmt: skip


@pytest.mark.parametrize(("n", "events"), [(32, 1), (256, 3)])
def test_few_events_tell_nothing(n, events):
    tables = [links(n, events, seed, resamples=20, permutations=99) for seed in range(20)]
    assert all(table.value.isna().all() and table.p.isna().all() for table in tables)
    note = f"undefined: {n - events} groups have the outcome, {events} have not; 10 of each are"
    assert all(table.note.str.startswith(note).all() for table in tables)


@pytest.mark.parametrize(("events", "copies"), [(10, 1), (30, 1), (10, 3)])
def test_chance_is_rarely_taken_for_a_link(events, copies):
    tables = [links(64, events, seed, copies, resamples=30, permutations=399) for seed in range(30)]
    by_test = np.mean([table.p <= 0.05 for table in tables])
    by_interval = np.mean([(table.low > 0) | (table.high < 0) for table in tables])
    assert by_test <= 0.15 and by_interval <= 0.15


def test_a_link_is_found():
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        telling = rng.normal(size=256)
        right = outcome(rng.random(256) < 1 / (1 + np.exp(-telling - 1)))
        table = per_example({"telling": telling}, right, {}, resamples=20, permutations=399)
        found.append(table.p.item() < 0.05)
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize("lost", [0.0, 0.02, 0.1])
def test_intervals_of_rare_changes_hold_the_truth(lost):
    held = []
    for seed in range(100):
        right = np.random.default_rng(seed).random(64) >= lost
        row = effects(outcome(np.ones(64)), {"any": outcome(right)}, resamples=200).set_index(
            "measure"
        )
        for measure, truth in (("change in accuracy", -lost), ("accuracy", 1 - lost)):
            held.append(row.low[measure] <= truth <= row.high[measure])
            assert row.high[measure] > row.low[measure]
    assert np.mean(held) >= 0.9


def test_a_correlation_over_draws_holds_what_it_is_said_to_hold():
    # Half of the examples are read by chance alone, and rarely answered rightly.
    values, held = [], []
    for seed in range(40):
        rng = np.random.default_rng(1000 + seed)
        _, features, heights, twins = probed(n=64, seed=seed, noise=0.3)
        hard = rng.random(64) < 0.5
        features[hard] = rng.normal(size=features[hard].shape)
        right = outcome(rng.random(64) < np.where(hard, 0.25, 0.9))
        found = draw(
            right, features, heights, twins=twins[:1], count=200, sizes=(24, 48),
            settings=ProbeSettings(seed=seed),
        )  # fmt: skip
        table = correlations(found, resamples=100, seed=seed)
        assert (table.over == "draws of these 64 examples").all()
        values.append(table.value)
        held.append((table.low, table.high))
    truth = np.mean(values, axis=0)  # of the draws of 64 such examples
    low, high = np.moveaxis(held, 1, 0)
    assert (truth > 0.2).all()
    assert (((low < truth) & (truth < high)).mean(axis=0) >= 0.88).all()
