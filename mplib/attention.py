"""The attention backend: reads rows of attention and intervenes on it inside any decoder.

The backend is registered with transformers' own attention interface, so it runs the family's code
and needs no copy of any model. A layer's attention is reduced as soon as it is computed; only the
reduced numbers are kept, so memory grows with statements and layers, not with tokens squared.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, eager_mask, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from mplib.errors import InputError
from mplib.prompts import Prompts

BACKEND = "mplib"


@dataclass(frozen=True)
class Reduction:
    """How one layer's attention becomes one number for each statement (paper, section 3.2).

    Applied in the paper's order: tokens of a statement, then tokens of the question, then heads.

    Attributes:
        statement: mean or max over a statement's tokens; ``tokens`` keeps every token apart.
        question: max or mean over the question's tokens; ``keep`` keeps every row apart.
        heads: mean over heads, or ``keep`` for a number for each head.
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
class _Session:
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
    recorded: dict[int, Tensor] = field(default_factory=dict)
    outputs: dict[int, Tensor] = field(default_factory=dict)


class _EnoughLayers(Exception):
    """Ends a forward pass as soon as the last wanted layer has been recorded or cached."""


_SESSION: ContextVar[_Session | None] = ContextVar("mplib_attention_session", default=None)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The registered attention function; same contract as transformers' own."""
    session = _SESSION.get()
    if session is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    layer: int = module.layer_idx  # type: ignore[assignment]
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
        raise _EnoughLayers
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
    eager: Any, session: _Session, module: torch.nn.Module, query: Tensor, key: Tensor,
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


def _reduce(weights: Tensor, session: _Session) -> Tensor:
    """Reduces (batch, heads, rows, keys) to (batch, [heads,] [rows,] statements)."""
    how, pooling, valid = session.reduction, session.pooling, session.row_mask
    assert how is not None and valid is not None
    if how.statement == "mean":
        weights = weights @ pooling[:, None]  # type: ignore[index]
    elif how.statement == "max":
        index = pooling[:, None, None].expand(weights.shape)  # type: ignore[index]
        # The last bin takes the tokens outside all statements.
        bins = weights.new_zeros(*weights.shape[:3], session.n_statements + 1)
        weights = bins.scatter_reduce(-1, index, weights, "amax")[..., :-1]
    valid = valid[:, None, :, None]
    if how.question == "max":
        weights = weights.masked_fill(~valid, -torch.inf).amax(dim=2)
    elif how.question == "mean":
        weights = weights.masked_fill(~valid, 0).sum(dim=2) / valid.sum(dim=2)
    return weights.mean(dim=1) if how.heads == "mean" else weights


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
    session = _SESSION.get()
    padding = kwargs["attention_mask"]
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
        InputError: the model's family does not use transformers' attention interface.
    """
    module = sys.modules[type(model).__module__]
    if not hasattr(module, "eager_attention_forward") or not model._can_set_attn_implementation():
        raise InputError(
            f"{type(model).__name__} does not use transformers' attention interface, so its "
            "attention cannot be read: take a family that does (GPT-2, GPT-NeoX, OPT, Llama, "
            "Mistral, Qwen, Gemma, Phi-3, OLMo and most newer ones)"
        )
    before = model.config._attn_implementation
    model.set_attn_implementation(BACKEND)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@dataclass(frozen=True)
class Pass:
    """What one forward pass gave.

    Attributes:
        logits: logits of the token after the prompt, shape (batch, vocabulary); None if not asked.
        attention: reduced attention, shape (batch, layers, ...); None if no reduction was asked.
        layers: index of the layer behind each entry of ``attention``.
        outputs: every head's output at each token, summed over the batch without its padding, shape
            (layers, tokens, heads, head size); None if not asked.
    """

    logits: Tensor | None
    attention: Tensor | None
    layers: tuple[int, ...]
    outputs: Tensor | None = None


@torch.no_grad()
def forward(
    model: PreTrainedModel,
    prompts: Prompts,
    *,
    reduction: Reduction | None = None,
    intervention: Intervention | None = None,
    logits: bool = True,
    outputs: bool = False,
    cache: Cache | None = None,
) -> Pass:
    """Runs one batch inside a ``backend`` block, reading and changing its attention.

    Args:
        model: a decoder inside ``with backend(model):``.
        prompts: the batch; left padding gives the same numbers as single examples.
        reduction: how attention is reduced; none is recorded if None.
        intervention: what is changed, if anything.
        logits: whether the logits are wanted; without them the pass ends at the last attention.
        outputs: whether the outputs of the heads are wanted, before any of them is replaced.
        cache: keys and values of the prompts' prefix, from ``prefix_cache``; it stays as it is.

    Raises:
        InputError: no layer went through the backend; an intervention, which would change what a
            prefix left behind; or padding behind a prefix in a family that counts it into its
            sliding window.
    """
    device = _device(model)
    past = len(prompts.prefix)
    if past and intervention is not None:
        raise InputError("an intervention changes the prefix too: run prompts.whole()")
    if past and not prompts.attention_mask.all() and _slides(model):
        raise InputError(
            f"{type(model).__name__} has a sliding window, into which padding behind a shared "
            "prefix would count: run prompts.whole()"
        )
    if past:
        cache = cache or prefix_cache(model, prompts)
    input_ids = torch.from_numpy(prompts.input_ids).to(device)
    mask = torch.from_numpy(np.pad(prompts.attention_mask, ((0, 0), (past, 0)), constant_values=1))
    mask = mask.to(device)
    session = _Session(intervention or Intervention(), sdpa=type(model)._supports_sdpa)
    if outputs:
        session.real = mask[:, past:, None, None].bool()
    if reduction is not None:
        session.reduction = reduction
        session.rows, session.row_mask = _question_rows(prompts, past, device)
        session.pooling = _pooling(prompts, reduction, mask.shape[1], device)
        session.n_statements = prompts.statements.shape[1]
        session.last_layer = None if logits else _last_layer(model)
    token = _SESSION.set(session)
    output = None
    try:
        output = model(
            input_ids=input_ids,
            attention_mask=mask.long(),
            position_ids=(mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, past:],
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=1,
        )
    except _EnoughLayers:
        pass
    finally:
        _SESSION.reset(token)
    heads = [session.outputs[layer].to(device) for layer in sorted(session.outputs)]
    summed = torch.stack(heads) if heads else None
    if reduction is None:
        return Pass(output.logits[:, -1] if output is not None else None, None, (), summed)
    if not session.recorded:
        raise InputError(f"no layer of {type(model).__name__} went through the attention interface")
    layers = tuple(sorted(session.recorded))
    attention = torch.stack([session.recorded[layer].to(device) for layer in layers], dim=1)
    after = output.logits[:, -1] if logits and output is not None else None
    return Pass(after, attention, layers, summed)


class _PrefixLayer(DynamicLayer):
    """One layer's keys and values of a prefix, the same for every example of every batch.

    What a pass adds is not kept: it would cost the prefix once for each example and layer.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys: Tensor = keys
        self.values: Tensor = values

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of the prefix, followed by the new ones."""
        n = len(key_states)
        keys, values = self.keys.expand(n, -1, -1, -1), self.values.expand(n, -1, -1, -1)
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)


@torch.no_grad()
def prefix_cache(model: PreTrainedModel, prompts: Prompts) -> Cache:
    """Keys and values of the prompts' prefix, for ``forward``; inside a ``backend`` block.

    Built without the model's config, or layers with a sliding window would forget the prefix.
    """
    cache = DynamicCache()
    session = _Session(Intervention(), type(model)._supports_sdpa, last_layer=_last_layer(model))
    token = _SESSION.set(session)
    try:
        ids = torch.from_numpy(prompts.prefix[None]).to(_device(model))
        model(
            input_ids=ids, attention_mask=torch.ones_like(ids), past_key_values=cache,
            use_cache=True, logits_to_keep=1,
        )  # fmt: skip
    except _EnoughLayers:
        pass
    finally:
        _SESSION.reset(token)
    return Cache(layers=[_PrefixLayer(keys, values) for keys, values, _ in cache])


Batch = tuple[np.ndarray, Prompts, Callable[..., Pass]]
"""Indices of a batch's examples, the batch, and ``forward`` for it."""


@contextmanager
def passes(
    model: PreTrainedModel, prompts: Prompts, batch_size: int, title: str | None = None
) -> Iterator[Iterator[Batch]]:
    """A ``backend`` block with an iterator over batches; a shared prefix is computed once.

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: the examples.
        batch_size: examples a batch.
        title: of the progress bar; none is shown if None.
    """
    hidden = None if title else True  # None leaves it to TQDM_DISABLE
    with (
        backend(model),
        tqdm(total=len(prompts), desc=title, unit="example", disable=hidden) as progress,
    ):
        yield _batches(model, prompts.whole() if _slides(model) else prompts, batch_size, progress)


def _batches(
    model: PreTrainedModel, prompts: Prompts, batch_size: int, progress: tqdm
) -> Iterator[Batch]:
    cache = prefix_cache(model, prompts) if len(prompts.prefix) else None
    for chosen, batch in prompts.batches(batch_size):
        yield chosen, batch, partial(forward, model, batch, cache=cache)
        progress.update(len(chosen))


def _device(model: PreTrainedModel) -> torch.device:
    """Where the model wants its tokens."""
    return next(model.get_input_embeddings().parameters()).device


def _last_layer(model: PreTrainedModel) -> int:
    """Index of the last layer."""
    return model.config.get_text_config().num_hidden_layers - 1


def _slides(model: PreTrainedModel) -> bool:
    """Whether any layer has a sliding window."""
    return getattr(model.config.get_text_config(), "sliding_window", None) is not None


def _question_rows(prompts: Prompts, past: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Query indices of the question's tokens and which are real, both (batch, longest question)."""
    span = torch.from_numpy(prompts.question.copy()).to(device)
    offsets = torch.arange(int((span[:, 1] - span[:, 0]).max()), device=device)
    rows = span[:, :1] + offsets
    valid = rows < span[:, 1:]
    return torch.where(valid, rows, span[:, :1]) - past, valid


def _pooling(prompts: Prompts, how: Reduction, places: int, device: torch.device) -> Tensor | None:
    """Mean weights (batch, keys, statements), or for max the statement of each (batch, key)."""
    if how.statement == "tokens":
        return None
    spans = torch.from_numpy(prompts.statements.copy()).to(device)
    keys = torch.arange(places, device=device)[None, :, None]
    inside = (keys >= spans[:, None, :, 0]) & (keys < spans[:, None, :, 1])
    if how.statement == "mean":
        return inside / inside.sum(dim=1, keepdim=True).clamp(min=1)
    outside = inside.shape[2]
    return torch.where(inside.any(dim=2), inside.int().argmax(dim=2), outside)
