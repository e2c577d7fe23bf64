"""Estimates of cost beside what runs did cost."""

import json
from pathlib import Path

import pytest

from mplib.files import ROOT
from mplib.runs import cost
from mplib.runs.notebooks import Notebook
from mplib.runs.profiles import Job

SPEED = 150e9
"""Operations a second of the machine that made the kept results."""

KEPT = sorted((ROOT / "results" / "quick").rglob("manifest.json"))


@pytest.mark.parametrize("path", KEPT, ids=[path.parent.name[:24] for path in KEPT])
def test_kept_runs_took_what_is_estimated(path: Path) -> None:
    manifest = json.loads(path.read_text())
    notebook = Notebook.find(manifest["notebook"])
    if set(manifest["parameters"]) != set(notebook.parameters):
        pytest.skip("the run is of an earlier version of the notebook")
    found = cost.estimate(Job(notebook, manifest["parameters"]), SPEED)
    assert found is not None
    # A notebook's own time lacks the kernel's start.
    assert 1 / 4 < found.seconds / (manifest["seconds"] + 10) < 4


def job(**given: object) -> Job:
    notebook = Notebook.find("01_finetune")
    return Job(notebook, notebook.check(given))


def test_twice_the_work_costs_twice_the_time_beyond_the_start() -> None:
    one, two, fast = (
        cost.estimate(job(steps=n, evaluations=1), speed)
        for n, speed in ((1000, 1e10), (2000, 1e10), (1000, 2e10))
    )
    assert one and two and fast
    start = cost.START_SECONDS
    assert (two.seconds - start) / (one.seconds - start) == pytest.approx(2, rel=0.05)
    assert (one.seconds - start) / (fast.seconds - start) == pytest.approx(2)


def test_a_larger_model_takes_more_of_everything() -> None:
    small, large = (cost.estimate(job(model=m), SPEED) for m in ("tiny", "gpt2-small-shape"))
    assert small and large
    assert large.seconds > 50 * small.seconds
    assert large.memory > 2 * small.memory
    # 85 million parameters of four bytes, and the numbers' embeddings.
    assert large.disk == pytest.approx(4 * 86.5e6, rel=0.05)


def test_a_model_that_is_not_here_yet() -> None:
    notebook = Notebook.find("03_probe_ksmallest")
    assert cost.estimate(Job(notebook, notebook.check({"model": "no/such"})), SPEED) is None
    table = cost.table([job(), job(model="no/such")], [job(model="no/such")])
    assert "not on this machine" in table.time[0]


def test_a_table_of_a_profile() -> None:
    jobs = [job(k=1), job(k=2)]
    table = cost.table(jobs, jobs[:1])
    assert list(table.notebook) == ["01_finetune", "all, 1 at a time"]
    assert list(table.runs) == [2, 2]
    assert list(table["to do"]) == [1, 1]
    assert cost.table(jobs, []).time.tolist() == ["", ""]


def test_the_machine_is_measured() -> None:
    assert 1e8 < cost.machine_speed() < 1e16
