"""TODO."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mplib.errors import InputError
from mplib.files import resolve
from mplib.models.loading import LoadedModel, load_model

TRAINABLE = ("all", "attention", "mlp", "layernorm", "bias", "lora")
"""What of a model can be finetuned."""


CHECKPOINT = (
    "checkpoints/ksmallest/{model}_m{m}_pool{pool}_repeats{repeats:d}_k{k}_{trainable}_seed{seed}"
)
"""Where a finetuned model goes that is not given a place of its own."""


LANGUAGE_CHECKPOINT = "checkpoints/proofwriter/{model}_{theories}_{trainable}_seed{seed}"
"""The same for theories; ``theories`` is a hash of the parameters in ``THEORIES``."""


THEORIES = ("data", "cases", "style", "negation", "world", "order")
"""Parameters that say which theories a model is finetuned on."""


def checkpoint_folder(parameters: Mapping[str, Any]) -> Path:
    """The folder that a notebook's ``checkpoint`` parameter names, its other parameters filled in.

    ``auto`` names the folder after the task, the model, the part that trains and the seed.

    Raises:
        InputError: the name asks for a parameter that does not exist.
    """
    words = {
        name: value.replace("/", "--") if name == "model" else value
        for name, value in parameters.items()
    }
    name = str(parameters["checkpoint"])
    if name == "auto":
        task = parameters.get("task", "proofwriter" if "cases" in parameters else "ksmallest")
        name = LANGUAGE_CHECKPOINT if task == "proofwriter" else CHECKPOINT
    if "cases" in parameters:
        chosen = json.dumps([parameters[key] for key in THEORIES])
        words["theories"] = hashlib.sha256(chosen.encode()).hexdigest()[:8]
    try:
        return resolve(name.format(**words))
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"checkpoint={parameters['checkpoint']!r}: {error} is no parameter; use names such as "
            "{model}, {k} or {seed}"
        ) from None


def checkpoint_folders(parameters: Mapping[str, Any]) -> dict[str, Path]:
    """The folders of the finetuned models that a notebook's parameters name, by what is trained.

    ``trainable`` names one; ``trainables`` names several, or every possible one where it is empty.
    """
    one = parameters.get("trainable")
    parts = [one] if one else parameters.get("trainables") or TRAINABLE
    return {part: checkpoint_folder({**parameters, "trainable": part}) for part in parts}


def task_identity(task: Any) -> dict[str, Any]:
    """What identifies a task in manifests and checkpoints: its name and its attributes."""
    return {"name": type(task).__name__, **asdict(task)}


def read_training(folder: Path) -> dict[str, Any] | None:
    """What a finished checkpoint says of its training, or None where there is none."""
    path = folder / "training.json"
    return json.loads(path.read_text()) if path.is_file() else None


def require_checkpoint(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
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
    for name, value in task.items():
        if trained.get(name) != value:
            raise InputError(
                f"the model in {folder} was trained for {name}={trained.get(name)!r}, not "
                f"{name}={value!r}: run 01_finetune for that or name another checkpoint"
            )
    return training


def finetuned_models(
    parameters: Mapping[str, Any],
    task: dict[str, Any],
    device: str = "auto",
    required: bool = True,
) -> dict[str, LoadedModel]:
    """The finished finetunings that a notebook's parameters name, by the part that trained.

    Where none is ``required`` and none is there, the result is empty.

    Raises:
        InputError: none of them is there, or one was trained for another task.
    """
    folders = checkpoint_folders(parameters)
    present = {part: folder for part, folder in folders.items() if read_training(folder)}
    if not (present or required):
        return {}
    for folder in (present or folders).values():
        require_checkpoint(folder, task)
    return {part: load_model(str(folder), device=device) for part, folder in present.items()}
