"""Runs become pages, pages become a book, and small tables become results that are kept."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import yaml

from mplib.errors import InputError
from mplib.files import (
    ROOT,
    discard,
    exclusive,
    home,
    listing,
    others,
    put_in_place,
    unwritable,
    write_atomically,
)
from mplib.runs.engine import Engine, call, run_all
from mplib.runs.page import page
from mplib.runs.profiles import Job, Profile
from mplib.runs.record import KEYS
from mplib.runs.repository import address, notebook_links

PAGES = ("[0-9]*.ipynb", "*.md", "*.svg", "_toc.yml")
"""What is written into ``book/pages/``; the contents tell that the book is this tool's."""


BUILT = "built.json"
"""The file that is written last into ``book/_build/`` and lists the others."""


KEPT_BYTES = 500_000
"""Files above this size, such as single predictions, are no reference tables."""


def build_book(profile: Profile, engine: Engine, strict: bool, extra: Mapping[str, str]) -> Path:
    """Runs whatever a profile still lacks and renders the book; returns its first page.

    Args:
        profile: which runs.
        engine: how the notebooks are run.
        strict: whether a warning of the book's builder is an error.
        extra: texts of further pages by their files' names.

    Raises:
        InputError: a bad profile, or another build is at work here.
        NotebookFailed: a notebook or the book failed.
    """
    with exclusive(home() / "runs" / ".lock", wait=False) as lock:
        run_all(profile, engine, lock)
        print("building the pages, about 1 min", file=sys.stderr, flush=True)
        return _render(_collect(profile.jobs, extra), strict, lock)


def _collect(jobs: list[Job], extra: Mapping[str, str]) -> Path:
    """Copies the executed notebooks into the book and lists them in its contents.

    Raises:
        InputError: a folder of somebody else's has the book's name, or it cannot be written.
    """
    book = home() / "book"
    pages = book / "pages"
    if not is_ours(book):
        raise InputError(f"{book} is no book of this tool's: set MPLIB_HOME to another folder")
    # Another profile's pages too, or they would be published with this one's.
    discard(pages, PAGES)
    write_atomically(pages / "_toc.yml", "")
    if book != ROOT / "book":
        for path in (ROOT / "book").rglob("*"):
            inside = path.relative_to(ROOT / "book")
            if path.is_file() and inside.parts[0] not in ("_build", "pages"):
                # The content alone: what is copied may be read-only.
                write_atomically(book / inside, path.read_bytes())
    by_notebook: dict[str, list[str]] = {}
    repository = address()
    for job in jobs:
        taken = by_notebook.setdefault(job.notebook.name, [])
        name = f"{job.notebook.name}-{job.folder.name}" if taken else job.notebook.name
        executed = nbformat.read(job.executed, as_version=4)
        links = notebook_links(job.notebook.name, repository)
        nbformat.write(page(executed, links), pages / f"{name}.ipynb")
        taken.append(f"pages/{name}")
    lines = [f"- [](pages/{path.name})" for path in sorted(pages.glob("[0-9]*.ipynb"))]
    write_atomically(pages / "experiments.md", "\n".join(lines) + "\n")
    for name, text in extra.items():
        write_atomically(pages / name, text)
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    for part in contents["parts"]:
        part["chapters"] = [_chapter(c, by_notebook) for c in part["chapters"] if _exists(c, book)]
    contents["parts"] = [part for part in contents["parts"] if part["chapters"]]
    write_atomically(pages / "_toc.yml", yaml.safe_dump(contents, sort_keys=False))
    return book


def is_ours(book: Path) -> bool:
    """Whether a folder is the book, or may become it."""
    known = book == ROOT / "book" or (book / "pages" / "_toc.yml").is_file()
    return known or not others(book, ())


def _exists(chapter: dict[str, Any], book: Path) -> bool:
    """Whether a chapter's page is there; a profile need not run every notebook."""
    return any(book.glob(f"{chapter['file']}.*"))


def _chapter(chapter: dict[str, Any], made: Mapping[str, list[str]]) -> dict[str, Any]:
    """A chapter with the further runs of its notebook as sections."""
    further = made.get(Path(chapter["file"]).name, [])[1:]
    return {**chapter, "sections": [{"file": file} for file in further]} if further else chapter


def _render(book: Path, strict: bool, lock: int) -> Path:
    """Calls Jupyter Book; what it built before is replaced when the new book is whole."""
    fresh = book / ".rendering"
    discard(fresh, ["_build/**/*"])
    command = [
        str(Path(sys.executable).with_name("jupyter-book")), "build", str(book), "--config",
        str(ROOT / "_config.yml"), "--toc", str(book / "pages" / "_toc.yml"), "--quiet",
        "--path-output", str(fresh),
        *(["-W", "-n", "--keep-going"] if strict else []),
    ]  # fmt: skip
    # It would name the place in which it renders; warnings and errors are not on this channel.
    failure = "the book could not be built: the messages above say why"
    call(command, lock, failure, stdout=subprocess.DEVNULL)
    built = fresh / "_build"
    write_atomically(built / BUILT, json.dumps({"files": listing(built, hidden=True)}))
    put_in_place(built, book / "_build", BUILT)
    discard(fresh, [])
    return book / "_build" / "html" / "index.html"


def keep(profile: Profile) -> list[Path]:
    """Copies the small tables, figures and manifests of a profile's runs into ``results/``.

    Of views what they show; no figures of a notebook that has several runs: the tables say it all.

    Returns:
        The folders written, one for each run.

    Raises:
        InputError: a run is not finished.
    """
    jobs = profile.jobs
    if lacking := [job for job in jobs if not job.is_finished]:
        raise InputError(
            f"{lacking[0].name} is {lacking[0].state}: run `make book PROFILE={profile.name}` first"
        )
    folder = ROOT / "results" / Path(profile.name).stem
    kept = []
    try:
        for name in {job.notebook.name for job in jobs}:
            for old in [*(folder / name).glob(f"*_{KEYS}"), folder / name]:
                discard(old, ["manifest.json", "*.csv", "*.png", "*.view.json"])
        for job in jobs:
            target, shown = folder / job.notebook.name, job.folder / "figures"
            pictures = [*shown.glob("*.png"), *shown.glob("*.view.json")]
            if sum(other.notebook == job.notebook for other in jobs) > 1:
                target, pictures = target / job.folder.name, []
            for path in [job.folder / "manifest.json", *job.folder.glob("*.csv"), *pictures]:
                if path.stat().st_size <= KEPT_BYTES:
                    write_atomically(target / path.name, path.read_bytes())
            kept.append(target)
    except OSError as error:
        raise unwritable(folder, error) from error
    return kept
