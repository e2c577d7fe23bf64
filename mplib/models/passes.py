"""Passes: a model run over prompts inside the attention backend, batch by batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import Cache, PreTrainedModel

from mplib.errors import InputError
from mplib.models.attention import Intervention, Reduction, Session, layer_count, layer_stack
from mplib.models.facts import backend, embedding, facts, not_a_number, one_pass, prefix_cache
from mplib.models.prompts import Prompts

CPU_TOKENS = 8192
"""Of a pass on a CPU, the longest prompt's times its examples: with more it is slower for each."""


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
    model: PreTrainedModel, prompts: Prompts, *, reduction: Reduction | None = None,
    intervention: Intervention | None = None, logits: bool = True, outputs: bool = False,
    cache: Cache | None = None, done: int = 0,
) -> Pass:  # fmt: skip
    """Runs one batch inside a ``backend`` block, reading and changing its attention.

    Args:
        model: a decoder inside ``with backend(model):``.
        prompts: the batch; left padding gives the same numbers as single examples.
        reduction: how attention is reduced; none is recorded if None.
        intervention: what is changed, if anything.
        logits: whether the logits are wanted; without them the pass ends at the last attention.
        outputs: whether the outputs of the heads are wanted, before any of them is replaced.
        cache: keys and values of the prompts' prefix, from ``prefix_cache``, or of the columns that
            are done, from ``begin``; it stays as it is.
        done: columns of the prompts whose keys and values the cache holds, as nothing that is
            changed or read concerns them.

    Raises:
        InputError: an intervention, which would change what a prefix left behind or which a hybrid
            leaks around; padding that the model counts in; a prompt too long to be read among
            others; NaN in what comes out.
    """
    device, known = embedding(model).device, facts(model)
    past = len(prompts.prefix)
    if intervention is not None:
        if past and not done:
            raise InputError("an intervention changes the prefix too: run prompts.whole()")
        if known.leak:
            raise InputError(
                f"{type(model).__name__} mixes tokens outside its attention too, so a change "
                "inside the attention would leak around: no interventions with partial_attention"
            )
    apart = outputs or (intervention is not None and intervention.heads_off is not None)
    if not known.even and (apart or (reduction is not None and reduction.heads == "keep")):
        raise InputError(
            f"the layers of {type(model).__name__} have different numbers of heads, so its heads "
            "cannot be told apart in one table: take their mean"
        )
    _fits(model, prompts)
    if past:
        cache = cache or prefix_cache(model, torch.from_numpy(prompts.prefix), known.layers[-1])
    ids = torch.from_numpy(prompts.input_ids[:, done:]).to(device)
    if done and intervention is not None and intervention.cut is not None:
        intervention = replace(intervention, cut=intervention.cut[:, past + done :])
    mask = torch.from_numpy(np.pad(prompts.attention_mask, ((0, 0), (past, 0)), constant_values=1))
    mask, session = mask.to(device), Session(intervention or Intervention())
    if outputs:
        session.real = mask[:, past + done :, None, None]
    if reduction is not None:
        places, real = _question_rows(prompts, device)
        session.rows = places - past - done
        session.reduce = partial(_reduce, reduction, _pooling(prompts, reduction, mask), real)
        session.last_layer = None if logits else known.layers[-1]
    output = one_pass(model, session, ids, mask, cache, known.last_only)
    after = None if output is None else output.logits[:, -1]
    layers = tuple(sorted(session.recorded))
    read, summed = (
        torch.stack([found[n].to(device) for n in sorted(found)], dim) if found else None
        for found, dim in ((session.recorded, 1), (session.outputs, 0))
    )
    if any(part is not None and part.isnan().any() for part in (after, read)):
        raise not_a_number(model)
    return Pass(after, read, layers, summed)


def begin(
    model: PreTrainedModel, prompts: Prompts, columns: int, before: Cache | None = None
) -> tuple[Cache | None, int]:
    """Keys and values of the prompts' first columns, for ``forward`` to go on from.

    Args:
        model: a decoder inside a ``backend`` block.
        prompts: a batch.
        columns: how many.
        before: of the prompts' prefix, if they have one; the cache then holds it too.

    Returns:
        The cache and the columns that it holds; None and 0 where prompts must be read whole.
    """
    if not (columns and facts(model).prefix):
        return None, 0
    ids, mask = (
        torch.from_numpy(x[:, :columns]) for x in (prompts.input_ids, prompts.attention_mask)
    )
    return prefix_cache(model, ids, facts(model).layers[-1], mask, before), columns


Batch = tuple[np.ndarray, Prompts, Callable[..., Pass]]
"""Indices of a batch's examples, the batch, and ``forward`` for it."""


@contextmanager
def passes(
    model: PreTrainedModel, prompts: Prompts, batch_size: int, title: str | None = None,
    *, late: bool = False,
) -> Iterator[Iterator[Batch]]:  # fmt: skip
    """A ``backend`` block with an iterator over batches; a shared prefix is computed once.

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: the examples.
        batch_size: examples a batch.
        title: of the progress bar; none is shown if None.
        late: whether what is asked of a batch differs from its first question on alone, so that
            what comes before is computed once for all.
    """
    hidden = None if title else True  # None leaves it to TQDM_DISABLE
    with (
        backend(model) as known,
        tqdm(total=len(prompts), desc=title, unit="example", disable=hidden) as progress,
    ):
        together = prompts if known.prefix else prompts.whole()
        prefix = torch.from_numpy(together.prefix)
        cache = prefix_cache(model, prefix, known.layers[-1]) if len(prefix) else None

        size = batch_size if known.pads else 1
        if embedding(model).device.type == "cpu":
            size = min(size, max(1, CPU_TOKENS // together.input_ids.shape[1]))

        def batches() -> Iterator[Batch]:
            for chosen, batch in together.batches(size):
                begun = cache, 0
                if late:
                    first = int(batch.question[:, 0].min()) - len(prefix)
                    batch = batch if first else batch.whole()
                    begun = begin(model, batch, first, cache)
                yield chosen, batch, partial(forward, model, batch, cache=begun[0], done=begun[1])
                progress.update(len(chosen))

        yield batches()


def _fits(model: PreTrainedModel, prompts: Prompts) -> None:
    """Whether prompts can be read together.

    Raises:
        InputError: they cannot, with why.
    """
    known, name, padded = facts(model), type(model).__name__, not prompts.attention_mask.all()
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


def _question_rows(prompts: Prompts, device: torch.device) -> tuple[Tensor, Tensor]:
    """Places of the question's tokens and which are real, both (batch, longest question)."""
    span = torch.from_numpy(prompts.question.copy()).to(device)
    places = span[:, :1] + torch.arange(int((span[:, 1] - span[:, 0]).max()), device=device)
    real = places < span[:, 1:]
    return torch.where(real, places, span[:, :1]), real


def _pooling(prompts: Prompts, reduction: Reduction, mask: Tensor) -> Callable[[Tensor], Tensor]:
    """Reduces the keys of (batch, heads, rows, keys) to statements."""
    if reduction.statement == "tokens":
        return lambda weights: weights
    spans = torch.from_numpy(prompts.statements.copy()).to(mask.device)
    keys = torch.arange(mask.shape[1], device=mask.device)[None, :, None]
    inside = (keys >= spans[:, None, :, 0]) & (keys < spans[:, None, :, 1])
    if reduction.statement == "mean":
        shares = inside / inside.sum(dim=1, keepdim=True).clamp(min=1)
        return lambda weights: weights @ shares[:, None]
    count = inside.shape[2]  # the last bin takes the tokens outside all statements
    index = torch.where(inside.any(dim=2), inside.int().argmax(dim=2), count)[:, None, None]
    return lambda weights: weights.new_zeros(*weights.shape[:3], count + 1).scatter_reduce(
        -1, index.expand(weights.shape), weights, "amax"
    )[..., :-1]


def _reduce(
    reduction: Reduction, pool: Callable, real: Tensor, weights: Tensor, _: int = 0
) -> Tensor:
    """Reduces (batch, heads, rows, keys) to (batch, [heads,] [rows,] statements)."""
    weights, real = pool(weights), real[:, None, :, None]
    if reduction.question == "max":
        weights = weights.masked_fill(~real, -torch.inf).amax(dim=2)
    elif reduction.question == "mean":
        weights = weights.masked_fill(~real, 0).sum(dim=2) / real.sum(dim=2)
    return weights.mean(dim=1) if reduction.heads == "mean" else weights


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
        with backend(model):  # it is looked at while its layers still compute what they are given
            pass
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
