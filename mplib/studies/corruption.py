"""Runs of a model over clean and corrupted examples, each example once for each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from mplib.errors import InputError
from mplib.models.inference import Reading, attention_features, judge, read, scale_examples
from mplib.models.loading import LoadedModel, random_twins
from mplib.models.memory import fits_memory
from mplib.models.passes import passes
from mplib.models.prompts import Prompts, number_prompts
from mplib.probe.knn import ProbeSettings
from mplib.stats import example_weights, weighted_mean
from mplib.studies.checkpoints import finetuned_models, task_identity
from mplib.studies.language import ExampleSet, Procedure, Subject, read_sets, theory_sets
from mplib.studies.training_data import Task, start_model
from mplib.tasks.corruptions import (
    CORRUPTIONS,
    NUMBERS,
    corrupt_all,
    replace_number,
)
from mplib.tasks.ksmallest import KSmallest

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
class Outcome:
    """How every example was answered.

    Attributes:
        correct: whether rightly, shape (examples,); NaN where the corruption was impossible.
        log_probability: of the right answer, shape (examples,); NaN likewise.
    """

    correct: np.ndarray
    log_probability: np.ndarray


def spread(correct: np.ndarray, log_probability: np.ndarray, possible: np.ndarray) -> Outcome:
    """Puts the answers to the examples that could be corrupted in their places among all.

    Args:
        correct: of those examples, shape (possible examples,).
        log_probability: of those examples, shape (possible examples,).
        possible: True where the corruption was possible, shape (examples,).
    """
    places = np.full((2, len(possible)), np.nan)
    places[:, possible] = correct, log_probability
    return Outcome(*places)


def effects(
    clean: Outcome,
    corrupted: Mapping[str, Outcome],
    *,
    differences: Sequence[tuple[str, str]] = DIFFERENCES,
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """What each corruption does to the answers, and how much more one does than another.

    Clean and corrupted answers are those of the same examples, the ones where the corruption was
    possible; a difference of two changes is taken where both were.

    Args:
        clean: answers to the clean examples.
        corrupted: answers by corruption.
        differences: pairs of corruptions; one whose changes are not known is left out.
        groups: group of each example, drawn together by the bootstrap; each its own if None.
        resamples: bootstrap resamples behind each 95 % interval.
        seed: of the resamples.

    Returns:
        A row for each corruption and measure; in those that compare two corruptions, ``minus``
        names the second.

    Raises:
        InputError: answers of differently many examples.
    """
    member = number_groups(clean, corrupted, groups)
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
        if first in corrupted and second in corrupted:
            measures[first, second] = {
                measure: measures[first, ""][measure] - measures[second, ""][measure]
                for measure in ("change in accuracy", "change in log-probability")
            }
    rows = [
        {"corruption": first, "minus": second, "measure": measure, **_mean(values, weights)}
        for (first, second), by_measure in measures.items()
        for measure, values in by_measure.items()
    ]
    columns = ["corruption", "minus", "measure", "value", "low", "high", "examples", "note"]
    return pd.DataFrame(rows, columns=columns)


def number_groups(
    clean: Outcome, corrupted: Mapping[str, Outcome], groups: np.ndarray | None
) -> np.ndarray:
    """Number of each example's group, after a check that all arrays are of the same examples."""
    n = len(clean.correct)
    lengths = {name: len(found.correct) for name, found in corrupted.items()}
    lengths |= {} if groups is None else {"groups": len(groups)}
    for name, length in lengths.items():
        if length != n:
            raise InputError(
                f"{name}: {length} examples, but {n} clean ones; fill up those where a corruption "
                "was impossible with spread"
            )
    return np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]


def _mean(values: np.ndarray, weights: np.ndarray) -> dict[str, object]:
    """Mean over the examples that have a value, with its 95 % percentile interval."""
    known = ~np.isnan(values)
    if not known.any():
        return {"examples": 0, "note": "undefined: possible in no example"}
    found = weighted_mean(values[known], weights[:, known])
    return {**asdict(found), "examples": int(known.sum())}


@dataclass(frozen=True)
class Asked:
    """What a model gave for the same examples, clean and corrupted.

    Attributes:
        clean: answers to the clean examples.
        corrupted: answers by corruption.
        features: of the clean examples, shape (examples, statements, layers).
        twins: features of the random twins.
        heights: gold heights, shape (examples, statements).
        groups: group of each example.
        shown: the first example that allows it, by corruption, before and after.
    """

    clean: Outcome
    corrupted: dict[str, Outcome]
    features: np.ndarray
    twins: tuple[np.ndarray, ...]
    heights: np.ndarray
    groups: np.ndarray
    shown: pd.DataFrame


def subject(parameters: Mapping[str, Any], task: Task) -> Subject:
    """The model that a notebook's parameters name, finetuned or as it is.

    Raises:
        InputError: there is no such finetuned model, or numbers are asked of one that is not.
    """
    device, part = parameters["device"], parameters["trainable"]
    if parameters["finetuned"]:
        same = task_identity(task) if isinstance(task, KSmallest) else {"name": "ProofWriter"}
        tuned = finetuned_models(parameters, same, device)
        return Subject(f"finetuned ({part})", tuned[part], 0)
    if isinstance(task, KSmallest):
        raise InputError("finetuned=False: numbers are asked of a finetuned model only; set true")
    start = start_model(task, parameters["model"], device=device, seed=parameters["seed"])
    return Subject(f"{parameters['shots']}-shot", start, parameters["shots"])


def ask(
    parameters: Mapping[str, Any], task: Task, subject: Subject, settings: ProbeSettings
) -> Asked:
    """Asks what a notebook's parameters name; see ``ask_numbers`` and ``ask_examples``.

    Raises:
        InputError: there are fewer examples than the parameters ask for.
    """
    names, n = parameters["corruptions"], parameters["examples"]
    same = {"twins": parameters["twins"], "batch_size": parameters["batch_size"]}
    if isinstance(task, KSmallest):
        numbers = task.splits(parameters["lists"], parameters["seed"])[2][:n]
        if len(numbers) < n:
            raise InputError(
                f"examples={n}: lists={parameters['lists']} leaves {len(numbers)} test lists; "
                "lower examples or raise lists, in 01_finetune too"
            )
        return ask_numbers(
            subject.loaded, task, numbers, names, keep_order=parameters["keep_order"],
            seed=parameters["seed"], **same,
        )  # fmt: skip
    sets = theory_sets(task, "test", n, [subject.shots])
    for one in sets:
        if len(one.examples) < n:
            raise InputError(
                f"examples={n}: there are {len(one.examples)} test questions of {one.name!r}; "
                "lower examples or leave the case out"
            )
    together = ExampleSet(
        "theories", [example for one in sets for example in one.examples],
        [example for one in sets for example in one.train], max(one.depth for one in sets),
    )  # fmt: skip
    how = Procedure("proofwriter", settings=settings, seed=parameters["seed"], **same)
    return ask_examples(subject, together, names, how)


def chosen_corruptions(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """The corruptions that a notebook's parameter names, all of a task's where it is empty.

    Raises:
        InputError: one of them is none of this task.
    """
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"corruption {unknown[0]!r}: expected some of {', '.join(known)}")
    return list(names or known)


def ask_numbers(
    loaded: LoadedModel,
    task: KSmallest,
    lists: np.ndarray,
    names: Sequence[str] = (),
    *,
    twins: int = 1,
    keep_order: bool = False,
    batch_size: int = 256,
    seed: int = 0,
) -> Asked:
    """Asks for the k-th smallest of lists and of lists with one number replaced.

    Each corruption is judged twice on one run: by the answer to the clean list, and by the answer
    to the list as it now is (``..., new answer``). What the model should do is change the first
    where the second changed.

    Args:
        loaded: the model.
        task: which number is asked for.
        lists: clean lists, shape (examples, m).
        names: some of ``mplib.corruption.NUMBERS``; those that the task allows if empty.
        twins: random twins.
        keep_order: see ``mplib.corruption.replace_number``.
        batch_size: lists a forward pass.
        seed: of the corruptions and the twins.
    """
    possible = [name for name in NUMBERS if task.depth or name != "leaf replaced"]
    chosen = chosen_corruptions(names, possible)

    def prompts(of: np.ndarray) -> Prompts:
        return number_prompts(loaded.tokenizer, loaded.positions, task.pool, of, task.answers(of))

    clean = prompts(lists)
    read_clean = read(loaded.model, clean, batch_size=batch_size)
    corrupted: dict[str, Outcome] = {}
    rows = [{"corruption": "none", "list": _listed(lists[0]), "answer": task.answers(lists)[0]}]
    for name in chosen:
        found = replace_number(task, lists, name, seed, keep_order=keep_order)
        ok = found.positions >= 0
        after = prompts(found.lists[ok])
        judged = _judge_all(
            loaded.model, after, {name: clean.answers[ok], f"{name}, new answer": after.answers},
            batch_size,
        )  # fmt: skip
        corrupted |= {key: spread(*outcome, ok) for key, outcome in judged.items()}
        first = int(np.argmax(ok))
        rows.append({
            "corruption": name,
            "list": _listed(found.lists[first]),
            "answer": found.answers[first],
        })  # fmt: skip
    twin_features = (
        attention_features(twin, clean, batch_size=batch_size)
        for twin in random_twins(loaded.model, twins, seed)
    )
    return Asked(
        _outcome(read_clean), corrupted, scale_examples(read_clean.features),
        tuple(map(scale_examples, twin_features)), task.heights(lists), np.arange(len(lists)),
        pd.DataFrame(rows),
    )  # fmt: skip


def ask_examples(
    subject: Subject, examples: ExampleSet, names: Sequence[str], how: Procedure
) -> Asked:
    """Asks examples in words, clean and corrupted, behind the same demonstrations.

    Accuracy after a corruption is that of the clean answer: how often a model still gives it.

    Args:
        subject: the model and its number of demonstrations.
        examples: the clean examples.
        names: some of ``mplib.corruption.CORRUPTIONS``; all if empty.
        how: template, demonstrations, twins and layers.
    """
    chosen = chosen_corruptions(names, list(CORRUPTIONS))
    clean, model = examples.examples, subject.loaded.model
    (readings,) = read_sets([subject], [examples], how)
    shown = how.demonstrate(subject, examples)
    corrupted: dict[str, Outcome] = {}
    rows = [{"corruption": "none", "statements": " ".join(clean[0].statements)}]
    for name in chosen:
        changed, ok = corrupt_all(clean, name, how.seed)
        own = [shown[i] for i in np.flatnonzero(ok)]
        after, choices = how.write(subject, [one.example for one in changed], own)
        judged = _judge_all(model, after, {name: after.answers}, how.batch_size, choices)
        corrupted[name] = spread(*judged[name], ok)
        rows.append({"corruption": name, "statements": " ".join(changed[0].example.statements)})
    return Asked(
        _outcome(readings.model), corrupted, readings.model.features, readings.twins,
        examples.heights, examples.groups, pd.DataFrame(rows),
    )  # fmt: skip


def _listed(numbers: np.ndarray) -> str:
    return " ".join(map(str, numbers))


def _outcome(found: Reading) -> Outcome:
    assert found.correct is not None and found.log_probability is not None
    return Outcome(found.correct.astype(float), found.log_probability.astype(float))


@fits_memory
def _judge_all(
    model: PreTrainedModel, prompts: Prompts, answers: Mapping[str, np.ndarray], batch_size: int,
    choices: np.ndarray | None = None,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Correctness and log-probability of several answers to the same prompts, from one run."""
    judged = {name: (np.empty(len(prompts)), np.empty(len(prompts))) for name in answers}
    with passes(model, prompts, batch_size, "corrupted") as batches:
        for chosen, _, run in batches:
            logits = run().logits
            assert logits is not None
            for name, (correct, log_probability) in judged.items():
                right, score = judge(logits, answers[name][chosen], choices)
                correct[chosen], log_probability[chosen] = right, score
    return judged
