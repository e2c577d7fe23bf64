"""Random draws of examples, each probed for itself (paper, section 6).

No model runs here. Every example was asked once clean and once for each corruption; draws resample
what is stored, and distances between statements are computed once for all draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold
from tqdm.auto import tqdm

from mplib.errors import InputError
from mplib.probe import knn
from mplib.probe.knn import DEFAULT, ProbeSettings
from mplib.probe.neighbours import Neighbours
from mplib.stats import group_numbers
from mplib.tasks.trees import PADDING, USELESS

SCORES = {"S_P1": "V", "S_P2": "G"}
"""Each score and the macro-F1 that it normalises (Eqs 1 and 2)."""


FEWEST_DRAWS = 8


_BLOCK = 32
"""Draws that are worked on at once."""


@dataclass(frozen=True)
class Draws:
    """Random draws of examples and what was found in each (paper, section 6).

    Attributes:
        table: a row for each draw: number of examples, seed of its folds, accuracy, change in
            accuracy by each corruption, macro-F1 of the model, mean macro-F1 of its twins, scores.
        members: examples of each draw, -1 behind the last, shape (draws, most examples).
        groups: number of each example's group, shape (examples,).
        values: answers and changes by name, NaN where unknown, each of shape (examples,).
        counts: by target, confusion counts of each source in each example of each draw, shape
            (draws, most examples, sources, classes, classes); the model is the first source.
    """

    table: pd.DataFrame
    members: np.ndarray
    groups: np.ndarray
    values: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]


def change(corruption: str) -> str:
    """The column of a table of draws that holds a corruption's change in accuracy."""
    return f"change in accuracy, {corruption}"


def draws(
    values: Mapping[str, np.ndarray],
    features: np.ndarray,
    heights: np.ndarray,
    *,
    twins: Sequence[np.ndarray],
    groups: np.ndarray | None = None,
    count: int = 2048,
    sizes: tuple[int, int] = (64, 128),
    settings: ProbeSettings = DEFAULT,
) -> Draws:
    """Draws examples without replacement, again and again, and measures each draw for itself.

    In each draw both classifiers are cross-validated on its own statements: the predictions are
    those of ``probe.predict`` for the draw's features, groups and seed. (Of statements at exactly
    the same distance the earlier ones count; scikit-learn leaves that open.)

    Args:
        values: what is averaged over each draw, by name, NaN where unknown, each of shape
            (examples,); ``accuracy`` and the changes named by ``change``, say.
        features: of the model, shape (examples, statements, layers).
        heights: gold heights, shape (examples, statements).
        twins: features of random twins, the baseline of the scores.
        groups: group of each example, never in two folds; each its own if None.
        count: how many draws.
        sizes: least and most examples of a draw; no draw has more than there are.
        settings: of the classifiers; its seed is that of the draws.

    Raises:
        InputError: too few draws, too few examples or groups for one, no useful statements, no
            twins, or arrays that do not fit together.
    """
    group = group_numbers(len(heights), groups)
    _check([features, *twins], heights, values, count, sizes)
    n, least, most = len(group), sizes[0], min(sizes[1], len(group))
    rngs = [np.random.default_rng([settings.seed, number]) for number in range(count)]
    chosen = [np.sort(r.choice(n, r.integers(least, most + 1), replace=False)) for r in rngs]
    seeds = [int(rng.integers(2**31)) for rng in rngs]
    folds = settings.folds
    if (fewest := min(len(np.unique(group[drawn])) for drawn in chosen)) < folds:
        few = f"a draw has examples of {fewest} groups for {folds} folds"
        raise InputError(f"{few}: draw more examples or use fewer folds")
    labels = {"V": knn.usefulness(heights), "G": knn.useful_heights(heights)}
    # A quarter of these columns holds the wanted neighbours in the smallest draw, on average.
    columns = int(4 * settings.neighbours * n / (least * (1 - 1 / folds))) + 1
    counts = {
        name: _count(gold, [features, *twins], chosen, seeds, group, most, columns, settings)
        for name, gold in labels.items()
    }
    members = np.stack([np.pad(x, (0, most - len(x)), constant_values=-1) for x in chosen])
    measured = measure(members, values, counts, np.ones((1, n), dtype=bool))
    table = pd.DataFrame({"draw": range(count), "examples": [*map(len, chosen)], "seed": seeds})
    table = table.assign(**{name: rows[0] for name, rows in measured.items()})
    table["note"] = [_undefined(row) for row in table.to_dict("records")]
    return Draws(table, members, group, dict(values), counts)


def _check(
    sources: Sequence[np.ndarray], heights: np.ndarray, values: Mapping[str, np.ndarray],
    count: int, sizes: tuple[int, int],
) -> None:  # fmt: skip
    """Refuses what cannot be drawn or measured."""
    n = len(heights)
    if count < FEWEST_DRAWS:
        raise InputError(f"count={count} draws: ask for {FEWEST_DRAWS} or more")
    if not 0 < sizes[0] <= min(sizes[1], n):
        wanted = f"sizes={sizes}: no draw can have {sizes[0]} to {sizes[1]} of {n} examples"
        raise InputError(f"{wanted}; lower the least size or use more examples")
    if not (heights > USELESS).any():
        raise InputError("heights name no useful statement: draws need examples with gold trees")
    if len(sources) < 2:
        raise InputError("twins is empty: a score needs the features of one random twin or more")
    for name, found in values.items():
        if len(found) != n:
            raise InputError(f"{name}: {len(found)} examples, but heights for {n}; give both alike")
    for features in sources:
        knn.same_shape(features, heights)
        if not np.isfinite(features[heights != PADDING]).all():
            missing = "features are missing for a statement that has a height"
            raise InputError(f"{missing}: read them from the same prompts, or make it PADDING")


def _count(
    labels: np.ndarray, sources: Sequence[np.ndarray], chosen: Sequence[np.ndarray],
    seeds: Sequence[int], group: np.ndarray, most: int, columns: int, settings: ProbeSettings,
) -> np.ndarray:  # fmt: skip
    """Confusion counts of all draws by one of the classifiers; see ``Draws.counts``."""
    place = np.nonzero(labels != PADDING)
    example, label, classes = place[0], labels[place], int(labels.max()) + 1
    near = [Neighbours(values[place], columns, settings.metric_power) for values in sources]
    counts = np.zeros((len(chosen), most, len(sources), classes, classes), dtype=np.float32)
    told = np.isin(np.arange(len(group)), example)
    progress = tqdm(chosen, "draws")
    for found, drawn, seed in zip(counts, progress, seeds, strict=True):
        fold = _folds(drawn[told[drawn]], group, seed, settings.folds)[example]
        rows = np.flatnonzero(fold >= 0)
        at = np.searchsorted(drawn, example[rows])
        for source, one in enumerate(near):
            guess = one.votes(rows, label, fold, settings.neighbours).argmax(axis=1)
            np.add.at(found[:, source], (at, label[rows], guess), 1)
    return counts


def _folds(drawn: np.ndarray, group: np.ndarray, seed: int, number: int) -> np.ndarray:
    """Fold of every example, -1 where it is not drawn."""
    fold = np.full(len(group), -1)
    split = GroupKFold(number, shuffle=True, random_state=seed).split(drawn, groups=group[drawn])
    for place, (_, test) in enumerate(split):
        fold[drawn[test]] = place
    return fold


def measure(
    members: np.ndarray, values: Mapping[str, np.ndarray], counts: Mapping[str, np.ndarray],
    kept: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Accuracy, changes, F1s and scores of every draw, from those of its examples that are kept.

    Args:
        members: see ``Draws``.
        values: see ``Draws``.
        counts: see ``Draws``.
        kept: True for the examples that are kept, in several ways, shape (ways, examples).

    Returns:
        Each of shape (ways, draws), NaN where undefined.
    """
    parts = []
    for first in range(0, len(members), _BLOCK):
        who = members[first : first + _BLOCK]
        weights = (kept[:, who] & (who >= 0)).swapaxes(0, 1).astype(np.float32)
        found: dict[str, np.ndarray] = {}
        parts.append(found)
        for name, value in values.items():
            known = ~np.isnan(value[who])
            sums = weights @ np.stack([np.where(known, value[who], 0), known], axis=-1)
            found[name] = divide(sums[..., 0], sums[..., 1])
        for score, target in SCORES.items():
            if target in counts:
                cells = counts[target][first : first + _BLOCK]
                total = weights @ cells.reshape(*cells.shape[:2], -1)
                f1 = _macro_f1(total.reshape(*total.shape[:2], *cells.shape[2:]), target)
                found[target], base = f1[..., 0], f1[..., 1:].mean(axis=-1)
                found[f"{target} of twins"] = base
                found[score] = divide(found[target] - base, 1 - base)
    return {name: np.concatenate([found[name] for found in parts]).T for name in parts[0]}


def _macro_f1(counts: np.ndarray, target: str) -> np.ndarray:
    """Mean F1 of the classes that occur; NaN for heights where there is only one to tell."""
    occurs = counts.sum(axis=-1) > 0
    classes = occurs.sum(axis=-1)
    f1 = divide((knn.class_f1(counts.astype(float)) * occurs).sum(axis=-1), classes)
    return np.where(classes < 2, np.nan, f1) if target == "G" else f1


def divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient, NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 1e-12)


def _undefined(row: Mapping[str, float]) -> str | None:
    """What is not defined in a draw, and why."""
    notes = []
    for name in (name for name, value in row.items() if np.isnan(value)):
        if name in SCORES:
            one_height = np.isnan(row[SCORES[name]])
            reason = "there is one height only" if one_height else "the baseline is perfect"
            notes.append(f"{name} undefined: {reason}")
        elif name.startswith(change("")):
            notes.append(f"{name} undefined: possible in none of the examples")
    return "; ".join(notes) or None
