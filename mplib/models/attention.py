"""The attention backend: reads rows of attention and intervenes on it inside any decoder.

The backend is registered with transformers' own attention interface, so it runs the family's code
and needs no copy of any model. A layer's attention is reduced as soon as it is computed; only the
reduced numbers are kept, so memory grows with statements and layers, not with tokens squared.
"""

import sys
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel, masking_utils
from transformers.integrations.sdpa_attention import sdpa_attention_forward

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
        sources: the example of the same batch from which each takes its last token's head outputs,
            before the output projection; itself where it keeps its own. Shape (layers, examples).

    >>> off = torch.tensor([[True, False], [False, False]])  # the first head of the first layer
    >>> Intervention(heads_off=off).cuts(layer=0)
    False
    """

    heads_off: Tensor | None = None
    replacement: Tensor | None = None
    cut: Tensor | None = None
    cut_layers: frozenset[int] | None = None
    renormalise: bool = True
    sources: Tensor | None = None

    def cuts(self, layer: int) -> bool:
        """Whether edges are cut in this layer."""
        return self.cut is not None and (self.cut_layers is None or layer in self.cut_layers)


@dataclass
class Session:
    """What the backend does during one forward pass, and what it has recorded so far.

    Attributes:
        intervention: what is changed.
        reduce: what is kept of a layer's attention (batch, heads, rows, keys), from the number of
            its first row among ``rows``; nothing if None.
        rows: the queries whose attention is wanted, shape (batch, rows); all if None.
        at_once: how many rows are computed at a time, what is kept of them added up; all if None.
            A part may lack the keys behind its last row.
        tail: whether ``rows`` are the last queries without a gap, which are then computed once, for
            what is kept and for what the layer gives out.
        last_layer: where the pass may end.
        real: True where a head's output is wanted, shape (batch, queries, 1, 1); nowhere if None.
        sdpa: whether the family knows the fast kernel.
        running: the layer that runs.
        causal: whether no mask means plain causality.
        windows: whether some layer hides more than what comes later.
        calls: how often each layer's attention ran.
        queries: with how many queries.
        recorded: what is kept of each layer's attention.
        outputs: every head's output in each layer, summed over the batch.
    """

    intervention: Intervention = Intervention()
    reduce: Callable[[Tensor, int], Tensor] | None = None
    rows: Tensor | None = None
    at_once: int | None = None
    tail: bool = False
    last_layer: int | None = None
    real: Tensor | None = None
    sdpa: bool = True
    running: int = -1
    causal: bool = False
    windows: bool = False
    calls: Counter[int] = field(default_factory=Counter)
    queries: set[int] = field(default_factory=set)
    recorded: dict[int, Tensor] = field(default_factory=dict)
    outputs: dict[int, Tensor] = field(default_factory=dict)


class Enough(Exception):
    """Ends a forward pass as soon as the last wanted layer has been recorded or cached."""


SESSION: ContextVar[Session | None] = ContextVar("mplib_attention_session", default=None)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """The registered attention function; same contract and names as transformers' own."""
    mask, lowest = attention_mask, torch.finfo(query.dtype).min
    if (hidden := _unselected(module, key.shape[2], **kwargs)) is not None:
        mask = (_causal_rows(query, None) if mask is None else mask).masked_fill(hidden, lowest)
    if (session := SESSION.get()) is None:
        return sdpa_attention_forward(module, query, key, value, mask, **kwargs)
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
    if mask is None and not session.causal:
        raise RuntimeError("the attention mask was lost: the mask function is not registered")
    if mask is None and not (plain and cut is None):
        mask = _causal_rows(query, None)
    if mask is not None and cut is not None and change.renormalise:
        mask = mask.masked_fill(cut, lowest)
    done: list[Tensor] = []
    if session.reduce is not None:
        session.recorded[layer], done = _read(
            session, partial(eager, module, **kwargs), query, key, value, mask, cut
        )
    if layer == session.last_layer:
        raise Enough
    if cut is not None and not change.renormalise:
        _, weights = eager(module, query, key, value, mask, **kwargs)
        groups = query.shape[1] // value.shape[1]
        output = weights.masked_fill(cut, 0) @ value.repeat_interleave(groups, dim=1)
        output = output.transpose(1, 2)
    else:
        run = sdpa_attention_forward if plain else eager
        if done:
            left = query.shape[2] - sum(x.shape[1] for x in done)
            query, key, value = (x[:, :, :left] for x in (query, key, value))
        output, _ = run(module, query, key, value, mask, **kwargs)
        output = torch.cat([output, *done], dim=1) if done else output
    if mask is not None and cut is not None and change.renormalise:
        # A row that may look nowhere would else look everywhere: softmax of a constant.
        blind = (mask <= lowest).all(dim=-1)
        output = output.masked_fill(blind.transpose(1, 2)[..., None], 0)
    if session.real is not None:
        # Summed at once: every head's output for a whole batch of long prompts would not fit.
        session.outputs[layer] = output.masked_fill(~session.real, 0).sum(dim=0)
    if change.heads_off is not None:
        output = _replace_heads(output, layer, change)
    if change.sources is not None:
        # The index makes a copy first, so that two examples can take each other's.
        output[:, -1] = output[change.sources[layer].to(output.device), -1]
    return output, None


def _read(
    session: Session, eager: Callable[..., tuple[Tensor, Tensor]], query: Tensor, key: Tensor,
    value: Tensor, mask: Tensor | None, cut: Tensor | None,
) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    """What is kept of the wanted rows, by the family's own weights; outputs of rows at the end."""
    whole, size = session.rows, session.at_once
    parts = [whole] if whole is None or size is None else whole.split(size, dim=1)
    tail, kept, done = session.tail and mask is None, [], []
    for number, rows in enumerate(parts):
        seen = _causal_rows(query, rows) if mask is None else _gather_rows(mask, rows)
        # Of parts, where causality is plain, no keys behind the last row are needed; and of values
        # none, unless the layer's output is taken from here.
        last = key.shape[2]
        if mask is None and rows is not None and size is not None:
            last = int(rows.max()) + 1
        own = slice(last - rows.shape[1], last) if tail and rows is not None else None
        looks = query[:, :, own] if own else _gather_rows(query, rows)
        given = key[:, :, :last], value[:, :, :last, : None if tail else 1], seen[..., :last]
        output, weights = eager(looks, *given)
        done += [output] if tail else []
        if cut is not None and mask is not None:
            # Also where renormalised: a row without any edge left is a softmax of constants.
            hidden = cut | (mask == torch.finfo(query.dtype).min)
            weights = weights.masked_fill(_gather_rows(hidden, rows), 0)
        kept.append(session.reduce(weights.float(), number * (size or 0)))  # type: ignore[misc]
    return sum(kept[1:], kept[0]), done


def _unselected(
    module: Any, keys: int, indices: Tensor | None = None,
    block_indices: Tensor | None = None, **_: Any,
) -> Tensor | None:  # fmt: skip
    """Where sparse attention does not look, shape (batch, 1, queries, keys); None if nowhere.

    Families hide these keys themselves from the kernels that they know by name.

    Raises:
        InputError: a prompt is so long that keys are left out by blocks.
    """
    if block_indices is not None and block_indices.shape[-1] * module.indexer.block_size < keys:
        raise InputError(
            f"{type(module).__name__} looks at blocks of a prompt of {keys} tokens alone, which "
            "cannot be read: use fewer demonstrations or shorter examples"
        )
    if indices is None or indices.shape[-1] >= keys:
        return None
    hidden = indices.new_ones(*indices.shape[:2], keys, dtype=torch.bool)
    return hidden.scatter(-1, indices.long(), False)[:, None]


def _gather_rows(full: Tensor, rows: Tensor | None) -> Tensor:
    """Rows of each example; ``full`` is (batch, heads, queries, n), ``rows`` is (batch, rows)."""
    if rows is None:
        return full
    index = rows[:, None, :, None].expand(-1, full.shape[1], -1, full.shape[3])
    return full.expand(len(rows), -1, -1, -1).gather(2, index)


def _causal_rows(query: Tensor, rows: Tensor | None) -> Tensor:
    """Rows of the causal mask, all of them if None; (batch or 1, 1, rows, keys)."""
    places = torch.arange(query.shape[2], device=query.device)
    hidden = (places[None] if rows is None else rows)[:, None, :, None] < places
    return query.new_zeros(()).masked_fill(hidden, torch.finfo(query.dtype).min)


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
    session, padding = SESSION.get(), kwargs["attention_mask"]
    if session is not None:
        session.windows |= kwargs["mask_function"] is not masking_utils.causal_mask_function
    # First what is cheap to see: sdpa_mask makes a whole mask to say that one is needed.
    plain = kwargs["q_length"] == kwargs["kv_length"] and (padding is None or bool(padding.all()))
    if session is not None and plain and masking_utils.sdpa_mask(**kwargs) is None:
        session.causal = True
        return None
    return masking_utils.eager_mask(**kwargs)


AttentionInterface.register(BACKEND, _attention)


# Without a mask function of the same name the causal mask would be dropped without a word.
AttentionMaskInterface.register(BACKEND, _mask)


def layer_count(model: PreTrainedModel) -> int:
    """How many layers the decoder has."""
    config = model.config.get_text_config(decoder=True)
    return int(getattr(config, "decoder_layers", getattr(config, "num_hidden_layers", 0)))


def layer_stack(model: PreTrainedModel) -> list[nn.Module]:
    """The decoder's layers in the order in which the model numbers them; empty if not found."""
    count = layer_count(model)
    stacks = (m for m in model.modules() if isinstance(m, nn.ModuleList))
    return next(([*stack] for stack in stacks if len(stack) == count), [])
