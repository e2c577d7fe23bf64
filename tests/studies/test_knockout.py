"""Knock-out: edges to statements cut, what that costs, and whether the probe foretells it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import GOLDEN, VOCABULARY, make_prompts, needs_golden, numbers, predicted_tokens
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pointbiserialr, spearmanr
from transformers import AutoModelForCausalLM

from mplib.errors import InputError
from mplib.models.facts import backend
from mplib.models.inference import Answers, answers
from mplib.models.passes import forward
from mplib.probe.knn import Predictions
from mplib.studies import flow, knockout
from mplib.studies.knockout import answer_without
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.trees import PADDING, USELESS

TASK = KSmallest(2, m=7, pool=VOCABULARY)
LISTS = TASK.draw(40, seed=1)
PROMPTS = numbers(TASK, LISTS)


# Edges cut


def test_edge_sets_follow_the_tree():
    heights = np.array([
        [0, 1, USELESS, USELESS, USELESS, 0],
        [USELESS, 2, 1, 0, USELESS, PADDING],
        [0, USELESS, PADDING, PADDING, PADDING, PADDING],
    ])  # fmt: skip
    sets = knockout.edge_sets(heights, seed=3)
    assert {name: chosen.astype(int).tolist() for name, chosen in sets.items()} == {
        "useful statements": [[1, 1, 0, 0, 0, 1], [0, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0]],
        "root alone": [[0, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]],
        "leaves alone": [[1, 0, 0, 0, 0, 1], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0]],
        "as many useless": [[0, 0, 1, 1, 1, 0], [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0]],
    }
    # One number is the whole tree: nothing else is left to cut but useless ones.
    assert list(knockout.edge_sets(KSmallest(1, m=7).heights(LISTS))) == [
        "useful statements", "as many useless",
    ]  # fmt: skip


@given(st.integers(0, 50), st.integers(1, 7))
def test_the_useless_ones_are_as_many_and_drawn_anew(seed, k):
    heights = KSmallest(k, m=7, pool=VOCABULARY).heights(LISTS)
    drawn = knockout.edge_sets(heights, seed).get("as many useless")
    if k == 7:
        assert drawn is None
        return
    assert (drawn.sum(axis=1) == min(k, 7 - k)).all()
    assert (heights[drawn] == USELESS).all()
    assert k > 3 or (drawn[0] != drawn).any()


def test_edges_are_cut_from_the_question_on_to_the_statements_tokens():
    prompts = make_prompts(
        [9, 6], [[(0, 2), (2, 5)], [(1, 3)]], [(6, 8), (4, 6)]
    )  # the shorter prompt has three tokens of padding
    cut = knockout.cut_edges(prompts, np.array([[False, True], [True, False]])).int().numpy()
    assert cut.shape == (2, 9, 9)
    expected = np.zeros((2, 9, 9), dtype=int)
    expected[0, 6:, 2:5] = 1
    expected[1, 7:, 4:6] = 1
    np.testing.assert_array_equal(cut, expected)
    last = knockout.cut_edges(PROMPTS[:1], np.eye(7, dtype=bool)[2:3])
    assert last.nonzero().tolist() == [[0, 6, 2]]


def test_cutting_nothing_changes_no_answer(gpt2):
    nothing = np.zeros(LISTS.shape, dtype=bool)
    whole = answers(gpt2, PROMPTS)
    cut = answer_without(gpt2, PROMPTS, nothing, batch_size=7)
    np.testing.assert_allclose(cut.log_probability, whole.log_probability, rtol=1e-4)
    assert (cut.correct == whole.correct).all()
    with backend(gpt2):
        scores = forward(gpt2, PROMPTS).logits.log_softmax(-1)
    expected = scores[torch.arange(40), torch.from_numpy(PROMPTS.answers)]
    np.testing.assert_allclose(whole.log_probability, expected, rtol=1e-4)


def test_answers_among_choices(gpt2):
    choices = np.unique(PROMPTS.answers)[:2]
    chosen = PROMPTS[np.isin(PROMPTS.answers, choices)]
    found = answers(gpt2, chosen, choices=choices)
    other = np.where(chosen.answers == choices[0], choices[1], choices[0])
    beside = answers(gpt2, replace(chosen, answers=other), choices=choices)
    sums = np.exp(found.log_probability) + np.exp(beside.log_probability)
    np.testing.assert_allclose(sums, 1, rtol=1e-5)
    expected = predicted_tokens(gpt2, chosen, choices=choices) == chosen.answers
    assert (found.correct == expected).all()


def test_windows_slide_over_all_layers():
    assert knockout.windows(3, [2, 3]) == [(1, 2), (2, 3), (1, 3)]
    for size in (0, 4):
        with pytest.raises(InputError, match=f"window of {size} layers.*from 1 to 3"):
            knockout.windows(3, [size])


def test_changes_are_paired_and_stated_with_their_window(gpt2):
    sets = knockout.edge_sets(TASK.heights(LISTS))
    found = knockout.knock_out(
        gpt2, PROMPTS, sets, [(2, 2), (1, 3)], renormalise=False, resamples=200
    )
    assert len(found.table) == len(sets) * 2 * 3 and not found.table.renormalised.any()
    for (name, span), damage in found.damage.items():
        cut = answer_without(gpt2, PROMPTS, sets[name], span, renormalise=False)
        np.testing.assert_allclose(damage, found.whole.log_probability - cut.log_probability)
        rows = found.table[(found.table.cut == name) & (found.table.first_layer == span[0])]
        rows = rows.set_index("measure")
        assert rows.loc["accuracy", "value"] == cut.correct.mean()
        row = rows.loc["change in log-probability"]
        assert row.value == pytest.approx(-damage.mean(), abs=1e-5)
        assert row.low <= row.value <= row.high
        # The bootstrap of a mean is close to its normal interval.
        assert row.high - row.low == pytest.approx(3.92 * damage.std() / 40**0.5, rel=0.35)


# The probe and the damage


def knocked_out(damage: np.ndarray) -> knockout.Knockout:
    """A knock-out in one window with a given damage."""
    whole = Answers(np.ones(len(damage), dtype=bool), np.zeros(len(damage)))
    return knockout.Knockout(pd.DataFrame(), {("useful statements", (1, 2)): damage}, whole, 0.1)


def test_agreement_is_the_correlation_and_states_where_there_is_none():
    rng = np.random.default_rng(0)
    right, damage = rng.integers(2, size=200).astype(float), rng.normal(size=200)
    damage += right
    share = rng.random(200)
    found = knockout.agreement(
        {"tree": right, "share": share, "same": np.ones(200)}, knocked_out(damage)
    )
    rows = found.set_index(["probe", "statistic"])
    assert rows.loc[("tree", "Spearman"), "value"] == pytest.approx(spearmanr(right, damage)[0])
    row = rows.loc[("tree", "point-biserial")]
    assert row.value == pytest.approx(pointbiserialr(right, damage)[0])
    assert 0 < row.low < row.value < row.high
    assert rows.loc[("share", "Spearman"), "value"] == pytest.approx(spearmanr(share, damage)[0])
    assert ("share", "point-biserial") not in rows.index
    none = rows.loc[("same", "Spearman")]
    assert np.isnan(none.value) and "undefined: the probe's correctness" in none.note
    flat = knockout.agreement({"tree": right}, knocked_out(np.zeros(200)))
    assert flat.value.isna().all() and flat.note.str.contains("undefined: the damage").all()


def test_correctness_of_the_probe_counts_only_what_it_was_asked():
    heights = np.array([[0, 1, USELESS, USELESS], [1, 0, USELESS, PADDING], [0, 1, 0, USELESS]])
    predictions = Predictions(
        useful=np.array([[1, 1, 0, 1], [1, 1, 0, PADDING], [1, 1, 1, 0]]),
        height=np.array([[0, 1, PADDING, PADDING], [1, 0, PADDING, PADDING], [0, 0, 0, PADDING]]),
    )
    found = knockout.probe_correctness(heights, predictions)
    assert found["whole tree right"].tolist() == [0, 1, 0]
    assert found["share of statements right"].tolist() == [0.75, 1, 1]


# The golden checkpoint


@needs_golden
def test_the_trained_model_needs_the_useful_edges_and_not_the_useless_ones():
    about = json.loads((GOLDEN / "golden.json").read_text())
    facts = about["results"]
    task = KSmallest(facts["k0"] + 1, facts["m"], facts["vocab"])
    lists = flow.without_repeats(np.array(about["lists"]))[:200]
    model = AutoModelForCausalLM.from_pretrained(GOLDEN, use_safetensors=True).eval()
    heights = task.heights(lists)
    sets = knockout.edge_sets(heights)
    for renormalise in (True, False):
        found = knockout.knock_out(
            model, numbers(task, lists), sets, [(1, 2)], renormalise=renormalise, batch_size=64
        )
        rows = found.table.set_index(["cut", "measure"])
        useful = rows.loc[("useful statements", "accuracy")]
        useless = rows.loc[("as many useless", "accuracy")]
        assert found.whole.correct.mean() > 0.95
        assert useful.high < found.guess + 0.05 and useless.low > 0.9
        assert rows.loc[("useful statements", "change in log-probability"), "high"] < -3
        assert rows.loc[("as many useless", "change in log-probability"), "low"] > -0.5
        assert rows.loc[("root alone", "accuracy"), "value"] < 0.5
