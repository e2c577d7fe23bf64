"""Corruption: what becomes of a model's answers when one thing that it is told is changed.

Every problem is asked once clean and once for each corruption; differences are paired (section 6).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mplib.errors import InputError
from mplib.models.inference import Answers, all_answers, read, scale_examples, twin_features
from mplib.probe.draws import change
from mplib.stats import (
    CHANGE,
    SHARE,
    Estimate,
    example_weights,
    group_numbers,
    mean_of_outcomes,
    weighted_mean,
)
from mplib.studies.language import Procedure, Subject
from mplib.tasks.corruptions import Impossible
from mplib.tasks.examples import Example, ExampleSet
from mplib.tasks.task import Corruption, Problems, Task

DIFFERENCES = (
    ("useful negated", "useless negated"),
    ("useful removed", "useless removed"),
    ("useful negated", "paraphrased"),
    ("conclusion negated", "paraphrased"),
    ("root replaced", "useless replaced"),
    ("leaf replaced", "useless replaced"),
)
"""Corruptions that break the reasoning, each with one that changes as much of the text."""


@dataclass(frozen=True)
class Asked:
    """What a model gave for the same problems, clean and corrupted.

    Attributes:
        clean: answers to the clean problems, as floats.
        corrupted: answers by corruption, NaN where it was impossible.
        features: of the clean problems, shape (examples, statements, layers).
        twins: features of the random twins.
        heights: gold heights, shape (examples, statements).
        groups: group of each example.
        shown: the first problem that allows it, by corruption.
    """

    clean: Answers
    corrupted: dict[str, Answers]
    features: np.ndarray
    twins: tuple[np.ndarray, ...]
    heights: np.ndarray
    groups: np.ndarray
    shown: pd.DataFrame

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Accuracy and its change by each corruption, problem by problem; NaN where unknown."""
        changes = {change(n): x.correct - self.clean.correct for n, x in self.corrupted.items()}
        return {"accuracy": self.clean.correct, **changes}


def ask(
    task: Task,
    problems: Problems,
    subject: Subject,
    names: Sequence[str] = (),
    *,
    corruptions: Mapping[str, Corruption] | None = None,
    shown: Sequence[Sequence[Example]] | None = None,
    layers: tuple[int, ...] | None = None,
    twins: int = 1,
    batch_size: int = 64,
    seed: int = 0,
) -> Asked:
    """Asks problems clean and corrupted, behind the same demonstrations.

    Accuracy after a corruption is that of the clean answer: how often a model still gives it.
    Where the corrupted problem has an answer of its own, as a list of numbers has, the same passes
    are judged by that too (``..., new answer``): a model should change the first where the second
    changed.

    Args:
        task: whose problems they are.
        problems: the clean ones.
        subject: the model.
        names: some of the corruptions; all that are possible if empty.
        corruptions: those of the task, or its own if None.
        shown: demonstrations of each problem.
        layers: whose attention is kept, counted from 1; those of the model, or all, if None.
        twins: random twins.
        batch_size: examples a forward pass.
        seed: of the corruptions and the twins.

    Raises:
        InputError: one of the names is none of the corruptions, or is possible in no problem.
    """
    known = task.corruptions if corruptions is None else corruptions
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"corruption {unknown[0]!r}: expected some of {', '.join(known)}")
    loaded, model = subject.loaded, subject.loaded.model
    prompts, choices = task.prompts(problems, loaded, shown)
    clean = read(model, prompts, choices=choices, batch_size=batch_size)
    assert clean.answers is not None
    everyone = np.ones(len(prompts), dtype=bool)
    corrupted: dict[str, Answers] = {}
    rows = [_shown("none", task, problems)]
    for name in names or known:
        try:
            changed, possible = known[name](problems, seed)
        except Impossible:
            if names:
                raise
            corrupted[name] = Answers.empty(0).among(~everyone)
            continue
        own = None if shown is None else [shown[i] for i in np.flatnonzero(possible).tolist()]
        after, choices = task.prompts(changed, loaded, own)
        expected = {name: after.answers}
        if task.renamed:
            expected = {name: prompts.answers[possible], f"{name}, new answer": after.answers}
        given = all_answers(model, after, choices=choices, expected=expected, batch_size=batch_size)
        corrupted |= {key: given[key].among(possible) for key in expected}
        rows.append(_shown(name, task, changed))
    chosen = subject.places(layers)

    def scaled(features: np.ndarray) -> np.ndarray:
        return (scale_examples if task.scales else np.asarray)(features[..., chosen])

    twin_values = twin_features(model, prompts, twins, seed, batch_size=batch_size)
    return Asked(
        clean.answers.among(everyone), corrupted, scaled(clean.features),
        tuple(map(scaled, twin_values)), task.heights(problems), task.groups(problems),
        pd.DataFrame(rows),
    )  # fmt: skip


def ask_all(
    task: Task, theories: ExampleSet, subjects: Sequence[Subject], procedure: Procedure,
    names: Sequence[str] = (), *, twins: int = 1, **reading: Any,
) -> dict[str, Asked]:  # fmt: skip
    """The same problems of several models, by name; twins are those of the last one alone.

    Args:
        task: whose problems they are.
        theories: the clean ones.
        subjects: the models.
        procedure: how each is shown demonstrations.
        names: some of the corruptions.
        twins: random twins.
        **reading: what else ``ask`` takes.
    """
    return {
        subject.name: ask(
            task, theories.examples, subject, names, twins=twins * (subject is subjects[-1]),
            shown=procedure.demonstrate(subject, theories), **reading,
        )
        for subject in subjects
    }  # fmt: skip


def _shown(name: str, task: Task, problems: Problems) -> dict[str, str]:
    """The first of some problems as a row of a table."""
    (first,) = task.as_examples(problems[:1])
    return {"corruption": name, "told": " ".join(first.statements), "answer": first.answer}


def effects(
    clean: Answers,
    corrupted: Mapping[str, Answers],
    *,
    differences: Sequence[tuple[str, str]] = DIFFERENCES,
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """What each corruption does to the answers, and how much more one does than another.

    Clean and corrupted answers are those of the same examples, the ones where the corruption was
    possible; a difference of two changes is taken where both were. Accuracies and their changes
    have an interval too where no answer differs, or nearly none; see ``stats.mean_of_outcomes``.

    Args:
        clean: answers to the clean examples.
        corrupted: answers by corruption.
        differences: pairs of corruptions; one whose changes are not known is left out.
        groups: group of each example, drawn together by the bootstrap; each its own if None.
        resamples: bootstrap resamples behind each 95 % interval.
        seed: of the resamples.

    Returns:
        A row for each corruption and measure; in those that compare two corruptions, ``minus``
        names the second. ``note`` says where an interval is one of rare events, is missing, or
        leaves resamples out.

    Raises:
        InputError: answers of differently many examples.
    """
    member = same_examples(clean, corrupted, groups)
    weights = example_weights(len(member), member, resamples, seed)
    measures: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for name, found in corrupted.items():
        known = np.where(np.isnan(found.correct), np.nan, clean.correct)
        measures[name, ""] = {
            "clean accuracy": known,
            "accuracy": found.correct,
            "change in accuracy": found.correct - known,
            "change in log-probability": found.log_probability - clean.log_probability,
        }
    for first, second in differences:
        if {first, second} <= corrupted.keys():
            one, other = measures[first, ""], measures[second, ""]
            changes = [measure for measure in one if measure.startswith("change")]
            measures[first, second] = {name: one[name] - other[name] for name in changes}
    rows = [
        {
            "corruption": first,
            "minus": second,
            "measure": name,
            **_mean(name, values, member, weights),
        }
        for (first, second), by_measure in measures.items()
        for name, values in by_measure.items()
    ]
    columns = ["corruption", "minus", "measure", "value", "low", "high", "examples", "note"]
    return pd.DataFrame(rows, columns=columns)


def same_examples(
    clean: Answers, corrupted: Mapping[str, Answers], groups: np.ndarray | None
) -> np.ndarray:
    """Number of each example's group, after a check that all answers are to the same examples.

    Raises:
        InputError: they are not.
    """
    n = len(clean.correct)
    for name, found in corrupted.items():
        if len(found.correct) != n:
            wrong = f"{name}: {len(found.correct)} examples, but {n} clean ones"
            raise InputError(f"{wrong}; fill up impossible ones with Answers.among")
    return group_numbers(n, groups)


def _mean(
    measure: str, values: np.ndarray, member: np.ndarray, weights: np.ndarray
) -> dict[str, object]:
    """Mean over the examples that have a value, with its 95 % interval; see ``effects``."""
    known = ~np.isnan(values)
    if not known.any():
        return {"examples": 0, "note": "undefined: possible in no example"}
    values, member, weights = values[known], member[known], weights[:, known]
    if measure.endswith("accuracy"):
        added = CHANGE if measure.startswith("change") else SHARE
        found, note = mean_of_outcomes(values, member, weights, added)
    elif np.ptp(member):
        found, note = weighted_mean(values, weights), None
    else:
        found, note = (
            Estimate(float(values.mean()), np.nan, np.nan),
            "no interval: there is one group",
        )
    if empty := (weights.sum(axis=1) == 0).sum():
        left_out = f"{empty} of {len(weights) - 1} resamples hold no such example"
        note = "; ".join(filter(None, [note, left_out]))
    return {**found.columns(), "examples": len(values), "note": note}
