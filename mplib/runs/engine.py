"""Snakemake as the engine: it runs what a profile lacks, here or through a batch system."""

import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from tabulate import tabulate

from mplib.errors import NotebookFailed, unknown
from mplib.files import ROOT, exclusive, home
from mplib.runs import cost
from mplib.runs.gpus import visible
from mplib.runs.profiles import Job, Profile
from mplib.runs.progress import Progress

POLL_SECONDS = 0.5
"""How often what is watched is looked at."""


TAIL = 6000
"""Characters of the engine's own messages that are shown where it fails."""


@dataclass(frozen=True)
class Engine:
    """How Snakemake runs the notebooks.

    Attributes:
        cores: how many cores to use; all if None.
        force: whether finished runs are run again.
        cluster: a folder of ``cluster/`` with Snakemake's settings for a batch system; this
            machine if None.
        estimate: gives the cost of a run, which is then told beforehand.
    """

    cores: int | None = None
    force: bool = False
    cluster: str | None = None
    estimate: cost.Estimate | None = None

    @property
    def all_cores(self) -> int:
        """How many cores there are to use."""
        return self.cores or os.cpu_count() or 1

    @cached_property
    def gpus(self) -> int:
        """How many GPUs there are to use."""
        return len(visible())

    def threads(self, runs: int) -> int:
        """Threads of each of so many runs side by side, where their profile names none.

        Each GPU's notebook has its share of the cores. Without a GPU two run side by side: of the
        cores that work on one notebook some always wait for another.
        """
        together = 1 if self.cluster else self.gpus or min(runs, 2)
        return max(self.all_cores // max(together, 1), 1)

    def at_once(self, profile: Profile, runs: int) -> int:
        """How many of a profile's runs, of which so many may, are at work together."""
        if self.cluster:
            return 1
        return max(min(self.all_cores // (profile.threads or self.threads(runs)), runs), 1)

    def options(self, runs: int) -> list[str]:
        """Snakemake's own options for so many runs side by side.

        Raises:
            InputError: there are no settings for that batch system.
        """
        force = ["--forceall"] if self.force else []
        threads = [f"threads={self.threads(runs)}", f"force={int(self.force)}"]
        if self.cluster is None:
            limit = ["--resources", f"gpu={self.gpus}"] if self.gpus else []
            return [*threads, "--cores", str(self.all_cores), *limit, *force]
        known = sorted(path.parent.name for path in (ROOT / "cluster").glob("*/config.yaml"))
        if self.cluster not in known:
            raise unknown(f"unknown cluster {self.cluster!r}", self.cluster, known)
        return [*threads, "--workflow-profile", str(ROOT / "cluster" / self.cluster), *force]


def sweep(profile: Profile, engine: Engine, *, dry_run: bool = False) -> None:
    """Runs whatever a profile still lacks; a failed run does not stop the others.

    Args:
        profile: which runs.
        engine: how the notebooks are run.
        dry_run: whether only the runs and their cost are listed.

    Raises:
        InputError: a bad profile or cluster, or another sweep is at work here.
        NotebookFailed: some failed; the message lists them with the notebooks that show why.
    """
    if dry_run:
        print(*(f"{job.name}\n" for job in _tell(profile, engine)), sep="", end="")
        return
    with exclusive(home() / "runs" / ".lock", wait=False) as lock:
        run_all(profile, engine, lock)


def _tell(profile: Profile, engine: Engine) -> list[Job]:
    """The runs that a sweep will start; says what they cost."""
    found = profile.jobs if engine.force else due(profile)
    if not found:
        print(f"nothing to do: all {len(profile.jobs)} runs are finished", file=sys.stderr)
    elif engine.estimate:
        together = engine.at_once(profile, side_by_side(found))
        table = cost.table(profile.jobs, found, engine.estimate, together)
        print(tabulate(table, headers="keys", tablefmt="pipe"), file=sys.stderr, flush=True)
    return found


def due(profile: Profile) -> list[Job]:
    """The runs that a sweep would start: what is not finished, and what would then be old."""
    found: list[Job] = []
    made: set[Path] = set()
    for job in profile.jobs:
        if not job.is_finished or made & {*job.inputs}:
            found.append(job)
            made |= {job.executed, *job.makes}
    return found


def side_by_side(jobs: Sequence[Job]) -> int:
    """How many of some runs, in their profile's order, may be at work together.

    Those that wait for equally many others in a row may. A notebook that waits for the only other
    one leaves it all cores.
    """
    place: dict[Path, int] = {}
    rows: Counter[int] = Counter()
    for job in jobs:
        row = 1 + max((place.get(path, -1) for path in job.inputs), default=-1)
        place |= dict.fromkeys((job.executed, *job.makes), row)
        rows[row] += 1
    return max(rows.values(), default=0)


def call(
    command: list[str],
    lock: int,
    failure: str,
    *,
    stdout: int | None = None,
    stderr: int | None = None,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Runs a command that holds the build's lock for as long as it lives.

    Ctrl-C ends it with all that it started: whatever is killed is taken up again.

    Args:
        command: the command line.
        lock: file descriptor of the build's lock.
        failure: what is said where it fails.
        stdout: where its output goes; to the terminal if None.
        stderr: the same of its messages.
        watch: called again and again while it runs, and once more when it has ended.

    Raises:
        NotebookFailed: it did, with the given message.
    """
    # Ctrl-C is this process's alone, or each of them would tell of it. Blocked and not ignored, so
    # that none is lost which comes while they start.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    process = subprocess.Popen(command, pass_fds=[lock], stdout=stdout, stderr=stderr)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        while process.poll() is None:
            watch()
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
        watch()
    except BaseException:
        import psutil

        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()
        raise
    if process.returncode:
        raise NotebookFailed(failure)


def run_all(profile: Profile, engine: Engine, lock: int) -> None:
    """Lets Snakemake order the runs, and tells of those that are missing in the end.

    Its own lock outlives a kill and would ask for another command; ours does not.

    Args:
        profile: which runs.
        engine: how the notebooks are run.
        lock: file descriptor of the build's lock.

    Raises:
        NotebookFailed: some failed.
    """
    if not (found := _tell(profile, engine)):
        return
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
        "--directory", str(home()), "--nolock", "--rerun-incomplete", "--keep-going",
        "--quiet", "progress", "rules", "host",
        "--rerun-triggers", "mtime", "input",
        "--config", f"profile=name:{quote(profile.name)}", *engine.options(side_by_side(found)),
    ]  # fmt: skip
    # Snakemake compares times alone; an edited notebook or data file, or one cut short, is ours.
    command += ["--forcerun", *(job.name for job in found)]
    # How many runs a batch system takes at once, and when, is not known.
    estimate = None if engine.cluster else engine.estimate
    progress = Progress.of(found, estimate, engine.at_once(profile, side_by_side(found)), _reason)
    try:
        with tempfile.TemporaryFile() as log:
            _watched(command, lock, log.fileno(), progress)
    except NotebookFailed as error:
        others = [job for job in profile.jobs if not job.gathers]
        lacking = [job for job in others if not job.is_finished]
        if not lacking:
            raise
        if len(lacking) < len(others):
            for job in profile.jobs:
                if job.gathers:
                    # What there is deserves its summary; a later sweep makes it anew.
                    from mplib.runs.runner import execute

                    execute(job.notebook.name, job.parameters, force=True)
        lines = "\n".join(f"  {job.name}: {_reason(job)}" for job in lacking)
        raise NotebookFailed(
            f"{len(lacking)} of {len(profile.jobs)} runs are missing; the others are in place. "
            f"The same command tries these again:\n{lines}"
        ) from error


def _watched(command: list[str], lock: int, log: int, progress: Progress) -> None:
    """Lets Snakemake work unheard; what it said is shown where it fails.

    Its messages go to a file: a pipe would end with this process, and with it the runs.

    Raises:
        NotebookFailed: it did.
    """
    failure = "Snakemake failed: the messages above say why"
    try:
        call(command, lock, failure, stdout=log, stderr=log, watch=progress.look)
    except NotebookFailed:
        size = os.fstat(log).st_size
        said = os.pread(log, TAIL, max(size - TAIL, 0)).decode(errors="replace")
        print(said, end="", file=sys.stderr, flush=True)
        raise


def _reason(job: Job) -> str:
    """Why a run is missing."""
    import nbformat  # late: it is slow, and nearly no sweep needs it

    if not job.failed.is_file():
        return "not run, since what it needs is missing or the engine ended"
    try:
        cells = nbformat.read(job.failed, as_version=4).cells
    except (OSError, ValueError):  # cut short by whatever ended the run
        return f"see {job.failed}"
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    errors = [output for output in outputs if output.output_type == "error"]
    said = "".join(f"{error.ename}: {error.evalue}; " for error in errors[:1])
    return f"{said}see {job.failed}"
