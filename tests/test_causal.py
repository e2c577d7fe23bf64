"""The causal study: entropies, heads off, cut edges, flow and roll-out."""

import json
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import VOCABULARY, build, make_prompts
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy, pointbiserialr, spearmanr
from transformers import AutoModelForCausalLM, GPT2Config, MambaConfig

from mplib.errors import InputError
from mplib.models.attention import Intervention, backend
from mplib.models.inference import full_attention, predicted_tokens
from mplib.models.passes import forward
from mplib.models.prompts import NumberTokens, Prompts
from mplib.probe.knn import Predictions
from mplib.report import sentences
from mplib.stats import example_weights
from mplib.studies import flow, heads, knockout
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.trees import PADDING, USELESS

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / os.environ.get("MPLIB_GOLDEN", "../shared/golden/ksmallest")
TASK = KSmallest(2, m=7, pool=VOCABULARY)
LISTS = TASK.draw(40, seed=1)


def numbers(task: KSmallest, lists: np.ndarray) -> Prompts:
    """Prompts in which token id n is the number n."""
    ids = np.arange(task.pool)
    return NumberTokens(ids, ids, ids).prompts(lists, task.answers(lists))


PROMPTS = numbers(TASK, LISTS)


# Entropies


def test_entropies_are_those_of_the_mean_attention_by_place_and_by_rank():
    rng = np.random.default_rng(0)
    attention = rng.dirichlet(np.full(7, 0.2), size=(40, 2, 3)).transpose(0, 3, 1, 2)
    found = heads.head_entropies(attention, TASK.order(LISTS))
    for layer, head in np.ndindex(2, 3):
        by_place, by_rank = np.zeros(7), np.zeros(7)
        for row, weights in zip(LISTS, attention[:, :, layer, head], strict=True):
            for place, number in enumerate(row):
                by_place[place] += weights[place] / 40
                by_rank[sorted(row).index(number)] += weights[place] / 40
        assert found.position[layer, head] == pytest.approx(entropy(by_place) / np.log(7))
        assert found.size[layer, head] == pytest.approx(entropy(by_rank) / np.log(7))
    table = found.table().set_index(["layer", "head"])
    assert table.loc[(2, 3), "size_entropy"] == found.size[1, 2]


def test_a_head_that_looks_at_one_rank_has_size_entropy_zero():
    smallest = (LISTS.min(axis=1, keepdims=True) == LISTS).astype(float)
    attention = np.stack([smallest, np.full_like(smallest, 1 / 7)], axis=-1)[:, :, None]
    found = heads.head_entropies(attention, TASK.order(LISTS))
    np.testing.assert_allclose(found.size, [[0, 1]], atol=1e-12)
    assert found.position[0, 0] > 0.8  # the smallest number stands anywhere


# Heads switched off


@pytest.mark.parametrize(
    ("percentage", "count", "exact", "published"),
    [(0, 144, 0, 0), (10, 144, 14, 15), (90, 144, 130, 130), (100, 144, 144, 144),
     (10, 16, 2, 2), (20, 16, 3, 4), (40, 16, 6, 7), (80, 16, 13, 13), (30, 10, 3, 4)],
)  # fmt: skip
def test_exact_head_counts(percentage, count, exact, published):
    assert heads.heads_removed(percentage, count) == exact
    assert heads.heads_removed(percentage, count, published=True) == published


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 99))
def test_orders_are_permutations_and_their_masks_nested(layers, count, seed):
    rng = np.random.default_rng(seed)
    found = heads.Entropies(*rng.random((2, layers, count)))
    for name, draws in heads.pruning_orders(found, draws=3, seed=seed).items():
        for order in draws:
            assert sorted(order) == list(range(layers * count))
            masks = [heads.heads_off(order, n, (layers, count)) for n in range(order.size + 1)]
            assert [mask.sum() for mask in masks] == list(range(order.size + 1))
            assert all((a <= b).all() for a, b in pairwise(masks))
        if name != "random":
            values = getattr(found, name.partition(" ")[0]).ravel()
            assert (np.diff(values[draws[0]]) >= 0).all()


def test_random_orders_differ_from_draw_to_draw_and_follow_the_seed():
    found = heads.Entropies(*np.random.default_rng(0).random((2, 3, 4)))
    first, again, other = (heads.pruning_orders(found, 10, seed)["random"] for seed in (0, 0, 1))
    assert len({order.tobytes() for order in first}) == 10
    assert (first == again).all() and (first != other).any()


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama", "gemma2", "gpt-oss"])
@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_pruning_gives_the_accuracy_of_the_model_without_these_heads(family, kind):
    model = build(family)
    # Answers that the whole model gives, so that what is lost can be counted.
    prompts = replace(PROMPTS, answers=predicted_tokens(model, PROMPTS))
    change = heads.ablation(model, prompts, kind)
    found = heads.Entropies(*np.random.default_rng(0).random((2, 3, 4)))
    orders = heads.pruning_orders(found, draws=3)
    table = heads.prune(model, prompts, orders, [0, 25, 100], change=change, batch_size=16)
    assert len(table) == 5 * 3
    assert (table[table.percentage == 0].accuracy == 1).all()
    assert table[table.percentage == 25].accuracy.min() < 1
    for row in table.itertuples():
        off = heads.heads_off(orders[row.order][row.draw], row.heads_removed, (3, 4))
        without = replace(change, heads_off=torch.from_numpy(off))
        correct = predicted_tokens(model, prompts, intervention=without) == prompts.answers
        assert row.accuracy == correct.mean() and row.low <= row.accuracy <= row.high
    averaged = heads.average_draws(table).set_index(["order", "percentage"])
    draws = table[(table.order == "random") & (table.percentage == 25)].accuracy
    row = averaged.loc[("random", 25)]
    assert row.accuracy == pytest.approx(draws.mean())
    assert draws.min() <= row.low <= row.high <= draws.max()
    one = table[(table.order == "size entropy") & (table.percentage == 25)].iloc[0]
    assert tuple(averaged.loc[("size entropy", 25)][["low", "high"]]) == (one.low, one.high)


def test_equal_sets_are_evaluated_once_and_share_their_lower_layers(gpt2):
    computed = []
    hooks = [
        block.attn.register_forward_hook(lambda *_, layer=layer: computed.append(layer))
        for layer, block in enumerate(gpt2.transformer.h)
    ]
    # The last layer's heads first: 3 % of 12 heads are none, 100 % are all of every order.
    orders = {"downwards": np.arange(12)[None, ::-1], "upwards": np.arange(12)[None]}
    heads.prune(gpt2, PROMPTS[:4], orders, [0, 3, 100 / 3, 100])
    for hook in hooks:
        hook.remove()
    # Sets: none, the last layer's, the first layer's, all.
    assert [computed.count(layer) for layer in range(3)] == [2, 3, 4]
    assert all("forward" not in vars(block) for block in gpt2.transformer.h)


def test_pruning_among_choices(gpt2):
    choices = np.unique(PROMPTS.answers)[:3]
    prompts = PROMPTS[np.isin(PROMPTS.answers, choices)]
    found = heads.prune(gpt2, prompts, {"any": np.arange(12)[None]}, [0], choices=choices)
    expected = predicted_tokens(gpt2, prompts, choices=choices) == prompts.answers
    assert found.accuracy[0] == expected.mean()


def outputs_of(model, prompts: Prompts) -> np.ndarray:
    """Inputs of every output projection of a GPT-2, shape (layers, batch, tokens, width)."""
    kept: list[np.ndarray] = []
    hooks = [
        block.attn.c_proj.register_forward_pre_hook(lambda _, x: kept.append(x[0].numpy().copy()))
        for block in model.transformer.h
    ]
    with backend(model):
        forward(model, prompts)
    for hook in hooks:
        hook.remove()
    return np.stack(kept)


@pytest.mark.parametrize("batch_size", [2, 64])
def test_mean_outputs_are_means_over_examples_at_each_token_from_the_end(gpt2, batch, batch_size):
    found = heads.mean_outputs(gpt2, batch, batch_size).numpy()
    layers, tokens, count, size = found.shape
    assert (layers, tokens, count, size) == (3, 14, 4, 8)
    outputs = outputs_of(gpt2, batch).reshape(3, 4, 14, count, size)
    for token in range(tokens):
        real = batch.attention_mask[:, token]
        np.testing.assert_allclose(
            found[:, token], outputs[:, real, token].mean(axis=1), rtol=1e-4, atol=1e-5
        )


def test_ablation_by_mean_and_by_zero_differ_and_by_the_mean_of_one_example_is_none(gpt2):
    everything = torch.ones(3, 4, dtype=torch.bool)
    one = PROMPTS[:1]
    with backend(gpt2):
        whole = forward(gpt2, one).logits
        found = {
            kind: forward(
                gpt2, one, intervention=replace(heads.ablation(gpt2, prompts, kind),
                                                heads_off=everything)
            ).logits
            for kind, prompts in (("mean", one), ("zero", one))
        }  # fmt: skip
        over_all = replace(heads.ablation(gpt2, PROMPTS, "mean"), heads_off=everything)
        of_two = forward(gpt2, PROMPTS[:2], intervention=over_all).logits
    torch.testing.assert_close(found["mean"], whole, rtol=1e-4, atol=1e-4)
    assert (found["zero"] - whole).abs().max() > 0.1
    assert (of_two[0] - whole[0]).abs().max() > 0.1


def test_means_stand_in_prompts_shorter_than_the_longest(gpt2, batch):
    change = replace(
        heads.ablation(gpt2, batch, "mean"), heads_off=torch.ones(3, 4, dtype=torch.bool)
    )
    with backend(gpt2):
        together = forward(gpt2, batch, intervention=change).logits
        alone = forward(gpt2, batch[1:2], intervention=change).logits
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)


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
    whole = knockout.answer(gpt2, PROMPTS)
    cut = knockout.answer(gpt2, PROMPTS, statements=nothing, batch_size=7)
    np.testing.assert_allclose(cut.log_probability, whole.log_probability, rtol=1e-4)
    assert (cut.correct == whole.correct).all()
    with backend(gpt2):
        scores = forward(gpt2, PROMPTS).logits.log_softmax(-1)
    expected = scores[torch.arange(40), torch.from_numpy(PROMPTS.answers)]
    np.testing.assert_allclose(whole.log_probability, expected, rtol=1e-4)


def test_answers_among_choices(gpt2):
    choices = np.unique(PROMPTS.answers)[:2]
    chosen = PROMPTS[np.isin(PROMPTS.answers, choices)]
    found = knockout.answer(gpt2, chosen, choices=choices)
    other = np.where(chosen.answers == choices[0], choices[1], choices[0])
    beside = knockout.answer(gpt2, replace(chosen, answers=other), choices=choices)
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
        cut = knockout.answer(gpt2, PROMPTS, statements=sets[name], layers=span, renormalise=False)
        np.testing.assert_allclose(damage, found.whole.log_probability - cut.log_probability)
        rows = found.table[(found.table.cut == name) & (found.table.first_layer == span[0])]
        rows = rows.set_index("measure")
        assert rows.loc["accuracy", "value"] == cut.correct.mean()
        row = rows.loc["change in log-probability"]
        assert row.value == pytest.approx(-damage.mean(), abs=1e-5)
        assert row.low <= row.value <= row.high
        # The bootstrap of a mean is close to its normal interval.
        assert row.high - row.low == pytest.approx(3.92 * damage.std() / 40**0.5, rel=0.35)


def test_whole_groups_are_drawn_by_the_bootstrap():
    weights = example_weights(6, np.array([0, 0, 0, 1, 1, 2]), 50, seed=0)
    assert (weights[0] == 1).all()
    assert (weights[:, :3] == weights[:, :1]).all() and (weights[:, 3] == weights[:, 4]).all()
    assert (weights[1:, [0, 3, 5]].sum(axis=1) == 3).all()


# The probe and the damage


def knocked_out(damage: np.ndarray) -> knockout.Knockout:
    """A knock-out in one window with a given damage."""
    whole = knockout.Answers(np.ones(len(damage), dtype=bool), np.zeros(len(damage)))
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


@pytest.mark.skipif(not (GOLDEN / "golden.json").is_file(), reason=f"no checkpoint in {GOLDEN}")
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
    lines = sentences.knockout_sentences(found, knockout.agreement({}, found))
    assert f"accuracy **{useful.value:.3f}**" in lines[1]
    assert "in layers 1 to 2" in lines[1]


# Flow


@st.composite
def arrangements(draw):
    m = draw(st.integers(2, 8))
    n = draw(st.integers(1, 6))
    lists = [draw(st.permutations(range(m))) for _ in range(n)]
    return np.array(lists), draw(st.lists(st.integers(1, m), min_size=1, unique=True))


@given(arrangements())
def test_the_smallest_numbers_come_to_their_places(case):
    lists, places = case
    before = lists.copy()
    found = flow.arrange(lists, places)
    assert (lists == before).all()
    assert (np.sort(found, axis=1) == np.sort(lists, axis=1)).all()
    for row in found:
        for rank, place in enumerate(places):
            assert row[place - 1] == np.sort(row)[rank]
    # What is right already stays as it is.
    assert (flow.arrange(found, places) == found).all()
    assert ((found != lists).sum(axis=1) <= 2 * len(places)).all()


@pytest.mark.parametrize("off", [None, [[1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]])
def test_the_mean_flow_is_over_examples_and_heads_that_are_on(gpt2, off):
    prompts = PROMPTS[:9]
    change = None
    if off is None:
        off, every = np.zeros((3, 4), bool), full_attention(gpt2, prompts)
    else:
        off = np.array(off, dtype=bool)
        change = Intervention(heads_off=torch.from_numpy(off))
        # Layer by layer by hand: the first is unchanged, the others see its change.
        every = np.concatenate([a.numpy() for _, a in flow._full(gpt2, prompts, change, 9)])
        np.testing.assert_allclose(every[:, 0], full_attention(gpt2, prompts)[:, 0], atol=1e-5)
        assert np.abs(every[:, 2] - full_attention(gpt2, prompts)[:, 2]).max() > 1e-3
    found = flow.mean_flow(gpt2, prompts, change, batch_size=4)
    for layer in range(3):
        on = ~off[layer]
        expected = every[:, layer, on].mean(axis=(0, 1)) if on.any() else np.zeros((7, 7))
        np.testing.assert_allclose(found[layer], expected, atol=1e-5)
    assert np.isfinite(found).all()


def test_prompts_of_unequal_length_have_no_mean_flow(gpt2, batch):
    with pytest.raises(InputError, match="equally long"):
        flow.mean_flow(gpt2, batch)


# Roll-out


def test_rollout_is_the_product_of_the_layers(gpt2):
    found = flow.rollout(gpt2, PROMPTS, batch_size=16)
    np.testing.assert_allclose(found.last.sum(axis=2), 1, rtol=1e-6)
    mixed = (full_attention(gpt2, PROMPTS[:3]).mean(axis=2) + np.eye(7)) / 2
    for example in range(3):
        first, second, third = mixed[example]
        np.testing.assert_allclose(
            found.last[example, 2], (third @ second @ first)[-1], rtol=1e-4, atol=1e-6
        )
        assert found.epsilon[example] == pytest.approx(mixed[example, :, 1:, 0].min(), rel=1e-4)
    assert (found.last[:, :, 0] >= found.bound - 1e-9).all()
    np.testing.assert_allclose(found.even.sum(axis=1), 1)
    assert found.even[0].tolist() == pytest.approx([1 / 14] * 6 + [8 / 14])


def test_the_rollout_table_says_what_the_first_token_and_the_useful_ones_hold(gpt2):
    found, heights = flow.rollout(gpt2, PROMPTS), TASK.heights(LISTS)
    table = flow.rollout_table(found, heights)
    assert table.layer.tolist() == [1, 2, 3] and (table.one_token == 1 / 7).all()
    np.testing.assert_allclose(table.first_token, found.last[:, :, 0].mean(axis=0))
    expected = np.mean([found.last[i, 2, heights[i] >= 0].sum() for i in range(40)])
    assert table.useful[2] == pytest.approx(expected)


# Bad input


def no_layers():
    return AutoModelForCausalLM.from_config(GPT2Config(n_layer=0, n_embd=8, n_head=2, vocab_size=9))


def no_heads():
    config = MambaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, state_size=2)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("build", [no_layers, no_heads])
def test_a_model_without_heads_is_refused(build):
    with pytest.raises(InputError, match="has no attention heads to switch off"):
        heads.prune(build(), PROMPTS, {}, [0])


@pytest.mark.parametrize("percentage", [-1, 101, 1e9, float("nan")])
def test_percentages_outside_0_to_100(gpt2, percentage):
    with pytest.raises(InputError, match="must be from 0 to 100"):
        heads.prune(gpt2, PROMPTS, {}, [10, percentage])


def test_another_kind_of_ablation(gpt2):
    with pytest.raises(InputError, match="ablation='median': use 'zero' or 'mean'"):
        heads.ablation(gpt2, PROMPTS, "median")


@pytest.mark.parametrize(
    ("places", "said"),
    [([0, 2], "position 0"), ([2, 8], "position 8 for one of 7 numbers"), ([3, 3], "one place")],
)
def test_arrangements_that_cannot_be(places, said):
    with pytest.raises(InputError, match=said):
        flow.arrange(LISTS, places)


def test_lists_with_a_number_twice_are_refused_or_left_out():
    lists = np.array([[3, 1, 2], [1, 2, 1], [5, 5, 5]])
    with pytest.raises(InputError, match="2 of 3 lists hold a number twice"):
        flow.arrange(lists, [1, 2])
    assert flow.without_repeats(lists).tolist() == [[3, 1, 2]]
    with pytest.raises(InputError, match="each of the 2 lists holds a number twice"):
        flow.without_repeats(lists[1:])
