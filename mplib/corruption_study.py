"""Runs of a model over clean and corrupted examples, each example once for each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from mplib.attention import passes
from mplib.corruption import (
    CORRUPTIONS,
    NUMBERS,
    Outcome,
    corrupt_all,
    replace_number,
    spread,
)
from mplib.errors import InputError
from mplib.evaluation import judge
from mplib.features import Reading, attention_features, read, scale_examples
from mplib.finetune import finetuned_models
from mplib.language import ExampleSet, Protocol, Subject, read_sets, theory_sets
from mplib.memory import fits_memory
from mplib.models import LoadedModel, random_twins
from mplib.probe import Settings
from mplib.prompts import Prompts, number_prompts
from mplib.results import task_identity
from mplib.tasks.ksmallest import KSmallest
from mplib.training_data import Task, start_model


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


def ask(parameters: Mapping[str, Any], task: Task, subject: Subject, settings: Settings) -> Asked:
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
    how = Protocol("proofwriter", settings=settings, seed=parameters["seed"], **same)
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
    subject: Subject, examples: ExampleSet, names: Sequence[str], how: Protocol
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


def sentences(effects: pd.DataFrame, correlations: pd.DataFrame, accuracy: float) -> list[str]:
    """What the tables say, in words, every number from them."""
    lines = [f"Accuracy on the clean examples: {accuracy:.1%}.".replace("%", " %")]
    found = effects[(effects.measure == "change in accuracy") & effects.value.notna()]
    for row in found.itertuples():
        against = f" minus that of *{row.minus}*" if row.minus else ""
        lines.append(
            f"Change in accuracy by *{row.corruption}*{against}: **{row.value:+.3f}** "
            f"[{row.low:+.3f}, {row.high:+.3f}], {row.examples} examples."
        )
    for row in correlations.itertuples():
        if pd.isna(row.value):
            lines.append(f"Correlation of {row.first} and {row.second}: {row.note}.")
            continue
        lines.append(
            f"Correlation of {row.first} and {row.second} over the draws: **{row.value:+.2f}** "
            f"[{row.low:+.2f}, {row.high:+.2f}]; taking draws for independent, as the paper does, "
            f"one would say [{row.naive_low:+.2f}, {row.naive_high:+.2f}]."
        )
    return lines
