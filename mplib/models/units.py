"""Attention between the units of a text: from each step to all that is told before it.

The memory is that of units times units times layers: a layer's rows are computed some at a time and
reduced at once, so a long chain of reasoning fits as a short one does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel

from mplib.errors import InputError
from mplib.models.attention import Intervention, Session
from mplib.models.facts import backend, embedding, facts, not_a_number, one_pass, prefix_cache
from mplib.models.prompts import Span, token_span, tokenize
from mplib.tasks.steps import Chain

ROWS = 256
"""Rows of attention that are computed at a time."""

Rows = Literal["mean", "last"]
"""Which tokens of a step stand for it: the mean over all of them, or the last."""


@dataclass(frozen=True)
class Written:
    """A chain as a model reads it.

    Attributes:
        ids: token ids, shape (tokens,).
        spans: token span of each unit, half-open, in their order.
        first: number of the first step among the units.
    """

    ids: np.ndarray
    spans: tuple[Span, ...]
    first: int


def write(tokenizer: object, chain: Chain, max_tokens: int | None = None) -> Written:
    """Writes a chain down: what is told in one paragraph, then a line for each step.

    Raises:
        InputError: the model has too few positions for it.
    """
    told = chain.units[: chain.first]
    text, places = "", []
    for number, unit in enumerate(chain.units):
        text += "" if not number else "\n" if number >= chain.first else " "
        places.append((len(text), len(text) + len(unit)))
        text += unit
    ids, offsets = tokenize(tokenizer, text)  # type: ignore[arg-type]
    if max_tokens is not None and len(ids) > max_tokens:
        raise InputError(
            f"{chain.name!r:.60} has {len(ids)} tokens, but the model has {max_tokens} positions: "
            "leave it out or take another model"
        )
    spans = tuple(token_span(text, offsets, place) for place in places)
    return Written(np.array(ids), spans, len(told))


def read_units(
    model: PreTrainedModel, written: Sequence[Written], rows: Rows = "mean",
    title: str | None = None,
) -> list[np.ndarray]:  # fmt: skip
    """Attention of each step on each unit, averaged over heads and over a unit's tokens.

    Args:
        model: any decoder that uses transformers' attention interface.
        written: chains, run one by one.
        rows: which of a step's tokens look.
        title: of the progress bar; none is shown if None.

    Returns:
        For each chain an array (steps, units, layers); 0 on units that come later.
    """
    found = []
    with backend(model) as known, tqdm(total=len(written), desc=title, disable=not title) as bar:
        for one in written:
            found.append(_read(model, one, rows, known.layers))
            bar.update()
    return found


@torch.no_grad()
def _read(model: PreTrainedModel, one: Written, rows: Rows, layers: tuple[int, ...]) -> np.ndarray:
    device = embedding(model).device
    tokens, steps = len(one.ids), one.spans[one.first :]
    looks = [range(start, end) if rows == "mean" else range(end - 1, end) for start, end in steps]
    places = torch.tensor([place for own in looks for place in own], device=device)
    by_step = torch.zeros(len(steps), len(places), device=device)
    by_unit = torch.zeros(tokens, len(one.spans), device=device)
    column = 0
    for step, own in enumerate(looks):
        by_step[step, column : column + len(own)] = 1 / len(own)
        column += len(own)
    for unit, (start, end) in enumerate(one.spans):
        by_unit[start:end, unit] = 1 / (end - start)

    def reduce(weights: Tensor, start: int) -> Tensor:
        part = by_step[:, start : start + weights.shape[2]]
        return (part @ (weights.mean(dim=1) @ by_unit))[0]

    session = Session(reduce=reduce, rows=places[None], at_once=ROWS, last_layer=layers[-1])
    one_pass(model, session, torch.from_numpy(one.ids)[None].to(device))
    read = torch.stack([session.recorded[n].cpu() for n in sorted(session.recorded)], dim=-1)
    if read.isnan().any():
        raise not_a_number(model)
    return read.numpy()


@torch.no_grad()
def step_log_probability(
    model: PreTrainedModel, one: Written, step: int, cuts: np.ndarray
) -> np.ndarray:
    """Log-probability of a step's own tokens where it cannot look at some units, in any layer.

    What stands before the step is computed once, as no cut concerns it.

    Args:
        model: a decoder inside a ``backend`` block.
        one: the chain.
        step: number of the step, from 0.
        cuts: True for the units that it cannot look at, shape (cases, units).

    Returns:
        The mean over the step's tokens, in each case; shape (cases,).
    """
    known, device = facts(model), embedding(model).device
    first, end = one.spans[one.first + step]
    looks = max(first, 1) - 1  # the token before the step says its first one
    done = looks if known.prefix else 0
    ids = torch.from_numpy(one.ids).to(device)
    cache = prefix_cache(model, ids[:done], known.layers[-1]) if done else None
    cut = torch.zeros(len(cuts), end - 1 - done, end - 1, dtype=torch.bool, device=device)
    for unit, (start, stop) in enumerate(one.spans[: one.first + step]):
        cut[torch.from_numpy(cuts[:, unit]).to(device), looks - done :, start:stop] = True
    session = Session(Intervention(cut=cut))
    mask = torch.ones(len(cuts), end - 1, dtype=torch.bool, device=device)
    rows = ids[done : end - 1].expand(len(cuts), -1)
    logits = one_pass(model, session, rows, mask, cache).logits[:, looks - done :].float()
    if logits.isnan().any():
        raise not_a_number(model)
    said = logits.log_softmax(-1).gather(-1, ids[looks + 1 : end].expand(len(cuts), -1)[..., None])
    return said[..., 0].mean(dim=1).cpu().numpy()
