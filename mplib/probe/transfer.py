"""Transfer: classifiers that are fitted to one set of examples and asked about another."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mplib.errors import InputError
from mplib.probe.knn import (
    CLASSIFIERS,
    DEFAULT,
    ProbeSettings,
    Told,
    same_shape,
    useful_heights,
    usefulness,
)
from mplib.probe.scores import MEASURES, Plan
from mplib.stats import from_halves, group_numbers
from mplib.tasks.trees import PADDING

TARGETS = {"V": usefulness, "G": useful_heights}
"""What makes the gold labels of either classifier from heights."""


def transfer(
    sets: Mapping[str, tuple[np.ndarray, np.ndarray]],
    settings: ProbeSettings = DEFAULT,
    classifiers: Sequence[str] = tuple(CLASSIFIERS),
    *,
    groups: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """Macro-F1 of classifiers that are fitted to one set and asked about another.

    Sets differ in k, size, depth or style, say. A set on itself is cross-validated with whole
    groups in folds. Between two sets only labels that both have are told apart, and groups that
    both have are left out. Features are taken as they are: where one set's are larger throughout,
    what goes by size does not transfer.

    Args:
        sets: by name, features (examples, statements, layers) and gold heights (examples,
            statements); only the layers must be as many in all.
        settings: of the classifiers; for the intervals sets are halved and classifiers fitted anew.
        classifiers: some of ``CLASSIFIERS``.
        groups: by set, group of each example; a name that stands in two sets is one group. Each
            example is its own if None.

    Returns:
        A row for each ordered pair, target and classifier where there is something to tell apart:
        ``fitted on``, ``scored on``, how many ``classes`` are told, ``f1`` with its 95 % interval.

    Raises:
        InputError: sets have unlike numbers of layers, or arrays of one do not fit together.

    >>> from mplib.tasks.ksmallest import KSmallest
    >>> rng, sets = np.random.default_rng(0), {}
    >>> for k in (2, 4):  # attention on what is useful, most of it on the root
    ...     task = KSmallest(k, m=8, pool=40)
    ...     heights = task.heights(task.draw(40, seed=k))
    ...     sets[f"k = {k}"] = heights[..., None] + rng.normal(scale=0.35, size=(40, 8, 2)), heights
    >>> found = transfer(sets, classifiers=["logistic"])
    >>> for row in found[found.target == "V"].to_dict("records"):
    ...     print(row["fitted on"], "->", row["scored on"], round(row["f1"], 2))
    k = 2 -> k = 2 0.99
    k = 4 -> k = 4 0.97
    k = 4 -> k = 2 1.0
    k = 2 -> k = 4 0.97
    """
    for features, heights in sets.values():
        same_shape(features, heights)
    layers = {name: features.shape[-1] for name, (features, _) in sets.items()}
    if len({*layers.values()}) > 1:
        unlike = ", ".join(f"{count} in {name!r}" for name, count in layers.items())
        raise InputError(f"layers: {unlike}; probe the same number of them in every set")
    sizes = [len(heights) for _, heights in sets.values()]
    named = None if groups is None else np.concatenate([groups[name] for name in sets])
    members = np.split(group_numbers(sum(sizes), named), np.cumsum(sizes)[:-1])
    rows: list[dict[str, Any]] = []
    for classifier in classifiers:
        parts: dict[str, list[_Part]] = {target: [] for target in TARGETS}
        for (name, (features, heights)), own in zip(sets.items(), members, strict=True):
            plan = Plan.of(heights, group_numbers(len(own), own), settings)
            values = plan.run(features, classifier)
            for target, label in TARGETS.items():
                place = np.nonzero((gold := label(heights)) != PADDING)
                part = _Part(name, target, features[place], gold[place], own[place[0]])
                parts[target].append(part)
                f1 = values[:, MEASURES.index(target)]
                rows.append(_row(part, part, f1, plan.groups, classifier))
        for one, other in (pair for of in parts.values() for pair in combinations(of, 2)):
            rows += _between(one.like(other), other.like(one), settings, classifier)
    table = pd.DataFrame(rows)
    return table[table.f1.notna()].reset_index(drop=True)


class _Part(NamedTuple):
    """The statements of a set that have a label, a row each."""

    name: str
    target: str
    values: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def like(self, other: "_Part") -> "_Part":
        """Those whose label the other set has too, of groups that it does not have."""
        kept = np.isin(self.labels, other.labels) & ~np.isin(self.groups, other.groups)
        return self._replace(**{name: getattr(self, name)[kept] for name in self._fields[2:]})


def _between(
    one: _Part, other: _Part, settings: ProbeSettings, classifier: str
) -> list[dict[str, Any]]:
    """Both ways between two sets: a cross-validation whose two folds are the sets."""
    parts = one, other
    values, labels, groups = (np.concatenate(pair) for pair in zip(one[2:], other[2:], strict=True))
    fold = np.repeat([0, 1], [len(part.labels) for part in parts])
    own = [np.unique(part.groups) for part in parts]
    if not all(map(len, own)):
        return []
    folds, rng = [fold], np.random.default_rng([settings.seed, 3])
    for _ in range(settings.halves if min(map(len, own)) >= 4 else 0):
        half = np.isin(groups, [x for of in own for x in rng.permutation(of)[: len(of) // 2]])
        folds += [np.where(half, fold, -1), np.where(half, -1, fold)]
    every = np.array(folds)
    told = CLASSIFIERS[classifier](values, np.broadcast_to(labels, every.shape), every, settings)
    f1 = []
    for trial, chances in zip(folds, told, strict=True):
        scored, gold = trial[trial >= 0], labels[trial >= 0]
        each = [Told(gold[scored == i], chances[scored == i]).f1 for i in (0, 1)]
        f1.append([x.mean() if len(x) > 1 else np.nan for x in each])
    ways = zip(parts[::-1], parts, np.array(f1).T, own, strict=True)
    return [_row(fit, part, found, len(of), classifier) for fit, part, found, of in ways]


def _row(
    fitted: _Part, scored: _Part, f1: np.ndarray, groups: int, classifier: str
) -> dict[str, Any]:
    """A row of the table, from the F1 of the whole and of either half of each cut."""
    found = from_halves(f1, groups)
    low, high = np.clip([found.low, found.high], 0, 1)
    return {
        "fitted on": fitted.name, "scored on": scored.name, "target": scored.target,
        "classifier": classifier, "classes": len(np.unique(scored.labels)),
        "f1": found.value, "low": low, "high": high,
    }  # fmt: skip
