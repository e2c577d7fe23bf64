"""A profile becomes runs, runs become pages, pages become a book."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
import yaml

from mplib import readme
from mplib.errors import InputError, NotebookFailed, suggest
from mplib.gpus import visible
from mplib.locks import exclusive
from mplib.paths import ROOT, home
from mplib.profiles import Job, plan, read_profile
from mplib.run import execute

KEPT_BYTES = 500_000
"""Files above this size, such as single predictions, are no reference tables."""


@dataclass(frozen=True)
class Engine:
    """How Snakemake runs the notebooks.

    Attributes:
        cores: how many cores to use; all if None.
        force: whether finished runs are run again.
        cluster: a folder of ``cluster/`` with Snakemake's settings for a batch system; this
            machine if None.
    """

    cores: int | None = None
    force: bool = False
    cluster: str | None = None

    @property
    def all_cores(self) -> int:
        """How many cores there are to use."""
        return self.cores or os.cpu_count() or 1

    @cached_property
    def gpus(self) -> int:
        """How many GPUs there are to use."""
        return len(visible())

    @property
    def threads(self) -> int:
        """Threads of a notebook where its profile names none: each GPU's notebook has its share."""
        return max(self.all_cores // max(self.gpus, 1), 1)

    def at_once(self, profile_name: str) -> int:
        """How many notebooks of a profile run side by side, where that is known beforehand."""
        if self.cluster:
            return 1
        threads = read_profile(profile_name).get("threads", self.threads)
        return max(self.all_cores // threads, 1)

    def options(self) -> list[str]:
        """Snakemake's own options.

        Raises:
            InputError: there are no settings for that batch system.
        """
        force = ["--forceall"] if self.force else []
        threads = [f"threads={self.threads}", f"force={int(self.force)}"]
        if self.cluster is None:
            limit = ["--resources", f"gpu={self.gpus}"] if self.gpus else []
            return [*threads, "--cores", str(self.all_cores), *limit, *force]
        known = sorted(path.parent.name for path in (ROOT / "cluster").glob("*/config.yaml"))
        if self.cluster not in known:
            raise InputError(
                f"unknown cluster {self.cluster!r}: expected one of {', '.join(known)}, the "
                f"folders of cluster/.{suggest(self.cluster, known)}"
            )
        return [*threads, "--workflow-profile", str(ROOT / "cluster" / self.cluster), *force]


def sweep(profile_name: str, engine: Engine | None = None, *, dry_run: bool = False) -> list[Job]:
    """Runs whatever a profile still lacks; a failed run does not stop the others.

    Args:
        profile_name: a file of ``profiles/``.
        engine: how the notebooks are run.
        dry_run: whether only the runs and their cost are listed.

    Returns:
        All runs of the profile.

    Raises:
        InputError: a bad profile or cluster, or another sweep is at work here.
        NotebookFailed: some failed; the message lists them with the notebooks that show why.
    """
    engine, jobs = engine or Engine(), plan(profile_name)
    if dry_run:
        _tell(profile_name, engine, every=True)
        return jobs
    with exclusive(home() / "runs" / ".lock", wait=False) as lock:
        _run(profile_name, jobs, engine, lock)
    return jobs


def _tell(profile_name: str, engine: Engine, *, every: bool = False) -> None:
    """Says what a sweep will start and what that costs."""
    from mplib import cost  # late, since it needs torch, which no other step here does

    jobs, found = plan(profile_name), due(profile_name)
    if engine.force:
        found = jobs
    if every:
        for job in found:
            print(job.name)
    if found:
        estimates = cost.table(jobs, found, engine.at_once(profile_name))
        print(estimates.to_markdown(index=False), file=sys.stderr, flush=True)
    elif every:
        print(f"nothing to do: all {len(jobs)} runs are finished", file=sys.stderr)


def due(profile_name: str) -> list[Job]:
    """The runs that a sweep would start: what is not finished, and what would then be old."""
    found: list[Job] = []
    for job in plan(profile_name):
        made = {path for other in found for path in (other.executed, *other.trained)}
        if not job.is_finished or made & {*job.inputs}:
            found.append(job)
    return found


def build_book(profile_name: str, engine: Engine | None = None, *, strict: bool = False) -> Path:
    """Runs whatever a profile still lacks and renders the book; returns its first page.

    Args:
        profile_name: a file of ``profiles/``.
        engine: how the notebooks are run.
        strict: whether a warning of the book's builder is an error.

    Raises:
        InputError: a bad profile, or another build is at work here.
        NotebookFailed: a notebook or the book failed.
    """
    jobs = plan(profile_name)
    with exclusive(home() / "runs" / ".lock", wait=False) as lock:
        _run(profile_name, jobs, engine or Engine(), lock)
        return _render(_collect(jobs), strict, lock)


def _call(command: list[str], lock: int, failure: str) -> None:
    """Runs a command that holds the build's lock for as long as it lives."""
    done = subprocess.run(command, pass_fds=[lock], check=False)
    if done.returncode:
        raise NotebookFailed(failure)


def _run(profile_name: str, jobs: list[Job], engine: Engine, lock: int) -> None:
    """Lets Snakemake order the runs, and tells of those that are missing in the end.

    Its own lock outlives a kill and would ask for another command; ours does not.
    """
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
        "--directory", str(home()), "--nolock", "--rerun-incomplete", "--keep-going",
        "--quiet", "progress", "rules", "host",
        # What else a run depends on is in its folder's name, and in what the runner compares.
        "--rerun-triggers", "mtime", "input",
        "--config", f"profile={profile_name}", *engine.options(),
    ]  # fmt: skip
    _tell(profile_name, engine)
    try:
        _call(command, lock, "Snakemake failed: the messages above say why")
    except NotebookFailed as error:
        missing = [job for job in jobs if not job.is_finished and not job.gathers]
        if not missing:
            raise
        if any(job.executed.is_file() for job in jobs):
            for job in jobs:
                if job.gathers:
                    # What there is deserves its summary; a later sweep makes it anew.
                    execute(job.notebook.name, job.parameters, force=True)
        lines = "\n".join(f"  {job.name}: {_reason(job)}" for job in missing)
        raise NotebookFailed(
            f"{len(missing)} of {len(jobs)} runs are missing; the others are in place. "
            f"The same command tries these again:\n{lines}"
        ) from error


def _reason(job: Job) -> str:
    """Why a run is missing."""
    if not job.failed.is_file():
        return "not run, since what it needs is missing or the engine ended"
    outputs = [
        output
        for cell in nbformat.read(job.failed, as_version=4).cells
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    said = "".join(f"{output.ename}: {output.evalue}; " for output in outputs[:1])
    return f"{said}see {job.failed}"


def _collect(jobs: list[Job]) -> Path:
    """Copies the executed notebooks into the book and lists them in its contents."""
    book = home() / "book"
    if book != ROOT / "book":
        ignored = shutil.ignore_patterns("_build", "pages")
        shutil.copytree(ROOT / "book", book, dirs_exist_ok=True, ignore=ignored)
    pages = book / "pages"
    # Another profile's pages too, or they would be published with this one's.
    for old in (pages, book / "_build" / "html" / "pages"):
        shutil.rmtree(old, ignore_errors=True)
    pages.mkdir(parents=True)
    by_notebook: dict[str, list[str]] = {}
    for job in jobs:
        taken = by_notebook.setdefault(job.notebook.name, [])
        page = f"{job.notebook.name}-{job.folder.name}" if taken else job.notebook.name
        nbformat.write(_page(job), pages / f"{page}.ipynb")
        taken.append(f"pages/{page}")
    (pages / "speed.md").write_text(readme.speed_page())
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
    notebook = nbformat.read(job.executed, as_version=4)
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
    jobs = plan(profile_name)
    if missing := [job for job in jobs if not (job.folder / "manifest.json").is_file()]:
        raise InputError(
            f"{missing[0].name} has not been run: run `make book PROFILE={profile_name}` first"
        )
    folder = ROOT / "results" / Path(profile_name).stem
    for name in {job.notebook.name for job in jobs}:
        shutil.rmtree(folder / name, ignore_errors=True)
    kept = []
    for job in jobs:
        target = folder / job.notebook.name
        if sum(other.notebook == job.notebook for other in jobs) > 1:
            target /= job.folder.name
        target.mkdir(parents=True)
        pictures = job.folder.glob("figures/*.png")
        for path in [job.folder / "manifest.json", *job.folder.glob("*.csv"), *pictures]:
            if path.stat().st_size <= KEPT_BYTES:
                shutil.copy(path, target)
        kept.append(target)
    readme.update()
    return kept
