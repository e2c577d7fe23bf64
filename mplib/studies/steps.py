"""Reasoning written out: does a step's attention single out what the step follows from?

Each step is an example of the probe, and the units before it are its statements: those it follows
from are useful. So the scores, the gain, their controls and their intervals are those of
``mplib.probe``; the text stands for recency, place, length and shared words and numbers.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from mplib.errors import InputError
from mplib.models.facts import embedding
from mplib.models.loading import LoadedModel, random_twins
from mplib.models.prompts import tokenize
from mplib.models.units import Rows, Written, placed, problem, read_units, write
from mplib.probe.knn import ProbeSettings
from mplib.probe.scores import Comparison, compare, compare_prefixes
from mplib.studies.layers import named_layers
from mplib.tasks.steps import Chain
from mplib.tasks.trees import PADDING, USELESS
from mplib.tasks.words import words

Values = Sequence[np.ndarray]
"""For each chain an array (steps, units, layers)."""

KINDS = ("statement", "question", "step")


@dataclass(frozen=True)
class Read:
    """What a model and its twins show of some chains.

    Attributes:
        name: of the model.
        chains: the problems with their steps.
        written: as the model reads them.
        model: attention of each step on each unit.
        twins: the same of each random twin.
        layers: whose attention it is, counted from 1.
    """

    name: str
    chains: Sequence[Chain]
    written: Sequence[Written]
    model: Values
    twins: Sequence[Values]
    layers: tuple[int, ...]

    @cached_property
    def gold(self) -> np.ndarray:
        """For each step and unit 0 where the one follows from the other, else ``USELESS``."""
        edges = [np.where(chain.edges, 0, USELESS)[..., None] for chain in self.chains]
        found = self.stacked([own.astype(float) for own in edges])[..., 0]
        return np.where(np.isnan(found), PADDING, found).astype(np.int8)

    @cached_property
    def text(self) -> np.ndarray:
        """What the text alone shows, see ``pair_text``."""
        return self.stacked(pair_text(self.chains, self.written))

    @property
    def groups(self) -> np.ndarray:
        """The group of each step: that of its chain."""
        return np.repeat(
            [chain.group for chain in self.chains], [len(chain.steps) for chain in self.chains]
        )

    def stacked(self, values: Values) -> np.ndarray:
        """All steps below one another, (steps, units, features); NaN on what is not before."""
        widest = max(len(chain.units) for chain in self.chains)
        parts = []
        for chain, own in zip(self.chains, values, strict=True):
            part = np.full((len(chain.steps), widest, own.shape[-1]), np.nan)
            part[:, : len(chain.units)] = np.where(chain.before[..., None], own, np.nan)
            parts.append(part)
        return np.concatenate(parts)


def read_chains(
    loaded: LoadedModel, chains: Sequence[Chain], *, name: str = "model", twins: int = 3,
    layers: str = "all", rows: Rows = "mean", chat: bool = False, generate: int = 0, seed: int = 0,
) -> Read:  # fmt: skip
    """Reads the attention of written steps, of a model and of its random twins.

    Args:
        loaded: the model.
        chains: problems with their steps.
        name: of the model.
        twins: how many random twins.
        layers: whose attention is kept, as for ``mplib.studies.layers.parse_layers``.
        rows: which of a step's tokens look.
        chat: whether a problem is put as a user's turn, in the tokenizer's own template.
        generate: tokens that the model writes itself, at most, in place of the given steps.
        seed: of the twins.

    Raises:
        InputError: a chain is too long, the model writes no step, or lacks a layer.
    """
    if (kept_layers := named_layers(loaded, layers)) is None:
        raise InputError("layers='selected' needs answers: write 'all' or such as '1-10,12'")
    if generate:
        both = [write_on(loaded, chain, generate, chat) for chain in tqdm(chains, desc="writing")]
        if not (kept := [one for one in both if one is not None]):
            raise InputError(f"{name} writes no step in {generate} tokens: allow more")
        chains, written = [one[0] for one in kept], [one[1] for one in kept]
    else:
        written = [
            write(loaded.tokenizer, chain.units, chain.first, loaded.positions, chat)
            for chain in chains
        ]
    own = [loaded.attention_layers.index(number - 1) for number in kept_layers]

    def attention(model: PreTrainedModel, title: str | None = None) -> Values:
        return [values[..., own] for values in read_units(model, written, rows, title)]

    model = attention(loaded.model, "steps")
    beside = [attention(twin) for twin in random_twins(loaded.model, twins, seed)]
    return Read(name, chains, written, model, beside, kept_layers)


ENDS = re.compile(r"(?<=[.!?])\s+|\n+")
"""Where a step ends: behind a sentence, or at the end of a line."""


@torch.no_grad()
def write_on(
    loaded: LoadedModel, chain: Chain, tokens: int, chat: bool = False
) -> tuple[Chain, Written] | None:
    """The steps that a model writes itself, greedily; nobody says what they follow from.

    Args:
        loaded: the model.
        chain: a problem; its own steps are left out.
        tokens: that are written, at most.
        chat: as for ``problem``.

    Returns:
        The chain and what was written, as it was; None where there is no step.

    Raises:
        InputError: the problem fills the model's positions.
    """
    start, places = problem(loaded.tokenizer, chain.units[: chain.first], chat)
    ids = torch.tensor(
        [tokenize(loaded.tokenizer, start, chat)[0]], device=embedding(loaded.model).device
    )
    room = (loaded.positions or ids.shape[1] + tokens) - ids.shape[1]
    if room < 1:
        raise InputError(f"{chain.name!r:.60} leaves no room for a step: take another model")
    model: Any = loaded.model
    said = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=min(tokens, room),
        do_sample=False, pad_token_id=loaded.tokenizer.pad_token_id or 0,
    )[0, ids.shape[1] :]  # fmt: skip
    text = start + str(loaded.tokenizer.decode(said, skip_special_tokens=True)).rstrip()
    at, steps = len(start), []
    for piece in ENDS.split(text[at:]):
        at = text.index(piece, at)
        if re.search(r"\w", piece):
            steps.append((at, at + len(piece)))
        at += len(piece)
    if not steps:
        return None
    texts = tuple(text[first:end] for first, end in steps)
    own = replace(chain, steps=texts, premises=((),) * len(texts), errs=(), correct=None)
    return own, placed(loaded.tokenizer, text, [*places, *steps], own.first, loaded.positions, chat)


def preview(chains: Sequence[Chain]) -> pd.DataFrame:
    """The first chain, unit by unit, and what each of its steps follows from."""
    first = chains[0]
    told = len(first.statements)
    kinds = ["statement"] * told + ["question"] * (first.first - told) + ["step"] * len(first.steps)
    follows = [""] * first.first + [", ".join(str(u + 1) for u in own) for own in first.premises]
    return pd.DataFrame({
        "unit": range(1, len(first.units) + 1), "kind": kinds, "text": first.units,
        "follows from": follows,
    })  # fmt: skip


def counts(chains: Sequence[Chain], refused: Sequence[str]) -> pd.DataFrame:
    """How many chains there are, and how large; how many records were refused."""
    return pd.DataFrame([{
        "problems": len(chains), "refused": len(refused),
        "steps": sum(len(chain.steps) for chain in chains),
        "units of a problem": np.mean([len(chain.units) for chain in chains]).round(1),
        "premises of a step": np.mean([own.sum() for c in chains for own in c.edges]).round(1),
        "deepest step": max(max(chain.depths) for chain in chains),
    }])  # fmt: skip


def pair_text(chains: Sequence[Chain], written: Sequence[Written]) -> Values:
    """What the text alone shows of each step and each unit before it.

    How far the unit stands before the step, in units and in tokens, its place from the first, its
    length in words, how many of the step's different words it has, and how many of its numbers,
    how often its words occur elsewhere, and whether it is statement, question or step.
    """
    found = []
    for chain, one in zip(chains, written, strict=True):
        told = [words(unit) for unit in chain.units]
        numbers = [{*re.findall(r"\d+(?:\.\d+)?", unit)} for unit in chain.units]
        times = pd.Series([word for own in told for word in {*own}]).value_counts()
        part = np.full((len(chain.steps), len(told), 7 + len(KINDS)), np.nan)
        for step in range(len(chain.steps)):
            number = chain.first + step
            start = one.spans[number][0]
            for unit in range(number):
                own = {*told[unit]}
                kind = KINDS[2 if unit >= chain.first else int(unit == len(chain.statements))]
                part[step, unit] = [
                    number - unit, start - one.spans[unit][1], unit, len(told[unit]),
                    len(own & {*told[number]}), len(numbers[unit] & numbers[number]),
                    sum(times[word] > 2 for word in own), *(kind == each for each in KINDS),
                ]  # fmt: skip
        found.append(part)
    return found


def probe_edges(read: Read, settings: ProbeSettings) -> Comparison:
    """The probe on edges: target V is whether a step follows from a unit."""
    return compare(**_edges(read), text={"text": read.text}, settings=settings)


def edge_prefixes(read: Read, settings: ProbeSettings) -> pd.DataFrame:
    """The same from the first l layers, over the twins' own, by the paper's classifier."""
    return compare_prefixes(**_edges(read), settings=settings)


def _edges(read: Read) -> dict[str, Any]:
    models = {read.name: read.stacked(read.model)}
    twins = [read.stacked(values) for values in read.twins]
    return {"models": models, "heights": read.gold, "twins": twins, "groups": read.groups}
