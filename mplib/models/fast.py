"""Faster ways to the same numbers in bfloat16: attention in short prompts, and adapters.

Without them a finetuning in words spends a fifth of its time on a CPU in copies.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

SHORT = 256
"""Tokens up to which two plain products beat torch's kernels in bfloat16 on a CPU."""


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention as transformers' fast one gives it, in two plain products where prompts are short.

    For training alone, since scores are rounded to bfloat16 before their softmax. Forward and
    backward these take a third of the time of torch's plain kernel, and a sixth of the fused one's:
    keys that several heads share are not written out for each of them.
    """
    (batch, heads, rows, size), (groups, columns) = query.shape, key.shape[1:3]
    causal = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    known = all(kwargs.get(x) is None for x in ("position_bias", "cache", "softcap", "s_aux"))
    known &= (causal and rows == columns) if attention_mask is None else attention_mask.ndim == 4
    kind, dtype = query.device.type, _dtype(query)
    if not known or kind != "cpu" or dtype != torch.bfloat16 or columns > SHORT:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    scaling = kwargs.get("scaling")
    scaled = (query * (size**-0.5 if scaling is None else scaling)).to(dtype)
    # Autocast would compute the softmax in float32, and round it again for the product.
    with torch.autocast(kind, enabled=False):
        key, value = (x.to(dtype).flatten(0, 1) for x in (key, value))
        scores = scaled.reshape(batch * groups, -1, size) @ key.transpose(1, 2)
        apart = scores.view(batch, groups, -1, rows, columns)
        apart.add_(_bias(scores, attention_mask, rows, groups))
        output = drop(scores.softmax(-1), kwargs.get("dropout", 0.0)) @ value
    return output.view(batch, heads, rows, -1).transpose(1, 2), None


def _bias(scores: Tensor, mask: Tensor | None, rows: int, groups: int) -> Tensor:
    """What is added to the scores, for each example, group, head of it, row and column."""
    lowest = torch.finfo(scores.dtype).min
    if mask is None:
        mask = torch.ones(1, 1, rows, scores.shape[-1], dtype=torch.bool).tril()
    if mask.dtype == torch.bool:
        mask = scores.new_zeros(()).masked_fill(~mask, lowest)
    bias = mask.clamp(min=lowest).to(scores.dtype)
    return bias[:, None] if bias.shape[1] == 1 else bias.unflatten(1, (groups, -1))


@contextmanager
def short_attention() -> Iterator[None]:
    """Runs attention through ``attend`` wherever torch's kernels are what a model takes.

    Models keep the name of their attention, by which some decide what its mask holds.
    """
    AttentionInterface.register("sdpa", attend)
    try:
        yield
    finally:
        AttentionInterface.register("sdpa", sdpa_attention_forward)


class _Adapted(torch.autograd.Function):
    """A frozen linear layer with its low-rank change, as one node of the graph.

    Out of single operations it takes twice as many passes over its inputs and outputs.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor,
        scale: float,
    ) -> Tensor:  # fmt: skip
        """Inputs (rows, in), weight (out, in), bias (out), down (rank, in), up (out, rank)."""
        between = inputs @ down.T
        ctx.save_for_backward(inputs, between, weight, down, up)
        ctx.scale = scale
        outputs = inputs @ weight.T if bias is None else torch.addmm(bias, inputs, weight.T)
        return outputs.addmm_(between, up.T, alpha=scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Of inputs, down and up."""
        inputs, between, weight, down, up = ctx.saved_tensors
        (given,), found = gradients, None
        inner = (given @ up) * ctx.scale
        if ctx.needs_input_grad[0]:
            found = (given @ weight).addmm_(inner, down)
        return found, None, None, inner.T @ inputs, (given.T @ between) * ctx.scale, None


def adapt(layers: Iterable[Any]) -> None:
    """Runs peft's adapters as one node each under autocast to bfloat16, elsewhere as they are.

    Args:
        layers: peft's, around linear layers; their ``forward`` is replaced.
    """
    last: list[tuple[Tensor, int, Tensor]] = []

    def rounded(inputs: Tensor) -> Tensor:
        """In bfloat16; layers that read the same, one after another, share it."""
        if not last or last[0][0] is not inputs or last[0][1] != inputs._version:
            last.clear()  # before the memory is needed
            last[:] = [(inputs, inputs._version, inputs.bfloat16().flatten(0, -2))]
        return last[0][2]

    def run(layer: Any, own: Callable[..., Tensor], inputs: Tensor, *args: Any) -> Tensor:
        if _dtype(inputs) != torch.bfloat16 or not torch.is_autocast_enabled(inputs.device.type):
            return own(inputs, *args)
        (name,), base = layer.active_adapters, layer.base_layer
        factors = (x[name].weight.bfloat16() for x in (layer.lora_A, layer.lora_B))
        weight = (base.weight.T if layer.fan_in_fan_out else base.weight).bfloat16()
        bias = None if base.bias is None else base.bias.bfloat16()
        found = _Adapted.apply(rounded(inputs), weight, bias, *factors, layer.scaling[name])
        # Here, since what a node gives as a view cannot be changed in place, as some families do.
        return found.view(*inputs.shape[:-1], len(weight))

    for layer in layers:
        layer.forward = partial(run, layer, layer.forward)


def _dtype(inputs: Tensor) -> torch.dtype:
    """In which these are multiplied."""
    kind = inputs.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs.dtype
