"""What the runs of a profile will cost, as a table, and what one run will, in a line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mplib.runs.profiles import Job

Cost = tuple[float, float, float, Mapping[str, tuple[float, float]]]
"""Seconds with the machine to itself, peak bytes of memory, bytes that stay on the disk; seconds
and bytes of what is done once for all runs, by name."""


Estimate = Callable[[Mapping[str, Any], Mapping[str, Any]], Cost | None]
"""Gives the cost of a notebook's ``work`` with its parameters; None where that is not known."""


def table(
    jobs: Sequence[Job], due: Sequence[Job], estimate: Estimate, at_once: int = 1
) -> list[dict[str, Any]]:
    """Cost of the runs that are due, a row for each notebook and one for all.

    Args:
        jobs: all runs of a profile.
        due: those that would be started.
        estimate: gives the cost of one.
        at_once: how many run side by side, each as fast as alone.
    """
    rows: list[dict[str, Any]] = []
    costs: list[Cost] = []
    for notebook in dict.fromkeys(job.notebook.name for job in jobs):
        runs = [job for job in due if job.notebook.name == notebook]
        found = [estimate(job.about.get("work", {}), job.parameters) for job in runs]
        known = [cost for cost in found if cost is not None]
        costs += known
        of_all = sum(job.notebook.name == notebook for job in jobs)
        rows.append(_row(notebook, of_all, len(runs), known))
        if len(known) < len(runs):
            rows[-1]["time"] = "unknown: the model is not on this machine"
    shared = [(time / at_once, memory * at_once, disk, once) for time, memory, disk, once in costs]
    rows.append(_row(f"all, {at_once} at a time", len(jobs), len(due), shared))
    return rows


def line(job: Job, estimate: Estimate) -> str:
    """The cost of one run in a line."""
    found = estimate(job.about.get("work", {}), job.parameters)
    if found is None:
        return f"{job.notebook.name}: cost unknown, since the model is not on this machine yet"
    row = _row(job.notebook.name, 1, 1, [found])
    return f"{row['notebook']}: {row['time']}, {row['memory']} of memory, {row['disk']} of disk"


def _row(name: str, runs: int, due: int, costs: Iterable[Cost]) -> dict[str, Any]:
    """One line of the table; memory is the largest run's, time and disk are all runs'."""
    seconds, memory, disk, first = zip(*costs, strict=True) if costs else ((),) * 4
    once = {name: cost for each in first for name, cost in each.items()}.values()
    return {
        "notebook": name, "runs": runs, "to do": due,
        "time": duration(sum(seconds) + sum(time for time, _ in once), "about "),
        "memory": _bytes(max(memory, default=0)),
        "disk": _bytes(sum(disk) + sum(size for _, size in once)),
    }  # fmt: skip


def duration(seconds: float, about: str = "") -> str:
    """Two digits of a time, nothing where there is none.

    >>> duration(5400, "about ")
    'about 1.5 h'
    """
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        # What would be told as 60 seconds is a minute.
        if seconds >= 0.995 * size:
            return f"{about}{seconds / size:.2g} {unit}"
    return f"{about}{seconds:.2g} s" if seconds else ""


def _bytes(size: float) -> str:
    """Two digits of a size."""
    return f"{size / 2**30:.2g} GiB" if size >= 2**30 else f"{size / 2**20:.3g} MiB" if size else ""
