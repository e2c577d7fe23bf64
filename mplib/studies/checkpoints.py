"""Finetuned models on disk: where they lie, what they say of their training, loading them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mplib.errors import InputError
from mplib.files import ROOT, STATE, UNLISTED, home, others, resolve, sealed
from mplib.tasks.task import Task, task_class

if TYPE_CHECKING:
    from mplib.models.loading import LoadedModel

SEAL = "training.json"
"""The file that is written last into a checkpoint."""


TRAINABLE = ("all", "attention", "mlp", "layernorm", "bias", "lora")
"""What of a model can be finetuned."""


def checkpoint_folder(task: str, parameters: Mapping[str, Any]) -> Path:
    """The folder that a notebook's ``checkpoint`` parameter names, its other parameters filled in.

    ``auto`` names the folder after the task, the model, the part that trains and the seed, and says
    where answers are dealt; another name may hold that one as ``{auto}``.

    Args:
        task: the task's name in the registry.
        parameters: the notebook's.

    Raises:
        InputError: the name asks for a parameter that does not exist, or is no place for a
            checkpoint.
    """
    kind = task_class(task)
    chosen = json.dumps([parameters.get(key) for key in kind.checkpoint_hash])
    digest = hashlib.sha256(chosen.encode()).hexdigest()[:8]
    words = {**parameters, "task": task, "hash": digest, "theories": digest}
    words["model"] = parameters["model"].replace("/", "--")
    name = str(parameters["checkpoint"])
    try:
        auto = kind.checkpoint + "_dealt" * bool(parameters.get("dealt"))
        pattern = auto if name == "auto" else name.replace("{auto}", auto)
        filled = pattern.format(**words)
    except (LookupError, ValueError, AttributeError) as error:
        raise InputError(
            f"checkpoint={name!r}: {error} is no parameter; use names such as {{model}}, {{k}} or "
            "{seed}"
        ) from None
    return _place(filled, f"checkpoint={name!r}")


def _place(name: str, given: str) -> Path:
    """The folder of a name, unless it holds other things or this tool uses it itself.

    Raises:
        InputError: it is such a name.
    """
    folder, parts = resolve(name.replace("\0", "")).resolve(), Path(name).parts
    runs, checkpoints = home() / "runs", home() / "checkpoints"
    # Hidden folders below a place that the user names in full are his own choice.
    hidden = parts[-1:] if Path(name).is_absolute() or name.startswith("~") else parts
    if (
        not name.strip()
        or not name.isprintable()
        or ".." in parts
        or any(part.startswith(".") for part in hidden)
        or folder.name.endswith(".partial")
        or any(place.is_relative_to(folder) for place in (ROOT, runs, checkpoints))
        or folder.is_relative_to(runs)
    ):
        raise InputError(
            f"{given} is no place for a finetuned model: use a name such as checkpoints/mine, or "
            "the path of a folder that is new or empty"
        )
    return folder


def claim(folder: Path, given: str) -> None:
    """Makes sure that a training may write there, and that all it replaces is a checkpoint.

    Args:
        folder: where the checkpoint is to lie.
        given: what names it, for the error.

    Raises:
        InputError: something else lies there, or it lies in another checkpoint.
    """
    partial = unfinished(folder)
    for place in (folder, partial):
        if place.exists() and not place.is_dir():
            raise InputError(f"{given}: {place} is a file; name a folder that is new or empty")
    if (found := others(folder, ())) and not _is_checkpoint(folder):
        raise InputError(
            f"{given}: {folder} holds {found[0]}, which is no finetuned model of this tool's; name "
            "a folder that is new or empty"
        )
    for outer in folder.parents:
        if "identity" in (sealed(outer, SEAL) or {}):
            raise InputError(
                f"{given}: {outer} is a finetuned model itself; name a folder that is not in it"
            )
    if found := others(partial, STATE):
        raise InputError(
            f"{given}: {partial} holds {found[0]}, which is nothing of a training's; move it "
            "elsewhere or use another name"
        )


def unfinished(folder: Path) -> Path:
    """Where the state of the training lies until the checkpoint is finished."""
    return folder.with_name(f"{folder.name}.partial")


def _is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a checkpoint, be it one that a power cut left incomplete."""
    if not (folder / SEAL).is_file():
        return False
    try:
        return {"task", "training"} <= json.loads((folder / SEAL).read_bytes())["identity"].keys()
    except (ValueError, LookupError, TypeError, AttributeError):
        return not others(folder, UNLISTED)


def checkpoint_folders(task: str, parameters: Mapping[str, Any]) -> dict[str, Path]:
    """The folders of the finetuned models that a notebook's parameters name, by what is trained.

    ``trainable`` names one; ``trainables`` names several, or every possible one where it is empty.
    """
    one = parameters.get("trainable")
    parts = [one] if one else parameters.get("trainables") or TRAINABLE
    return {part: checkpoint_folder(task, {**parameters, "trainable": part}) for part in parts}


def checkpoint_files(task: str, parameters: Mapping[str, Any]) -> list[Path]:
    """The file that is written last of every checkpoint that a notebook's parameters name."""
    return [each / SEAL for each in checkpoint_folders(task, parameters).values()]


def read_training(folder: Path) -> dict[str, Any] | None:
    """What a finished checkpoint says of its training, or None where none is whole."""
    found = sealed(folder, SEAL) or {}
    return found if "identity" in found else None


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
    loading = {key: parameters[key] for key in ("device", "dtype") if key in parameters}
    found = {}
    for part, folder in (present or folders).items():
        trained = require_checkpoint(folder, task)["identity"]["training"]
        # An adapter's base may be a preset, which starts from these.
        base = {"vocabulary": task.vocabulary, "seed": trained["seed"]} if part == "lora" else {}
        found[part] = load_model(str(folder), **base, **loading)
    return found
