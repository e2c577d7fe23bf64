"""Where things lie; ``MPLIB_HOME`` moves all that is written elsewhere."""

import os
from contextlib import suppress
from pathlib import Path

from mplib.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
"""The checkout: notebooks, profiles and the book's sources."""


def home() -> Path:
    """The folder that holds ``runs/`` and ``checkpoints/``: the checkout, or ``MPLIB_HOME``."""
    return Path(os.environ.get("MPLIB_HOME", ROOT)).resolve()


def resolve(path: str | Path) -> Path:
    """An absolute path; relative ones count from ``home()``, wherever a notebook is started."""
    return home() / Path(path).expanduser()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        InputError: the disk is full or the folder cannot be written; what was there stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> InputError:
    """The one error for a place that takes no files."""
    return InputError(
        f"cannot write {path} ({error.strerror}): make room or make it writable, or set MPLIB_HOME "
        "to a folder that is; results written before are untouched"
    )
