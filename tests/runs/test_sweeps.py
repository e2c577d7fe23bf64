"""A sweep over what shares one checkpoint, in places with odd names: everything apart, and once."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

PROFILE = """
threads: 1
all: {k: 2, m: 8, pool: 32, model: nano, lists: 3000, device: cpu}
notebooks:
  01_finetune: {steps: [2, 3], evaluations: 1, batch_size: 8, learning_rate: 1e-2}
  03_probe_ksmallest: {twins: 1, resamples: 10, examples: 20}
"""


@pytest.mark.slow
def test_a_sweep_over_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "a {k} #b"
    home.mkdir()
    (home / "a #b {c}.yaml").write_text(PROFILE)
    monkeypatch.setenv("MPLIB_HOME", str(home))
    command = [sys.executable, "-m", "mplib", "sweep", "--profile", str(home / "a #b {c}.yaml")]

    def sweep() -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stderr

    sweep()
    trainings = sorted(home.glob("checkpoints/*/*/training.json"))
    assert [path.parent.name.rpartition("_")[2] for path in trainings] == ["steps2", "steps3"]
    weights = {(path.parent / "model.safetensors").read_bytes() for path in trainings}
    assert len(weights) == 2
    probes = sorted(home.glob("runs/03_probe_ksmallest/*/f1.csv"))
    first, second = (pd.read_csv(path) for path in probes)
    assert {*first.checkpoint, *second.checkpoint} == {"{auto}_steps2", "{auto}_steps3"}
    assert not first.equals(second.assign(checkpoint=first.checkpoint))
    before = {path: path.stat().st_mtime_ns for path in home.glob("runs/*/*/manifest.json")}
    assert len(before) == 4
    assert all(json.loads(path.read_text())["parameters"] for path in before)
    assert "started" not in sweep()
    assert before == {path: path.stat().st_mtime_ns for path in before}
