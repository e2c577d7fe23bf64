"""The same trees beside one another: told in several worlds, or read from several models.

The recall dial: in a world that a model knows, in an invented and in a false one. A model that
reasons does as well in all of them; one that recalls falls from the true world to the invented one,
and turns below chance in the false one, where what it knows is the wrong answer.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from mplib.errors import InputError
from mplib.probe.scores import Plan
from mplib.probe.text import shown
from mplib.stats import accuracy, example_weights, from_halves, group_numbers, mean_of_outcomes
from mplib.studies.film import QUANTITIES, both_f1, scored
from mplib.studies.language import Procedure, Readings
from mplib.tasks.textbaseline import text_features
from mplib.tasks.trees import PADDING

Row = dict[str, Any]
"""A row of the table."""

Pair = tuple[str, str]
"""Two arms; the second is taken off the first."""


def dial(
    readings: Sequence[Readings], procedure: Procedure, needs: Sequence[np.ndarray] = ()
) -> pd.DataFrame:
    """Accuracy, scores and gains in every world, and how much they differ from world to world.

    A difference is paired: the trees, their folds and halves and the twins' weights are the same in
    both worlds. Scores are those of attention alone by the paper's kNN, gains those of attention
    over the text by a logistic regression, as in ``mplib.probe.compare``; *rules alone* leaves out
    the facts, of which the question names the useful one.

    Args:
        readings: of each subject and depth in several worlds, the same trees in all of them.
        procedure: how they were asked.
        needs: of each reading, what its answers need (``knockout.needed``), if that was tried.

    Returns:
        A row for each set and measure, and for each two sets, the second under ``minus``: value
        with its 95 % interval over trees, and a note where few answers differ. Values are NaN where
        the measure is not defined: one height alone, or a baseline that leaves no room.

    Raises:
        InputError: sets of one depth and subject hold different trees.
    """
    return _paired(readings, procedure, needs, along="set", within=("depth", "subject"))


def contrasts(readings: Sequence[Readings], procedure: Procedure) -> pd.DataFrame:
    """The same of every model on the same questions, each less those before it: see ``dial``."""
    return _paired(readings, procedure, (), along="subject", within=("set", "depth"))


def _paired(
    readings: Sequence[Readings], procedure: Procedure, needs: Sequence[np.ndarray], along: str,
    within: tuple[str, str],
) -> pd.DataFrame:  # fmt: skip
    rows: list[Row] = []
    need_of = {id(one): need for one, need in zip(readings, needs, strict=bool(len(needs)))}
    arms_of: dict[tuple[Any, ...], dict[str, Readings]] = {}
    for one in readings:
        key = tuple(one.about[name] for name in within)
        arms_of.setdefault(key, {})[str(one.about[along])] = one
    for key, arms in arms_of.items():
        trees = _trees(list(arms.values()))
        # A model comes after those that it is compared with, a world before.
        pairs = [*combinations(arms if along == "set" else reversed(arms), 2)]
        right = {name: _correct(one) for name, one in arms.items()}
        found = _outcomes("accuracy", right, pairs, trees, procedure)
        found += _probed(arms, pairs, trees, procedure)
        need = {name: need_of[id(one)] for name, one in arms.items() if needs}
        found += _outcomes("need", need, pairs if needs else [], trees, procedure)
        rows += [dict(zip(within, key, strict=True)) | row for row in found]
    first = [*within, "among", "measure", "arm", "minus", "value", "low", "high", "note"]
    return pd.DataFrame(rows, columns=first).rename(columns={"arm": along})


def _trees(arms: Sequence[Readings]) -> np.ndarray:
    """Number of each tree, once it is sure that all arms have the same."""
    first = arms[0].examples
    drawn = [example.group for example in first.examples]
    for own in (one.examples for one in arms):
        same = [example.group for example in own.examples] == drawn
        if not same or not np.array_equal(own.heights, first.heights):
            raise InputError(f"{own.name!r} and {first.name!r} hold different trees: draw both")
    # A tree that was drawn twice may be told alike in one world alone.
    groups = min((one.examples.groups for one in arms), key=lambda names: len({*names}))
    return group_numbers(len(groups), groups)


def _correct(one: Readings) -> np.ndarray:
    assert one.model.answers is not None
    return one.model.answers.correct.astype(float)


def _outcomes(
    measure: str, values: Mapping[str, np.ndarray], pairs: Sequence[Pair], trees: np.ndarray,
    procedure: Procedure,
) -> list[Row]:  # fmt: skip
    """Means of what each tree's answer did, and of paired differences, with a note if few did."""
    settings = procedure.settings
    rows: list[Row] = []
    weights = example_weights(len(trees), trees, settings.resamples, settings.seed)
    every = {(name, ""): own for name, own in values.items()}
    every |= {(one, other): values[one] - values[other] for one, other in pairs}
    for (name, minus), own in every.items():
        known = measure == "accuracy" and not minus
        found, note = (accuracy(own), "") if known else mean_of_outcomes(own, trees, weights)
        about: Row = {"among": "", "measure": measure, "arm": name, "minus": minus}
        rows.append(about | {**found.columns(), "note": note})
    return rows


def _probed(
    arms: Mapping[str, Readings], pairs: Sequence[Pair], trees: np.ndarray, procedure: Procedure
) -> list[Row]:
    of = next(iter(arms.values())).examples
    parts = {"all statements": of.heights}
    # Of depth 0 no rule is useful.
    if of.rules is not None and len(np.unique(of.rules[of.rules != PADDING])) > 1:
        parts["rules alone"] = of.rules
    rows: list[Row] = []
    for among, heights in parts.items():
        plan = Plan.of(heights, trees, procedure.settings)
        found = {name: _replicates(one, plan) for name, one in arms.items()}
        for measure in QUANTITIES[1:]:
            values = {(name, ""): own[measure] for name, own in found.items()}
            for first, second in pairs:
                values[first, second] = found[first][measure] - found[second][measure]
            for (name, minus), own in values.items():
                sure = from_halves(own[0], plan.groups, own[1:, 0])
                about: Row = {"among": among, "measure": measure, "arm": name, "minus": minus}
                rows.append(about | sure.columns())
    return rows


def _replicates(one: Readings, plan: Plan) -> dict[str, np.ndarray]:
    text = shown(text_features(one.examples.examples), "logistic")
    own, *twins = (both_f1(plan, x, text) for x in (one.model.features, *one.twins))
    return scored(own, np.array(twins))
