"""Heads: their entropies, and what is left without them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import VOCABULARY, build, looked_at, numbers, predicted_tokens
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy
from transformers import AutoModelForCausalLM, GPT2Config, MambaConfig

from mplib.errors import InputError
from mplib.models.facts import backend, facts
from mplib.models.passes import forward
from mplib.models.prompts import Prompts
from mplib.studies import heads
from mplib.tasks.ksmallest import KSmallest

TASK = KSmallest(2, m=7, pool=VOCABULARY)
LISTS = TASK.draw(40, seed=1)
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
        correct = predicted_tokens(model, prompts, change=without) == prompts.answers
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


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_new_model_is_looked_at_before_its_layers_are_changed(family):
    new, known = build(family), looked_at(build(family))
    order = {"any": np.arange(12)[None]}
    tables = [heads.prune(model, PROMPTS, order, [0, 50]) for model in (new, known)]
    pd.testing.assert_frame_equal(*tables)
    with backend(new), backend(known):
        assert facts(new) == facts(known)


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
    with pytest.raises(InputError, match="ablation='median': expected one of zero, mean"):
        heads.ablation(gpt2, PROMPTS, "median")
