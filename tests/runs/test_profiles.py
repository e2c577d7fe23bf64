"""Profiles and what they expand to; what makes a run finished or old."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mplib.errors import InputError
from mplib.files import ROOT, fingerprint
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


@pytest.mark.parametrize(
    ("name", "differs"),
    [("control", {"dealt"}), ("halfway", {"steps", "theory_questions", "film"})],
)
def test_what_the_reasoner_stands_beside_is_trained_as_it_is(name: str, differs: set[str]) -> None:
    reasoner, other = (Profile.read(one).jobs[0].parameters for one in ("reasoner", name))
    found = {key for key, value in reasoner.items() if other[key] != value}
    assert differs <= found <= differs | {"checkpoint", "evaluations"}


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
        path.write_text("{\n}")


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


ONE = "notebooks: {01_finetune: "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("all: [1, 2]\nnotebooks: {01_finetune: }", r"all: \[1, 2\] are no parameters"),
        ("all: k=2\nnotebooks: {01_finetune: }", "all: k=2 are no parameters"),
        ("all: false\nnotebooks: {01_finetune: }", "all: false are no parameters"),
        ("about: [1]\nnotebooks: {01_finetune: }", r"about=\[1\]"),
        (f"{ONE}fast}}", "01_finetune: fast are no parameters"),
        (f"{ONE}[a, b]}}", "01_finetune: a are no parameters"),
        (f"{ONE}[]}}", r"01_finetune: \[\] is no run"),
        ("notebooks: {}", "names no notebooks"),
        ("notebooks: [01_finetune]", "names no notebooks"),
        ("notebooks: {1: {k: 2}}", "unknown notebook '1'"),
        ("notebooks: {01_finetune: , notebooks/01_finetune.py: }", "names a notebook twice"),
        ("notebooks: {~: {k: 2}}", "line 1: a key must be a word"),
        ("? [a, b]\n: 4", "line 1: a key must be a word"),
        ("? {a: b}\n: 4", "line 1: a key must be a word"),
        ("3: 4\nnotebooks: {01_finetune: }", "unknown key '3'"),
        (f"{ONE}{{3: 2}}}}", "no parameter '3'"),
        (f"{ONE}{{k: 2, k: 3}}}}", "line 1: 'k' is given twice"),
        ("all: {k: 1}\nall: {m: 8}\nnotebooks: {01_finetune: }", "line 2: 'all' is given twice"),
        ("notebooks:\n  01_finetune:\n  01_finetune:", "line 3: '01_finetune' is given twice"),
        *(
            (f"{name}: {value}\nnotebooks: {{01_finetune: }}", f"{name}.*expected")
            for name in ("threads", "gpus")
            for value in ("-1", "two", "1.5", "[1]", "'1; touch x #'", "99999", "true", "{a: 1}")
        ),
        ("threads: 0\nnotebooks: {01_finetune: }", "threads=0: expected 1 to 4096"),
        (f"{ONE}{{seed: 1:30}}}}", "seed='1:30' is str, expected int"),
        (f"{ONE}{{seed: 2020-01-01}}}}", "seed='2020-01-01' is str, expected int"),
        (f"{ONE}{{seed: '1'}}}}", "seed='1' is str, expected int"),
        (f"{ONE}{{repeats: yes}}}}", "repeats='yes' is str, expected bool"),
        (f"{ONE}{{learning_rate: .nan}}}}", "learning_rate='.nan' is str, expected float"),
        (f"{ONE}{{learning_rate: .inf}}}}", "learning_rate='.inf' is str, expected float"),
        (f"{ONE}{{k: {'9' * 28}}}}}", "k is too large"),
        (f"{ONE}{{k: {'9' * 5000}}}}}", "k=.*expected int"),
        (f"{ONE}{{k: }}}}", "k=None is NoneType, expected int"),
        (f"{ONE}{{model: ~}}}}", "model=None is NoneType, expected str"),
        (f"{ONE}{{k: {{a: 1}}}}}}", "k={'a': 1} is dict"),
        (f"{ONE}{{k: [[1, 2], 3]}}}}", r"k=\[1, 2\] is list"),
        (f"{ONE}&a {{k: *a}}}}", "k=.* is dict"),
        (f"{ONE}{{k: &a [1, *a]}}}}", "k=.* is list"),
        (f"{ONE}{{model: !!binary aGVsbG8=}}}}", "could not determine a constructor"),
        ("all: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("all: *nope\nnotebooks: {01_finetune: }", "undefined alias"),
        ("all:\n\tk: 2", "line 2: .*cannot start any token"),
        ("---\na: 1\n---\nb: 1\n", "single document"),
        ("a: " + "[" * 5000, "nested too deeply"),
        (
            f"{ONE}{{k: {[*range(1, 99)]}, m: {[*range(2, 99)]}, steps: {[*range(1, 99)]}}}}}",
            "01_finetune: [0-9]+ runs are too many",
        ),
        (b"# \xe9t\xe9\nnotebooks: {01_finetune: }", "is no YAML in UTF-8"),
        (b"\x1f\x8b\x08\x00", "is no YAML in UTF-8"),
        (b"notebooks: {01_finetune: }\x00", "is no YAML"),
    ],
)
def test_profiles_of_a_wrong_shape(text: str | bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=f"^profile '{path}': .*{said}") as error:
        assert Profile.read(str(path)).jobs
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 1000 + len(str(path))


@pytest.mark.parametrize(
    "text",
    [
        b"notebooks: {01_finetune: }", b"\xef\xbb\xbfnotebooks: {01_finetune: }\r\n",
        "notebooks: {01_finetune: }".encode("utf-16"),
        b"threads:\nall:\nnotebooks: {01_finetune: }",
    ],
)  # fmt: skip
def test_profiles_of_an_odd_but_right_shape(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "a #b {c}.yaml").write_bytes(text)
    (job,) = Profile.read(str(tmp_path / "a #b {c}.yaml")).jobs
    assert job.folder.name.startswith("default_")


def test_scalars_are_read_by_the_parameter(profile: Callable[[str], str]) -> None:
    """As YAML 1.2 has them: no octals, no times, no other words for true."""
    text = (
        "{seed: 010, learning_rate: 1e-3, warmup_steps: +5, repeats: TRUE, model: 7b, data: 2024}"
    )
    (job,) = Profile.read(profile(f"{ONE}{text}}}")).jobs
    chosen = [job.parameters[n] for n in ("seed", "learning_rate", "warmup_steps", "repeats")]
    assert chosen == [10, 0.001, 5, True]
    assert [job.parameters[name] for name in ("model", "data")] == ["7b", "2024"]
    (job,) = Profile.read(profile("notebooks: {06_probe_arc: {layers: 5, questions: no}}")).jobs
    assert [job.parameters[name] for name in ("layers", "questions")] == ["5", "no"]
    merged = "all: &a {k: 2, m: 8}\nnotebooks: {01_finetune: {<<: *a, k: 3}}"
    (job,) = Profile.read(profile(merged)).jobs
    assert [job.parameters[name] for name in ("k", "m")] == [3, 8]


@pytest.mark.parametrize("name", ["", "my.yml", "a" * 5000, "a\0.yaml", "a" * 300 + ".yaml", "."])
def test_names_of_no_profile(name: str) -> None:
    with pytest.raises(InputError, match=r"^unknown profile"):
        Profile.read(name)


def test_a_profile_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "dir.yaml").mkdir()
    with pytest.raises(InputError, match=r"^unknown profile"):
        Profile.read(str(tmp_path / "dir.yaml"))


def told_apart(text: str) -> dict[str, list[str]]:
    """The checkpoints' names of a profile's runs, by notebook."""
    path = Path(os.environ["MPLIB_HOME"]) / "mine.yaml"
    path.write_text(text)
    found: dict[str, list[str]] = {}
    for job in Profile.read(str(path)).jobs:
        found.setdefault(job.notebook.name, []).append(job.parameters.get("checkpoint", ""))
    return found


SHARED = (
    "all: {{model: nano, {all}}}\nnotebooks: {{01_finetune: {own}, 03_probe_ksmallest: {probe}}}"
)


@pytest.mark.parametrize(
    ("given", "trained", "probed"),
    [
        # What is not shared stays as it is.
        ({"own": "{steps: 2}"}, ["auto"], ["auto"]),
        ({"own": "{trainable: [all, bias]}"}, ["auto"] * 2, ["auto"]),
        ({"all": "seed: [0, 1], k: [1, 2]"}, ["auto"] * 4, ["auto"] * 4),
        ({"own": "{steps: 2, device: [cpu, auto]}"}, ["auto"], ["auto"]),
        # What is shared is told apart, and probed each.
        ({"own": "{steps: [2, 3]}"}, ["{auto}_steps2", "{auto}_steps3"], ...),
        ({"own": "[{steps: 2}, {steps: 3}]"}, ["{auto}_steps2", "{auto}_steps3"], ...),
        (
            {"own": "{learning_rate: [1e-3, 0.01]}"},
            ["{auto}_learning-rate0.001", "{auto}_learning-rate0.01"], ...,
        ),
        ({"all": "batch_size: [8, 16]"}, ["{auto}_batch-size8", "{auto}_batch-size16"], ...),
        ({"own": "{steps: [2, 3], checkpoint: mine}"}, ["mine_steps2", "mine_steps3"], ["auto"]),
        (
            {"own": "{steps: [2, 3], trainable: [all, bias]}"},
            ["{auto}_steps2", "{auto}_steps2", "{auto}_steps3", "{auto}_steps3"],
            ["{auto}_steps2", "{auto}_steps3"],
        ),
        # A parameter that the probe has too is no sweep over both.
        ({"all": "lists: [300, 600]"}, ["{auto}_lists300", "{auto}_lists600"], ...),
        (
            {"own": "{lists: [300, 600]}", "probe": "{lists: 900}"},
            ["{auto}_lists300", "{auto}_lists600"], ...,
        ),
    ],
)  # fmt: skip
def test_finetunings_of_one_checkpoint(
    given: dict[str, str], trained: list[str], probed: list[str]
) -> None:
    found = told_apart(SHARED.format(**{"all": "m: 8", "own": "{}", "probe": "{}"} | given))
    assert found["01_finetune"] == trained
    assert found["03_probe_ksmallest"] == (trained if probed is ... else probed)


def test_names_that_are_cut_are_told_apart_still() -> None:
    long = "a/" * 40
    found = told_apart(f"{ONE}{{checkpoint: mine, data: [{long}b, {long}c]}}}}")["01_finetune"]
    assert len({*found}) == 2
    assert all(name.startswith("mine_dataa-a-") for name in found)


def test_a_large_plan_takes_time_by_its_length(
    profile: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the runs cost twice the calls, whether they are due or finished; no file is reread."""
    sources: list[Path] = []
    read_text = Path.read_text

    def listed(path: Path, *rest: str) -> str:
        sources.append(path)
        return read_text(path, *rest)

    monkeypatch.setattr(Path, "read_text", listed)

    def calls(seeds: int, finished: bool) -> int:
        text = f"all: {{model: nano, k: [1, 2], seed: {[*range(seeds)]}}}\n{SWEEP.splitlines()[2]}"
        chosen = Profile.read(
            profile(f"{text}\n  01_finetune:\n  03_probe_ksmallest:\n  08_summary:")
        )
        assert len(chosen.jobs) == 4 * seeds + 1
        for job in chosen.jobs if finished else []:
            finish(job)
        count = 0

        def counted(frame: object, event: str, what: object) -> None:
            nonlocal count
            count += event == "call"

        chosen = Profile.read(chosen.name)
        sys.setprofile(counted)
        try:
            assert bool(engine.due(chosen)) != finished
        finally:
            sys.setprofile(None)
        return count

    for finished in (False, True):
        assert calls(40, finished) < 2.4 * calls(20, finished)
    sources.clear()
    calls(20, True)
    assert sum(path.suffix == ".py" for path in sources) <= 40


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


def test_an_edited_file_makes_its_runs_old(profile: Callable[[str], str], tmp_path: Path) -> None:
    data = tmp_path / "mine.jsonl"
    data.write_text("{}")
    name = profile(f"notebooks: {{06_probe_arc: {{questions: {data}}}}}")
    (job,) = Profile.read(name).jobs
    finish(job)
    manifest = job.folder / "manifest.json"
    read = {"questions": fingerprint(data)}
    manifest.write_text(json.dumps({"source": job.notebook.hash, "inputs": read}))
    assert job.state == "finished"
    data.write_text("{ }")
    assert job.state == "old"
    for empty in (job.executed, manifest):
        finish(job)
        assert job.state == "finished", "its manifest tells of no file"
        empty.write_text("")
        assert job.state == "missing"


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
    assert shared.threads(3) == 8
    assert shared.options(3) == [
        "threads=8", "force=0", "--cores", "16", "--resources", "gpu=2",
    ]  # fmt: skip
    one = Profile.read(profile("notebooks: {08_summary: {}}"))
    assert shared.at_once(one, 3) == 2
    assert shared.at_once(Profile.read("smoke"), 20) == 16, "they ask for one thread each"
    monkeypatch.setattr(engine, "visible", list)
    shared = engine.Engine(cores=16)
    assert shared.threads(9) == 8, "two share the cores"
    assert (shared.threads(1), shared.at_once(one, 1)) == (16, 1), "one alone has all"
    assert engine.Engine(cores=3, force=True).options(2) == [
        "threads=1", "force=1", "--cores", "3", "--forceall",
    ]  # fmt: skip


def test_what_waits_for_the_only_other_run_leaves_it_all_cores(
    profile: Callable[[str], str],
) -> None:
    waiting = Profile.read("halfway").jobs
    assert [job.notebook.name for job in waiting] == ["01_finetune", "07_corruption_proofwriter"]
    assert engine.side_by_side(waiting) == engine.side_by_side(waiting[1:]) == 1
    apart = profile("notebooks: {02_visualization: {}, 03_probe_ksmallest: {}, 08_summary: {}}")
    assert engine.side_by_side(Profile.read(apart).jobs) == 2, "a summary waits for both"
    assert engine.side_by_side([]) == 0


def test_clusters_are_folders_with_settings() -> None:
    options = engine.Engine(cores=4, cluster="slurm").options(1)
    assert options[-1] == str(ROOT / "cluster" / "slurm")
    assert "--cores" not in options, (
        "cores are a notebook's there, and the profile says how many run"
    )
    with pytest.raises(InputError, match=r"unknown cluster 'slrum'.*Did you mean 'slurm'"):
        engine.Engine(cluster="slrum").options(1)
    for path in (ROOT / "cluster").glob("*/config.yaml"):
        settings = yaml.safe_load(path.read_text())
        assert {"executor", "jobs", "default-resources"} <= set(settings)
