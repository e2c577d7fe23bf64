"""Estimates of cost beside what runs did cost."""

import json
from pathlib import Path

import pandas as pd
import pytest

from mplib.files import ROOT
from mplib.models import cost
from mplib.runs.cost import line, table
from mplib.runs.profiles import Job

SPEED = 150e9
"""Operations a second of the machine that made the kept results."""

KEPT = sorted((ROOT / "results" / "quick").rglob("manifest.json"))


@pytest.mark.parametrize("path", KEPT, ids=[path.parent.name[:24] for path in KEPT])
def test_kept_runs_took_what_is_estimated(path: Path) -> None:
    manifest = json.loads(path.read_text())
    found = cost.estimate(manifest.get("work", {}), manifest["parameters"], SPEED)
    assert found is not None
    # A notebook's own time lacks the kernel's start.
    assert 1 / 4 < found.seconds / (manifest["seconds"] + 10) < 4


def job(**given: object) -> Job:
    return Job.of("01_finetune", given)


def estimate(job: Job, speed: float = SPEED) -> cost.Cost | None:
    return cost.estimate(job.about["work"], job.parameters, speed)


def test_twice_the_work_costs_twice_the_time_beyond_the_start() -> None:
    one, two, fast = (
        estimate(job(steps=n, evaluations=1), speed)
        for n, speed in ((1000, 1e10), (2000, 1e10), (1000, 2e10))
    )
    assert one and two and fast
    start = cost.START_SECONDS
    assert (two.seconds - start) / (one.seconds - start) == pytest.approx(2, rel=0.05)
    assert (one.seconds - start) / (fast.seconds - start) == pytest.approx(2)


def test_a_larger_model_takes_more_of_everything() -> None:
    small, large = (estimate(job(model=m)) for m in ("tiny", "gpt2-small-shape"))
    assert small and large
    assert large.seconds > 50 * small.seconds
    assert large.memory > 2 * small.memory
    # 85 million parameters of four bytes, and the numbers' embeddings.
    assert large.disk == pytest.approx(4 * 86.5e6, rel=0.05)


def test_work_by_layer_counts_for_each_layer() -> None:
    work = {"model": "tiny", "vocabulary": 100}
    plain, by_layer = (
        cost.estimate(work | {key: tokens}, {}, SPEED)
        for key, tokens in (("read", 4e9), ("read_by_layer", 1e9))
    )
    assert plain == by_layer, "the model has four layers"


def test_a_model_that_is_not_here_yet() -> None:
    strange = job(model="no/such")
    assert estimate(strange) is None
    rows = table([job(), strange], [strange], cost.estimate)
    assert "not on this machine" in rows[0]["time"]
    assert "not on this machine" in line(strange, cost.estimate)


def test_a_table_of_a_profile() -> None:
    jobs = [job(k=1), job(k=2)]
    rows = pd.DataFrame(
        table(jobs, jobs[:1], lambda work, parameters: (5400.0, 3 * 2.0**30, 2.0**20))
    )
    assert list(rows.notebook) == ["01_finetune", "all, 1 at a time"]
    assert list(rows.runs) == [2, 2]
    assert list(rows["to do"]) == [1, 1]
    assert rows.time.tolist() == ["about 1.5 h"] * 2
    two = table(jobs, jobs, lambda work, parameters: (5400.0, 3 * 2.0**30, 2.0**20), at_once=2)
    last = {name: two[-1][name] for name in ("time", "memory", "disk")}
    assert last == {"time": "about 1.5 h", "memory": "6 GiB", "disk": "2 MiB"}
    assert [row["time"] for row in table(jobs, [], cost.estimate)] == ["", ""]


def test_the_machine_is_measured() -> None:
    assert 1e8 < cost.machine_speed() < 1e16
