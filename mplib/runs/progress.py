"""What is told of a sweep while it runs: a line when a notebook starts, and one when it ends."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mplib.runs.cost import Estimate, duration
from mplib.runs.profiles import Job

TRUST = 60.0
"""Seconds of finished runs after which these count as much as the estimates do."""


@dataclass
class Progress:
    """Watches the files that runs leave, so that runs on another machine are seen too.

    Attributes:
        jobs: the runs that are due.
        estimates: seconds of each by name, of those whose cost is known.
        at_once: how many run side by side.
        reason: says why a run failed.
        tell: is given each line.
    """

    jobs: Sequence[Job]
    estimates: dict[str, float]
    at_once: int
    reason: Callable[[Job], str]
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)
    _before: dict[Path, int] = field(default_factory=dict)
    _started: dict[str, float] = field(default_factory=dict)
    _took: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        jobs: Sequence[Job],
        estimate: Estimate | None,
        at_once: int,
        reason: Callable[[Job], str],
    ) -> "Progress":
        """Progress of runs whose time is estimated; what is done once is the first run's."""
        estimates: dict[str, float] = {}
        done: set[str] = set()
        for job in jobs:
            if estimate and (cost := estimate(job.about.get("work", {}), job.parameters)):
                once = sum(time for name, (time, _) in cost[3].items() if name not in done)
                done |= {*cost[3]}
                estimates[job.name] = cost[0] + once
        found = cls(jobs, estimates, at_once, reason)
        found._before = {p: _changed(p) for job in jobs for p in _files(job)}
        return found

    def look(self) -> None:
        """Tells what has started and ended since the last look."""
        for job in self.jobs:
            if job.name not in self._took:
                self._look(job)

    def _look(self, job: Job) -> None:
        is_new = [_changed(path) not in (0, self._before[path]) for path in _files(job)]
        _, finished, failed = is_new
        if any(is_new) and job.name not in self._started:
            self._started[job.name] = time.monotonic()
            about = duration(self.estimates.get(job.name, 0) * self._pace, ", about ")
            self.tell(f"{self._label(job)} started{about}")
        if finished or failed:
            took = self._took[job.name] = time.monotonic() - self._started[job.name]
            ended = "finished in" if finished else "FAILED after"
            why = "" if finished else f"\n  {self.reason(job)}"
            left = duration(self.left, ", about ")
            self.tell(
                f"{self._label(job)} {ended} {duration(took)}: {len(self._took)} of "
                f"{len(self.jobs)}{f'{left} left' if left else ''}{why}"
            )

    @property
    def _pace(self) -> float:
        """How much longer runs take than was estimated, by those that have ended."""
        known = [name for name in self._took if name in self.estimates]
        took = sum(self._took[name] for name in known)
        return (TRUST + took) / (TRUST + sum(self.estimates[name] for name in known))

    @property
    def left(self) -> float:
        """Seconds until all have ended; 0 where no cost is known."""
        if not self.estimates:
            return 0
        typical = sum(self.estimates.values()) / len(self.estimates)
        now, seconds = time.monotonic(), 0.0
        for job in self.jobs:
            if job.name not in self._took:
                whole = self.estimates.get(job.name, typical) * self._pace
                # One that takes longer than was thought is about to end.
                seconds += max(whole - (now - self._started.get(job.name, now)), 0)
        return seconds / self.at_once

    def _label(self, job: Job) -> str:
        """A notebook's name, with the run's where there are several."""
        several = Counter(each.notebook.name for each in self.jobs)[job.notebook.name] > 1
        return f"{job.notebook.name}{f' ({job.folder.name})' if several else ''}"


def _files(job: Job) -> tuple[Path, Path, Path]:
    """What tells of a run: it is at work, finished, failed."""
    return job.running, job.executed, job.failed


def _changed(path: Path) -> int:
    """When a file was written; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
