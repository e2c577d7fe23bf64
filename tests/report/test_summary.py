"""Runs gathered: from tables in their folders to one table over seeds."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import comparison

from mplib.errors import InputError
from mplib.probe.scores import discoveries
from mplib.report import figures, paper, sentences, summary
from mplib.report.columns import gained
from mplib.runs import pages
from mplib.runs.profiles import Job, Profile
from mplib.stats import Estimate

PROFILE = """
all: {k: [2, 3], seed: [0, 1, 2], m: 8}
notebooks:
  01_finetune:
  03_probe_ksmallest:
  08_summary:
"""


@pytest.fixture
def profile(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(PROFILE)
    return str(path)


def finish(job: Job, seconds: float = 10, **tables: pd.DataFrame) -> None:
    """Leaves a finished run with its tables, each named after what it holds."""
    job.folder.mkdir(parents=True)
    for name, table in tables.items():
        table.to_csv(job.folder / f"{name}.csv", index=False)
    manifest = {
        "source": job.notebook.hash, "seconds": seconds, "device": "2 CPU cores",
        "summary": {name: name for name in tables},
    }  # fmt: skip
    (job.folder / "manifest.json").write_text(json.dumps(manifest))
    for path in (*job.makes, job.executed):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{\n}")


def run_all(profile: str) -> None:
    """Accuracies .k + .01 * seed; scores and gains as the probe makes them; one run is missing."""
    for job in Profile.read(profile).jobs:
        k, seed = job.parameters.get("k"), job.parameters.get("seed")
        if job.notebook.name == "01_finetune":
            rows = [("before", 0.1, 0.0, 0.2), ("finetuned", k / 10 + seed / 100, 0.0, 1.0)]
            columns = ["model", "accuracy", "low", "high"]
            finish(job, accuracy=pd.DataFrame(rows, columns=columns))
        elif job.notebook.name == "03_probe_ksmallest" and (k, seed) != (3, 2):
            found = comparison()
            finish(job, scores=found.scores, gains=discoveries(found.gains))


def test_figures_of_a_sweep(profile: str) -> None:
    run_all(profile)
    found, made = summary.gather(profile)
    assert made.groupby(["notebook", "state"]).size().to_dict() == {
        ("01_finetune", "finished"): 6,
        ("03_probe_ksmallest", "finished"): 5,
        ("03_probe_ksmallest", "missing"): 1,
    }
    assert {*found.columns} == {*summary.FOUND, "k", "seed"}
    assert set(found.setting) == {"finetuned", "tuned", "before"}, "controls are no results"
    kinds = {(row.quantity, row.over) for row in found[found.setting == "tuned"].itertuples()}
    assert kinds == {
        ("gain V", "text and twins"), ("gain G", "text and twins"), ("S_P1", "random twin"),
        ("S_P2", "random twin"), ("S_P2_root", "random twin"),
    }  # fmt: skip
    one = found[(found.setting == "tuned") & (found.k == 2) & (found.seed == 0)]
    one = one.set_index("quantity")
    scores, gains = comparison().scores, comparison().gains
    near = scores[(scores.classifier == "kNN") & (scores.source == "tuned")].set_index("score")
    assert one.value["S_P1"] == pytest.approx(near.value["S_P1"]), "scores are the paper's kNN's"
    gain = gained(gains)[gained(gains).source == "tuned"].set_index("target")
    assert one.value["gain G"] == pytest.approx(gain.value["G"]), "gains are the logistic one's"
    assert summary.numeric_axis(summary.pool_seeds(found)) == "k"


def test_seeds_are_pooled(profile: str) -> None:
    run_all(profile)
    pooled = summary.pool_seeds(summary.gather(profile)[0])
    accuracy = pooled[pooled.quantity == "accuracy"].set_index("k")
    assert list(accuracy.index) == [2, 3]
    assert accuracy.loc[2].value == pytest.approx(0.21)
    assert accuracy.loc[2].spread == pytest.approx(0.01)
    # Half the t-interval of three figures .01 apart: 4.303 times .01 over the root of 3.
    assert accuracy.loc[2].high - 0.21 == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-4)
    assert (accuracy.seeds == 3).all()
    gains = pooled[pooled.quantity == "gain V"].set_index(["k", "setting"])
    assert gains.loc[(2, "tuned"), "seeds"] == 3 and gains.loc[(3, "tuned"), "seeds"] == 2


def test_the_t_interval_covers() -> None:
    rng = np.random.default_rng(0)
    rows = [
        dict.fromkeys(summary.FOUND, "")
        | {"setting": setting, "value": value, "low": 0, "high": 0, "seed": seed}
        for setting in range(400)
        for seed, value in enumerate(rng.normal(0.5, 0.1, size=3))
    ]
    pooled = summary.pool_seeds(pd.DataFrame(rows))
    covered = (pooled.low <= 0.5) & (pooled.high >= 0.5)
    assert len(covered) == 400
    assert 0.92 < covered.mean() < 0.98


def test_one_seed_keeps_its_interval_and_undefined_stays(profile: str) -> None:
    rows = [
        dict.fromkeys(summary.FOUND, "a") | {"value": v, "low": v, "high": v, "quantity": q}
        for v, q in ((0.3, "S_P1"), (np.nan, "S_P2"))
    ]
    pooled = summary.pool_seeds(pd.DataFrame(rows))
    assert pooled[["value", "low", "high", "seeds"]].iloc[0].tolist() == [0.3, 0.3, 0.3, 1]
    assert pooled.seeds.tolist() == [1, 0]
    assert pooled.value.isna().tolist() == [False, True]
    said = sentences.summary_sentences(pooled, no_runs(profile))
    assert any("too little room: 1." in line for line in said)


def test_a_row_for_each_setting(profile: str) -> None:
    run_all(profile)
    pooled = summary.pool_seeds(summary.gather(profile)[0])
    table = summary.by_setting(pooled).set_index(["setting", "k"])
    assert [*table] == [
        "task", "accuracy", "gain G over text and twins", "gain V over text and twins",
        "S_P1 over random twin", "S_P2 over random twin",
    ]  # fmt: skip
    assert table.loc[("finetuned", "2"), "accuracy"] == "0.21 [0.19, 0.23]"
    known = pooled[(pooled.setting == "before") & (pooled.quantity == "S_P1") & (pooled.k == 3)]
    said = f"{Estimate(*known[['value', 'low', 'high']].iloc[0]):.2f}"
    assert table.loc[("before", "3"), "S_P1 over random twin"] == said
    pooled.loc[pooled.quantity == "S_P1", "value"] = np.nan
    column = summary.by_setting(pooled)["S_P1 over random twin"].dropna()
    assert len(column) == 4 and set(column) == {"undefined"}
    assert summary.by_intervention(pooled).empty


def no_runs(profile: str) -> pd.DataFrame:
    return summary.runs(Profile.read(profile).jobs[:1])


def test_nothing_to_gather(profile: str) -> None:
    with pytest.raises(InputError, match=r"has no finished run: run `make sweep"):
        summary.gather(profile)


def test_a_failed_run_is_told_of(profile: str) -> None:
    run_all(profile)
    missing = next(
        job for job in Profile.read(profile).jobs if not job.executed.is_file() and not job.gathers
    )
    missing.failed.write_text("{}")
    assert "failed" in set(summary.gather(profile)[1].state)


def test_curves_beside_the_papers(profile: str) -> None:
    run_all(profile)
    pooled = summary.pool_seeds(summary.gather(profile)[0])
    assert summary.paper_curves(profile, "k").empty, "the paper has no lists of eight"
    theirs = summary.paper_curves("figure17", "k")
    assert set(theirs.quantity) == {"accuracy", "S_P1", "S_P2_root"}
    # Fig 17a: GPT-2 medium at k = 32; Fig 18: S_P1 at k = 1.
    medium = theirs[(theirs.label == "paper: GPT-2 medium, pool 512") & (theirs.k == 32)]
    assert medium.value.tolist() == [0.3216]
    assert theirs[(theirs.quantity == "S_P1") & (theirs.k == 1)].value.tolist() == [0.864]
    assert summary.paper_curves("scratch", "twins").empty
    drawn = figures.sweep_curves(pooled, "k", summary.paper_curves("scratch", "k"))
    titles = [axis.get_title() for axis in drawn.axes if axis.get_visible()]
    assert titles == [
        "accuracy", "gain G, over the text and twins", "gain V, over the text and twins",
        "S_P1, over the random twin", "S_P2, over the random twin",
        "S_P2_root, over the random twin",
    ]  # fmt: skip
    paper_too = [
        title
        for title, axis in zip(titles, drawn.axes, strict=True)
        if "paper: GPT-2 small, pool 512" in {line.get_label() for line in axis.lines}
    ]
    assert paper_too == [titles[0], titles[3], titles[5]], "it has no gains, and no macro-F1"
    points = figures.summary_points(pooled)
    labels = [tick.get_text() for tick in points.axes[0].get_yticklabels()]
    assert labels == [
        f"k-th smallest of 8: {name}, k {k}" for k in (2, 3) for name in ("tuned", "before")
    ]


def test_interventions_are_told_by_what_they_change() -> None:
    rows = [
        ("useful replaced", -0.9), ("useless replaced", -0.1), ("useless negated", -0.2),
    ]  # fmt: skip
    pooled = pd.DataFrame([
        dict.fromkeys(summary.FOUND, "") | {
            "setting": s, "value": v, "low": v, "high": v, "quantity": "change in accuracy",
            "task": "theories",
        }
        for s, v in rows
    ])  # fmt: skip
    made = pd.DataFrame({"state": ["finished"], "seconds": [3.0]})
    said = sentences.summary_sentences(pooled, made)
    assert "*useful replaced* (theories) changes accuracy most: -0.900" in said[0]
    assert "*useless negated*" in said[1]
    assert said[2] == "1 of 1 runs are finished; they took 3 s."


def test_the_papers_tables_are_read() -> None:
    table = paper.paper_table("table4", k=2)
    assert table[(table.source == "finetuned") & (table.quantity == "V")].value.item() == 0.9677


def test_runs_of_one_notebook_are_kept_without_pictures(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Profile.read(profile).jobs
    for job in jobs:
        finish(job, accuracy=pd.DataFrame({"accuracy": [job.parameters.get("seed")]}))
        (job.folder / "figures").mkdir()
        (job.folder / "figures" / "a.png").write_text("")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    folders = pages.keep(Profile.read(profile))
    assert [*folders] == [
        tmp_path / "results" / "mine" / job.notebook.name / ("" if job.gathers else job.folder.name)
        for job in jobs
    ]
    found = {path.name for folder in folders[:-1] for path in folder.iterdir()}
    assert found == {"accuracy.csv", "manifest.json"}
    assert (folders[-1] / "a.png").exists(), "of a notebook with one run"
