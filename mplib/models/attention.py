"""The attention backend: reads rows of attention and intervenes on it inside any decoder.

The backend is registered with transformers' own attention interface, so it runs the family's code
and needs no copy of any model. A layer's attention is reduced as soon as it is computed; only the
reduced numbers are kept, so memory grows with statements and layers, not with tokens squared.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import (
    AttentionMaskInterface,
    causal_mask_function,
    eager_mask,
    sdpa_mask,
)
from transformers.modeling_utils import AttentionInterface

from mplib.errors import InputError

BACKEND = "mplib"


@dataclass(frozen=True)
class Reduction:
    """How one layer's attention becomes one number for each statement (paper, section 3.2).

    Applied in the paper's order: tokens of a statement, then tokens of the question, then heads.

    Attributes:
        statement: mean or max over a statement's tokens; ``tokens`` keeps every token apart.
        question: max or mean over the question's tokens; ``keep`` keeps every row apart.
        heads: mean over heads, or ``keep`` for a number for each head.

    >>> Reduction(heads="keep")
    Reduction(statement='mean', question='max', heads='keep')
    """

    statement: Literal["mean", "max", "tokens"] = "mean"
    question: Literal["max", "mean", "keep"] = "max"
    heads: Literal["mean", "keep"] = "mean"


@dataclass(frozen=True)
class Intervention:
    """What is changed inside the attention while the model runs.

    Attributes:
        heads_off: True where a head's output is replaced, shape (layers, heads).
        replacement: the output put in its place; zeros if None. Shape (layers, heads, head size),
            or (layers, tokens, heads, head size) with tokens counted from the prompt's end.
        cut: True where a query must not look at a key, shape (examples, queries, keys).
        cut_layers: the layers where ``cut`` holds; all if None.
        renormalise: whether the remaining attention of a cut row sums to one again.

    >>> off = torch.tensor([[True, False], [False, False]])  # the first head of the first layer
    >>> Intervention(heads_off=off).cuts(layer=0)
    False
    """

    heads_off: Tensor | None = None
    replacement: Tensor | None = None
    cut: Tensor | None = None
    cut_layers: frozenset[int] | None = None
    renormalise: bool = True

    def cuts(self, layer: int) -> bool:
        """Whether edges are cut in this layer."""
        return self.cut is not None and (self.cut_layers is None or layer in self.cut_layers)


@dataclass
class Session:
    """What the backend does during one forward pass, and what it has recorded so far."""

    intervention: Intervention
    sdpa: bool
    causal: bool = False
    reduction: Reduction | None = None
    rows: Tensor | None = None
    row_mask: Tensor | None = None
    pooling: Tensor | None = None
    n_statements: int = 0
    last_layer: int | None = None
    real: Tensor | None = None
    running: int = -1
    calls: Counter[int] = field(default_factory=Counter)
    queries: set[int] = field(default_factory=set)
    windows: bool = False
    recorded: dict[int, Tensor] = field(default_factory=dict)
    outputs: dict[int, Tensor] = field(default_factory=dict)


class EnoughLayers(Exception):
    """Ends a forward pass as soon as the last wanted layer has been recorded or cached."""


SESSION: ContextVar[Session | None] = ContextVar("mplib_attention_session", default=None)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The registered attention function; same contract as transformers' own."""
    session = SESSION.get()
    if session is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    layer = getattr(module, "layer_idx", None)
    if layer is None or layer < 0:  # one module that several layers share
        layer = session.running
    session.calls[layer] += 1
    session.queries.add(query.shape[2])
    eager = sys.modules[type(module).__module__].eager_attention_forward
    change = session.intervention
    cut = change.cut[:, None] if change.cuts(layer) and change.cut is not None else None
    # Soft caps and sinks are unknown to the fast kernel.
    plain = kwargs.get("softcap") is None and kwargs.get("s_aux") is None and session.sdpa
    if attention_mask is None:
        if not session.causal:
            raise RuntimeError("the attention mask was lost: the mask function is not registered")
        if cut is not None or not plain:
            attention_mask = _causal_rows(query, None)
    if attention_mask is not None and cut is not None and change.renormalise:
        attention_mask = attention_mask.masked_fill(cut, torch.finfo(query.dtype).min)
    if session.reduction is not None:
        weights = _rows(eager, session, module, query, key, value, attention_mask, **kwargs)
        if cut is not None:
            # Also where renormalised: a row without any edge left is a softmax of constants.
            hidden = cut | (attention_mask == torch.finfo(query.dtype).min)
            weights = weights.masked_fill(_gather_rows(hidden, session.rows), 0)
        session.recorded[layer] = _reduce(weights.float(), session)
    if layer == session.last_layer:
        raise EnoughLayers
    if cut is not None and not change.renormalise:
        _, weights = eager(module, query, key, value, attention_mask, **kwargs)
        groups = query.shape[1] // value.shape[1]
        output = weights.masked_fill(cut, 0) @ value.repeat_interleave(groups, dim=1)
        output = output.transpose(1, 2)
    elif plain:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    else:
        output, _ = eager(module, query, key, value, attention_mask, **kwargs)
    if attention_mask is not None and cut is not None and change.renormalise:
        # A row that may look nowhere would else look everywhere: softmax of a constant.
        blind = (attention_mask <= torch.finfo(query.dtype).min).all(dim=-1)
        output = output.masked_fill(blind.transpose(1, 2)[..., None], 0)
    if session.real is not None:
        # Summed at once: every head's output for a whole batch of long prompts would not fit.
        session.outputs[layer] = output.masked_fill(~session.real, 0).sum(dim=0)
    if change.heads_off is not None:
        output = _replace_heads(output, layer, change)
    return output, None


def _gather_rows(full: Tensor, rows: Tensor | None) -> Tensor:
    """Rows of each example; ``full`` is (batch, heads, queries, n), ``rows`` is (batch, rows)."""
    if rows is None:
        return full
    index = rows[:, None, :, None].expand(-1, full.shape[1], -1, full.shape[3])
    return full.expand(len(rows), -1, -1, -1).gather(2, index)


def _rows(
    eager: Any, session: Session, module: torch.nn.Module, query: Tensor, key: Tensor,
    value: Tensor, mask: Tensor | None, **kwargs: Any,
) -> Tensor:  # fmt: skip
    """The family's own attention weights, for the wanted rows only; (batch, heads, rows, keys)."""
    rows = session.rows
    chosen = _gather_rows(query, rows)
    seen = _causal_rows(query, rows) if mask is None else _gather_rows(mask, rows)
    return eager(module, chosen, key, value, seen, **kwargs)[1]


def _causal_rows(query: Tensor, rows: Tensor | None) -> Tensor:
    """Rows of the causal mask, all of them if None; (batch or 1, 1, rows, keys)."""
    places = torch.arange(query.shape[2], device=query.device)
    hidden = (places[None] if rows is None else rows)[:, None, :, None] < places
    return query.new_zeros(()).masked_fill(hidden, torch.finfo(query.dtype).min)


def _reduce(weights: Tensor, session: Session) -> Tensor:
    """Reduces (batch, heads, rows, keys) to (batch, [heads,] [rows,] statements)."""
    reduction, pooling, valid = session.reduction, session.pooling, session.row_mask
    assert reduction is not None and valid is not None
    if reduction.statement == "mean":
        weights = weights @ pooling[:, None]  # type: ignore[index]
    elif reduction.statement == "max":
        index = pooling[:, None, None].expand(weights.shape)  # type: ignore[index]
        # The last bin takes the tokens outside all statements.
        bins = weights.new_zeros(*weights.shape[:3], session.n_statements + 1)
        weights = bins.scatter_reduce(-1, index, weights, "amax")[..., :-1]
    valid = valid[:, None, :, None]
    if reduction.question == "max":
        weights = weights.masked_fill(~valid, -torch.inf).amax(dim=2)
    elif reduction.question == "mean":
        weights = weights.masked_fill(~valid, 0).sum(dim=2) / valid.sum(dim=2)
    return weights.mean(dim=1) if reduction.heads == "mean" else weights


def _replace_heads(output: Tensor, layer: int, change: Intervention) -> Tensor:
    """Replaces the output of heads that are off; ``output`` is (batch, queries, heads, size)."""
    off = change.heads_off[layer].to(output.device)[:, None]  # type: ignore[index]
    if change.replacement is None:
        return output.masked_fill(off, 0)
    fixed = change.replacement[layer].to(output)
    return torch.where(off, fixed[-output.shape[1] :] if fixed.ndim == 3 else fixed, output)


def _mask(**kwargs: Any) -> Tensor | None:
    """The registered mask function: no mask where plain causality is all there is to it.

    A mask costs tokens squared, and the fast kernel needs none for causality.
    """
    session = SESSION.get()
    padding = kwargs["attention_mask"]
    if session is not None:
        session.windows |= kwargs["mask_function"] is not causal_mask_function
    # First what is cheap to see: sdpa_mask makes a whole mask to say that one is needed.
    plain = kwargs["q_length"] == kwargs["kv_length"] and (padding is None or bool(padding.all()))
    if session is not None and plain and sdpa_mask(**kwargs) is None:
        session.causal = True
        return None
    return eager_mask(**kwargs)


AttentionInterface.register(BACKEND, _attention)


# Without a mask function of the same name the causal mask would be dropped without a word.
AttentionMaskInterface.register(BACKEND, _mask)


@contextmanager
def backend(model: PreTrainedModel) -> Iterator[None]:
    """Runs the model's attention through the backend for the time of the block.

    Raises:
        InputError: the model's family does not use transformers' attention interface, or its
            attention cannot be read rightly.
    """
    from mplib.models.facts import facts  # it looks through the means of this file

    module = sys.modules[type(model).__module__]
    if not hasattr(module, "eager_attention_forward") or not model._can_set_attn_implementation():
        raise InputError(
            f"{type(model).__name__} does not use transformers' attention interface, so its "
            "attention cannot be read: take a family that does (GPT-2, GPT-NeoX, OPT, Llama, "
            "Mistral, Qwen, Gemma, Phi-3, OLMo and most newer ones)"
        )
    before = model.config._attn_implementation
    model.set_attn_implementation(BACKEND)
    hooks = [
        layer.register_forward_pre_hook(partial(_enter, number))
        for number, layer in enumerate(layer_stack(model))
    ]
    try:
        facts(model)
        yield
    finally:
        for hook in hooks:
            hook.remove()
        model.set_attn_implementation(before)


def _enter(number: int, *_: Any) -> None:
    """Notes which layer runs, for attention that does not know its number."""
    if (session := SESSION.get()) is not None:
        session.running = number


def layer_count(model: PreTrainedModel) -> int:
    """How many layers the decoder has."""
    config = model.config.get_text_config(decoder=True)
    return int(getattr(config, "decoder_layers", getattr(config, "num_hidden_layers", 0)))


def layer_stack(model: PreTrainedModel) -> list[torch.nn.Module]:
    """The decoder's layers in the order in which the model numbers them; empty if not found."""
    count = layer_count(model)
    stacks = (m for m in model.modules() if isinstance(m, torch.nn.ModuleList))
    return next(([*stack] for stack in stacks if len(stack) == count), [])
