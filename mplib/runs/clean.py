"""Removes what runs, trainings and the book left: what this tool made, and nothing else."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from mplib.files import ROOT, STATE, discard, exclusive, home, others, unwritable, written_in
from mplib.runs.pages import BUILT, PAGES, is_ours
from mplib.runs.record import KEYS, UNFINISHED


def clean() -> list[Path]:
    """Removes runs, checkpoints and the built book.

    Returns:
        What is left in ``runs/`` and ``checkpoints/``, since this tool did not make it.

    Raises:
        InputError: a build, a run or a training is at work, or something cannot be removed.
    """
    places = [home() / "runs", home() / "checkpoints"]
    found = [lock for place in places for lock in place.rglob(".*lock") if _is_lock(lock)]
    # The build's own first, whether it is there or not: none begins meanwhile.
    locks = dict.fromkeys([places[0] / ".lock", *found])
    touched = {lock.parent for lock in locks}
    try:
        with ExitStack() as held:
            for lock in locks:
                held.enter_context(exclusive(lock, wait=False))
            for folder, patterns in [*_of_runs(places[0]), *_of_trainings(places[1])]:
                discard(folder, patterns)
                touched.add(folder)
            _clean_book(home() / "book")
    except OSError as error:
        raise unwritable(Path(error.filename or home()), error) from error
    for folder in sorted(touched, reverse=True):
        for each in (folder, *folder.parents):
            if any(each.is_relative_to(place) for place in places):
                with suppress(OSError):
                    each.rmdir()  # where it is empty
    return [path for place in places if place.is_dir() for path in sorted(place.iterdir())]


def _is_lock(lock: Path) -> bool:
    """Whether a file is a lock of this tool's: it holds a process and perhaps a word."""
    with suppress(OSError, ValueError), lock.open() as file:
        return bool(re.fullmatch(r"(\d+( [0-9a-f]{8})?)?", file.read(40)))
    return False


def _of_runs(runs: Path) -> Iterator[tuple[Path, Sequence[str]]]:
    """Folders with patterns of what runs made in them; their names end in a run's key."""
    for folder in runs.glob(f"*/*_{KEYS}"):
        if (folder / "manifest.json").is_file():
            yield folder, written_in(folder, "manifest.json")
    for folder in runs.glob(f"*/.*_{KEYS}.replaced"):
        yield folder, written_in(folder, "manifest.json")
    for folder in runs.glob(f"*/.*_{KEYS}.partial"):
        yield folder, UNFINISHED
    for folder in runs.glob("*"):
        yield folder, [f".*_{KEYS}.ipynb", f"*_{KEYS}.failed.ipynb"]


def _of_trainings(checkpoints: Path) -> Iterator[tuple[Path, Sequence[str]]]:
    """Folders with patterns of what trainings and unpacked models left in them."""
    for seal, key in {"training.json": "identity", "unpacked.json": "files"}.items():
        for path in checkpoints.rglob(seal):
            with suppress(OSError, ValueError):
                if key in json.loads(path.read_bytes()):
                    yield path.parent, written_in(path.parent, seal)
    for folder in checkpoints.rglob("*.partial"):
        if not others(folder, STATE):
            yield folder, STATE


def _clean_book(book: Path) -> None:
    """Removes the built book, and where it is a copy elsewhere, its sources."""
    if not is_ours(book):
        return
    discard(book / "_build", written_in(book / "_build", BUILT))
    discard(book / ".rendering", ["_build/**/*"])
    discard(book / "pages", PAGES)
    if book != ROOT / "book":
        sources = [path for path in (ROOT / "book").rglob("*") if path.is_file()]
        discard(book, [str(path.relative_to(ROOT / "book")) for path in sources])
