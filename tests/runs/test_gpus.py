"""GPUs are lent one at a time; a listing of two stands in for nvidia-smi, the locks are real."""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from mplib.errors import InputError
from mplib.runs import gpus

BORROW = """
import os, sys, time
from mplib.runs.gpus import lent
with lent(sys.argv[1]) as held:
    print(held, os.environ.get("CUDA_VISIBLE_DEVICES"), sep="|", flush=True)
    began = time.time()
    time.sleep(float(sys.argv[2]))
    print(began, time.time(), sep="|")
"""


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine of two GPUs."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nprintf 'GPU-a\\nGPU-b\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    short = Path(tempfile.mkdtemp(dir="/tmp"))  # a long place is not used for locks
    monkeypatch.setenv("TMPDIR", str(short))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield short
    shutil.rmtree(short)


def borrow(device: str, seconds: float) -> "subprocess.Popen[str]":
    """A process that holds what a device parameter asks for, and says so when it does."""
    line = [sys.executable, "-c", BORROW, device, str(seconds)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, text=True)


def told(process: "subprocess.Popen[str]") -> tuple[list[str], str, float, float]:
    """What a borrower held, what it saw, and when."""
    held, span = process.communicate()[0].splitlines()
    names, _, seen = held.partition("|")
    began, ended = map(float, span.split("|"))
    return ast.literal_eval(names), seen, began, ended


@pytest.mark.usefixtures("two")
def test_what_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpus.visible() == ["GPU-a", "GPU-b"]
    for allowed, seen in {
        "1": ["GPU-b"], "1,0": ["GPU-b", "GPU-a"], "": [], "-1": [], "GPU-b": ["GPU-b"],
        "MIG-c": ["MIG-c"],
    }.items():  # fmt: skip
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
        assert gpus.visible() == seen, allowed


def test_a_machine_without_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if gpus.visible():
        pytest.skip("this machine has one")
    with gpus.lent("auto") as held:
        assert held == []
        assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.usefixtures("two")
def test_no_gpu_is_lent_twice_and_all_are_used() -> None:
    spans: dict[str, list[tuple[float, float]]] = {}
    for held, seen, began, ended in [told(p) for p in [borrow("auto", 0.5) for _ in range(4)]]:
        assert held == [seen]
        spans.setdefault(seen, []).append((began, ended))
    assert sorted(spans) == ["GPU-a", "GPU-b"]
    for used in spans.values():
        used.sort()
        assert all(first[1] <= second[0] for first, second in pairwise(used))


@pytest.mark.usefixtures("two")
def test_all_gpus_wait_for_the_one_that_is_held() -> None:
    one = borrow("cuda:1", 1)
    assert one.stdout
    first = one.stdout.readline()
    assert first == "['GPU-b']|None\n", "cuda:1 is counted among what is visible"
    held, _, began, _ = told(borrow("map", 0))
    assert held == ["GPU-a", "GPU-b"]
    assert began >= float(one.communicate()[0].split("|")[1])


@pytest.mark.usefixtures("two")
def test_a_killed_holder_gives_its_gpus_back() -> None:
    holder = borrow("map", 60)
    assert holder.stdout
    holder.stdout.readline()
    holder.kill()
    holder.wait()
    with gpus.lent("cuda") as held:
        assert held == ["GPU-a"]
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.usefixtures("two")
def test_a_gpu_that_is_not_there() -> None:
    with (
        pytest.raises(InputError, match=r"'cuda:2': this machine shows 2 GPUs"),
        gpus.lent("cuda:2"),
    ):
        pass


def test_a_link_in_a_locks_place_truncates_nothing(two: Path) -> None:
    precious = two / "precious.txt"
    precious.write_text("mine")
    locks = two / f"mplib-gpus-{os.getuid()}"
    locks.mkdir()
    (locks / "GPU-a").symlink_to(precious)
    with pytest.raises(InputError, match="GPU-a is a link"), gpus.lent("cuda"):
        pass
    (locks / "GPU-a").unlink()
    locks.rmdir()
    locks.symlink_to(two)
    with pytest.raises(InputError, match="no folder of this user's own"), gpus.lent("cuda"):
        pass
    assert precious.read_text() == "mine"


@pytest.mark.usefixtures("two")
def test_a_cpu_run_holds_nothing() -> None:
    with gpus.lent("cpu") as held:
        assert held == []
