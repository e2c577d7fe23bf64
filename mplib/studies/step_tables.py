"""Tables of written reasoning: what ranks first, which graphs are read, what a step needs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GroupKFold, cross_val_predict
from transformers import PreTrainedModel

from mplib.errors import InputError
from mplib.models.facts import backend
from mplib.models.units import log_probabilities
from mplib.probe.knn import ProbeSettings, enough_groups
from mplib.stats import (
    CHANGE,
    FEWEST_EVENTS,
    SHARE,
    example_weights,
    group_numbers,
    mean_of_outcomes,
    percentile_interval,
    weighted_mean,
)
from mplib.studies.knockout import equal_mass
from mplib.studies.language import Subject
from mplib.studies.steps import Read, probe_edges, read_chains
from mplib.tasks.steps import Chain, Trace
from mplib.tasks.trees import PADDING, USELESS, heights

Sources = dict[tuple[str, int], list[np.ndarray]]
"""What ranks the units before each step, by name and layer (0 for all layers): (steps, units) each.

Of the twins one each, whose figures are averaged.
"""


def rankings(read: Read) -> Sources:
    """The model's mean attention and the twins', in all layers and in each; recency; words."""
    sources: Sources = {}
    for name, several in (("model", [read.model]), ("twins", read.twins)):
        all_of = [read.stacked(values) for values in several]
        sources[name, 0] = [values.mean(axis=-1) for values in all_of]
        for n, layer in enumerate(read.layers):
            sources[name, layer] = [values[..., n] for values in all_of]
    text = {"recency": -read.text[..., 0], "shared words": read.text[..., 4]}
    return sources | {(name, 0): [values] for name, values in text.items()}


def has_choice(gold: np.ndarray) -> np.ndarray:
    """Whether each step follows from some units and not from others; shape (steps,)."""
    return (gold == 0).any(axis=1) & (gold == USELESS).any(axis=1)


def average_precision(gold: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average precision of each step's ranking; shape (steps,), NaN where there is no choice.

    The mean over the units that a step follows from of the precision among all that rank as high.

    Args:
        gold: 0 for what a step follows from, ``USELESS`` for the rest, shape (steps, units).
        values: by which units rank, the highest first, shape (steps, units).
    """
    found = np.full(len(gold), np.nan)
    for step in np.flatnonzero(has_choice(gold)):
        own, before = gold[step] == 0, gold[step] != PADDING
        as_high = values[step, before] >= values[step, own][:, None]
        found[step] = (as_high @ own[before].astype(int) / as_high.sum(axis=1)).mean()
    return found


def precision_table(read: Read, resamples: int, seed: int) -> pd.DataFrame:
    """How high the units that a step follows from rank by attention alone, nothing fitted.

    Returns:
        A row for each source and layer (0 for all): ``precision``, the mean over steps of the
        ``average_precision`` with its 95 % interval over groups, and ``steps``.
    """
    kept = has_choice(read.gold)
    weights = example_weights(int(kept.sum()), read.groups[kept], resamples, seed)
    rows = []
    for (name, layer), several in rankings(read).items():
        own = np.mean([average_precision(read.gold[kept], x[kept]) for x in several], axis=0)
        about = {"source": name, "layer": layer, "steps": len(own)}
        rows.append(about | weighted_mean(own, weights).columns("precision"))
    return pd.DataFrame(rows)


FAR = {"1": 1, "2": 2, "3 to 4": 4, "5 to 8": 8, "9 or more": np.inf}
"""Distances in units, by the largest of each."""


def found_table(read: Read, resamples: int, seed: int) -> pd.DataFrame:
    """Which edges are found: by how far they reach, and by how deep their step stands.

    An edge is found where its unit is among as many of the highest as the step follows from.

    Returns:
        A row for each source, way of dividing (``by``) and its ``part``: the share that is found
        with its 95 % interval over groups, and how many ``edges`` there are.
    """
    step, unit = np.nonzero((read.gold == 0) & has_choice(read.gold)[:, None])
    deep = np.concatenate([chain.depths for chain in read.chains])[step]
    far = read.text[step, unit, 0]
    parts = {
        "distance": pd.cut(far, [0, *FAR.values()], labels=[*FAR]).astype(str),
        "depth of the step": np.where(deep > 3, "4 or more", deep.astype(str)),
    }
    most = (read.gold == 0).sum(axis=1)[step]

    def first(values: np.ndarray) -> np.ndarray:
        place = (-np.nan_to_num(values, nan=-np.inf)).argsort(axis=1, kind="stable")
        return place.argsort(axis=1)[step, unit] < most

    weights = example_weights(len(step), read.groups[step], resamples, seed)
    rows = []
    for (name, layer), several in rankings(read).items():
        if not layer:
            right = np.mean([first(values) for values in several], axis=0)
            for by, labels in parts.items():
                for part in sorted({*labels}, key=lambda x: int(x.split()[0])):
                    own = labels == part
                    groups = read.groups[step][own]
                    share, _ = mean_of_outcomes(right[own], groups, weights[:, own], SHARE)
                    about = {"source": name, "by": by, "part": part, "edges": int(own.sum())}
                    rows.append(about | share.columns())
    return pd.DataFrame(rows)


GRAPH = ("edge F1", "exact match", "depth")
"""What is measured of each graph that is read: F1 of its edges, whether all are right, and the
share of steps that stand as deep in it as in the gold one."""


def read_edges(read: Read, settings: ProbeSettings) -> dict[str, np.ndarray]:
    """Probability of each edge by boosted trees, out of fold, from several sources.

    They take distances, counts and attention alike, without scaling: no learner of text fares
    better here, so what attention adds beside them is not the text's.

    Returns:
        For ``model``, ``twin``, ``text``, ``text and model``, ``text and twin`` an array (steps,
        units), NaN on what is not before; of the twins the first.
    """
    there = read.gold != PADDING
    groups = group_numbers(len(read.gold), read.groups)
    enough_groups(groups, settings)
    folds = GroupKFold(settings.folds, shuffle=True, random_state=settings.seed)
    model, twin = read.stacked(read.model), read.stacked(read.twins[0])
    sources = {
        "model": [model], "twin": [twin], "text": [read.text],
        "text and model": [read.text, model], "text and twin": [read.text, twin],
    }  # fmt: skip
    found = {}
    for name, several in sources.items():
        values = np.concatenate(several, axis=-1)[there]
        told = cross_val_predict(
            HistGradientBoostingClassifier(max_iter=60, random_state=settings.seed), values,
            read.gold[there] == 0, groups=groups[np.nonzero(there)[0]],
            cv=folds, method="predict_proba",
        )  # fmt: skip
        found[name] = np.full(there.shape, np.nan)
        found[name][there] = told[:, 1]
    return found


def graph_table(
    read: Read, chances: Mapping[str, np.ndarray], resamples: int, seed: int
) -> pd.DataFrame:
    """How much of each problem's graph is read, edges being those likelier than not.

    Returns:
        A row for each of ``GRAPH`` and source, and for text with the model less text alone and
        less text with the twin (``minus``): the mean over problems with its 95 % interval; ``S_P2``
        of the depths, the model's over the twin's (Eq 2).
    """
    measured = {name: _graphs(read, values > 0.5) for name, values in chances.items()}
    names = np.array([chain.group for chain in read.chains])
    weights = example_weights(len(names), names, resamples, seed)
    pairs = [("text and model", "text"), ("text and model", "text and twin"), ("model", "twin")]
    rows = []
    for measure in GRAPH:
        for source, minus in [*((name, "") for name in measured), *pairs]:
            values = measured[source][measure] - (measured[minus][measure] if minus else 0)
            about = {"measure": measure, "source": source, "minus": minus}
            found = weighted_mean(values.to_numpy(), weights)
            if measure == "exact match":  # rare: resamples would all say never
                added = CHANGE if minus else SHARE
                found, _ = mean_of_outcomes(values.to_numpy(), names, weights, added)
            rows.append(about | found.columns())
    own, base = (
        weights @ measured[name]["depth"] / weights.sum(axis=1) for name in ("model", "twin")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        score = percentile_interval((own - base) / (1 - base))
    rows.append({"measure": "S_P2", "source": "model", "minus": "", **score.columns()})
    return pd.DataFrame(rows).assign(problems=len(names))


def _graphs(read: Read, edges: np.ndarray) -> pd.DataFrame:
    rows, start = [], 0
    for chain in read.chains:
        own = edges[start : start + len(chain.steps), : len(chain.units)]
        start += len(chain.steps)
        both, all_of = int((own & chain.edges).sum()), int(own.sum() + chain.edges.sum())
        premises = {chain.first + i: tuple(np.flatnonzero(row).tolist())
                    for i, row in enumerate(own)}  # fmt: skip
        deep = heights({unit: of for unit, of in premises.items() if of})
        depths = [deep.get(chain.first + i, 0) for i in range(len(own))]
        same = (own == chain.edges).all()
        right = np.equal(depths, chain.depths).mean()
        rows.append((2 * both / all_of if all_of else 1.0, float(same), float(right)))
    return pd.DataFrame(rows, columns=GRAPH)


CUTS = ("others as far away", "others of equal mass")
"""What a step is kept from looking at in place of what it follows from, or looks at most."""

FOLLOWS, LOOKS = "what it follows from", "what it looks at most"


def needs_of(
    read: Read, model: PreTrainedModel, wanted: Sequence[np.ndarray] | None = None
) -> pd.DataFrame:
    """What each step loses where it cannot look: its own log-probability with edges cut.

    Teacher-forced, in every layer. The step cannot look at the units wanted, at as many others
    that stand as far before it, or at others that together get about as much attention.

    Args:
        read: the chains and their attention.
        model: the same model.
        wanted: for each chain the units of each step, (steps, units); if None, what it follows
            from.

    Returns:
        A row for each step that has units to choose among: its ``problem``, ``group`` and ``step``,
        whether it is ``sound`` and the problem's answer ``right`` (None where nobody looked), the
        ``average precision`` of its ranking by mean attention (NaN without gold edges), and for
        the units wanted (``FOLLOWS`` or ``LOOKS``) and each of ``CUTS`` the change in nats a token.
    """
    rows, names = [], (FOLLOWS if wanted is None else LOOKS, *CUTS)
    precision = iter(average_precision(read.gold, read.stacked(read.model).mean(axis=-1)))
    with backend(model):
        for number, (chain, one) in enumerate(zip(read.chains, read.written, strict=True)):
            tokens = np.array([end - start for start, end in one.spans])
            mass = (read.model[number] * tokens[:, None]).mean(axis=-1)
            gold, before = chain.edges if wanted is None else wanted[number], chain.before
            cuts = [
                np.stack([np.zeros_like(own), own, _as_far(own, there), _as_much(own, there, of)])
                for own, there, of in zip(gold, before, mass, strict=True)
            ]
            for step, said in enumerate(log_probabilities(model, one, cuts)):
                about = {
                    "problem": number, "group": chain.group, "step": step,
                    "sound": not chain.errs[step] if chain.errs else None, "right": chain.correct,
                    "average precision": next(precision),
                }  # fmt: skip
                if gold[step].any() and (before[step] & ~gold[step]).any():
                    rows.append(about | dict(zip(names, said[1:] - said[0], strict=True)))
    if not rows:
        raise InputError("no step has units to choose among: give longer problems, or other ones")
    return pd.DataFrame(rows)


def needs_table(steps: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Mean change over steps, and that of the first cut less each other (``minus``)."""
    weights = example_weights(len(steps), steps.group.to_numpy(), resamples, seed)
    rows = []
    wanted = FOLLOWS if FOLLOWS in steps else LOOKS
    for cut, minus in [*((cut, "") for cut in (wanted, *CUTS)), *((wanted, cut) for cut in CUTS)]:
        values = steps[cut] - (steps[minus] if minus else 0)
        about = {"cut": cut, "minus": minus}
        rows.append(about | weighted_mean(values.to_numpy(), weights).columns())
    return pd.DataFrame(rows).assign(steps=len(steps))


KINDS = {"sound": ("sound", "faulty"), "right": ("of right answers", "of wrong answers")}
"""Columns of ``needs_of`` that divide the steps, and what the two parts are called."""

QUANTITIES = ("average precision", "cut, beyond others as far away")


def fault_table(steps: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Sound steps beside faulty ones, and steps that end in a right answer beside the others.

    Args:
        steps: of ``needs_of``.
        resamples: of the groups, behind each interval.
        seed: of the resamples.

    Returns:
        A row for each quantity (average precision by attention, and what the cuts cost) and kind
        of step: the mean with its 95 % interval over groups, how many ``steps`` in how many
        ``problems``; no figure where fewer than ``FEWEST_EVENTS`` problems have such a step. Empty
        where nobody looked.
    """
    if FOLLOWS not in steps:
        return pd.DataFrame()
    steps, rows = steps.assign(**{QUANTITIES[1]: steps[FOLLOWS] - steps[CUTS[0]]}), []
    for by, (yes, no) in KINDS.items():
        if (known := steps[steps[by].notna()]).empty:
            continue
        good = known[by].to_numpy(dtype=bool)
        kinds = {yes: good, no: ~good}
        problems = {kind: known.group[of].nunique() for kind, of in kinds.items()}
        weights = example_weights(len(known), known.group.to_numpy(), resamples, seed)
        for quantity in QUANTITIES:
            values = known[quantity].to_numpy()
            means = {kind: _mean(values, weights, of) for kind, of in kinds.items()}
            few = {kind: count < FEWEST_EVENTS for kind, count in problems.items()}
            both = f"{yes} less {no}"
            means[both], few[both] = means[yes] - means[no], any(few.values())
            for kind, found in means.items():
                own = known[kinds.get(kind, np.ones(len(known), bool))]
                about = {"quantity": quantity, "steps of": kind, "steps": len(own),
                         "problems": own.group.nunique()}  # fmt: skip
                untold = dict.fromkeys(("value", "low", "high"), np.nan)
                told = untold if few[kind] else percentile_interval(found).columns()
                rows.append(about | told)
    return pd.DataFrame(rows)


def _mean(values: np.ndarray, weights: np.ndarray, of: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return weights[:, of] @ values[of] / weights[:, of].sum(axis=1)


LOSS = 0.1
"""Nats a token that a step must lose without one unit for it to be called needed."""


def traces(
    read: Read, model: PreTrainedModel, chances: Mapping[str, np.ndarray], most: int = 3
) -> list[Trace]:
    """The longest problems of up to twelve units, with the edges that are read and needed.

    Read are those likelier than not from text and attention together, out of fold; needed are
    units without which alone a step's own tokens lose ``LOSS`` nats a token or more.

    Args:
        read: the chains and their attention.
        model: the same model.
        chances: of ``read_edges``; none where nobody said what steps follow from.
        most: how many problems.
    """
    lengths = [len(chain.units) for chain in read.chains]
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i] > 12, -lengths[i], i))[:most]
    ends, found = np.cumsum([len(chain.steps) for chain in read.chains]), []
    for number in order:
        chain, one = read.chains[number], read.written[number]
        units, steps = len(chain.units), len(chain.steps)
        alone = np.vstack([np.zeros((1, units), bool), np.eye(units, dtype=bool)])
        cuts = [alone[: 1 + chain.first + step] for step in range(steps)]
        needed = np.zeros((steps, units), dtype=bool)
        with backend(model):
            for step, said in enumerate(log_probabilities(model, one, cuts)):
                needed[step, : len(said) - 1] = said[0] - said[1:] >= LOSS
        edges = {"needed": needed}
        if chances:
            likely = chances["text and model"][ends[number] - steps : ends[number], :units] > 0.5
            edges = {"gold": chain.edges, "read": likely, **edges}
        found.append(Trace(chain.name, chain.units, chain.first, edges))
    return found


def side_by_side(
    subjects: Sequence[Subject], chains: Sequence[Chain], settings: ProbeSettings
) -> dict[str, pd.DataFrame]:
    """The written reasoning of several models on the same chains.

    Args:
        subjects: the models.
        chains: problems with their steps, in groups enough for the folds.
        settings: of the classifiers and intervals.

    Returns:
        ``precision`` (all layers together), ``gains``, ``graphs`` and ``needs`` with a column
        ``subject``; none where fewer than two groups of chains have units to choose among.
    """
    # The others have nothing to tell apart: every step follows from all that is before it.
    chains = [chain for chain in chains if (chain.before & ~chain.edges)[chain.edges.any(1)].any()]
    groups = len({chain.group for chain in chains})
    if groups < 2:
        return {}
    fitting = replace(settings, folds=min(settings.folds, groups))
    parts: dict[str, list[pd.DataFrame]] = {}
    for subject in subjects:
        read = read_chains(subject.loaded, chains, name=subject.name, seed=settings.seed)
        again = settings.resamples, settings.seed
        ranked = precision_table(read, *again)
        tables = {
            "precision": ranked[ranked.layer == 0], "gains": probe_edges(read, fitting).gains,
            "graphs": graph_table(read, read_edges(read, fitting), *again),
            "needs": needs_table(needs_of(read, subject.loaded.model), *again),
        }  # fmt: skip
        for name, table in tables.items():
            parts.setdefault(name, []).append(table.assign(subject=subject.name))
    return {name: pd.concat(several, ignore_index=True) for name, several in parts.items()}


def looked_at(read: Read) -> pd.DataFrame:
    """What each step looks at most, by mean attention a token over all layers.

    Returns:
        A row for each step: problem, step, its text, and of the unit it looks at most the number
        (from 1), its kind, how far it stands before the step in units, and its text.
    """
    rows = []
    for number, (chain, values) in enumerate(zip(read.chains, read.model, strict=True)):
        told = len(chain.statements)
        for step, own in enumerate(np.where(chain.before, values.mean(axis=-1), -1)):
            unit = int(own.argmax())
            kind = "step" if unit >= chain.first else "statement" if unit < told else "question"
            far = chain.first + step - unit
            rows.append((number, step + 1, chain.steps[step], unit + 1, kind, far,
                         chain.units[unit]))  # fmt: skip
    names = ["problem", "step", "text", "unit", "kind", "distance", "text of the unit"]
    return pd.DataFrame(rows, columns=names)


def most_attended(read: Read) -> list[np.ndarray]:
    """For each chain the unit that each step looks at most, as ``needs_of`` wants it."""
    found = []
    for chain, values in zip(read.chains, read.model, strict=True):
        mean = np.where(chain.before, values.mean(axis=-1), -1)
        found.append(mean == mean.max(axis=1, keepdims=True))
    return found


def _as_far(gold: np.ndarray, before: np.ndarray) -> np.ndarray:
    """As many other units, each the nearest in place to one that the step follows from."""
    found, free = np.zeros_like(gold), [*np.flatnonzero(before & ~gold)]
    for unit in np.flatnonzero(gold):
        if free:
            free.remove(near := min(free, key=lambda other: (abs(other - unit), other)))
            found[near] = True
    return found


def _as_much(gold: np.ndarray, before: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Other units that together get about as much attention; see ``knockout.equal_mass``."""
    labels = np.where(before, np.where(gold, 0, USELESS), PADDING)[None]
    return equal_mass(labels, mass[None, :, None], [(1, 1)])[0, 0]
