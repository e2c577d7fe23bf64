"""All runs of a profile gathered: its figures in one table, over seeds, along what was swept."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from mplib.errors import InputError
from mplib.report.columns import FOUND, POOLED, gained
from mplib.report.paper import paper_table
from mplib.runs.profiles import PLUMBING, Job, Profile
from mplib.stats import Estimate, over_seeds

QUANTITIES = (
    "accuracy", "change in accuracy", "gain V", "gain G", "S_P1", "S_P2", "S_P2_root"
)  # fmt: skip


def _accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracies after finetuning, or of a language model on sets of questions."""
    if "set" in table:
        return _sets(table).rename(columns={"accuracy": "value"}).assign(quantity="accuracy")
    table = table[table.model == "finetuned"].rename(columns={"accuracy": "value"})
    return table.drop(columns="model").assign(quantity="accuracy", setting="finetuned")


def _scores(table: pd.DataFrame) -> pd.DataFrame:
    """Scores of the models, not of their controls, by the paper's classifier."""
    table = table[(table.kind == "model") & (table.classifier == "kNN")]
    table = table.rename(columns={"score": "quantity"})
    return _sets(table) if "set" in table else table.assign(setting=table.source)


def _gains(table: pd.DataFrame) -> pd.DataFrame:
    """Gains in F1 over text and twins, by the classifier that is fit for both together."""
    table = gained(table)
    table = table.assign(quantity="gain " + table.target)
    return _sets(table) if "set" in table else table.assign(setting=table.source)


def _sets(table: pd.DataFrame) -> pd.DataFrame:
    """Names the set, the subject and, where it is a part of them, the statements."""
    among = table.among if "among" in table else "all statements"
    named = table["set"] + ", " + table.subject + ", " + among
    return table.assign(setting=named.str.removesuffix(", all statements"))


def _changes(table: pd.DataFrame) -> pd.DataFrame:
    """Changes in accuracy by corruption, or by the edges cut, in every window, renormalised."""
    table = table[table.measure == "change in accuracy"].rename(columns={"measure": "quantity"})
    if "corruption" in table:
        return table[table.minus.isna()].rename(columns={"corruption": "setting"})
    table = table[table.renormalised]
    span = table.first_layer.astype(str) + "-" + table.last_layer.astype(str)
    who = table.subject + ", " if "subject" in table else ""
    return table.assign(setting=who + table.cut + " cut in layers " + span)


READERS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "accuracy": _accuracy, "scores": _scores, "gains": _gains, "changes": _changes,
}  # fmt: skip
"""How the figures of a table are read, by the kind that the notebook says they are."""


def runs(jobs: Sequence[Job]) -> pd.DataFrame:
    """What became of each run: notebook, task, what was swept, state, seconds, device."""
    rows = []
    for job in jobs:
        manifest = _manifest(job)
        rows.append({
            "notebook": job.notebook.name, "task": job.about.get("label", ""), **swept(job, jobs),
            "state": job.state, "seconds": manifest.get("seconds"),
            "device": manifest.get("device"), "run": job.folder.name,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _manifest(job: Job) -> dict[str, Any]:
    """What a run says of itself; empty where it has no results, or those of another notebook."""
    done = job.state in ("finished", "old")
    said = json.loads((job.folder / "manifest.json").read_text()) if done else {}
    return said if said.get("source") == job.notebook.hash else {}


def swept(job: Job, jobs: Sequence[Job]) -> dict[str, Any]:
    """The parameters, with this run's values, in which runs of its notebook and task differ."""
    task = job.about.get("task")
    others = [
        other.parameters
        for other in jobs
        if other.notebook == job.notebook and other.about.get("task") == task
    ]
    return {
        name: " + ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in job.parameters.items()
        if name not in PLUMBING and any(other[name] != value for other in others)
    }


def gather(profile: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All figures of a profile's finished runs, and the runs.

    Args:
        profile: its name.

    Returns:
        The figures, a row for each with the columns of ``FOUND`` and what was swept; the table of
        ``runs``.

    Raises:
        InputError: no run is finished.
    """
    jobs = [job for job in Profile.read(profile).jobs if not job.gathers]
    parts = [part for job in jobs for part in _figures(job, jobs)]
    if not parts:
        raise InputError(
            f"profile {profile!r} has no finished run: run `make sweep PROFILE={profile}` first"
        )
    return pd.concat(parts, ignore_index=True), runs(jobs)


def _figures(job: Job, jobs: Sequence[Job]) -> Iterator[pd.DataFrame]:
    """The figures of one run."""
    for name, kind in _manifest(job).get("summary", {}).items():
        table = READERS[kind](pd.read_csv(job.folder / f"{name}.csv")).reindex(columns=FOUND)
        about = {"notebook": job.notebook.name, "task": job.about.get("label", "")}
        over = table.over.astype(object).fillna("")
        yield table.assign(over=over, **about, **swept(job, jobs))


def pool_seeds(figures: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, with a 95 % t-interval over them where there are several.

    A single seed keeps its own interval, which is over examples. ``seeds`` says how many there are,
    ``spread`` is their standard deviation.
    """
    keys = [name for name in figures if name not in ("value", "low", "high", "seed")]
    rows = []
    for key, part in figures.groupby(keys, sort=False, dropna=False):
        known = part.dropna(subset="value")
        row = dict(zip(keys, key, strict=True)) | {"seeds": len(known)}
        if len(known) > 1:
            pooled = over_seeds(known.value, known.low, known.high)
            row |= pooled.columns() | {"spread": known.value.std()}
        elif len(known):
            row |= known.iloc[0][["value", "low", "high"]].to_dict()
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=[*keys, "value", "low", "high", "spread", "seeds"])


def by_setting(pooled: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and scores with their intervals, a row for each setting, for a page."""
    return _spread_out(
        pooled[pooled.quantity.isin(["accuracy", "gain V", "gain G", "S_P1", "S_P2"])]
    )


def by_intervention(pooled: pd.DataFrame) -> pd.DataFrame:
    """Changes in accuracy with their intervals, a row for each intervention, for a page."""
    return _spread_out(pooled[pooled.quantity == "change in accuracy"])


def _spread_out(figures: pd.DataFrame) -> pd.DataFrame:
    """Figures in words, those of one setting side by side."""
    keys = [name for name in figures if name not in POOLED or name == "task"]
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for row in figures.to_dict("records"):
        about = {name: "" if pd.isna(row[name]) else str(row[name]) for name in [*keys, "setting"]}
        column = f"{row['quantity']} over {row['over']}" if row["over"] else row["quantity"]
        said = f"{Estimate(row['value'], row['low'], row['high']):.2f}"
        undefined = pd.isna(row["value"])
        rows.setdefault(tuple(about.values()), about)[column] = "undefined" if undefined else said
    table = pd.DataFrame(rows.values())
    found = [name for name in table if name not in (*keys, "setting")]
    return table[[name for name in table if name not in found] + sorted(found, key=str.lower)]


def numeric_axis(pooled: pd.DataFrame) -> str | None:
    """The swept number with the most values, along which curves are drawn, if there is one."""
    swept = pooled.drop(columns=POOLED, errors="ignore")
    counts = swept.select_dtypes("number").nunique()
    return str(counts.idxmax()) if len(counts) and counts.max() > 1 else None


def paper_curves(profile: str, along: str) -> pd.DataFrame:
    """The paper's curves for the length of the profile's lists: quantity, k, value, label.

    None unless ``along`` is k. Table 1 for lists of 16 (GPT-2 small, pool 512), Figs 17 and 18 for
    lists of 64.
    """
    jobs = Profile.read(profile).jobs if along == "k" else []
    lengths = {job.parameters["m"] for job in jobs if job.about.get("task") == "ksmallest"}
    columns = ["quantity", "k", "value", "label"]
    parts = []
    if 16 in lengths:
        found = paper_table("table1", source="finetuned", quantity=list(QUANTITIES))
        parts.append(found.assign(label="paper: GPT-2 small, pool 512"))
    if 64 in lengths:
        found = paper_table("fig17")
        label = "paper: " + found.model + ", pool " + found["pool"].astype(str)
        parts.append(found.assign(quantity="accuracy", label=label))
        parts.append(paper_table("fig18").assign(label="paper: GPT-2 small, pool 512"))
    return pd.concat(parts)[columns].dropna() if parts else pd.DataFrame(columns=columns)
