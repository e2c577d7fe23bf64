"""Where things lie; ``MPLIB_HOME`` moves all that is written elsewhere."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mplib.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
"""The checkout: notebooks, profiles and the book's sources."""


def home() -> Path:
    """The folder that holds ``runs/`` and ``checkpoints/``: the checkout, or ``MPLIB_HOME``."""
    return Path(os.environ.get("MPLIB_HOME", ROOT)).resolve()


def resolve(path: str | Path) -> Path:
    """An absolute path; relative ones count from ``home()``, wherever a notebook is started."""
    return home() / Path(path).expanduser()


def checkpoint_folder(parameters: Mapping[str, Any]) -> Path:
    """The folder that a notebook's ``checkpoint`` parameter names, its other parameters filled in.

    Raises:
        InputError: the name asks for a parameter that does not exist.
    """
    words = {
        name: value.replace("/", "--") if name == "model" else value
        for name, value in parameters.items()
    }
    try:
        return resolve(str(parameters["checkpoint"]).format(**words))
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"checkpoint={parameters['checkpoint']!r}: {error} is no parameter; use names such as "
            "{model}, {k} or {seed}"
        ) from None
