"""Finetuned models on disk: where they lie, what they say of their training, loading them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mplib.errors import InputError
from mplib.files import resolve
from mplib.tasks.task import Task, task_class

if TYPE_CHECKING:
    from mplib.models.loading import LoadedModel

TRAINABLE = ("all", "attention", "mlp", "layernorm", "bias", "lora")
"""What of a model can be finetuned."""


def checkpoint_folder(task: str, parameters: Mapping[str, Any]) -> Path:
    """The folder that a notebook's ``checkpoint`` parameter names, its other parameters filled in.

    ``auto`` names the folder after the task, the model, the part that trains and the seed.

    Args:
        task: the task's name in the registry.
        parameters: the notebook's.

    Raises:
        InputError: the name asks for a parameter that does not exist.
    """
    kind = task_class(task)
    chosen = json.dumps([parameters.get(key) for key in kind.checkpoint_hash])
    digest = hashlib.sha256(chosen.encode()).hexdigest()[:8]
    words = {**parameters, "task": task, "hash": digest, "theories": digest}
    words["model"] = parameters["model"].replace("/", "--")
    name = str(parameters["checkpoint"])
    try:
        return resolve((kind.checkpoint if name == "auto" else name).format(**words))
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"checkpoint={parameters['checkpoint']!r}: {error} is no parameter; use names such as "
            "{model}, {k} or {seed}"
        ) from None


def checkpoint_folders(task: str, parameters: Mapping[str, Any]) -> dict[str, Path]:
    """The folders of the finetuned models that a notebook's parameters name, by what is trained.

    ``trainable`` names one; ``trainables`` names several, or every possible one where it is empty.
    """
    one = parameters.get("trainable")
    parts = [one] if one else parameters.get("trainables") or TRAINABLE
    return {part: checkpoint_folder(task, {**parameters, "trainable": part}) for part in parts}


def checkpoint_files(task: str, parameters: Mapping[str, Any]) -> list[Path]:
    """The file that is written last of every checkpoint that a notebook's parameters name."""
    return [each / "training.json" for each in checkpoint_folders(task, parameters).values()]


def read_training(folder: Path) -> dict[str, Any] | None:
    """What a finished checkpoint says of its training, or None where there is none."""
    path = folder / "training.json"
    return json.loads(path.read_text()) if path.is_file() else None


def require_checkpoint(folder: Path, task: Task) -> dict[str, Any]:
    """What the checkpoint says of its training, once it is sure that it is the task's.

    Raises:
        InputError: no checkpoint there, or one that was trained for something else.
    """
    training = read_training(folder)
    if training is None:
        raise InputError(
            f"no finetuned model in {folder}: run the notebook 01_finetune with the same "
            "parameters first"
        )
    trained = training["identity"]["task"]
    for name, value in task.trained_for.items():
        if trained.get(name) != value:
            raise InputError(
                f"the model in {folder} was trained for {name}={trained.get(name)!r}, not "
                f"{name}={value!r}: run 01_finetune for that or name another checkpoint"
            )
    return training


def finetuned_models(
    parameters: Mapping[str, Any], task: Task, required: bool = True
) -> "dict[str, LoadedModel]":
    """The finished finetunings that a notebook's parameters name, by the part that trained.

    Where none is ``required`` and none is there, the result is empty.

    Raises:
        InputError: none of them is there, or one was trained for another task.
    """
    from mplib.models.loading import load_model  # late: plans need the names alone, and no torch

    folders = checkpoint_folders(task.name, parameters)
    present = {part: folder for part, folder in folders.items() if read_training(folder)}
    if not (present or required):
        return {}
    for folder in (present or folders).values():
        require_checkpoint(folder, task)
    device = parameters["device"]
    return {part: load_model(str(folder), device=device) for part, folder in present.items()}
