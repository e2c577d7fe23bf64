"""Where things lie; ``MPLIB_HOME`` moves all that is written elsewhere."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout: notebooks, profiles and the book's sources."""


def home() -> Path:
    """The folder that holds ``runs/`` and ``checkpoints/``: the checkout, or ``MPLIB_HOME``."""
    return Path(os.environ.get("MPLIB_HOME", ROOT)).resolve()


def resolve(path: str | Path) -> Path:
    """An absolute path; relative ones count from ``home()``, wherever a notebook is started."""
    return home() / Path(path).expanduser()
