"""Runs: their keys, their tables, and what happens when the disk does not play along."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from mplib.errors import InputError
from mplib.files import ROOT
from mplib.runs import profiles, record
from mplib.runs.notebooks import Notebook

NOTEBOOK = Notebook.find("03_probe_ksmallest")


@pytest.fixture
def scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv("MPLIB_HOME", str(tmp_path))
    return NOTEBOOK.check({"k": 3}) | {"unrelated": object()}


def test_the_key_depends_on_values_not_on_how_they_are_given() -> None:
    key = profiles.run_key(NOTEBOOK, NOTEBOOK.check({"k": 3}))
    assert key.startswith("k3_")
    assert key == profiles.run_key(NOTEBOOK, NOTEBOOK.check({"k": 3, "m": 16}))
    assert key != profiles.run_key(NOTEBOOK, NOTEBOOK.check({"k": 3, "seed": 1}))
    assert key == profiles.run_key(NOTEBOOK, NOTEBOOK.check({"k": 3, "device": "cpu"}))
    assert profiles.run_key(NOTEBOOK, NOTEBOOK.check({})).startswith("default_")


def test_results_appear_all_at_once(scope: dict[str, object]) -> None:
    run = record.start_run(NOTEBOOK.name, scope)
    run.table("scores", pd.DataFrame({"value": [0.1 + 0.2]}), summary="scores")
    run.figure("plot", plt.figure())
    run.view("view", SimpleNamespace(page="<p>view</p>", given="{}"))
    assert not run.folder.exists()
    run.finish()
    table = pd.read_csv(run.folder / "scores.csv")
    assert table.value[0] == 0.1 + 0.2
    assert table.k[0] == 3
    assert {p.name for p in (run.folder / "figures").iterdir()} == {
        "plot.png", "plot.pdf", "view.html", "view.view.json",
    }  # fmt: skip
    assert (run.folder / "figures" / "view.html").read_text() == "<p>view</p>"
    assert (run.folder / "figures" / "view.view.json").read_text() == "{}"
    manifest = json.loads((run.folder / "manifest.json").read_text())
    assert manifest["parameters"]["k"] == 3
    assert manifest["tables"] == ["scores.csv"]
    assert (manifest["task"], manifest["label"]) == ("ksmallest", "k-th smallest of 16")
    assert manifest["work"]["longest"] == 16
    assert manifest["summary"] == {"scores": "scores"}


def test_a_failing_run_leaves_the_earlier_results(scope: dict[str, object]) -> None:
    first = record.start_run(NOTEBOOK.name, scope)
    first.table("scores", pd.DataFrame({"value": [1.0]}))
    first.finish()
    second = record.start_run(NOTEBOOK.name, scope)
    second.table("scores", pd.DataFrame({"value": [2.0]}))
    # It dies here, before finish().
    assert pd.read_csv(first.folder / "scores.csv").value[0] == 1.0


def test_a_wrong_type_by_hand_is_refused_too(scope: dict[str, object]) -> None:
    with pytest.raises(InputError, match="k='3' is str, expected int"):
        record.start_run(NOTEBOOK.name, scope | {"k": "3"})


def test_a_place_that_takes_no_files_is_named(scope: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder is wanted")
    with pytest.raises(InputError, match=r"cannot write .*MPLIB_HOME"):
        record.start_run(NOTEBOOK.name, scope)


def test_a_full_disk_gives_one_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")
    # A limit on the size of files gives the same error as a disk without room.
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from mplib.files import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "write_atomically(Path(sys.argv[1]), 'x' * 1000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(target)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1
    assert f"InputError: cannot write {target} (" in done.stderr
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
