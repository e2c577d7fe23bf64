"""The recall dial: the same trees in a world that a model knows, in an invented and in a false one.

A model that reasons does as well in all of them; one that recalls falls from the true world to the
invented one, and turns below chance in the false one, where what it knows is the wrong answer.
"""

from collections.abc import Sequence
from itertools import combinations, groupby
from typing import Any

import numpy as np
import pandas as pd

from mplib.errors import InputError
from mplib.probe.scores import Plan
from mplib.probe.text import shown
from mplib.stats import accuracy, example_weights, from_halves, group_numbers, mean_of_outcomes
from mplib.studies.film import both_f1, over
from mplib.studies.language import Procedure, Readings
from mplib.tasks.textbaseline import text_features

Row = dict[str, Any]
"""A row of the table."""

Replicates = dict[str, np.ndarray]
"""Each measure over the twins' mean, then over each twin, shape (1 + twins, 1 + 2 halves)."""


def dial(readings: Sequence[Readings], procedure: Procedure) -> pd.DataFrame:
    """Accuracy, scores and gains in every world, and how much they differ from world to world.

    A difference is paired: the trees, their folds and halves and the twins' weights are the same in
    both worlds. Scores are those of attention alone by the paper's kNN, gains those of attention
    over the text by a logistic regression, as in ``mplib.probe.compare``; *rules alone* leaves out
    the facts, of which the question names the useful one.

    Args:
        readings: of each subject and depth in several worlds, the same trees in all of them.
        procedure: how they were asked.

    Returns:
        A row for each set and measure, and for each two sets, the second under ``minus``: value
        with its 95 % interval over trees, and a note where few answers differ. Values are NaN where
        the measure is not defined: one height alone, or a baseline that leaves no room.

    Raises:
        InputError: sets of one depth and subject hold different trees.
    """
    rows = []
    for (depth, subject), of in groupby(sorted(readings, key=_same), key=_same):
        arms = [*of]
        trees = _trees(arms)
        found = _answers(arms, trees, procedure) + _probed(arms, trees, procedure)
        rows += [{"depth": depth, "subject": subject} | row for row in found]
    first = ["depth", "subject", "among", "measure", "set", "minus"]
    return pd.DataFrame(rows, columns=[*first, "value", "low", "high", "note"])


def _same(one: Readings) -> tuple[int, str]:
    return one.examples.depth, one.subject


def _trees(arms: Sequence[Readings]) -> np.ndarray:
    """Number of each tree, once it is sure that all arms have the same."""
    groups = [[example.group for example in one.examples.examples] for one in arms]
    for one, own in zip(arms, groups, strict=True):
        if own != groups[0] or not np.array_equal(one.examples.heights, arms[0].examples.heights):
            first = arms[0].examples.name
            raise InputError(f"{one.examples.name!r} and {first!r} hold different trees: draw both")
    return group_numbers(len(groups[0]), np.array(groups[0]))


def _answers(arms: Sequence[Readings], trees: np.ndarray, procedure: Procedure) -> list[Row]:
    settings = procedure.settings
    weights = example_weights(len(trees), trees, settings.resamples, settings.seed)
    correct = {}
    for one in arms:
        assert one.model.answers is not None
        correct[one.examples.name] = one.model.answers.correct.astype(float)
    about: Row = {"among": "", "measure": "accuracy"}
    rows: list[Row] = [
        about | {"set": name, "minus": "", **accuracy(right).columns()}
        for name, right in correct.items()
    ]
    for first, second in combinations(correct, 2):
        found, note = mean_of_outcomes(correct[first] - correct[second], trees, weights)
        rows.append(about | {"set": first, "minus": second, **found.columns(), "note": note})
    return rows


def _probed(arms: Sequence[Readings], trees: np.ndarray, procedure: Procedure) -> list[Row]:
    of = arms[0].examples
    parts = {"all statements": of.heights} | ({} if of.rules is None else {"rules alone": of.rules})
    rows: list[Row] = []
    for among, heights in parts.items():
        plan = Plan.of(heights, trees, procedure.settings)
        found = {one.examples.name: _replicates(one, plan) for one in arms}
        for measure in next(iter(found.values())):
            values = {(name, ""): own[measure] for name, own in found.items()}
            for first, second in combinations(found, 2):
                values[first, second] = found[first][measure] - found[second][measure]
            for (name, minus), own in values.items():
                sure = from_halves(own[0], plan.groups, own[1:, 0])
                about: Row = {"among": among, "measure": measure, "set": name, "minus": minus}
                rows.append(about | sure.columns())
    return rows


def _replicates(one: Readings, plan: Plan) -> Replicates:
    text = shown(text_features(one.examples.examples), "logistic")
    own, *twins = (both_f1(plan, x, text) for x in (one.model.features, *one.twins))
    beside, names = np.array(twins), (("S_P1", "S_P2"), ("gain V", "gain G"))
    return {
        name: over(own[way, :, place], beside[:, way, :, place], ratio=way == 0)
        for way, pair in enumerate(names)
        for place, name in enumerate(pair)
    }
