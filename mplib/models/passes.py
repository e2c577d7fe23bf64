"""Passes: a model run over prompts inside the attention backend, batch by batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import Cache, PreTrainedModel

from mplib.errors import InputError
from mplib.models.attention import (
    Intervention,
    Reduction,
    Session,
    backend,
    layer_count,
    layer_stack,
)
from mplib.models.facts import (
    Facts,
    embedding,
    facts,
    not_a_number,
    prefix_cache,
    run,
)  # fmt: skip
from mplib.models.prompts import Prompts


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
        InputError: an intervention, which would change what a prefix left behind or which a hybrid
            leaks around; padding that the model counts in; a prompt too long to be read among
            others; NaN in what comes out.
    """
    device, known = embedding(model).device, facts(model)
    past = len(prompts.prefix)
    if intervention is not None:
        if past:
            raise InputError("an intervention changes the prefix too: run prompts.whole()")
        if known.leak:
            name = type(model).__name__
            raise InputError(
                f"{name} mixes tokens outside its attention too, so a change inside "
                "the attention would leak around: no interventions with partial_attention"
            )
    apart = outputs or (intervention is not None and intervention.heads_off is not None)
    if not known.even and (apart or (reduction is not None and reduction.heads == "keep")):
        raise InputError(
            f"the layers of {type(model).__name__} have different numbers of heads, so its heads "
            "cannot be told apart in one table: take their mean"
        )
    _fits(model, known, prompts)
    if past:
        cache = cache or prefix_cache(model, torch.from_numpy(prompts.prefix), known.layers[-1])
    input_ids = torch.from_numpy(prompts.input_ids).to(device)
    mask = torch.from_numpy(np.pad(prompts.attention_mask, ((0, 0), (past, 0)), constant_values=1))
    mask = mask.to(device)
    session = Session(intervention or Intervention(), sdpa=type(model)._supports_sdpa)
    if outputs:
        session.real = mask[:, past:, None, None].bool()
    if reduction is not None:
        session.reduction = reduction
        session.rows, session.row_mask = _question_rows(prompts, past, device)
        session.pooling = _pooling(prompts, reduction, mask.shape[1], device)
        session.n_statements = prompts.statements.shape[1]
        session.last_layer = None if logits else known.layers[-1]
    output = run(model, session, input_ids, mask, cache, known.last_only)
    heads = [session.outputs[layer].to(device) for layer in sorted(session.outputs)]
    summed = torch.stack(heads) if heads else None
    after = output.logits[:, -1] if output is not None else None
    if after is not None and after.isnan().any():
        raise not_a_number(model)
    if reduction is None:
        return Pass(after, None, (), summed)
    layers = tuple(sorted(session.recorded))
    attention = torch.stack([session.recorded[layer].to(device) for layer in layers], dim=1)
    if attention.isnan().any():
        raise not_a_number(model)
    return Pass(after, attention, layers, summed)


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
        known = facts(model)
        together = prompts if known.prefix else prompts.whole()
        yield _batches(model, together, batch_size if known.pads else 1, progress)


def _batches(
    model: PreTrainedModel, prompts: Prompts, batch_size: int, progress: tqdm
) -> Iterator[Batch]:
    prefix, last = torch.from_numpy(prompts.prefix), facts(model).layers[-1]
    cache = prefix_cache(model, prefix, last) if len(prefix) else None
    for chosen, batch in prompts.batches(batch_size):
        yield chosen, batch, partial(forward, model, batch, cache=cache)
        progress.update(len(chosen))


def _fits(model: PreTrainedModel, known: Facts, prompts: Prompts) -> None:
    """Whether prompts can be read together.

    Raises:
        InputError: they cannot, with why.
    """
    name, padded = type(model).__name__, not prompts.attention_mask.all()
    if len(prompts.prefix) and padded and not known.prefix:
        raise InputError(
            f"{name} has a sliding window or the like, into which padding behind a shared prefix "
            "would count: run prompts.whole()"
        )
    if padded and not known.pads:
        raise InputError(f"padding on the left changes what {name} gives: run prompts one by one")
    longest, limit = len(prompts.prefix) + prompts.input_ids.shape[1], known.limit
    if limit is not None and longest > limit:
        raise InputError(
            f"a prompt has {longest} tokens, but beyond {limit} the rotary frequencies of {name} "
            "depend on the longest prompt of a batch: use fewer demonstrations or shorter examples"
        )


def _question_rows(prompts: Prompts, past: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Query indices of the question's tokens and which are real, both (batch, longest question)."""
    span = torch.from_numpy(prompts.question.copy()).to(device)
    offsets = torch.arange(int((span[:, 1] - span[:, 0]).max()), device=device)
    rows = span[:, :1] + offsets
    valid = rows < span[:, 1:]
    return torch.where(valid, rows, span[:, :1]) - past, valid


def _pooling(
    prompts: Prompts, reduction: Reduction, places: int, device: torch.device
) -> Tensor | None:
    """Mean weights (batch, keys, statements), or for max the statement of each (batch, key)."""
    if reduction.statement == "tokens":
        return None
    spans = torch.from_numpy(prompts.statements.copy()).to(device)
    keys = torch.arange(places, device=device)[None, :, None]
    inside = (keys >= spans[:, None, :, 0]) & (keys < spans[:, None, :, 1])
    if reduction.statement == "mean":
        return inside / inside.sum(dim=1, keepdim=True).clamp(min=1)
    outside = inside.shape[2]
    return torch.where(inside.any(dim=2), inside.int().argmax(dim=2), outside)


def head_shape(model: PreTrainedModel) -> tuple[int, int]:
    """Number of layers, and of heads in each.

    Raises:
        InputError: the model has no attention heads.
    """
    config = model.config.get_text_config(decoder=True)
    # An encoder-decoder's own numbers are its encoder's.
    heads = getattr(config, "decoder_attention_heads", getattr(config, "num_attention_heads", 0))
    shape = layer_count(model), int(heads)
    if not all(shape):
        raise InputError(
            f"{type(model).__name__} has no attention heads to switch off: take a decoder that "
            "has attention in its layers"
        )
    return shape


class LayersKept:
    """Lets every layer give its last output again while the same heads are off up to it.

    Attributes:
        off: the heads that are off in the next pass, shape (layers, heads).
        last: heads that were off up to a layer in its last computation, and what it gave; another
            batch needs another one.
        wanted: the layers whose outputs are kept, from 0; all if None.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.off = np.zeros(head_shape(model), dtype=bool)
        with backend(model):
            facts(model)  # while its layers still compute what they are given
        self.last: dict[int, tuple[bytes, Any]] = {}
        self.wanted: frozenset[int] | None = None
        self.layers = layer_stack(model)

    def __enter__(self) -> Self:
        self.hooked = [vars(layer).get("forward") for layer in self.layers]
        self.forwards = [layer.forward for layer in self.layers]
        for index, layer in enumerate(self.layers):
            layer.forward = partial(self._again_or_anew, index)
        return self

    def __exit__(self, *_: object) -> None:
        for layer, hook in zip(self.layers, self.hooked, strict=True):
            del layer.forward  # the class's own shows again
            if hook is not None:  # a model that is spread over devices has one already
                layer.forward = hook

    def _again_or_anew(self, index: int, *args: Any, **kwargs: Any) -> Any:
        same = (n for n, (key, _) in self.last.items() if key == self.off[: n + 1].tobytes())
        # Layers below one that gives its output again are not read: they need none of their own.
        if (top := max(same, default=-1)) >= index:
            return self.last[top][1]
        output = self.forwards[index](*args, **kwargs)
        if self.wanted is None or index in self.wanted:
            self.last[index] = self.off[: index + 1].tobytes(), output
        return output
