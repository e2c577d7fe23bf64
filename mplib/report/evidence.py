"""What speaks for or against a claim: figures picked from the tables that are kept."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mplib.errors import InputError
from mplib.files import ROOT
from mplib.stats import Estimate, over_seeds

PROFILES = ("claims", "quick")
"""Whose kept tables are asked, the first that has the figure."""

Tables = Callable[[str, str], pd.DataFrame]
"""All rows of a profile's tables of a name that runs of a task kept."""

Reading = Callable[[Tables], pd.DataFrame]
"""Picks one figure: a row for each seed, with value, low, high (NaN where there is none) and the
notebook's folder."""

COLUMNS = ["seed", "value", "low", "high", "run"]


def kept(profile: str, results: Path | None = None) -> Tables:
    """The tables that ``mplib keep`` copied of a profile's runs, each read when it is asked for.

    Args:
        profile: its folder in the results.
        results: the folder of all results, the committed ones by default.
    """
    results = results or ROOT / "results"
    tasks = {
        path.parent: json.loads(path.read_text()).get("task")
        for path in sorted((results / profile).rglob("manifest.json"))
    }

    @cache
    def tables(task: str, table: str) -> pd.DataFrame:
        files = [folder / f"{table}.csv" for folder, own in tasks.items() if own == task]
        parts = [
            # The notebook's folder; parameters are columns of the table.
            pd.read_csv(path).assign(run="/".join(path.relative_to(results).parts[:2]))
            for path in files
            if path.is_file()
        ]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    return tables


def each(
    task: str, table: str, measure: Callable[[pd.DataFrame], Estimate | float], /, **chosen: Any
) -> Reading:
    """What is measured in the chosen rows of each seed.

    Args:
        task: the runs' task.
        table: name of the table.
        measure: gives a figure, with an interval over examples if it has one, for a seed's rows.
        **chosen: column values that the rows must have; None for an empty cell.
    """

    def read(tables: Tables) -> pd.DataFrame:
        rows = tables(task, table)
        for column, value in chosen.items():
            if column not in rows:
                return pd.DataFrame(columns=COLUMNS).set_index("seed")
            rows = rows[rows[column].isna() if value is None else rows[column] == value]
        found = []
        for seed, part in rows.groupby("seed") if len(rows) else ():
            one = measure(part)
            one = one if isinstance(one, Estimate) else Estimate(one, np.nan, np.nan)
            found.append({"seed": seed, **one.columns(), "run": part.run.iloc[0]})
        return pd.DataFrame(found, columns=COLUMNS).set_index("seed")

    return read


def figure(task: str, table: str, column: str = "value", /, **chosen: Any) -> Reading:
    """A figure of the table itself: the chosen rows are one for each seed.

    The reading raises an InputError where kept runs that differ in something else have several.
    """

    def only(part: pd.DataFrame) -> Estimate:
        row, *others = part.to_dict("records")
        if others:
            raise InputError(
                f"{len(part)} kept rows of {table!r} ({', '.join(sorted({*part.run}))}) agree in "
                f"{chosen} and in the seed: keep runs that differ in these"
            )
        return Estimate(row[column], row.get("low", np.nan), row.get("high", np.nan))

    return each(task, table, only, **chosen)


def less(first: Reading, second: Reading) -> Reading:
    """One figure less another, paired by seed.

    A single run's interval takes the two as independent (Zou and Donner 2008), which is too wide
    where both are of the same examples and rise and fall together.
    """

    def read(tables: Tables) -> pd.DataFrame:
        one = first(tables)
        one, other = one.align(second(tables), join="inner", axis=0)
        value = one.value - other.value
        down = np.hypot(one.value - one.low, other.high - other.value)
        up = np.hypot(one.high - one.value, other.value - other.low)
        return one.assign(value=value, low=value - down, high=value + up)

    return read


@dataclass(frozen=True)
class Evidence:
    """A figure that speaks for a claim on one side of a bound, and against it on the other.

    Attributes:
        what: the figure in words.
        reading: picks it.
        bound: 0, or what still counts as none or as enough.
        below: whether figures below the bound are those that speak for the claim.
    """

    what: str
    reading: Reading
    bound: float = 0
    below: bool = False


@dataclass(frozen=True)
class Found:
    """What the tables hold of a piece of evidence.

    Attributes:
        of: the evidence.
        estimate: mean over seeds with its t-interval, or one run's figure with its own interval.
        asked: how many seeds were run.
        seeds: those for which the figure is defined.
        runs: folders of ``results/`` that it is from.
    """

    of: Evidence
    estimate: Estimate
    asked: int = 0
    seeds: tuple[int, ...] = ()
    runs: tuple[str, ...] = ()

    @property
    def speaks(self) -> str:
        """``for``, ``against``, ``open`` where no interval leaves out the bound, or ``missing``."""
        if not self.asked:
            return "missing"
        low, high = self.estimate.low - self.of.bound, self.estimate.high - self.of.bound
        if not (low > 0 or high < 0):
            return "open"
        return "for" if (high < 0) == self.of.below else "against"

    @property
    def over(self) -> str:
        """What the interval is over."""
        if self.asked > 1:
            some = f"{len(self.seeds)} of " if len(self.seeds) < self.asked else ""
            return f"over {some}{self.asked} seeds"
        return (
            "over examples of one run" if np.isfinite(self.estimate.low) else "without an interval"
        )

    def __str__(self) -> str:
        """The figure in words."""
        if not self.seeds:
            return f"{self.of.what}: not defined" if self.asked else self.of.what
        return f"{self.of.what}: {self.estimate:.2f}"


def find(evidence: Evidence, sources: Sequence[Tables]) -> Found:
    """What the first source says in which the figure was asked for, be it defined there or not."""
    pooled = Estimate(np.nan, np.nan, np.nan)
    for tables in sources:
        if len(rows := evidence.reading(tables)):
            known = rows.dropna(subset="value")
            if len(rows) == 1:
                pooled = Estimate(*rows.iloc[0][["value", "low", "high"]].astype(float))
            elif len(known):
                pooled = over_seeds(known.value, known.low, known.high)
            seeds, runs = map(int, known.index), sorted({*rows.run})
            return Found(evidence, pooled, len(rows), tuple(seeds), tuple(runs))
    return Found(evidence, pooled)


WORDS = ("holds", "holds partly", "does not hold", "undecided", "untested")
"""The verdicts that there are."""


def verdict(main: Sequence[str], controls: Sequence[str]) -> str:
    """The verdict on a claim, from how its evidence speaks; nothing else enters.

    Args:
        main: how each piece of the main evidence speaks, of ``Found.speaks``.
        controls: the same of the controls.

    >>> verdict(["for", "for"], ["for"]), verdict(["for"], ["open"]), verdict(["for", "open"], [])
    ('holds', 'holds partly', 'holds partly')
    >>> verdict(["against", "open"], []), verdict(["open"], ["for"]), verdict(["missing"], ["for"])
    ('does not hold', 'undecided', 'untested')
    """
    if {*main} <= {"missing"}:
        return "untested"
    if "for" in main:
        return "holds" if {*main, *controls} == {"for"} else "holds partly"
    return "does not hold" if "against" in main else "undecided"
