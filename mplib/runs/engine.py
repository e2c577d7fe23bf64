"""A profile becomes runs, runs become pages, pages become a book."""

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property

import nbformat

from mplib.errors import InputError, NotebookFailed, suggest
from mplib.files import ROOT, home
from mplib.runs import cost
from mplib.runs.gpus import visible
from mplib.runs.locks import exclusive
from mplib.runs.profiles import Job, plan, read_profile
from mplib.runs.runner import execute


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
    pass  # DROP  # late, since it needs torch, which no other step here does

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
