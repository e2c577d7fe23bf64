"""What a notebook tells of a run of itself before it is started: its task, its files, its work.

Notebooks call these in their cell tagged ``about``; no model library is imported for it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mplib.files import resolve
from mplib.studies.checkpoints import checkpoint_files, claim
from mplib.tasks.task import task_class

FILES = ("model", "beside", "data", "questions", "train_questions", "lexicon")
"""Parameters that may name a file or a folder, or several."""


FILMED = 256
"""Development problems that are probed at each evaluation where a training is filmed, at most."""


WRITTEN = 200, 4
"""Tokens of a chain of reasoning, and its steps, roughly."""


TRIALS = 5
"""Cuts of the folds that every figure is the mean of; intervals come of more trials."""


def study_about(
    task: str,
    parameters: Mapping[str, Any],
    reads: float | None = None,
    *,
    by_layer: float = 0,
    probes: float = 0,
) -> dict[str, Any]:
    """A run that asks a model problems and reads its attention.

    Args:
        task: its name in the registry.
        parameters: the notebook's.
        reads: how often each problem is read, comparisons of demonstrations left out; once by each
            model and its twins if None, where those asked without demonstrations have the same.
        by_layer: how often more, for each layer of the model.
        probes: how often each set of problems is probed, tables of other work in proportion.
    """
    typical = task_class(task).typical(parameters)
    values = {"shots": 0, "shot_counts": [], "shot_examples": 0, "shared_shots": True,
              "twins": 1, "halves": 10, "beside": [], "more_shots": [], "published": False,
              **parameters}  # fmt: skip
    if reads is None:
        beside, more, twins = len(values["beside"]), len(values["more_shots"]), values["twins"]
        reads = (1 + twins) * (1 + values["published"] + more) + beside + twins * bool(beside)
    needs = checkpoint_files(task, parameters) if "checkpoint" in parameters else []
    # Where none is named, every finetuned model that there is stands beside the first.
    tuned = sum(map(os.path.exists, needs)) if "trainables" in parameters else 0
    reads, probes = reads + tuned, probes + tuned
    # Shared demonstrations are read once for all problems.
    behind = 1 if values["shared_shots"] else values["shots"] + 1
    compared = min(values["shot_examples"] / max(values["examples"], 1), 1)
    reads += 2 * len(values["shot_counts"]) * compared
    mean = sum(typical.lengths) / len(typical.lengths)
    tokens = behind * typical.problems * mean
    sources = (1 + values["twins"]) * (TRIALS + values["halves"]) * (typical.heights / 2) ** 2
    work = {
        "model": values["model"], "vocabulary": typical.vocabulary, "read": reads * tokens,
        "longest": behind * max(typical.lengths), "keys": (values["shots"] + 0.5) * mean,
        "read_by_layer": by_layer * tokens, "sets": probes * len(typical.lengths),
        "fitted": probes * typical.problems * typical.statements * sources,
        "models": 2 + len(values["beside"]) + tuned,
    }  # fmt: skip
    files = files_of(parameters)
    return {"task": task, "label": typical.label, "needs": needs, "files": files, "work": work}


def written_about(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A run that reads reasoning written out, by a model and its twins, and cuts its edges."""
    tokens, steps = WRITTEN
    read = parameters["examples"] * tokens * (2 + parameters["twins"])
    sources = (1 + parameters["twins"]) * (TRIALS + parameters["halves"])
    work = {
        "model": parameters["model"], "vocabulary": 600, "read": read, "longest": 2 * tokens,
        "keys": tokens / 2, "sets": 1, "fitted": parameters["examples"] * steps * 10 * sources,
        "models": 2,
    }  # fmt: skip
    label = f"written reasoning, {Path(parameters['data']).stem}"
    return {"label": label, "files": files_of(parameters), "work": work}


def training_about(task: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A finetuning, which makes the checkpoint that other runs need."""
    typical = task_class(task).typical(parameters)
    mean = sum(typical.lengths) / len(typical.lengths)
    held_out = parameters["lists" if task == "ksmallest" else "theory_questions"] / 100
    evaluated = 2 + (0 if parameters.get("dealt") else parameters["evaluations"])  # two on test
    # Before the first step, at each evaluation, and three twins; an eighth of a comparison each.
    filmed = parameters["evaluations"] + 4 if parameters.get("film") else 0
    seen = filmed * min(FILMED, held_out)
    work = {
        "model": parameters["model"], "vocabulary": typical.vocabulary,
        "read": (evaluated * held_out + seen) * mean, "longest": max(typical.lengths),
        "keys": mean / 2, "sets": filmed / 8,
        "fitted": seen / 8 * typical.statements * 4 * (TRIALS + 10), "models": 1 + bool(filmed),
        "trained": parameters["steps"] * parameters["batch_size"] * mean,
    }  # fmt: skip
    makes = checkpoint_files(task, parameters)
    for path in makes:
        claim(path.parent, f"checkpoint={parameters['checkpoint']!r}")
    files = files_of(parameters)
    return {"task": task, "label": typical.label, "makes": makes, "files": files, "work": work}


def files_of(parameters: Mapping[str, Any]) -> dict[str, Path]:
    """The files and folders that parameters name: a run is old when they are no longer the same."""
    found: dict[str, Path] = {}
    for name in FILES:
        given = parameters.get(name) or []
        for i, value in enumerate([given] if isinstance(given, str) else given):
            # A base and what adapts it, each by itself.
            parts = [value] if os.path.exists(resolve(value)) else value.split("+")
            paths = (resolve(part) for part in parts if part)
            found |= {f"{name}{i or ''}{'+' * j}": path for j, path in enumerate(paths)}
    return {name: path for name, path in found.items() if os.path.exists(path)}
