"""What a sweep tells while it runs, by the files that runs leave."""

from pathlib import Path

import pytest

from mplib.runs.profiles import Job
from mplib.runs.progress import Progress

SECONDS = {1: 100.0, 2: 100.0, 3: 20.0}


def leave(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")


@pytest.fixture
def jobs() -> list[Job]:
    training = [Job.of("01_finetune", {"k": k}) for k in (1, 2)]
    return [*training, Job.of("03_probe_ksmallest", {"k": 3})]


def progress(jobs: list[Job], told: list[str], *, known: bool = True) -> Progress:
    def estimate(work: object, parameters: dict[str, int]) -> tuple[float, float, float, dict]:
        return SECONDS[parameters["k"]], 0, 0, {"unpacked": (30.0, 0.0)}

    found = Progress.of(jobs, estimate if known else None, 1, lambda job: "no room")
    found.tell = told.append
    return found


def test_lines_count_and_time_left_follows_what_runs_took(jobs: list[Job]) -> None:
    told: list[str] = []
    first, second, other = jobs
    leave(first.failed)  # of an earlier sweep
    watch = progress(jobs, told)
    assert watch.left == 250, "what is done once counts once"
    watch.look()
    assert told == []
    leave(first.running)
    watch.look()
    watch.look()
    assert told.pop() == f"01_finetune ({first.folder.name}) started, about 2.2 min" and not told
    # The notebook moves to its place; it took no time, so the others will take less.
    first.executed.parent.mkdir()
    first.running.rename(first.executed)
    watch.look()
    assert watch.left == pytest.approx(120 * 60 / (60 + 130), rel=0.01)
    assert told.pop().endswith(": 1 of 3, about 38 s left") and not told
    leave(other.running)
    watch.look()
    assert told.pop() == "03_probe_ksmallest started, about 6.3 s"
    leave(other.failed)
    watch.look()
    line, reason = told.pop().splitlines()
    assert "FAILED after" in line and ": 2 of 3, about " in line and reason == "  no room"
    leave(second.executed)  # as a run on another machine may
    watch.look()
    assert told.pop().endswith(": 3 of 3")


def test_runs_of_unknown_cost_are_counted_alone(jobs: list[Job]) -> None:
    told: list[str] = []
    watch = progress(jobs, told, known=False)
    leave(jobs[2].running)
    leave(jobs[2].executed)
    watch.look()
    assert told[0] == "03_probe_ksmallest started"
    assert told[1].endswith(": 1 of 3")
