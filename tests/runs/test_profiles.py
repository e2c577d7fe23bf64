"""Profiles and what they expand to; what makes a run finished or old."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mplib.errors import InputError
from mplib.files import ROOT
from mplib.runs import engine
from mplib.runs.profiles import Job, Profile


def test_every_profile_can_be_planned() -> None:
    for path in (ROOT / "profiles").glob("*.yaml"):
        jobs = Profile.read(path.stem).jobs
        assert len({job.folder for job in jobs}) == len(jobs)
        made = {path for job in jobs for path in job.makes}
        for job in jobs:
            # A language model is probed as it is, and beside it what was finetuned, if anything.
            as_it_is = job.notebook.name == "05_probe_proofwriter"
            needs = job.parameters.get("finetuned", True) and not as_it_is and not job.gathers
            assert not (needs and job.inputs) or made & {*job.inputs}, job.name


def test_lists_are_expanded_to_runs() -> None:
    probes = [
        job for job in Profile.read("paper").jobs if job.notebook.name == "03_probe_ksmallest"
    ]
    assert [job.parameters["k"] for job in probes] == list(range(1, 9))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("notebook: {}", "unknown key 'notebook'.*Did you mean 'notebooks'"),
        ("notebooks: {01_finetun: {}}", "unknown notebook '01_finetun'"),
        ("notebooks: {01_finetune: {kk: 1}}", "no parameter 'kk'"),
        ("notebooks: {01_finetune: {k: [1, two]}}", "k='two' is str"),
        ("all: {kk: 1}\nnotebooks: {01_finetune: {}}", "sets 'kk' for all, but no notebook"),
    ],
)
def test_bad_profiles(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        assert Profile.read(str(tmp_path / "mine.yaml")).jobs


def test_an_unknown_profile() -> None:
    with pytest.raises(InputError, match=r"'quik'.*Did you mean 'quick'"):
        assert Profile.read("quik").jobs


@pytest.fixture
def profile(tmp_path: Path) -> Callable[[str], str]:
    """Writes a profile into a file and returns its name."""

    def write(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return write


SWEEP = """
all: {k: [1, 2], seed: [0, 1]}
notebooks:
  01_finetune:
  03_probe_ksmallest: {twins: [1, 3]}
  08_summary:
"""


def finish(job: Job) -> None:
    """Leaves what a finished run leaves."""
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / "manifest.json").write_text(json.dumps({"source": job.notebook.hash}))
    for path in [*job.makes, job.executed]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


def test_a_sweep_shares_its_finetunings(profile: Callable[[str], str]) -> None:
    jobs = Profile.read(profile(SWEEP)).jobs
    names = [job.notebook.name for job in jobs]
    assert [names.count(name) for name in dict.fromkeys(names)] == [4, 8, 1]
    trained = {path for job in jobs for path in job.makes}
    for job in jobs:
        if job.notebook.name == "03_probe_ksmallest":
            assert trained & {*job.inputs}
    assert len(jobs[-1].inputs) == 12, "the summary waits for all others"


def test_equal_sets_are_one_run(profile: Callable[[str], str]) -> None:
    jobs = Profile.read(profile("notebooks: {01_finetune: [{k: 3}, {k: [3, 4]}]}")).jobs
    assert [job.parameters["k"] for job in jobs] == [3, 4]


def test_lists_of_lists_are_swept(profile: Callable[[str], str]) -> None:
    jobs = Profile.read(profile("notebooks: {06_probe_arc: {depths: [[1, 2], [3]]}}")).jobs
    assert [job.parameters["depths"] for job in jobs] == [[1, 2], [3]]
    (job,) = Profile.read(profile("notebooks: {06_probe_arc: {depths: [1, 2]}}")).jobs
    assert job.parameters["depths"] == [1, 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("notebooks: {01_finetune: {k: []}}", "k=\\[\\] sweeps over nothing"),
        ("notebooks: [", "is no YAML"),
        ("[1]", "names no notebooks"),
        ("all: {k: 1}", "names no notebooks"),
    ],
)
def test_files_that_are_no_profiles(profile: Callable[[str], str], text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        assert Profile.read(profile(text)).jobs


def test_what_is_due(profile: Callable[[str], str]) -> None:
    name = profile(
        "all: {k: [1, 2]}\nnotebooks: {01_finetune: {}, 03_probe_ksmallest: {}, 08_summary: {}}"
    )
    chosen = Profile.read(name)
    assert engine.due(chosen) == chosen.jobs
    for job in chosen.jobs:
        finish(job)
    assert engine.due(chosen) == []
    # A training made anew makes its probe old, and that the summary.
    first, second, probe, other, summary = chosen.jobs
    newer = probe.executed.stat().st_mtime + 10
    (trained,) = first.makes
    os.utime(trained, (newer, newer))
    assert engine.due(chosen) == [probe, summary]
    os.utime(probe.executed, (newer + 1, newer + 1))
    assert engine.due(chosen) == [summary]
    # A checkpoint that was removed is made again, with all that was made from it.
    (lost,) = second.makes
    lost.unlink()
    assert engine.due(chosen) == [second, other, summary]


def test_another_version_of_a_notebook_makes_its_runs_old(profile: Callable[[str], str]) -> None:
    (job,) = Profile.read(profile("notebooks: {02_visualization: {}}")).jobs
    finish(job)
    assert job.state == "finished"
    (job.folder / "manifest.json").write_text(json.dumps({"source": "00000000"}))
    assert job.state == "old"


def test_cores_and_gpus_are_shared_out(
    monkeypatch: pytest.MonkeyPatch, profile: Callable[[str], str]
) -> None:
    monkeypatch.setattr(engine, "visible", lambda: ["a", "b"])
    shared = engine.Engine(cores=16)
    assert shared.threads == 8
    assert shared.options() == [
        "threads=8", "force=0", "--cores", "16", "--resources", "gpu=2",
    ]  # fmt: skip
    assert shared.at_once(Profile.read(profile("notebooks: {08_summary: {}}"))) == 2
    assert shared.at_once(Profile.read("smoke")) == 16, "its notebooks ask for one thread each"
    monkeypatch.setattr(engine, "visible", list)
    assert engine.Engine(cores=3, force=True).options() == [
        "threads=3", "force=1", "--cores", "3", "--forceall",
    ]  # fmt: skip


def test_clusters_are_folders_with_settings() -> None:
    options = engine.Engine(cores=4, cluster="slurm").options()
    assert options[-1] == str(ROOT / "cluster" / "slurm")
    assert "--cores" not in options, (
        "cores are a notebook's there, and the profile says how many run"
    )
    with pytest.raises(InputError, match=r"unknown cluster 'slrum'.*Did you mean 'slurm'"):
        engine.Engine(cluster="slrum").options()
    for path in (ROOT / "cluster").glob("*/config.yaml"):
        settings = yaml.safe_load(path.read_text())
        assert {"executor", "jobs", "default-resources"} <= set(settings)
