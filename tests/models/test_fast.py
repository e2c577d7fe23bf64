"""What is faster in bfloat16 gives the numbers of the slow way."""

import copy
from dataclasses import replace

import pytest
import torch
from conftest import FAMILIES, MODERN, build, make_prompts
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AttentionInterface, OlmoConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from mplib.models.adapters import add_adapter
from mplib.models.fast import SHORT, attend, short_attention
from mplib.models.trained import exchanged, rounded
from mplib.studies.finetune import Training, add_gradients

TRAINING = Training(steps=1, batch_size=4, trainable="lora", precision="bfloat16")


class Module(nn.Module):
    """What an attention function wants to know of its module."""

    is_causal = True

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.num_key_value_groups = groups


def inputs(shape, groups, dtype, mask, seed=0):
    """Queries, keys, values that want gradients, and a mask of left padding."""
    batch, heads, tokens, size = shape
    draw = torch.Generator().manual_seed(seed)
    sizes = (heads * groups, heads, heads)
    three = [
        torch.randn(batch, tokens, each, size, generator=draw).to(dtype).transpose(1, 2)
        for each in sizes
    ]
    seen = torch.ones(tokens, tokens, dtype=torch.bool).tril().expand(batch, 1, -1, -1).clone()
    for row in range(batch):
        seen[row, :, :, : row % tokens] = False
    lowest = torch.finfo(torch.float32).min
    hidden = torch.zeros(()).masked_fill(~seen, lowest)
    places = -torch.rand(1, heads * groups, 1, tokens, generator=draw)  # as ALiBi has them
    masks = {"none": None, "bool": seen, "float": hidden, "heads": hidden + places}
    return [each.requires_grad_() for each in three], masks[mask]


def outcome(function, module, three, mask, real, **kwargs):
    """What comes out for real tokens, and all gradients."""
    for each in three:
        each.grad = None
    output, _ = function(module, *three, mask, **kwargs)
    kept = output.float() * real[:, :, None, None]
    kept.square().sum().backward()
    return [kept, *(each.grad for each in three)]


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*(st.integers(1, n) for n in (4, 3, 40)), st.sampled_from([8, 64])),
    groups=st.sampled_from([1, 3]), mask=st.sampled_from(["none", "bool", "float", "heads"]),
    scaling=st.sampled_from([None, 0.3]), rotated=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_short_prompts_attend_as_torch_has_it(shape, groups, mask, scaling, rotated, seed):
    three, given_mask = inputs(shape, groups, torch.bfloat16, mask, seed)
    if rotated:  # positions in float32 make queries and keys so, and autocast rounds them again
        three[:2] = [each.detach().float().requires_grad_() for each in three[:2]]
    exact = [each.detach().float().requires_grad_() for each in three]
    module, real = Module(groups), torch.ones(shape[0], shape[2])
    if given_mask is not None:
        for row in range(shape[0]):
            real[row, : row % shape[2]] = 0
    with torch.autocast("cpu", torch.bfloat16, enabled=rotated):
        found = outcome(attend, module, three, given_mask, real, scaling=scaling)
    expected = outcome(sdpa_attention_forward, module, exact, given_mask, real, scaling=scaling)
    for one, other in zip(found, expected, strict=True):
        assert torch.isfinite(one).all()
        assert (one - other).norm() <= 0.03 * other.norm() + 1e-3


@pytest.mark.parametrize(
    ("tokens", "dtype", "more"),
    [(SHORT + 1, torch.bfloat16, {}), (9, torch.float32, {}),
     (9, torch.bfloat16, {"is_causal": False})],
)  # fmt: skip
def test_what_is_not_short_is_left_to_torch(tokens, dtype, more):
    three, _ = inputs((2, 2, tokens, 8), 1, dtype, "none")
    one, _ = attend(Module(1), *three, None, **more)
    other, _ = sdpa_attention_forward(Module(1), *three, None, **more)
    assert torch.equal(one, other)


def gradients(model, prompts, size=4, precision="bfloat16"):
    add_gradients(model, prompts, replace(TRAINING, precision=precision), size)
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt-neox", "qwen2", "gemma2", "olmo"])
def test_an_adapted_layer_has_the_gradients_of_peft(family, monkeypatch):
    # It changes in place what its projections give.
    monkeypatch.setitem(FAMILIES, "olmo", lambda: OlmoConfig(**MODERN, clip_qkv=1.0))
    lengths = [5, 9, 7, 7]
    prompts = make_prompts(lengths, [[(0, 1)]] * 4, [(n - 1, n) for n in lengths])
    wrapped = add_adapter(build(family), rank=2, alpha=6, targets=())
    for name, values in wrapped.named_parameters():
        if name.endswith(("lora_B.default.weight", "bias")):  # at zero they would test nothing
            nn.init.normal_(values, std=0.1)
    plain = copy.deepcopy(wrapped)
    replaced = [each.__dict__.pop("forward", None) for each in plain.modules()]
    assert sum(each is not None for each in replaced) >= 8
    exact, slow = (gradients(plain, prompts, precision=p) for p in ("float32", "bfloat16"))
    assert torch.equal(gradients(wrapped, prompts, precision="float32"), exact)
    rounding = (slow - exact).norm()
    found = [gradients(wrapped, prompts)]
    with exchanged(rounded(wrapped, "bfloat16")), short_attention():
        found += [gradients(wrapped, prompts), gradients(wrapped, prompts, size=1)]
    assert AttentionInterface._global_mapping["sdpa"] is sdpa_attention_forward
    for each in found:
        assert 0 < (each - exact).norm() < 2 * rounding < 0.2 * exact.norm()


@torch.no_grad()
def test_inputs_that_change_in_place_are_rounded_anew():
    wrapped = add_adapter(build("llama"), rank=2, alpha=6, targets=())
    layer = next(each for each in wrapped.modules() if "forward" in each.__dict__)
    inputs = torch.randn(3, layer.in_features)
    with torch.autocast("cpu", torch.bfloat16):
        layer(inputs)
        found = layer(inputs.add_(1))
        assert torch.equal(found, layer(inputs.clone()))
