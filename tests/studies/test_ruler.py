"""The ruler: dealt answers, arranged lists, planted trees, what is taught, and error rates."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from mplib.errors import InputError
from mplib.models.loading import load_model
from mplib.probe.knn import ProbeSettings
from mplib.stats import accuracy
from mplib.studies import ruler
from mplib.studies.ruler import SMALL, SPREAD, arranged, dealt_answers, error_rates, planted
from mplib.tasks.ksmallest import KSmallest

TASK = KSmallest(2, m=5, pool=30)


def test_answers_are_dealt_among_each_lists_own_numbers():
    lists = TASK.draw(5000, seed=0)
    dealt = dealt_answers(lists, seed=1)
    ranks = (lists < dealt[:, None]).sum(axis=1)
    assert (lists == dealt[:, None]).any(axis=1).all()
    assert abs(np.bincount(ranks, minlength=5) / 5000 - 0.2).max() < 0.03
    assert (dealt != dealt_answers(lists, seed=2)).mean() > 0.7
    # Drawing answers must not follow the drawing of the lists, whose seed is often the same.
    places = (lists == dealt_answers(lists, seed=0)[:, None]).argmax(axis=1)
    assert abs(np.bincount(places, minlength=5) / 5000 - 0.2).max() < 0.03


@pytest.mark.parametrize("task", [TASK, replace(TASK, k=1), KSmallest(3, 5, 6, repeats=True)])
@pytest.mark.parametrize("place", [1, 4, 5])
def test_arranged_lists_hold_the_same_numbers_and_their_answer_at_the_place(task, place):
    lists = task.draw(300, seed=0)
    before = lists.copy()
    moved = arranged(task, lists, place)
    assert (lists == before).all()
    assert (np.sort(moved, axis=1) == np.sort(lists, axis=1)).all()
    assert (moved[:, place - 1] == task.answers(lists)).all()
    assert ((moved != lists).sum(axis=1) <= 2).all()


def test_a_place_outside_the_list_is_refused():
    for place in (0, 9):
        with pytest.raises(InputError, match=f"place={place}: a list has the places 1 to 8"):
            replace(SMALL, place=place)


def test_planted_trees_stand_a_gap_apart_in_one_layer_of_the_same_noise():
    heights = TASK.heights(TASK.draw(2000, seed=0))
    found = planted(heights, 3, [0.5, 2], seed=0)
    assert [*found] == ["noise", "planted 0.5", "planted 2"]
    noise, strong = found["noise"], found["planted 2"]
    assert abs(noise.std() - SPREAD) < 0.01
    assert (noise[..., 1:] == strong[..., 1:]).all()
    means = [strong[..., 0][heights == height].mean() for height in (-1, 0, 1)]
    np.testing.assert_allclose(np.diff(means) / SPREAD, [2, 2], atol=0.1)


def test_what_is_taught_is_known_and_probed_on_the_same_lists():
    settings = ProbeSettings(halves=1, fold_seeds=1, folds=2)
    design = replace(SMALL, settings=settings, twins=2, gaps=(4.0,), own=True)
    start = load_model("nano", vocabulary=design.task.vocabulary, device="cpu")
    before = {name: values.clone() for name, values in start.model.state_dict().items()}
    lists = design.task.draw(64, seed=0)
    found = ruler.measure(design, start, lists)
    for name, values in start.model.state_dict().items():
        assert torch.equal(values, before[name]), name
    given = found.answers.set_index(["source", "answer"]).share
    assert given["recaller", "dealt answer"] > 0.95
    assert given["recaller", "right answer"] < 0.4
    assert given["shortcut, arranged", "right answer"] > 0.95
    assert given["shortcut", "right answer"] < 0.5
    gains = found.gains.set_index(["source", "target", "measure", "classifier"]).value
    on_plain = {"recaller", "shortcut", "noise", "planted 4"}
    assert {*found.gains.source} == on_plain | {"shortcut, arranged"}
    assert {*found.scores.source} == on_plain | {"shortcut, arranged"}
    assert {*found.scores.kind} == {"model"}
    for target in ("V", "G"):
        assert gains["planted 4", target, "F1", "logistic"] > 0.1
        # Its attention shows the root, and so does the place in the middle of the list.
        assert abs(gains["shortcut, arranged", target, "F1", "logistic"]) < 0.05


def test_error_rates_count_the_seeds_whose_interval_leaves_zero():
    key = dict(zip(ruler.KEYS, ["noise", "V", "F1", "logistic", "text and twins"], strict=True))
    values = [(0.1, 0.05, 0.15), (-0.2, -0.3, -0.1), (0.1, -0.1, 0.3), (0.0, -0.1, 0.1)]
    table = pd.DataFrame([
        *(key | {"value": v, "low": low, "high": high} for v, low, high in values),
        key | {"value": np.nan, "low": np.nan, "high": np.nan},
        key | {"source": "planted 1", "value": 0.3, "low": 0.2, "high": 0.4},
    ]).assign(by_heart=[0.9, 1, 1, 1, 1, 1])  # fmt: skip
    found = error_rates(table).set_index("source")
    noise = found.loc["noise"]
    quarter = accuracy(np.array([True, False, False, False]))
    assert (noise.seeds, noise.above, noise.below, noise.by_heart) == (4, 0.25, 0.25, 0.9)
    assert (noise.above_low, noise.above_high) == (quarter.low, quarter.high)
    # scipy.stats.ttest_1samp([.1, -.2, .1, 0], 0).confidence_interval()
    np.testing.assert_allclose([noise.low, noise.high], [-0.2250, 0.2250], atol=1e-4)
    assert found.loc["planted 1"].above == 1
    assert np.isnan(found.loc["planted 1"].low)
