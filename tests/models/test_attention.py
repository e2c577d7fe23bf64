"""The attention backend against transformers' own eager attention and against plain formulas."""

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import FAMILIES, VOCABULARY, WINDOW, build, make_prompts, singles
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    BloomConfig,
    BloomForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    GPTJConfig,
    GPTJForCausalLM,
    MptConfig,
    MptForCausalLM,
    PreTrainedModel,
)
from transformers.masking_utils import eager_mask

from mplib.errors import InputError
from mplib.models.attention import Intervention, Reduction
from mplib.models.facts import backend
from mplib.models.inference import attention_features, full_attention
from mplib.models.passes import forward
from mplib.models.prompts import Prompts

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
LAYERS, HEADS = 3, 4


def eager(model: PreTrainedModel, prompts: Prompts, mask: Tensor | dict | None = None):
    """Attention (layers, heads, queries, keys) and last logits of one example, by transformers."""
    reference = copy.deepcopy(model)
    reference.set_attn_implementation("eager")
    with torch.no_grad():
        found = reference(
            torch.from_numpy(prompts.input_ids),
            attention_mask=mask,
            # OPT would count them from the mask, which has four dimensions here.
            position_ids=torch.arange(prompts.input_ids.shape[1])[None],
            output_attentions=True,
        )
    return torch.stack(found.attentions)[:, 0].numpy(), found.logits[0, -1]


def run(model: PreTrainedModel, prompts: Prompts, **options):
    with backend(model):
        return forward(model, prompts, **options)


# What is read


def test_every_row_is_that_of_eager_attention(decoder, batch):
    for single in singles(batch):
        expected, logits = eager(decoder, single)
        np.testing.assert_allclose(full_attention(decoder, single)[0], expected, **CLOSE)
        # The family must be a hard one: attention that is nearly uniform would hide a mistake.
        assert expected[:, :, -1].std() > 0.03
        torch.testing.assert_close(run(decoder, single).logits[0], logits, **CLOSE)


def test_left_padded_batches_equal_single_examples(decoder, batch):
    found = run(decoder, batch, reduction=Reduction(heads="keep"))
    features = attention_features(decoder, batch)
    for i, single in enumerate(singles(batch)):
        alone = run(decoder, single, reduction=Reduction(heads="keep"))
        torch.testing.assert_close(found.logits[i], alone.logits[0], **CLOSE)
        torch.testing.assert_close(found.attention[i], alone.attention[0], **CLOSE)
        own = attention_features(decoder, single)[0]
        np.testing.assert_allclose(features[i, : len(own)], own, **CLOSE)


def test_padded_logits_equal_those_of_the_plain_model(decoder, batch):
    logits = run(decoder, batch).logits
    for i, single in enumerate(singles(batch)):
        with torch.no_grad():
            plain = decoder(torch.from_numpy(single.input_ids)).logits[0, -1]
        torch.testing.assert_close(logits[i], plain, **CLOSE)


def test_rows_sum_to_one_and_nothing_looks_ahead_or_at_padding(decoder, batch):
    attention = full_attention(decoder, batch)
    tokens = batch.input_ids.shape[1]
    real_rows = batch.attention_mask[:, None, None]
    sums = attention.sum(-1)[np.broadcast_to(real_rows, attention.shape[:-1])]
    if decoder.config.model_type == "gpt_oss":  # the sink takes its share
        assert (sums < 1 + 1e-5).all() and (sums > 0).all() and sums.min() < 0.99
    else:
        np.testing.assert_allclose(sums, 1, atol=1e-5)
    assert (np.triu(attention, k=1)[np.broadcast_to(real_rows, attention.shape[:-1])] == 0).all()
    for i, pad in enumerate((~batch.attention_mask).sum(1)):
        assert (attention[i, :, :, pad:, :pad] == 0).all()
    if (window := getattr(decoder.config, "sliding_window", None)) is not None:
        kinds = getattr(decoder.config, "layer_types", None) or ["sliding_attention"] * LAYERS
        far = np.tri(tokens, k=-window, dtype=bool)
        for layer, kind in enumerate(kinds):
            seen = attention[0, layer][..., far].max()
            assert (seen == 0) == (kind == "sliding_attention"), "the prompts must pass the window"


def test_stopping_at_the_last_attention_changes_no_feature(decoder, batch):
    with_logits = run(decoder, batch, reduction=Reduction(heads="keep"))
    without = run(decoder, batch, reduction=Reduction(heads="keep"), logits=False)
    assert without.logits is None
    assert with_logits.layers == without.layers == tuple(range(LAYERS))
    torch.testing.assert_close(without.attention, with_logits.attention, rtol=0, atol=0)


def test_stopping_spares_the_last_layer_and_the_vocabulary(gpt2, batch):
    ran = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in gpt2.named_modules()
        if name in ("transformer.h.1", "transformer.h.2", "lm_head")
    ]
    run(gpt2, batch, reduction=Reduction(), logits=False)
    for hook in hooks:
        hook.remove()
    assert ran == ["transformer.h.1"]


# How it is reduced


def reduced(attention: np.ndarray, prompts: Prompts, reduction: Reduction) -> np.ndarray:
    """The paper's order in plain numpy, one unpadded example; (layers, [heads,] [rows,] keys)."""
    if reduction.statement != "tokens":
        pool = {"mean": np.mean, "max": np.max}[reduction.statement]
        present = [(a, b) for a, b in prompts.statements[0] if b > a]
        attention = np.stack([pool(attention[..., a:b], axis=-1) for a, b in present], axis=-1)
    start, end = prompts.question[0]
    attention = attention[:, :, start:end]
    if reduction.question != "keep":
        attention = {"max": np.max, "mean": np.mean}[reduction.question](attention, axis=2)
    return attention.mean(axis=1) if reduction.heads == "mean" else attention


@pytest.mark.parametrize("heads", ["mean", "keep"])
@pytest.mark.parametrize("question", ["max", "mean", "keep"])
@pytest.mark.parametrize("statement", ["mean", "max", "tokens"])
def test_reductions_follow_the_paper_in_a_padded_batch(llama, batch, statement, question, heads):
    reduction = Reduction(statement, question, heads)
    found = run(llama, batch, reduction=reduction).attention.numpy()
    for i, single in enumerate(singles(batch)):
        expected = reduced(eager(llama, single)[0], single, reduction)
        own = found[i][..., -expected.shape[-1] :] if statement == "tokens" else found[i]
        if question == "keep":
            own = own[..., : expected.shape[-2], :]
        np.testing.assert_allclose(own[..., : expected.shape[-1]], expected, **CLOSE)


@given(data=st.data())
def test_reductions_follow_the_paper_for_any_spans(llama, data):
    tokens = data.draw(st.integers(2, 12))
    cuts = sorted(data.draw(st.sets(st.integers(0, tokens), min_size=2, max_size=5)))
    spans = list(pairwise(cuts))
    start = data.draw(st.integers(0, tokens - 1))
    prompts = make_prompts([tokens], [spans], [(start, data.draw(st.integers(start + 1, tokens)))])
    attention = eager(llama, prompts)[0]
    for statement in ("mean", "max"):
        for question in ("max", "mean"):
            reduction = Reduction(statement, question)
            found = run(llama, prompts, reduction=reduction, logits=False).attention[0].numpy()
            np.testing.assert_allclose(found, reduced(attention, prompts, reduction), **CLOSE)


def test_features_keep_the_order_of_the_examples_and_mark_missing_statements(gpt2, batch):
    features = attention_features(gpt2, batch, batch_size=2)
    assert features.shape == (4, 3, LAYERS) and features.dtype == np.float32
    missing = batch.statements[..., 0] == batch.statements[..., 1]
    assert np.isnan(features[missing]).all() and not np.isnan(features[~missing]).any()
    for i, single in enumerate(singles(batch)):
        expected = reduced(eager(gpt2, single)[0], single, Reduction()).T
        np.testing.assert_allclose(features[i][~missing[i]], expected, **CLOSE)
    by_head = attention_features(gpt2, batch, reduction=Reduction(heads="keep"), batch_size=3)
    assert by_head.shape == (4, 3, LAYERS, HEADS)
    for i, single in enumerate(singles(batch)):
        expected = reduced(eager(gpt2, single)[0], single, Reduction(heads="keep"))
        np.testing.assert_allclose(by_head[i][~missing[i]], expected.transpose(2, 0, 1), **CLOSE)


# Heads


def with_heads_zeroed(
    model: PreTrainedModel, prompts: Prompts, off: Tensor, value: Tensor | None = None
) -> Tensor:
    """Last logits of the plain model, the heads' slices replaced before the output projection."""
    size = model.config.hidden_size // HEADS

    def change(layer):
        def hook(module, inputs):
            states = inputs[0].unflatten(-1, (HEADS, size)).clone()
            new = torch.zeros(HEADS, size) if value is None else value[layer]
            states[..., off[layer], :] = new[off[layer]]
            return (states.flatten(-2),)

        return hook

    modules = [
        m for n, m in model.named_modules() if n.endswith(("attn.c_proj", "self_attn.o_proj"))
    ]
    hooks = [m.register_forward_pre_hook(change(i)) for i, m in enumerate(modules)]
    assert len(hooks) == LAYERS
    try:
        with torch.no_grad():
            return torch.stack([
                model(torch.from_numpy(one.input_ids)).logits[0, -1] for one in singles(prompts)
            ])  # fmt: skip
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_head_switched_off_is_a_zeroed_slice_of_the_output_projection(family, request, batch):
    model = request.getfixturevalue(family)
    off = torch.zeros(LAYERS, HEADS, dtype=torch.bool)
    off[0, 1] = off[1, 0] = off[1, 3] = off[2, 2] = True
    found = run(model, batch, intervention=Intervention(heads_off=off)).logits
    torch.testing.assert_close(found, with_heads_zeroed(model, batch, off), **CLOSE)
    assert (found - run(model, batch).logits).abs().max() > 0.1
    value = torch.randn(LAYERS, HEADS, 8, generator=torch.Generator().manual_seed(1))
    found = run(model, batch, intervention=Intervention(heads_off=off, replacement=value)).logits
    torch.testing.assert_close(found, with_heads_zeroed(model, batch, off, value), **CLOSE)


def test_switching_no_head_off_changes_nothing(decoder, batch):
    none = Intervention(heads_off=torch.zeros(LAYERS, HEADS, dtype=torch.bool))
    torch.testing.assert_close(
        run(decoder, batch, intervention=none).logits, run(decoder, batch).logits, rtol=0, atol=0
    )


def test_a_layer_without_heads_gives_finite_zeros(decoder, batch):
    off = torch.zeros(LAYERS, HEADS, dtype=torch.bool)
    off[1] = True
    outputs = projection_inputs(decoder, batch, Intervention(heads_off=off))
    assert (outputs[1] == 0).all() and (outputs[0] != 0).any() and (outputs[2] != 0).any()
    assert run(decoder, batch, intervention=Intervention(heads_off=off)).logits.isfinite().all()


def projection_inputs(model, prompts: Prompts, change: Intervention, **options) -> list[Tensor]:
    """What each layer's attention hands to its output projection."""
    seen: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
        for name, module in model.named_modules()
        if name.endswith(("attn.c_proj", "attn.o_proj", "attn.out_proj", "attention.dense"))
    ]
    try:
        run(model, prompts, intervention=change, **options)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(seen) == LAYERS
    return seen


# Edges

TOKENS = 9
ONE = make_prompts([TOKENS], [[(0, 2), (2, 3), (3, 6)]], [(6, 9)])


def some_edges(seed: int = 0) -> Tensor:
    """About a third of the edges, never all of a row's: (1, queries, keys)."""
    cut = torch.rand(1, TOKENS, TOKENS, generator=torch.Generator().manual_seed(seed)) < 0.35
    return cut & ~torch.eye(TOKENS, dtype=torch.bool)


def masks(model: PreTrainedModel, cut: Tensor) -> Tensor | dict[str, Tensor]:
    """The family's own masks with the edges cut as well, to be handed to the eager model."""
    causal = torch.ones(TOKENS, TOKENS).tril().bool()
    window = causal & ~torch.ones(TOKENS, TOKENS).tril(-WINDOW).bool()
    lowest = torch.finfo(torch.float32).min

    def additive(seen):
        return torch.zeros(1, 1, TOKENS, TOKENS).masked_fill(~seen | cut[:, None], lowest)

    if "sliding_attention" in (getattr(model.config, "layer_types", None) or []):
        return {"full_attention": additive(causal), "sliding_attention": additive(window)}
    return additive(window if model.config.model_type == "mistral" else causal)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_cut_and_renormalised_edges_equal_masked_ones(family):
    model, cut = build(family), some_edges()
    attention, logits = eager(model, ONE, mask=masks(model, cut))
    found = run(
        model,
        ONE,
        intervention=Intervention(cut=cut),
        reduction=Reduction("tokens", "keep", "keep"),
    )
    torch.testing.assert_close(found.logits[0], logits, **CLOSE)
    rows = slice(*ONE.question[0])
    np.testing.assert_allclose(found.attention[0].numpy(), attention[:, :, rows], **CLOSE)
    assert (found.attention[..., cut[0, rows]] == 0).all()
    assert (logits - run(model, ONE).logits[0]).abs().max() > 0.05


def softmax_then_cut(cut: Tensor, layers: frozenset[int] | None):
    """A plain attention for transformers' interface: softmax first, then the edges are dropped."""

    def attention(module, query, key, value, attention_mask, scaling=None, **kwargs):
        groups = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
        scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5) + attention_mask
        weights = scores.softmax(-1)
        if layers is None or module.layer_idx in layers:
            weights = weights * ~cut[:, None]
        return (weights @ value).transpose(1, 2), weights

    return attention


@pytest.mark.parametrize("layers", [None, frozenset({1})])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_cut_edges_without_renormalising_are_zeroed_weights(family, layers):
    model, cut = build(family), some_edges(1)
    change = Intervention(cut=cut, cut_layers=layers, renormalise=False)
    found = run(model, ONE, intervention=change, reduction=Reduction("tokens", "keep", "keep"))
    AttentionInterface.register("softmax-then-cut", softmax_then_cut(cut, layers))
    AttentionMaskInterface.register("softmax-then-cut", eager_mask)
    reference = copy.deepcopy(model)
    reference.set_attn_implementation("softmax-then-cut")
    with torch.no_grad():
        expected = reference(torch.from_numpy(ONE.input_ids), output_attentions=True)
    torch.testing.assert_close(found.logits[0], expected.logits[0, -1], **CLOSE)
    rows = slice(*ONE.question[0])
    for layer, weights in enumerate(expected.attentions):
        torch.testing.assert_close(found.attention[0, layer], weights[0, :, rows], **CLOSE)


@pytest.mark.parametrize("renormalise", [True, False])
def test_edges_are_cut_in_the_named_layers_only(decoder, renormalise):
    keep_all = Reduction("tokens", "keep", "keep")
    plain = run(decoder, ONE, reduction=keep_all).attention[0]
    cut, rows = some_edges(2), slice(*ONE.question[0])
    change = Intervention(cut=cut, cut_layers=frozenset({1}), renormalise=renormalise)
    found = run(decoder, ONE, intervention=change, reduction=keep_all).attention[0]
    torch.testing.assert_close(found[0], plain[0], rtol=0, atol=0)
    assert (found[1][:, cut[0, rows]] == 0).all() and (plain[1][:, cut[0, rows]] > 0).any()
    assert (found[2][:, cut[0, rows]] > 0).any()
    nowhere = replace(change, cut_layers=frozenset())
    torch.testing.assert_close(
        run(decoder, ONE, intervention=nowhere).logits, run(decoder, ONE).logits, rtol=0, atol=0
    )


@pytest.mark.parametrize("renormalise", [True, False])
def test_a_row_cut_off_from_everything_gives_zeros(decoder, renormalise):
    cut = torch.zeros(1, TOKENS, TOKENS, dtype=torch.bool)
    cut[:, 7] = True
    change = Intervention(cut=cut, renormalise=renormalise)
    for states in projection_inputs(decoder, ONE, change):
        assert states.isfinite().all()
        assert (states[:, 7] == 0).all() and (states[:, 6] != 0).any()
    found = run(decoder, ONE, intervention=change, reduction=Reduction("tokens", "keep", "keep"))
    assert found.logits.isfinite().all()
    assert (found.attention[0, :, :, 1] == 0).all(), "nothing is seen, so nothing is recorded"
    assert (found.attention[0, :, :, 0] > 0).any()


@pytest.mark.parametrize("renormalise", [True, False])
def test_cuts_in_a_padded_batch_are_those_of_single_examples(llama, batch, renormalise):
    tokens = batch.input_ids.shape[1]
    cut = torch.rand(len(batch), tokens, tokens, generator=torch.Generator().manual_seed(3)) < 0.3
    change = Intervention(cut=cut, renormalise=renormalise)
    found = run(llama, batch, intervention=change, reduction=Reduction())
    for i, single in enumerate(singles(batch)):
        pad = tokens - single.input_ids.shape[1]
        own = replace(change, cut=cut[i : i + 1, pad:, pad:])
        alone = run(llama, single, intervention=own, reduction=Reduction())
        torch.testing.assert_close(found.logits[i], alone.logits[0], **CLOSE)
        torch.testing.assert_close(found.attention[i], alone.attention[0], **CLOSE)


# A prefix that is computed once


PREFIX = 7


@pytest.mark.parametrize("lengths", [(6, 6), (6, 4)], ids=["equal", "padded"])
def test_a_shared_prefix_gives_the_numbers_of_the_whole_prompt(decoder, lengths):
    totals = [PREFIX + n for n in lengths]
    spans = [[(7, 9), (9, 11)], [(7, 8)]]
    whole = make_prompts(totals, spans, questions=[(11, 13), (9, 11)])
    pad = lengths[0] - lengths[1]
    whole.input_ids[1, pad : pad + PREFIX] = whole.input_ids[0, :PREFIX]
    whole.input_ids[1, pad + PREFIX] = whole.input_ids[0, PREFIX] - 1  # theirs ends here
    reduction = Reduction(heads="keep")
    expected = run(decoder, whole, reduction=reduction)
    shared = whole.share_prefix()
    assert len(shared.prefix) == PREFIX
    if pad and getattr(decoder.config, "sliding_window", None):
        with pytest.raises(InputError, match=r"whole\(\)"):
            run(decoder, shared, reduction=reduction)
    else:
        found = run(decoder, shared, reduction=reduction)
        torch.testing.assert_close(found.logits, expected.logits, **CLOSE)
        torch.testing.assert_close(found.attention, expected.attention, **CLOSE)
    np.testing.assert_allclose(
        attention_features(decoder, shared, batch_size=1), attention_features(decoder, whole),
        **CLOSE,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"whole\(\)"):
        run(decoder, shared, intervention=Intervention())


def test_the_prefix_is_computed_once(gpt2):
    whole = make_prompts([9, 9, 8], [[(7, 8)], [(7, 8)], [(7, 8)]], [(8, 9), (8, 9), (7, 8)])
    pads = 9 - whole.lengths
    np.put_along_axis(whole.input_ids, pads[:, None] + np.arange(7), np.arange(7)[None], axis=1)
    shared = whole.share_prefix()
    read: list[int] = []
    hook = gpt2.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    attention_features(gpt2, shared, batch_size=1)
    hook.remove()
    assert sum(read) == len(shared.prefix) + whole.lengths.sum() - 3 * len(shared.prefix)


# What it leaves behind, and what it refuses


def test_the_attention_implementation_is_restored_even_after_an_error(gpt2, batch):
    before = gpt2.config._attn_implementation
    expected = gpt2(torch.from_numpy(batch.input_ids)).logits
    run(gpt2, batch, reduction=Reduction(), logits=False)
    assert gpt2.config._attn_implementation == before
    too_many = replace(batch, input_ids=batch.input_ids + VOCABULARY)
    with pytest.raises(IndexError):
        run(gpt2, too_many, reduction=Reduction())
    assert gpt2.config._attn_implementation == before
    torch.testing.assert_close(gpt2(torch.from_numpy(batch.input_ids)).logits, expected)


UNSUPPORTED = {
    "bloom": lambda: BloomForCausalLM(BloomConfig(hidden_size=16, n_layer=1, n_head=2)),
    "falcon": lambda: FalconForCausalLM(
        FalconConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    ),
    "gpt-j": lambda: GPTJForCausalLM(GPTJConfig(n_embd=16, n_layer=1, n_head=2, rotary_dim=4)),
    "mpt": lambda: MptForCausalLM(MptConfig(d_model=16, n_layers=1, n_heads=2)),
}


@pytest.mark.parametrize("family", list(UNSUPPORTED))
def test_families_outside_the_interface_are_refused_by_name(family, batch):
    model = UNSUPPORTED[family]()
    with pytest.raises(InputError, match=type(model).__name__) as refused:
        attention_features(model, batch)
    assert "take a family" in str(refused.value)
