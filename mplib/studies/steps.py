"""Reasoning written out: does a step's attention single out what the step follows from?

Each step is an example of the probe, and the units before it are its statements: those it follows
from are useful. So the scores, the gain, their controls and their intervals are those of
``mplib.probe``; the text stands for recency, place, length and shared words and numbers.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score
from transformers import PreTrainedModel

from mplib.models.facts import backend
from mplib.models.loading import LoadedModel, random_twins
from mplib.models.units import Rows, Written, read_units, step_log_probability, write
from mplib.probe.knn import ProbeSettings
from mplib.probe.scores import Comparison, compare
from mplib.stats import example_weights, group_numbers, weighted_mean
from mplib.studies.knockout import equal_mass
from mplib.tasks.steps import Chain
from mplib.tasks.steps.load import Loaded
from mplib.tasks.trees import PADDING, USELESS
from mplib.tasks.words import words

Values = Sequence[np.ndarray]
"""For each chain an array (steps, units, layers)."""

KINDS = ("statement", "question", "step")


@dataclass(frozen=True)
class Read:
    """What a model and its twins show of some chains.

    Attributes:
        chains: those that have what they follow from.
        written: as the model reads them.
        model: attention of each step on each unit.
        twins: the same of each random twin.
    """

    chains: Sequence[Chain]
    written: Sequence[Written]
    model: Values
    twins: Sequence[Values]


def read_chains(
    loaded: LoadedModel, chains: Sequence[Chain], *, twins: int = 3, rows: Rows = "mean",
    seed: int = 0,
) -> Read:  # fmt: skip
    """Reads the attention of written steps, of a model and of its random twins.

    Args:
        loaded: the model.
        chains: problems with their steps.
        twins: how many random twins.
        rows: which of a step's tokens look.
        seed: of the twins.
    """
    written = [write(loaded.tokenizer, chain, loaded.positions) for chain in chains]
    model = read_units(loaded.model, written, rows, "steps")
    beside = [read_units(twin, written, rows) for twin in random_twins(loaded.model, twins, seed)]
    return Read(chains, written, model, beside)


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


def counts(loaded: Loaded) -> pd.DataFrame:
    """How many chains there are, and how large."""
    chains = loaded.chains
    return pd.DataFrame([{
        "problems": len(chains), "refused": len(loaded.refused),
        "steps": sum(len(chain.steps) for chain in chains),
        "units of a problem": np.mean([len(chain.units) for chain in chains]).round(1),
        "premises of a step": np.mean([own.sum() for c in chains for own in c.edges]).round(1),
        "deepest step": max(max(chain.depths) for chain in chains),
    }])  # fmt: skip


def stacked(chains: Sequence[Chain], values: Values) -> np.ndarray:
    """All steps below one another; shape (steps, units, features), NaN on what is not before."""
    widest = max(len(chain.units) for chain in chains)
    parts = []
    for chain, own in zip(chains, values, strict=True):
        part = np.full((len(chain.steps), widest, own.shape[-1]), np.nan)
        part[:, : len(chain.units)] = np.where(chain.before[..., None], own, np.nan)
        parts.append(part)
    return np.concatenate(parts)


def labels(chains: Sequence[Chain]) -> np.ndarray:
    """For each step and unit 0 where the one follows from the other, else ``USELESS``."""
    edges = [np.where(chain.edges, 0, USELESS)[..., None].astype(float) for chain in chains]
    found = stacked(chains, edges)[..., 0]
    return np.where(np.isnan(found), PADDING, found).astype(np.int8)


def step_groups(chains: Sequence[Chain]) -> np.ndarray:
    """The group of each step: that of its chain."""
    return np.repeat(
        [chain.group or chain.name for chain in chains], [len(c.steps) for c in chains]
    )


def pair_text(chains: Sequence[Chain], written: Sequence[Written]) -> np.ndarray:
    """What the text alone shows of a step and a unit before it; shape (steps, units, features).

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
    return stacked(chains, found)


def probe_edges(read: Read, name: str, settings: ProbeSettings) -> Comparison:
    """The probe on edges: target V is whether a step follows from a unit."""
    models = {name: stacked(read.chains, read.model)}
    twins = [stacked(read.chains, values) for values in read.twins]
    return compare(
        models, labels(read.chains), twins=twins, groups=step_groups(read.chains),
        text={"text": pair_text(read.chains, read.written)}, settings=settings,
    )  # fmt: skip


def precision_table(read: Read, resamples: int, seed: int) -> pd.DataFrame:
    """How high the units that a step follows from rank by attention alone, nothing fitted.

    Average precision of each step, by its mean attention in every layer and over all; beside it
    the twins, and rankings by recency and by shared words. Steps that follow from nothing, or from
    all, are left out.

    Returns:
        A row for each source and layer (0 for all): ``precision`` with its 95 % interval over
        groups, and ``steps``.
    """
    gold, groups = labels(read.chains), step_groups(read.chains)
    told = [(own == 0).any() and (own == USELESS).any() for own in gold]
    text = pair_text(read.chains, read.written)
    sources: dict[tuple[str, int], np.ndarray] = {}
    twins = np.mean([stacked(read.chains, values) for values in read.twins], axis=0)
    for name, values in (("model", stacked(read.chains, read.model)), ("twins", twins)):
        sources[name, 0] = values.mean(axis=-1)
        sources |= {(name, n + 1): values[..., n] for n in range(values.shape[-1])}
    sources |= {("recency", 0): -text[..., 0], ("shared words", 0): text[..., 4]}
    member = group_numbers(int(np.sum(told)), groups[told])
    weights = example_weights(len(member), member, resamples, seed)
    rows = []
    for (name, layer), values in sources.items():
        own = np.array([_precision(g, v) for g, v in zip(gold[told], values[told], strict=True)])
        found = weighted_mean(own, weights)
        about = {"source": name, "layer": layer, "steps": len(own)}
        rows.append(about | found.columns("precision"))
    return pd.DataFrame(rows)


def _precision(gold: np.ndarray, values: np.ndarray) -> float:
    before = gold != PADDING
    return float(average_precision_score(gold[before] == 0, values[before]))


CUTS = ("what it follows from", "others as far away", "others of equal mass")
"""What a step is kept from looking at."""


def needed(read: Read, model: PreTrainedModel, resamples: int, seed: int) -> pd.DataFrame:
    """Does a step need what it looks at? Its own log-probability with edges cut in every layer.

    Teacher-forced: the step's tokens are given, and it cannot look at the units that it follows
    from, at as many others that stand as far before it, or at others that together get about as
    much attention. Steps for which there are no others are left out.

    Returns:
        A row for each case, and for the first less each other (``minus``): mean change in nats a
        token with its 95 % interval over groups, and ``steps``.
    """
    changes, groups = [], []
    with backend(model):
        for chain, one, values in zip(read.chains, read.written, read.model, strict=True):
            tokens = np.array([end - start for start, end in one.spans])
            mass = (values * tokens[:, None]).mean(axis=-1)
            for step in range(len(chain.steps)):
                before = chain.before[step]
                gold = chain.edges[step]
                if gold.any() and (before & ~gold).any():
                    cuts = np.stack([
                        np.zeros_like(gold), gold, _as_far(gold, before),
                        _equal_mass(gold, before, mass[step]),
                    ])  # fmt: skip
                    said = step_log_probability(model, one, step, cuts)
                    changes.append(said[1:] - said[0])
                    groups.append(chain.group or chain.name)
    found = np.array(changes)
    member = group_numbers(len(found), np.array(groups))
    weights = example_weights(len(member), member, resamples, seed)
    rows = []
    for case, values in zip(CUTS, found.T, strict=True):
        rows.append({"cut": case, "minus": "", **weighted_mean(values, weights).columns()})
    for other, values in zip(CUTS[1:], found.T[1:], strict=True):
        apart = weighted_mean(found[:, 0] - values, weights)
        rows.append({"cut": CUTS[0], "minus": other, **apart.columns()})
    return pd.DataFrame(rows).assign(steps=len(found))


def _as_far(gold: np.ndarray, before: np.ndarray) -> np.ndarray:
    """As many other units, each the nearest in place to one that the step follows from."""
    found, free = np.zeros_like(gold), [*np.flatnonzero(before & ~gold)]
    for unit in np.flatnonzero(gold):
        if free:
            free.remove(near := min(free, key=lambda other: (abs(other - unit), other)))
            found[near] = True
    return found


def _equal_mass(gold: np.ndarray, before: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Other units that together get about as much attention; see ``knockout.equal_mass``."""
    heights = np.where(before, np.where(gold, 0, USELESS), PADDING)[None]
    return equal_mass(heights, mass[None, :, None], [(1, 1)])[0, 0]
