"""Removes what runs, trainings and the book left: what this tool made, and nothing else."""

import re
import shutil
from contextlib import ExitStack
from pathlib import Path

from mplib.files import (
    ROOT,
    STATE,
    UNLISTED,
    discard,
    exclusive,
    home,
    settle,
    unwritable,
    written_in,
)
from mplib.runs.pages import PAGES, is_ours
from mplib.runs.profiles import RUN
from mplib.runs.record import UNFINISHED

SEALS = ("manifest.json", "training.json", "unpacked.json")
"""Each is the last file written into a folder of a run, a checkpoint, an unpacked model."""


def clean() -> list[Path]:
    """Removes runs, checkpoints and the built book.

    Returns:
        What is left in ``runs/`` and ``checkpoints/``, since this tool did not make it.

    Raises:
        InputError: a build, a run or a training is at work, or something cannot be removed.
    """
    places = [home() / "runs", home() / "checkpoints"]
    try:
        with ExitStack() as held:
            locks = [lock for place in places for lock in place.rglob(".*lock") if _is_lock(lock)]
            for lock in locks:
                held.enter_context(exclusive(lock, wait=False))
            for place in places:
                _clean(place)
            book = home() / "book"
            if book.is_dir() and is_ours(book):
                shutil.rmtree(book / "_build", ignore_errors=True)
                discard(book / "pages", PAGES)
                if book != ROOT / "book":
                    sources = [path for path in (ROOT / "book").rglob("*") if path.is_file()]
                    discard(book, [str(path.relative_to(ROOT / "book")) for path in sources])
    except OSError as error:
        raise unwritable(Path(error.filename or home()), error) from error
    for place in places:
        for folder in sorted((p for p in place.rglob("*") if p.is_dir()), reverse=True):
            discard(folder, [])
        discard(place, [])
    return [path for place in places if place.is_dir() for path in sorted(place.iterdir())]


def _is_lock(lock: Path) -> bool:
    """Whether a file is a lock of this tool's: it holds a process and perhaps a word."""
    return lock.is_file() and bool(re.fullmatch(r"(\d+( [0-9a-f]{8})?)?", lock.read_text()[:40]))


def _clean(place: Path) -> None:
    """Removes what this tool made in ``runs/`` or ``checkpoints/``."""
    for seal in SEALS:
        for path in [*place.rglob(seal)]:
            settle(path.parent, seal)
            discard(path.parent, written_in(path.parent, seal))
