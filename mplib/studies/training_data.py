"""What a model is finetuned on: each task's training, development and test prompts."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from mplib.errors import InputError
from mplib.models import fewshot
from mplib.models.loading import LoadedModel, load_model
from mplib.models.prompts import Prompts, number_prompts
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.proofwriter import generator
from mplib.tasks.proofwriter.task import ProofWriter

Task = KSmallest | ProofWriter


TASKS = {"ksmallest": KSmallest, "proofwriter": ProofWriter}
"""Tasks that a model can be finetuned on."""


def choose_task(parameters: Mapping[str, Any]) -> Task:
    """The task that a notebook's parameters name, made from those that are its own.

    Raises:
        InputError: no such task, or parameters it refuses.
    """
    name = parameters["task"]
    if name not in TASKS:
        raise InputError(f"task={name!r}: expected one of {', '.join(TASKS)}")
    kind: type[Task] = TASKS[name]
    own = {field.name: parameters[field.name] for field in fields(kind)}
    own |= {key: tuple(value) for key, value in own.items() if isinstance(value, list)}
    return kind(**own)


def start_model(task: Task, name: str, **options: Any) -> LoadedModel:
    """The model to begin with; a preset gets the task's own vocabulary."""
    if isinstance(task, KSmallest):
        return load_model(name, numbers=task.pool, **options)
    return load_model(name, words=generator.vocabulary(), **options)


@dataclass(frozen=True)
class Splits:
    """Prompts to train on, to choose the best state with, and to measure with.

    Attributes:
        train: training prompts.
        dev: development prompts.
        test: test prompts, never trained on.
        choices: tokens among which the answer is looked for; None for the whole vocabulary.
    """

    train: Prompts
    dev: Prompts
    test: Prompts
    choices: np.ndarray | None = None


def splits(task: Task, loaded: LoadedModel, n: int, seed: int) -> Splits:
    """Draws or reads n problems, 98 % of them for training, and puts them into prompts.

    Questions about theories are asked without demonstrations; the loss looks at the answer alone.
    """
    if isinstance(task, KSmallest):
        train, dev, test = (
            number_prompts(loaded.tokenizer, loaded.positions, task.pool, part, task.answers(part))
            for part in task.splits(n, seed)
        )
        return Splits(train, dev, test)
    held_out = max(8, n // 100)
    parts, choices = [], None
    for split, count in (("train", n - 2 * held_out), ("dev", held_out), ("test", held_out)):
        examples = task.training(split, count)
        prompts, choices = fewshot.few_shot(
            loaded.tokenizer, examples, [[]] * len(examples), template="proofwriter",
            max_tokens=loaded.positions,
        )  # fmt: skip
        parts.append(prompts.whole())
    train, dev, test = parts
    return Splits(train, dev, test, choices)


def preview(loaded: LoadedModel, prompts: Prompts, n: int = 3) -> pd.DataFrame:
    """A few prompts as the model reads them, with the answer it should give."""
    texts = [ids[mask] for ids, mask in zip(prompts.input_ids, prompts.attention_mask, strict=True)]
    return pd.DataFrame({
        "prompt": loaded.tokenizer.batch_decode(texts[:n]),
        "answer": loaded.tokenizer.batch_decode(prompts.answers[:n, None]),
    })  # fmt: skip
