"""Knock-out: edges to statements cut, what that costs, and whether the probe foretells it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import (
    GOLDEN,
    VOCABULARY,
    looked_at,
    make_prompts,
    needs_golden,
    numbers,
    predicted_tokens,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, pointbiserialr, spearmanr, ttest_1samp
from transformers import AutoModelForCausalLM

from mplib.errors import InputError
from mplib.models.attention import Intervention
from mplib.models.facts import backend
from mplib.models.inference import Answers, answers, full_attention
from mplib.models.loading import load_model
from mplib.models.passes import forward
from mplib.probe.knn import Predictions
from mplib.studies import flow, knockout, language
from mplib.studies.knockout import answers_without
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.proofwriter.task import ProofWriter
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
        "all useless": [[0, 0, 1, 1, 1, 0], [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0]],
    }
    mass = np.full((3, 6, 2), 0.1)
    matched = knockout.edge_sets(heights, 3, mass, [(1, 2)])[knockout.MATCHED]
    np.testing.assert_array_equal(matched, knockout.equal_mass(heights, mass, [(1, 2)]))
    # One number is the whole tree: nothing else is left to cut but useless ones.
    assert list(knockout.edge_sets(KSmallest(1, m=7).heights(LISTS))) == [
        "useful statements", "as many useless", "all useless",
    ]  # fmt: skip


@given(st.integers(0, 50), st.integers(1, 7))
def test_the_useless_ones_are_as_many_and_drawn_anew(seed, k):
    heights = KSmallest(k, m=7, pool=VOCABULARY).heights(LISTS)
    sets = knockout.edge_sets(heights, seed)
    drawn, every = sets.get("as many useless"), sets.get("all useless")
    if k == 7:
        assert drawn is None and every is None
        return
    np.testing.assert_array_equal(every, heights == USELESS)
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


def test_edges_from_all_tokens_are_those_behind_the_statement_too():
    prompts = make_prompts([9, 6], [[(0, 2), (2, 5)], [(1, 3)]], [(6, 8), (4, 6)])
    cut = knockout.cut_edges(prompts, np.array([[True, True], [True, False]]), "all").int().numpy()
    expected = np.zeros((2, 9, 9), dtype=int)
    expected[0, 2:, 0:2] = expected[0, 5:, 2:5] = 1
    expected[1, 6:, 4:6] = 1
    np.testing.assert_array_equal(cut, expected)
    # The last number is the question: what it gives itself is cut as well.
    last = knockout.cut_edges(PROMPTS[:1], np.eye(7, dtype=bool)[6:], "all")
    assert last.nonzero().tolist() == [[0, 6, 6]]
    with pytest.raises(InputError, match="queries"):
        knockout.cut_edges(PROMPTS, LISTS > 0, "some")


def test_mass_is_the_attention_that_a_statement_gets_in_all(llama, batch):
    mass, weights = knockout.attention_mass(llama, batch), full_attention(llama, batch)
    assert mass.shape == (4, 3, 3) and (mass[1, 1:] == 0).all()
    for i, (rows, spans) in enumerate(zip(batch.question, batch.statements, strict=True)):
        seen = weights[i][:, :, slice(*rows)].mean(axis=(1, 2))  # layers, keys
        for j, span in enumerate(spans):
            np.testing.assert_allclose(mass[i, j], seen[:, slice(*span)].sum(axis=-1), atol=1e-5)
    windowed = knockout.mass_in(mass, [(2, 2), (1, 3)])
    np.testing.assert_allclose(windowed, [mass[..., 1], mass.mean(axis=-1)])


def test_equal_mass_takes_the_useless_statements_that_come_nearest():
    heights = np.array([[1, USELESS, USELESS, USELESS, 0, USELESS, PADDING]] * 2)
    mass = np.array([
        [[0.2, 0.7], [0.25, 0.0], [0.1, 0.1], [0.02, 0.1], [0.1, 0.1], [0.33, 0.0], [9, 9]],
        [[0.0, 0.1], [0.5, 0.1], [0.1, 0.3], [0.1, 0.1], [0.0, 0.1], [0.3, 0.2], [9, 9]],
    ])  # fmt: skip
    chosen = knockout.equal_mass(heights, mass, [(1, 1), (2, 2), (1, 2)]).astype(int)
    # .30 is wanted: .33 is nearer than none, and all that follows would lead away.
    assert chosen[0, 0].tolist() == [0, 0, 0, 0, 0, 1, 0]
    assert chosen[0, 1].tolist() == [0, 0, 0, 0, 0, 0, 0], "nothing where nothing is wanted"
    # .80 is wanted where .20 is all there is; .20 where .30 comes before .20 and .10.
    assert chosen[1, 0, [2, 3]].tolist() == [1, 1] and chosen[1, 0, [0, 4, 6]].sum() == 0
    assert chosen[1, 1].tolist() == [0, 0, 1, 0, 0, 0, 0]
    # Means over both layers: .55 is wanted of .125, .1, .06 and .165, all of them.
    assert chosen[2, 0].tolist() == [0, 1, 1, 1, 0, 1, 0]


@given(st.integers(0, 50))
def test_equal_mass_is_off_by_half_a_statement_at_most(seed):
    rng = np.random.default_rng(seed)
    heights = TASK.heights(LISTS)
    mass = rng.dirichlet(np.ones(7), size=40)[..., None]
    chosen = knockout.equal_mass(heights, mass, [(1, 1)])[0]
    assert (heights[chosen] == USELESS).all()
    shares = mass[..., 0]
    wanted, found, offered = (
        np.where(which, shares, 0).sum(axis=1) for which in (heights > USELESS, chosen, heights < 0)
    )
    largest = np.where(heights < 0, shares, 0).max(axis=1)
    gap = np.abs(wanted - found)
    np.testing.assert_array_less(
        gap, np.where(wanted > offered, wanted - offered, largest / 2) + 1e-9
    )


def answer_without(model, prompts, statements, span, renormalise=True, **asking):
    """One case alone."""
    case = "", span, renormalise
    return answers_without(model, prompts, {case: statements}, **asking)[case]


def test_cutting_nothing_changes_no_answer(gpt2):
    nothing = np.zeros(LISTS.shape, dtype=bool)
    whole = answers(gpt2, PROMPTS)
    cut = answer_without(gpt2, PROMPTS, nothing, (1, 3), batch_size=7)
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


def test_changes_are_paired_and_stated_with_their_window_and_mass(gpt2):
    spans, heights = [(2, 2), (1, 3)], TASK.heights(LISTS)
    mass = knockout.attention_mass(gpt2, PROMPTS)
    sets = knockout.edge_sets(heights, 0, mass, spans)
    found = knockout.knock_out(gpt2, PROMPTS, sets, spans, mass, resamples=200)
    assert len(found.table) == len(sets) * 2 * 2 * 3
    for (name, span, again), given_up in found.cut.items():
        chosen = np.broadcast_to(sets[name], (2, *heights.shape))[spans.index(span)]
        cut = answer_without(gpt2, PROMPTS, chosen, span, renormalise=again)
        np.testing.assert_array_equal(given_up.log_probability, cut.log_probability)
        rows = found.table[(found.table.cut == name) & (found.table.first_layer == span[0])]
        rows = rows[rows.renormalised == again].set_index("measure")
        assert rows.loc["accuracy", "value"] == cut.correct.mean()
        damage = found.whole.log_probability - cut.log_probability
        row = rows.loc["change in log-probability"]
        assert row.value == pytest.approx(-damage.mean(), abs=1e-5)
        assert row.low <= row.value <= row.high
        # The bootstrap of a mean is close to its normal interval.
        assert row.high - row.low == pytest.approx(3.92 * damage.std() / 40**0.5, rel=0.35)
        assert (rows.statements == chosen.sum(axis=1).mean()).all()
        share = mass[..., span[0] - 1 : span[1]].mean(axis=-1)
        assert row.mass == pytest.approx((share * chosen).sum(axis=1).mean())
    by_mass = found.table.groupby("cut").mass.mean()
    assert by_mass["all useless"] + by_mass["useful statements"] == pytest.approx(1, abs=1e-5)


def test_edges_from_all_tokens_cost_more_than_the_questions(gpt2):
    spans, mass = [(1, 1)], knockout.attention_mass(gpt2, PROMPTS)
    sets = {"all": np.ones(LISTS.shape, dtype=bool)}
    damage = {}
    for queries in ("question", "all"):
        found = knockout.knock_out(
            gpt2, PROMPTS, sets, spans, mass, renormalise=[False], queries=queries, resamples=50
        )
        assert (found.table.queries == queries).all()
        damage[queries] = found.cut["all", (1, 1), False].log_probability
    cut = knockout.cut_edges(PROMPTS, sets["all"], "all")
    with backend(gpt2):
        change = Intervention(cut=cut, cut_layers=frozenset({0}), renormalise=False)
        scores = forward(gpt2, PROMPTS, intervention=change).logits.log_softmax(-1)
    expected = scores[torch.arange(40), torch.from_numpy(PROMPTS.answers)]
    np.testing.assert_allclose(damage["all"], expected, rtol=1e-4)
    assert np.abs(damage["all"] - damage["question"]).max() > 0.01


def test_what_stands_before_the_question_is_computed_once_for_all_cuts(decoder, batch):
    seen: list[int] = []
    hook = (
        looked_at(decoder)
        .get_input_embeddings()
        .register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].numel()))
    )
    sets = {"first": np.eye(3, dtype=bool)[[0] * 4], "second": np.eye(3, dtype=bool)[[1] * 4]}
    mass, spans = knockout.attention_mass(decoder, batch), [(1, 2), (3, 3)]
    seen.clear()
    found = knockout.knock_out(decoder, batch, sets, spans, mass, resamples=50)
    hook.remove()
    with backend(decoder) as known:
        # The whole model, what stands before the first question, and eight cuts of the rest.
        once = [4 * 14, 4 * 10] + [4 * 4] * 8
        assert not (known.prefix and known.pads) or seen == once
        for (name, (first, last), again), given in found.cut.items():
            change = Intervention(
                cut=knockout.cut_edges(batch, sets[name]), renormalise=again,
                cut_layers=frozenset(range(first - 1, last)),
            )  # fmt: skip
            if known.pads:
                scores = forward(decoder, batch, intervention=change).logits.log_softmax(-1)
                expected = scores[torch.arange(4), torch.from_numpy(batch.answers)]
                np.testing.assert_allclose(given.log_probability, expected, atol=2e-4)


@pytest.mark.parametrize("lengths", [(6, 6), (6, 4)], ids=["equal", "padded"])
def test_cuts_go_on_from_a_shared_prefix(decoder, lengths):
    totals, pad = [7 + n for n in lengths], lengths[0] - lengths[1]
    whole = make_prompts(totals, [[(7, 9), (9, 10)], [(7, 8), (8, 9)]], [(11, 13), (9, 11)])
    whole.input_ids[1, pad : pad + 7] = whole.input_ids[0, :7]
    whole.input_ids[1, pad + 7] = whole.input_ids[0, 7] - 1  # theirs ends here
    shared, sets = whole.share_prefix(), np.eye(2, dtype=bool)
    assert len(shared.prefix) == 7
    cases = {
        (name, span, again): sets[[i, i]]
        for i, name in enumerate("ab") for span in ((1, 3), (2, 2)) for again in (True, False)
    }  # fmt: skip
    expected = answers_without(decoder, whole, cases, batch_size=2)
    seen: list[int] = []
    inputs = looked_at(decoder).get_input_embeddings()
    hook = inputs.register_forward_hook(lambda _, given, __: seen.append(given[0].numel()))
    found = answers_without(decoder, shared, cases, batch_size=2)
    hook.remove()
    for case, one in found.items():
        wanted = expected[case].log_probability
        np.testing.assert_allclose(one.log_probability, wanted, atol=2e-4)
    with backend(decoder) as known:
        before = int(whole.question[:, 0].min()) - 7
        once = [7, 2 * before] + [2 * (6 - before)] * 8
        assert not (known.prefix and known.pads) or seen == once


def test_blocks_share_the_layers_out():
    assert knockout.blocks(30, 5) == [(1, 6), (7, 12), (13, 18), (19, 24), (25, 30)]
    assert knockout.blocks(5, 2) == [(1, 2), (3, 5)] and knockout.blocks(3, 1) == [(1, 3)]
    for count in (0, 4):
        with pytest.raises(InputError, match=rf"{count} windows: .*3 layers .*from 1 to 3"):
            knockout.blocks(3, count)


def test_words_are_cut_block_by_block_and_in_all_layers_for_each_subject():
    task = ProofWriter(cases=("d1 s4", "d2 s8"))
    questions = language.joined_sets(task, "test", 10, [2])
    loaded = load_model("llama-nano", vocabulary=task.vocabulary, device="cpu")
    subjects = [language.Subject(f"{n}-shot", loaded, n) for n in (2, 0)]
    procedure = language.Procedure("proofwriter", seed=3)
    cut, against = knockout.knock_out_words(subjects, questions, procedure, 2, resamples=50)
    assert list(cut.subject.unique()) == list(against.subject.unique()) == ["2-shot", "0-shot"]
    prompts, choices = procedure.ask(subjects[1], questions)
    whole = answers(loaded.model, prompts, choices=choices)
    nothing = cut[(cut.cut == "nothing") & (cut.subject == "0-shot")]
    assert nothing.value.tolist() == [whole.correct.mean()]
    assert nothing.first_layer.tolist() == nothing.last_layer.tolist() == [0]
    rows = cut[(cut.cut != "nothing") & (cut.subject == "0-shot")]
    spans = [*dict.fromkeys(zip(rows.first_layer, rows.last_layer, strict=True))]
    assert spans == [(1, 1), (2, 2), (1, 2)]
    useful = questions.heights > USELESS
    without = answer_without(loaded.model, prompts, useful, (1, 2), choices=choices)
    row = rows[(rows.cut == knockout.USEFUL) & (rows.window == 2)].set_index("measure")
    change = (without.log_probability - whole.log_probability).mean()
    assert row.value["change in log-probability"] == pytest.approx(change, abs=1e-5)
    assert len(against) == 3 * 3 * 2 * 2 and (cut.guess == cut.guess.iloc[0]).all()
    right = rows[rows.window.eq(2) & rows.measure.eq("accuracy")].set_index("cut").value
    need = knockout.needed(subjects[1], questions, procedure)
    apart = right[knockout.MATCHED] - right[knockout.USEFUL]
    assert need.mean() == pytest.approx(apart) and {*need} <= {-1, 0, 1}
    other, _ = knockout.knock_out_words(
        subjects[1:], questions, procedure, 1, queries="all", renormalise=False, resamples=50
    )
    assert {*zip(other.first_layer, other.last_layer, strict=True)} == {(0, 0), (1, 2)}
    assert (other.queries == "all").all() and not other.renormalised.any()


def test_contrasts_are_paired_differences_from_each_useless_set(gpt2):
    mass = knockout.attention_mass(gpt2, PROMPTS)
    sets = knockout.edge_sets(TASK.heights(LISTS))
    found = knockout.knock_out(gpt2, PROMPTS, sets, [(1, 1), (1, 3)], mass, resamples=50)
    table = knockout.contrasts(found)
    assert list(table.minus.unique()) == ["as many useless", "all useless"]
    assert len(table) == 2 * 2 * 2 * 2
    rows = table.set_index(["minus", "last_layer", "renormalised", "measure"])
    row = rows.loc["all useless", 3, True, "change in log-probability"]
    useful, useless = (
        found.cut[name, (1, 3), True] for name in ("useful statements", "all useless")
    )
    gap = useful.log_probability - useless.log_probability
    assert row.value == pytest.approx(gap.mean(), abs=1e-5)
    assert row.p == pytest.approx(ttest_1samp(gap, 0).pvalue, rel=0.5, abs=0.02)
    without = knockout.Knockout(
        found.table, {("useful statements", (1, 1), True): useful}, useful, 0
    )
    assert knockout.contrasts(without).empty


def test_p_values_are_those_of_the_intervals_and_corrected_for_many():
    table = pd.DataFrame({
        "value": [0.0, 1.96, -2.5758, np.nan, 1.0], "low": [-1, 0, -4.5358, np.nan, 1],
        "high": [1, 3.92, -0.6158, np.nan, 1],
    })  # fmt: skip
    found = knockout.with_p(table)
    np.testing.assert_allclose(found.p, [1, 0.05, 0.01, np.nan, 0], atol=1e-4)
    np.testing.assert_allclose(found.p_fdr, [1, 0.2 / 3, 0.02, np.nan, 0], atol=1e-4)
    # A correlation of .5 in 28 examples, with its Fisher interval.
    half = 1.96 / 25**0.5
    low, high = np.tanh(np.arctanh(0.5) + np.array([-half, half]))
    row = pd.DataFrame({"value": [0.5], "low": [low], "high": [high]})
    expected = 2 * norm.sf(np.arctanh(0.5) * 5)
    assert knockout.with_p(row, correlations=True).p[0] == pytest.approx(expected, rel=1e-3)


# The probe and the damage


def knocked_out(damage: np.ndarray) -> knockout.Knockout:
    """A knock-out in one window with a given damage."""
    whole = Answers(np.ones(len(damage), dtype=bool), np.zeros(len(damage)))
    cut = {("useful statements", (1, 2), True): Answers(whole.correct, -damage)}
    return knockout.Knockout(pd.DataFrame(), cut, whole, 0.1)


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
    assert 0 < row.low < row.value < row.high and row.p < row.p_fdr < 0.05 and row.renormalised
    assert rows.loc[("share", "Spearman"), "value"] == pytest.approx(spearmanr(share, damage)[0])
    assert ("share", "point-biserial") not in rows.index
    none = rows.loc[("same", "Spearman")]
    assert np.isnan([none.value, none.p, none.p_fdr]).all()
    assert "undefined: the probe's correctness" in none.note
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
    heights, prompts, spans = task.heights(lists), numbers(task, lists), [(1, 2), (2, 2)]
    mass = knockout.attention_mass(model, prompts)
    sets = knockout.edge_sets(heights, 0, mass, spans)
    found = knockout.knock_out(model, prompts, sets, spans, mass, batch_size=64)
    assert found.whole.correct.mean() > 0.95
    rows = found.table.set_index(["cut", "last_layer", "first_layer", "renormalised", "measure"])
    for renormalise in (True, False):
        useful, useless = (
            {m: rows.loc[cut, 2, 1, renormalise, m] for m in found.table.measure.unique()}
            for cut in ("useful statements", "as many useless")
        )
        assert useful["accuracy"].high < found.guess + 0.05 and useless["accuracy"].low > 0.9
        assert useful["change in log-probability"].high < -3
        assert useless["change in log-probability"].low > -0.5
        assert rows.loc[("root alone", 2, 1, renormalise, "accuracy"), "value"] < 0.5
        # In layer 2 the root is looked up: no useless edges are needed there, not all of them.
        for cut in ("all useless", knockout.MATCHED):
            assert rows.loc[(cut, 2, 2, renormalise, "accuracy"), "low"] > 0.9
    table = knockout.contrasts(found).set_index(["minus", "first_layer", "measure"])
    assert (table.loc[(knockout.MATCHED, 2, "change in accuracy"), "p_fdr"] < 0.001).all()
