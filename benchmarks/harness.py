"""What every benchmark shares: alternating timing, one kind of row, one kind of file."""

import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from mplib.files import ROOT, write_atomically

RESULTS = ROOT / "results" / "bench"
PACKAGES = ("torch", "transformers", "tokenizers", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: what is compared.
        unit: of ``ours`` and ``published``.
        ours: our figure.
        published: the figure of the published algorithm.
        ratio: how many times better ours is; None where a ratio says nothing.
        wanted: the least ratio that is wanted, if one is.
        note: what else there is to know, such as a check that was made on the way.
        at_most: the most that our figure may be, if it has a limit.
    """

    name: str
    unit: str
    ours: float
    published: float
    ratio: float | None = None
    wanted: float | None = None
    note: str = ""
    at_most: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the ratio is the wanted one and our figure within its limit."""
        met = []
        if self.ratio is not None and self.wanted is not None:
            met.append(self.ratio >= self.wanted)
        if self.at_most is not None:
            met.append(self.ours <= self.at_most)
        return ("yes" if all(met) else "NO") if met else ""


def alternate(
    functions: Mapping[str, Callable[[], object]], rounds: int = 5, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Times functions in turn, round by round; seconds of each in each round.

    In turn, so that whatever else the machine does falls on all of them alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(-warm_ups, rounds):
        for name, function in functions.items():
            synchronise()
            began = perf_counter()
            function()
            synchronise()
            if turn >= 0:
                seconds[name].append(perf_counter() - began)
    return seconds


def synchronise() -> None:
    """Waits until a GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def speed_row(
    name: str,
    unit: str,
    seconds: tuple[list[float], list[float]],
    items: tuple[int, int],
    wanted: float | None = None,
    note: str = "",
) -> Row:
    """Items a second of ours and the published one, medians over the rounds.

    The ratio is the median of the rounds' own ratios, so that a noisy round counts for one.

    Args:
        name: what is compared.
        unit: what an item is, such as ``examples/s``.
        seconds: ours and the published one's, a figure a round.
        items: how many each does in a round.
        wanted: the least ratio wanted.
        note: anything else.
    """
    ours, published = ([n / s for s in times] for n, times in zip(items, seconds, strict=True))
    ratios = [a / b for a, b in zip(ours, published, strict=True)]
    spread = f"rounds {min(ratios):.1f} to {max(ratios):.1f}"
    return Row(
        name, unit, median(ours), median(published), median(ratios), wanted,
        "; ".join(filter(None, [spread, note])),
    )  # fmt: skip


def machine() -> dict[str, Any]:
    """What the figures were measured on, without its name."""
    processor = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        names = [x.partition(":")[2] for x in info.read_text().splitlines() if "model name" in x]
        processor = names[0].strip() if names else processor
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def save(case: str, rows: list[Row], seconds: float) -> Path:
    """Writes a case's rows with the machine they come from; returns the file."""
    path = RESULTS / f"{case}.json"
    content = {
        "case": case,
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds),
        "machine": machine(),
        "rows": [asdict(row) | {"verdict": row.verdict} for row in rows],
    }
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def table(rows: list[Row]) -> str:
    """The rows as text, one line each."""
    head = ("what", "ours", "published", "ratio", "wanted", "ok", "note")
    lines = [head]
    for row in rows:
        limits = ((">=", row.wanted), ("<=", row.at_most))
        lines.append((
            row.name,
            f"{row.ours:.4g} {row.unit}",
            f"{row.published:.4g} {row.unit}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            ", ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None),
            row.verdict,
            row.note,
        ))  # fmt: skip
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
