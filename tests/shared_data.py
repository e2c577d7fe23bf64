"""Where the tests find real data that the project does not contain."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("MPLIB_SHARED", Path(__file__).parents[2] / "shared"))


def shared(name: str) -> Path:
    """A file of the shared development data; skips the test where it is absent."""
    path = SHARED / "data" / name
    if not path.is_file():
        pytest.skip(f"no {path}: set MPLIB_SHARED to the folder that holds data/")
    return path
