"""Where things lie; ``MPLIB_HOME`` moves all that is written elsewhere."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mplib.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
"""The checkout: notebooks, profiles and the book's sources."""


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


def home() -> Path:
    """The folder that holds ``runs/`` and ``checkpoints/``: the checkout, or ``MPLIB_HOME``."""
    return Path(os.environ.get("MPLIB_HOME", ROOT)).resolve()


def resolve(path: str | Path) -> Path:
    """An absolute path; relative ones count from ``home()``, wherever a notebook is started."""
    return home() / Path(path).expanduser()


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
