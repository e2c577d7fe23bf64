"""Runs that fail, are refused or left behind: what is told, and that the others go on."""

import os
import re
import subprocess
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from conftest import command, mplib

from mplib.__main__ import main
from mplib.files import ROOT, exclusive

pytestmark = pytest.mark.slow


def test_what_a_notebook_refuses_is_one_line(tmp_path: Path) -> None:
    done = mplib("run", "03_probe_ksmallest", "-p", "k", "3", "--no-cost", home=tmp_path)
    assert done.returncode == 2
    told = done.stderr.splitlines()[-1]
    assert told.startswith("mplib: ") and "run the notebook 01_finetune with the same" in told
    assert list(tmp_path.glob("runs/*/*.failed.ipynb"))
    assert not list(tmp_path.glob("runs/*/*/executed.ipynb"))


def test_an_unwritable_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs").write_text("in the way")
    for words in (["run", "01_finetune"], ["book", "--profile", "smoke"]):
        assert main(words) == 2
        assert "MPLIB_HOME" in capsys.readouterr().err


def test_live_builds_exclude_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("book", "sweep"):
        with exclusive(tmp_path / "runs" / ".lock", wait=False):
            assert main([word, "--profile", "smoke"]) == 2
        assert f"process {os.getpid()} is at work in {tmp_path}" in capsys.readouterr().err


SMALL = """
threads: 1
all: {m: 4, pool: 16, model: nano, lists: 2000, examples: 20}
notebooks:
  01_finetune: {k: [1, 2], steps: 4, batch_size: 16, warmup_steps: 1, evaluations: 2}
  03_probe_ksmallest: {k: 2, twins: 2, resamples: 20}
  08_summary:
"""


def finished(text: str) -> list[str]:
    """The runs that a log says were finished."""
    return re.findall(r"^(0\S+(?: \(\S+\))?) finished in", text, re.MULTILINE)


@pytest.mark.builds
def test_a_failed_run_and_a_killed_engine_stop_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "mine.yaml"
    # There is no fifth smallest of four.
    profile.write_text(SMALL.replace("2]", "5]").replace("k: 2", "k: 5"))
    done = mplib("sweep", "--profile", str(profile), home=tmp_path)
    assert done.returncode == 1
    told = done.stderr[done.stderr.index("mplib: 2 of 4 runs are missing") :].splitlines()
    assert "InputError: k=5 of m=4: " in told[1]
    assert Path(told[1].partition("; see ")[2]).is_file()
    assert "not run, since what it needs is missing" in told[2]
    assert len({*finished(done.stderr)}) == 2, "one finetuning and the summary"
    said = done.stderr.index("RuleException")
    assert said < done.stderr.index("mplib: 2 of 4"), "the engine's own messages, where it failed"
    assert re.search(
        r"^01_finetune \(\S+\) FAILED .* of 4.* left\n  InputError: k=5", done.stderr, re.M
    )
    (made,) = tmp_path.glob("runs/08_summary/*/runs.csv")
    assert sorted(pd.read_csv(made).state) == ["failed", "finished", "missing"]
    # Mended, the same command runs what is missing or was cut short, and the summary anew; also
    # where the engine alone is killed meanwhile.
    profile.write_text(SMALL)
    (trained,) = tmp_path.glob("runs/01_finetune/*/manifest.json")
    trained.write_text("")
    line, environment = command("sweep", "--profile", str(profile), home=tmp_path)
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(line, env=environment, cwd=ROOT, stdout=file, stderr=file)
        while process.poll() is None and b"started" not in log.read_bytes():
            time.sleep(0.1)
        tree = psutil.Process(process.pid)
        engines = [p for p in tree.children(recursive=True) if "snakemake" in p.cmdline()]
        for victim in [tree, *engines]:
            victim.kill()
        process.wait()
        # Its notebook is still at work; the next sweep waits for it, and takes what it made.
        subprocess.run(line, env=environment, cwd=ROOT, stdout=file, stderr=file, check=True)
    runs = finished(log.read_text())
    assert len(runs) == len(set(runs)) == 4
    assert "rule" not in log.read_text() and " of 4" in log.read_text()
    monkeypatch.setenv("MPLIB_HOME", str(tmp_path))
    assert main(["sweep", "--profile", str(profile), "--dry-run"]) == 0
    assert capsys.readouterr().out == ""
