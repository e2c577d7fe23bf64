"""A profile becomes runs, runs become pages, pages become a book."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml

from mplib import readme
from mplib.errors import InputError, NotebookFailed, suggest
from mplib.notebooks import Notebook
from mplib.paths import ROOT, checkpoint_folders, home
from mplib.results import run_folder
from mplib.run import exclusive

FINETUNE = "01_finetune"
KEPT_BYTES = 500_000
"""Files above this size, such as single predictions, are no reference tables."""


@dataclass(frozen=True)
class Job:
    """One notebook with one set of parameters, and what it needs and makes.

    Attributes:
        notebook: the notebook.
        parameters: all its parameters.
        checkpoints: finetuned models it writes (finetuning) or reads (the others).
    """

    notebook: Notebook
    parameters: dict[str, Any]
    checkpoints: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        """Where its results belong."""
        return run_folder(self.notebook, self.parameters)

    @property
    def name(self) -> str:
        """A name for its Snakemake rule."""
        return f"{self.notebook.name}_{self.folder.name}"

    @property
    def writes_checkpoint(self) -> bool:
        """Whether it trains the model that others read."""
        return self.notebook.name == FINETUNE


def read_profile(name: str) -> dict[str, Any]:
    """Reads ``profiles/NAME.yaml``.

    Raises:
        InputError: there is no such profile, or it has unknown keys.
    """
    known = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))
    if name not in known:
        raise InputError(
            f"unknown profile {name!r}: expected one of {', '.join(known)}.{suggest(name, known)}"
        )
    profile = yaml.safe_load((ROOT / "profiles" / f"{name}.yaml").read_text())
    keys = ["about", "threads", "all", "notebooks"]
    if unknown := [key for key in profile if key not in keys]:
        raise InputError(
            f"profile {name!r} has an unknown key {unknown[0]!r}: expected {', '.join(keys)}."
            f"{suggest(unknown[0], keys)}"
        )
    return profile


def plan(profile_name: str) -> list[Job]:
    """Every run of a profile, each list of values expanded to one run a value.

    A notebook may be given several sets of parameters, as a list.

    Raises:
        InputError: an unknown profile, notebook or parameter, or a value of the wrong type.
    """
    profile = read_profile(profile_name)
    common = profile.get("all") or {}
    chosen = {
        Notebook.find(name).name: own if isinstance(own, list) else [own or {}]
        for name, own in profile["notebooks"].items()
    }
    notebooks = [notebook for notebook in Notebook.all() if notebook.name in chosen]
    for name in common:
        if not any(name in notebook.parameters for notebook in notebooks):
            every = sorted({p for notebook in notebooks for p in notebook.parameters})
            raise InputError(
                f"profile {profile_name!r} sets {name!r} for all, but no notebook has it."
                f"{suggest(name, every)}"
            )
    return [
        _job(notebook, values)
        for notebook in notebooks
        for own in chosen[notebook.name]
        for values in _expand(
            notebook, {n: v for n, v in common.items() if n in notebook.parameters} | own
        )
    ]


def _expand(notebook: Notebook, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The product over all parameters that are given a list but are no lists themselves."""
    notebook.check({name: None for name in given if name not in notebook.parameters})
    axes = [
        [(name, value) for value in values]
        if isinstance(values, list) and not notebook.parameters[name].kind.startswith("list")
        else [(name, values)]
        for name, values in given.items()
    ]
    return [notebook.check(dict(point)) for point in itertools.product(*axes)]


def _job(notebook: Notebook, values: dict[str, Any]) -> Job:
    """The job of one point of the sweep."""
    folders = checkpoint_folders(values).values() if "checkpoint" in values else ()
    return Job(notebook, values, tuple(folders))


def build_book(
    profile_name: str, *, strict: bool = False, cores: int | None = None, force: bool = False
) -> Path:
    """Runs whatever a profile still lacks and renders the book; returns its first page.

    Args:
        profile_name: a file of ``profiles/``.
        strict: whether a warning of the book's builder is an error.
        cores: how many cores to use; all if None.
        force: whether finished runs are run again.

    Raises:
        InputError: a bad profile, or another build is at work here.
        NotebookFailed: a notebook or the book failed.
    """
    jobs = plan(profile_name)
    with exclusive(home() / "runs" / ".lock", wait=False) as lock:
        _snakemake(profile_name, cores or os.cpu_count() or 1, force, lock)
        book = _collect(jobs)
        return _render(book, strict, lock)


def _call(command: list[str], lock: int, failure: str) -> None:
    """Runs a command that holds the build's lock for as long as it lives."""
    done = subprocess.run(command, pass_fds=[lock], check=False)
    if done.returncode:
        raise NotebookFailed(failure)


def _snakemake(profile_name: str, cores: int, force: bool, lock: int) -> None:
    """Lets Snakemake order the runs.

    Its own lock outlives a kill and would ask for another command; ours does not.
    """
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
        "--directory", str(home()), "--config", f"profile={profile_name}", "--cores", str(cores),
        "--nolock", "--rerun-incomplete", "--keep-going", "--quiet", "progress", "rules", "host",
        *(["--forceall"] if force else []),
    ]  # fmt: skip
    _call(command, lock, "not every notebook could be run: the messages above name them")


def _collect(jobs: list[Job]) -> Path:
    """Copies the executed notebooks into the book and lists them in its contents."""
    book = home() / "book"
    if book != ROOT / "book":
        ignored = shutil.ignore_patterns("_build", "pages")
        shutil.copytree(ROOT / "book", book, dirs_exist_ok=True, ignore=ignored)
    pages = book / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir(parents=True)
    by_notebook: dict[str, list[str]] = {}
    for job in jobs:
        taken = by_notebook.setdefault(job.notebook.name, [])
        page = f"{job.notebook.name}-{job.folder.name}" if taken else job.notebook.name
        nbformat.write(_page(job), pages / f"{page}.ipynb")
        taken.append(f"pages/{page}")
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    for part in contents["parts"]:
        part["chapters"] = [_chapter(c, by_notebook) for c in part["chapters"] if _exists(c, book)]
    contents["parts"] = [part for part in contents["parts"] if part["chapters"]]
    (pages / "_toc.yml").write_text(yaml.safe_dump(contents, sort_keys=False))
    return book


def _exists(chapter: dict[str, Any], book: Path) -> bool:
    """Whether a chapter's page is there; a profile need not run every notebook."""
    return any(book.glob(f"{chapter['file']}.*"))


def _chapter(chapter: dict[str, Any], made: Mapping[str, list[str]]) -> dict[str, Any]:
    """A chapter with the further runs of its notebook as sections."""
    further = made.get(Path(chapter["file"]).name, [])[1:]
    return {**chapter, "sections": [{"file": file} for file in further]} if further else chapter


def _page(job: Job) -> nbformat.NotebookNode:
    """An executed notebook without the runner's times, so that equal results give equal pages."""
    notebook = nbformat.read(job.folder / "executed.ipynb", as_version=4)
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    return notebook


def _render(book: Path, strict: bool, lock: int) -> Path:
    """Calls Jupyter Book."""
    command = [
        str(Path(sys.executable).with_name("jupyter-book")), "build", str(book), "--config",
        str(ROOT / "_config.yml"), "--toc", str(book / "pages" / "_toc.yml"), "--quiet",
        "--path-output", str(book),
        *(["-W", "-n", "--keep-going"] if strict else []),
    ]  # fmt: skip
    _call(command, lock, "the book could not be built: the messages above say why")
    return book / "_build" / "html" / "index.html"


def keep(profile_name: str) -> list[Path]:
    """Copies the small tables, figures and manifests of a profile's runs into ``results/``.

    The README's tables are written anew from them.

    Returns:
        The folders written, one for each run.

    Raises:
        InputError: a run is missing.
    """
    kept = []
    for job in plan(profile_name):
        if not (job.folder / "manifest.json").is_file():
            raise InputError(
                f"{job.name} has not been run: run `make book PROFILE={profile_name}` first"
            )
        target = ROOT / "results" / profile_name / job.notebook.name
        if sum(other.notebook == job.notebook for other in plan(profile_name)) > 1:
            target /= job.folder.name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        pictures = job.folder.glob("figures/*.png")
        for path in [job.folder / "manifest.json", *job.folder.glob("*.csv"), *pictures]:
            if path.stat().st_size <= KEPT_BYTES:
                shutil.copy(path, target)
        kept.append(target)
    readme.update()
    return kept
