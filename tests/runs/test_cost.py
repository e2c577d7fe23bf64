"""Estimates of cost beside what runs did cost."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from mplib.files import ROOT
from mplib.models import cost
from mplib.models.loading import unpacked_folder
from mplib.runs.cost import line, table
from mplib.runs.profiles import Job, Profile

Speed = Callable[[torch.dtype | None], float]

SPEED = {None: 200e9, torch.bfloat16: 350e9}
"""Operations a second of the two cores that everything here was measured on, nothing beside it."""

KEPT = sorted((ROOT / "results" / "quick").rglob("manifest.json"))

LISTS = {"k": 2, "pool": 128, "lists": 500_000}
THEORIES = {"cases": ["d1 s4", "d1 s8", "d1 s8 hidden", "d2 s8 hidden"]}
QUICK = {"steps": 700, "evaluations": 10, **LISTS}
ALONE: list[tuple[str, dict[str, Any], float]] = [
    ("01_finetune", QUICK, 142), ("02_visualization", LISTS, 5),
    ("03_probe_ksmallest", LISTS, 37), ("03_ruler", LISTS, 114),
    ("04_causal", {**LISTS, "examples": 1000, "batch_size": 64}, 35),
    ("05_probe_proofwriter", {**THEORIES, "shot_counts": [0, 8], "shot_examples": 12}, 390),
    ("05_recall_dial", {"data": "file.json", "depths": [5], "beside": ["smollm2-135m"]}, 254),
    ("07_corruption_ksmallest", {**LISTS, "examples": 256}, 33),
    ("07_corruption_proofwriter", {"finetuned": False, "cases": ["d1 s4"], "examples": 64}, 78),
]  # fmt: skip
"""Runs with the machine to themselves, and their seconds."""


def speed(kind: torch.dtype | None) -> float:
    return SPEED[kind]


@pytest.fixture(autouse=True, scope="module")
def bfloat16() -> Iterator[None]:
    """As on the machine that was measured."""
    has = {"avx512_bf16": True}
    cost._shape.cache_clear()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
        yield
    cost._shape.cache_clear()


@pytest.mark.parametrize("path", KEPT, ids=[path.parent.name[:24] for path in KEPT])
def test_kept_runs_took_what_is_estimated(path: Path) -> None:
    manifest = json.loads(path.read_text())
    found = estimate(Job.of(manifest["notebook"], manifest["parameters"]))
    assert found is not None
    # A notebook's own time lacks the kernel's start; beside some of them other work went on.
    assert 1 / 5 < found.seconds / (manifest["seconds"] + 10) < 2


@pytest.mark.parametrize(("name", "given", "seconds"), ALONE, ids=[name for name, *_ in ALONE])
def test_runs_alone_took_what_is_estimated(
    name: str, given: dict[str, Any], seconds: float
) -> None:
    found = estimate(Job.of(name, given))
    assert found is not None
    assert 1 / 2 < found.seconds / (seconds + 10) < 2


def job(**given: object) -> Job:
    return Job.of("01_finetune", given)


def estimate(job: Job, speed: Speed = speed) -> cost.Cost | None:
    return cost.estimate(job.about.get("work", {}), job.parameters, speed)


def reasoner(**given: object) -> cost.Cost:
    (training,) = Profile.read("reasoner").jobs
    bare = {"checkpoint": "auto", "film": False, "evaluations": 5}
    found = estimate(job(**{**training.parameters, **bare, **given}))
    assert found is not None
    return found


def test_an_adapter_costs_what_it_was_measured_to_cost() -> None:
    found = reasoner()
    assert 1 / 2 < found.seconds / (90 * 60) < 2
    assert 1 / 2 < found.memory / 7.8e9 < 2, "the process's high-water mark after 30 minutes"
    # Rank * (in + out) of each of seven linear layers, in bfloat16, in 30 layers.
    both_ways = 2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536)
    assert found.disk - 2e6 == 2 * 16 * 30 * both_ways
    assert reasoner(precision="float32").disk - 2e6 == 2 * (found.disk - 2e6)
    # No adapter more: the film's twin, readings and classifiers.
    filmed = reasoner(film=True)
    assert found.memory < filmed.memory - 5e8
    assert found.seconds < filmed.seconds - 100


def test_what_trains_is_what_is_counted() -> None:
    lora, attention, every = (reasoner(trainable=x) for x in ("lora", "attention", "all"))
    assert lora.seconds < attention.seconds < every.seconds < 1.5 * lora.seconds
    # Moments and gradients of all weights beside those of the adapter.
    assert every.memory - lora.memory == pytest.approx(3 * 4 * (134.5e6 - 4.9e6), rel=0.01)
    assert lora.memory < attention.memory < every.memory
    assert attention.disk == every.disk == pytest.approx(4 * 134.5e6, rel=0.01)


def test_theories_do_not_go_by_the_number_of_lists() -> None:
    assert reasoner(lists=3) == reasoner(lists=10**8)
    assert reasoner(theory_questions=80_000).seconds > reasoner().seconds + 100
    dealt = reasoner(dealt=True)  # nothing is chosen by development problems
    assert dealt.seconds < reasoner().seconds - 100


def test_a_packaged_model_is_unpacked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MPLIB_HOME", str(tmp_path))
    jobs = [Job.of("05_probe_proofwriter", {"seed": seed}) for seed in (0, 1)]
    first = estimate(jobs[0])
    assert first is not None and first.once == {"smollm2-135m": (30, 4 * 134_515_008)}
    rows = table(jobs, jobs, lambda work, parameters: cost.estimate(work, parameters, speed))
    assert {row["disk"] for row in rows} == {"517 MiB"}
    unpacked_folder("smollm2-135m").mkdir(parents=True)
    found = estimate(jobs[0])
    assert found is not None and found.once == {}


def test_twice_the_work_costs_twice_the_time_beyond_the_start() -> None:
    one, two, fast = (
        estimate(job(steps=n, evaluations=1, lists=3, film=False), lambda kind, speed=speed: speed)
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
        cost.estimate(work | {key: tokens}, {}, speed)
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
        table(jobs, jobs[:1], lambda work, parameters: (5400.0, 3 * 2.0**30, 2.0**20, {}))
    )
    assert list(rows.notebook) == ["01_finetune", "all, 1 at a time"]
    assert list(rows.runs) == [2, 2]
    assert list(rows["to do"]) == [1, 1]
    assert rows.time.tolist() == ["about 1.5 h"] * 2
    two = table(jobs, jobs, lambda work, parameters: (5400.0, 3 * 2.0**30, 2.0**20, {}), at_once=2)
    last = {name: two[-1][name] for name in ("time", "memory", "disk")}
    assert last == {"time": "about 1.5 h", "memory": "6 GiB", "disk": "2 MiB"}
    assert [row["time"] for row in table(jobs, [], cost.estimate)] == ["", ""]


def test_the_machine_is_measured() -> None:
    assert 1e8 < cost.machine_speed() < 1e16
