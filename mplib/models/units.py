"""Attention between the units of a text: from each step to all that is told before it.

The memory is that of units times units times layers: a layer's rows are computed some at a time and
reduced at once, so a long chain of reasoning fits as a short one does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

from mplib.errors import InputError
from mplib.models.attention import Intervention, Session
from mplib.models.facts import (
    backend,
    embedding,
    facts,
    first_tokens,
    not_a_number,
    one_pass,
    prefix_cache,
)
from mplib.models.prompts import Span, token_span, tokenize

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

    @property
    def told(self) -> tuple[int, ...]:
        """The tokens before the first step."""
        return tuple(self.ids[: self.spans[self.first][0]].tolist())

    def looks(self, rows: Rows) -> list[range]:
        """The tokens of each step that look back."""
        steps = self.spans[self.first :]
        return [
            range(start, end) if rows == "mean" else range(end - 1, end) for start, end in steps
        ]


def problem(
    tokenizer: PreTrainedTokenizerBase, told: Sequence[str], chat: bool = False
) -> tuple[str, list[Span]]:
    """What is told before the steps, in one paragraph, and where its units stand in it.

    Args:
        tokenizer: of the model.
        told: statements and question.
        chat: whether it is put as a user's turn, in the tokenizer's own template.

    Raises:
        InputError: the tokenizer has no template, or the problem holds one of its marks.
    """
    text, places = "", []
    for unit in told:
        text += " " if text else ""
        places.append((len(text), len(text) + len(unit)))
        text += unit
    if not chat:
        return text + "\n", places
    if not tokenizer.chat_template:
        raise InputError("chat=True, but the tokenizer has no template: take chat=False")
    if marks := [mark for mark in tokenizer.all_special_tokens if mark in "".join(told)]:
        raise InputError(f"{told[0]!r:.60} has {marks[0]!r}, which ends a turn: remove it")
    turn = [{"role": "user", "content": text}]
    whole = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    assert isinstance(whole, str)
    at = whole.rindex(text)
    return whole, [(start + at, end + at) for start, end in places]


def write(
    tokenizer: PreTrainedTokenizerBase, units: Sequence[str], first: int,
    max_tokens: int | None = None, chat: bool = False,
) -> Written:  # fmt: skip
    """Writes a chain down: what is told (see ``problem``), then a line for each step.

    Args:
        tokenizer: of the model.
        units: statements, question and steps.
        first: number of the first step among them.
        max_tokens: positions of the model.
        chat: as for ``problem``.

    Raises:
        InputError: the model has too few positions for it.
    """
    text, places = problem(tokenizer, units[:first], chat)
    for step in units[first:]:
        places.append((len(text), len(text) + len(step)))
        text += step + "\n"
    return placed(tokenizer, text[:-1], places, first, max_tokens, chat)


def placed(
    tokenizer: PreTrainedTokenizerBase, text: str, places: Sequence[Span], first: int,
    max_tokens: int | None = None, chat: bool = False,
) -> Written:  # fmt: skip
    """A chain whose units stand at given places, (start, end) in characters, of a text.

    The first token of all belongs to no unit that has others: models rest their attention on it
    whatever it says, and what is kept from looking there breaks (attention sinks: Xiao et al.
    2024).
    """
    ids, offsets = tokenize(tokenizer, text, chat)
    if max_tokens is not None and len(ids) > max_tokens:
        raise InputError(
            f"{text!r:.60} has {len(ids)} tokens, but the model has {max_tokens} positions: "
            "leave it out or take another model"
        )
    spans = tuple(
        (max(start, min(1, end - 1)), end)
        for start, end in (token_span(text, offsets, place) for place in places)
    )
    return Written(np.array(ids), spans, first)


def read_units(
    model: PreTrainedModel, written: Sequence[Written], rows: Rows = "mean",
    title: str | None = None,
) -> list[np.ndarray]:  # fmt: skip
    """Attention of each step on each unit, averaged over heads and over a unit's tokens.

    Args:
        model: any decoder that uses transformers' attention interface.
        written: chains, run one by one; what is told is computed once for those that follow one
            another and share it.
        rows: which of a step's tokens look.
        title: of the progress bar; none is shown if None.

    Returns:
        For each chain an array (steps, units, layers); 0 on units that come later.
    """
    found, hidden = [], None if title else True  # None leaves it to TQDM_DISABLE
    with backend(model) as known, tqdm(total=len(written), desc=title, disable=hidden) as bar:
        for told, several in groupby(written, key=lambda one: one.told):
            same, cache = [*several], None
            if len(same) > 1 and known.prefix:
                cache = prefix_cache(model, torch.tensor(told), known.layers[-1])
            for one in same:
                found.append(_read(model, one, rows, known.layers[-1], cache, len(told)))
                bar.update()
    return found


@torch.no_grad()
def _read(
    model: PreTrainedModel, one: Written, rows: Rows, last: int, cache: Cache | None, told: int
) -> np.ndarray:
    device, looks = embedding(model).device, one.looks(rows)
    done = told if cache else 0
    # All tokens from the first step on, or the steps' last ones alone.
    tail = rows == "mean"
    places = range(looks[0][0], len(one.ids)) if tail else [own[0] for own in looks]
    by_step = torch.zeros(len(looks), len(places), device=device)
    by_unit = torch.zeros(len(one.ids), len(one.spans), device=device)
    for step, own in enumerate(looks):
        by_step[step, [places.index(place) for place in own]] = 1 / len(own)
    for unit, (start, end) in enumerate(one.spans):
        by_unit[start:end, unit] = 1 / (end - start)

    def reduce(weights: Tensor, start: int) -> Tensor:
        part = by_step[:, start : start + weights.shape[2]]
        return (part @ (weights.mean(dim=1) @ by_unit[: weights.shape[-1]]))[0]

    wanted = torch.tensor(places, device=device)[None] - done
    session = Session(reduce=reduce, rows=wanted, at_once=ROWS, tail=tail, last_layer=last)
    ids = torch.from_numpy(one.ids)[None].to(device)
    # Without a cache the model is left to its plain causality, which needs no mask of its size.
    mask = torch.ones_like(ids, dtype=torch.bool) if cache else None
    one_pass(model, session, ids[:, done:], mask, cache)
    read = torch.stack([session.recorded[n].cpu() for n in sorted(session.recorded)], dim=-1)
    if read.isnan().any():
        raise not_a_number(model)
    return read.numpy()


@torch.no_grad()
def log_probabilities(
    model: PreTrainedModel, one: Written, cuts: Sequence[np.ndarray]
) -> Iterator[np.ndarray]:
    """Log-probability of each step's own tokens where it cannot look at some units, in any layer.

    What stands before a step is computed once for all of them, as no cut concerns it.

    Args:
        model: a decoder inside a ``backend`` block.
        one: the chain.
        cuts: for each step True for the units that it cannot look at, shape (cases, units).

    Yields:
        For each step the mean over its tokens in each case, in nats; shape (cases,).
    """
    known, device = facts(model), embedding(model).device
    ids = torch.from_numpy(one.ids).to(device)
    cache = prefix_cache(model, ids[:-1], known.layers[-1]) if known.prefix else None
    for (first, end), own in zip(one.spans[one.first :], cuts, strict=True):
        looks = max(first, 1) - 1  # the token before the step says its first one
        done = looks if cache else 0
        blocked = torch.from_numpy(own).to(device)
        cut = torch.zeros(len(own), end - 1 - done, end - 1, dtype=torch.bool, device=device)
        for unit, (start, stop) in enumerate(one.spans):
            if stop <= first:
                cut[blocked[:, unit], looks - done :, start:stop] = True
        mask = torch.ones(len(own), end - 1, dtype=torch.bool, device=device)
        rows, past = ids[done : end - 1].expand(len(own), -1), first_tokens(cache, done)
        output = one_pass(model, Session(Intervention(cut=cut)), rows, mask, past)
        logits = output.logits[:, looks - done :].float()
        if logits.isnan().any():
            raise not_a_number(model)
        said = ids[looks + 1 : end].expand(len(own), -1)[..., None]
        chosen = logits.gather(-1, said)[..., 0] - logits.logsumexp(dim=-1)
        yield chosen.mean(dim=1).cpu().numpy()
