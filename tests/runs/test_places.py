"""Odd places and settings, killed kernels, leftovers, and what is never removed."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jupytext.sync_contentsmanager
import nbformat
import pandas as pd
import psutil
import pytest
from jupyter_server.services.contents.largefilemanager import LargeFileManager

from mplib import files
from mplib.errors import InputError, NotebookFailed
from mplib.files import (
    ROOT,
    exclusive,
    fingerprint,
    home,
    is_whole,
    private_folder,
    sealed,
)
from mplib.runs import engine, lab, notebooks, pages, record, runner
from mplib.runs.clean import clean
from mplib.runs.notebooks import Notebook

TINY = {
    "model": "nano", "k": 1, "m": 4, "pool": 8, "lists": 300, "steps": 2, "batch_size": 8,
    "evaluations": 1, "warmup_steps": 1, "device": "cpu",
}  # fmt: skip
FINETUNE = Notebook.find("01_finetune")
KEY = "k1_0123abcd"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for sockets and locks that no other process uses."""
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def plant(path: Path, content: str = "mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


# Where things lie


def test_a_relative_home_is_made_absolute_once(tmp_path: Path) -> None:
    code = "import os, mplib.files as f; os.chdir('/'); print(f.home(), os.environ['MPLIB_HOME'])"
    environment = os.environ | {"MPLIB_HOME": "out", "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == [str(tmp_path / "out")] * 2


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HOME", raising=False)
    assert files.resolve("~nobody-of-that-name/x") == tmp_path / "~nobody-of-that-name" / "x"


def test_a_kernel_of_this_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path / "kernels" / "python3" / "kernel.json", '{"argv": ["/bin/false"]}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    spec = runner.OwnKernel(connection_file=str(tmp_path / "kernel.json")).kernel_spec
    assert spec.argv[0] == sys.executable
    assert "inline" in spec.env["MPLBACKEND"] and spec.env["IPYTHONDIR"] == str(tmp_path)


def test_sockets_and_locks_are_short_and_private(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.tempfile, "tempdir", str(temporary / ("long_" * 30)))
    assert len(str(private_folder("mplib-test"))) < 40
    private_folder("mplib-test").rmdir()
    short = Path(f"/tmp/mplib-test-{os.getpid()}")
    short.mkdir()
    monkeypatch.setattr(files.tempfile, "tempdir", str(short))
    assert private_folder("locks").stat().st_mode & 0o777 == 0o700
    private_folder("locks").rmdir()
    (short / f"locks-{os.getuid()}").symlink_to(temporary)
    with pytest.raises(InputError, match="no folder of this user's own: remove it"):
        private_folder("locks")
    (short / f"locks-{os.getuid()}").unlink()
    short.rmdir()


def test_no_git_is_an_unknown_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert record.provenance()["commit"] == "unknown"


def test_too_few_handles_are_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20, 30))
    with pytest.raises(InputError, match="30 files at once are too few for a notebook"):
        runner.execute(FINETUNE.name, TINY)
    wanted = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: wanted.append(limits[0]))
    runner._raise_handles()
    assert wanted == [4096]


# A book in a place of its own


def test_the_book_of_a_read_only_checkout_can_be_written(tmp_path: Path) -> None:
    for _ in range(2):
        book = pages._collect([], {"speed.md": "fast"})
        assert (book / "pages" / "speed.md").read_text() == "fast"
        for path in book.rglob("*"):
            assert path.stat().st_mode & 0o200, path
            assert (
                path.stat().st_ino != (ROOT / path.relative_to(tmp_path)).stat().st_ino
                if (ROOT / path.relative_to(tmp_path)).exists()
                else True
            )


def test_only_contents_are_copied_into_the_book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    plant(checkout / "book" / "_toc.yml", "parts: []").chmod(0o444)
    plant(checkout / "book" / "figures" / "a.md").chmod(0o444)
    for folder in (checkout / "book" / "figures", checkout / "book"):
        folder.chmod(0o555)
    monkeypatch.setattr(pages, "ROOT", checkout)
    for _ in range(2):
        book = pages._collect([], {})
    assert all(path.stat().st_mode & 0o200 for path in [book, *book.rglob("*")])


def test_a_folder_called_book_that_is_not_the_book(tmp_path: Path) -> None:
    mine = plant(tmp_path / "book" / "index.md")
    page = plant(tmp_path / "book" / "pages" / "chapter.md")
    with pytest.raises(InputError, match="is no book of this tool's"):
        pages._collect([], {})
    clean()
    assert mine.read_text() == page.read_text() == "mine"


# Kernels that die, and what they leave


@pytest.mark.slow
def test_a_killed_kernel_is_one_line_and_what_it_left_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = plant(tmp_path / "dies.py", DIES)
    with pytest.raises(NotebookFailed, match="was killed, by somebody or by the system") as error:
        runner.execute(str(died), {})
    assert "\n" not in str(error.value)
    (failed,) = tmp_path.glob("runs/dies/*.failed.ipynb")
    assert "before the end" in str(nbformat.read(failed, as_version=4).cells)
    mine = plant(tmp_path / "runs" / "dies" / ".mine.partial" / "thesis.txt")
    left = [
        plant(failed.with_name(f".{KEY}.partial") / "scores.csv"),
        plant(failed.with_name(f".{KEY}.ipynb")),
    ]
    runner.tidy()
    assert mine.exists() and failed.exists() and not any(path.exists() for path in left)
    assert not left[0].parent.exists()


DIES = """
# %% tags=["parameters"]
seed: int = 0  # of nothing

# %%
print("before the end")

# %%
import os
import signal

os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_kernel_still_holds_is_not_swept(temporary: Path) -> None:
    folder = temporary / "runs" / FINETUNE.name
    by_hand = plant(folder / f".{KEY}.partial" / "scores.csv")
    with exclusive(by_hand.parent / ".lock", wait=False):
        runner.tidy()
        assert by_hand.exists()
    running = plant(folder / f".{KEY}.ipynb")
    with exclusive(folder / f".{KEY}.lock", wait=False):
        runner.tidy()
        assert running.exists()
    stranger = plant(by_hand.parent / "thesis.txt")
    runner.tidy()
    assert not by_hand.exists() and not running.exists() and stranger.exists()


def test_sockets_of_the_dead_are_swept(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = temporary / "sockets"
    monkeypatch.setattr(files, "private_folder", lambda _: place)
    for name in ("dead", "alive"):
        plant(place / name / ".lock", "")
        monkeypatch.chdir(place / name)
        socket.socket(socket.AF_UNIX).bind("kernel-1")
    monkeypatch.chdir(temporary)
    other = plant(place / "no lock" / "notes.txt")
    with exclusive(place / "alive" / ".lock", wait=False):
        runner.tidy()
    assert not (place / "dead").exists() and (place / "alive").exists() and other.exists()


def test_an_interrupted_build_ends_all_that_it_started(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom mplib.runs.engine import call\n"
        "from mplib.files import exclusive\n"
        "with exclusive(Path('lock'), wait=False) as lock:\n"
        "    call(['sh', '-c', 'sleep 60 & echo $! > child; wait'], lock, '')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, start_new_session=True,
        stderr=subprocess.PIPE,
        # The tests may themselves run where Ctrl-C is ignored, behind a shell's `&`.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().strip():
        time.sleep(0.05)
    child = psutil.Process(int((tmp_path / "child").read_text()))
    os.killpg(process.pid, signal.SIGINT)
    assert b"KeyboardInterrupt" in process.communicate(timeout=20)[1]
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_failed_notebook_that_was_cut_short(tmp_path: Path) -> None:
    job = runner.Job.of(FINETUNE.name, TINY)
    plant(job.failed, "")
    assert engine._reason(job) == f"see {job.failed}"


# What is never removed


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[], record.Run]]:
    values = FINETUNE.check(TINY)
    yield lambda: record.start_run(FINETUNE.name, values)
    for stack in record._held.values():
        stack.close()
    record._held.clear()


def test_a_run_replaces_its_own_files_alone(run: Callable[[], record.Run]) -> None:

    first = run()
    first.table("old", pd.DataFrame({"a": [1]}))
    first.finish()
    notes = plant(first.folder / "notes" / "mine.txt")
    second = run()
    second.table("new", pd.DataFrame({"a": [1]}))
    second.finish()
    assert notes.read_text() == "mine"
    assert sorted(p.name for p in first.folder.iterdir()) == ["manifest.json", "new.csv", "notes"]
    assert [p.name for p in first.folder.parent.iterdir()] == [first.folder.name]
    with pytest.raises(InputError, match="this run is finished"):
        second.finish()


def test_somebody_elses_partial_folder_stays(run: Callable[[], record.Run]) -> None:
    begun = run()
    record._held.pop(begun.partial).close()
    mine = plant(begun.partial / "thesis.txt")
    with pytest.raises(InputError, match=r"holds thesis.txt, which is none of a run's files"):
        run()
    assert mine.read_text() == "mine"


def test_a_run_that_another_kernel_is_at(
    run: Callable[[], record.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "PATIENCE", 0)
    begun = run()
    record._held.pop(begun.partial).close()
    with exclusive(begun.partial / ".lock", wait=False), pytest.raises(InputError, match="at work"):
        run()


def test_clean_removes_what_was_made_and_nothing_else(
    run: Callable[[], record.Run], tmp_path: Path
) -> None:
    run().finish()
    run()
    record._held.popitem()[1].close()
    plant(tmp_path / "runs" / FINETUNE.name / f"{KEY}.failed.ipynb")
    made = {"identity": {}, "files": {"model.safetensors": 1}}
    plant(tmp_path / "checkpoints" / "a" / "training.json", json.dumps(made))
    plant(tmp_path / "checkpoints" / "a" / "model.safetensors")
    plant(tmp_path / "checkpoints" / "b.partial" / "last.safetensors")
    pages._collect([], {"speed.md": ""})
    built = {"files": {"html/index.html": 1}}
    plant(tmp_path / "book" / "_build" / "built.json", json.dumps(built))
    plant(tmp_path / "book" / "_build" / "html" / "index.html")
    plant(tmp_path / "book" / ".rendering" / "_build" / "html" / ".buildinfo")
    mine = [
        plant(tmp_path / "book" / "_build" / "html" / "mine.html"),
        plant(tmp_path / "runs" / "diary.txt"),
        plant(tmp_path / "checkpoints" / "web" / "manifest.json", "{}"),
        plant(tmp_path / "checkpoints" / "mine.partial" / "thesis.txt"),
        plant(tmp_path / "checkpoints" / ".precious.lock", "not a lock"),
    ]
    left = clean()
    assert all(path.is_file() for path in mine)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {str(path.relative_to(tmp_path)) for path in mine}
    assert {path.name for path in left} == {"diary.txt", "web", "mine.partial", ".precious.lock"}
    for path in mine:
        path.unlink()


@pytest.mark.parametrize("lock", ["runs/.lock", f"runs/x/.{KEY}.lock", "checkpoints/.a.lock"])
def test_clean_refuses_while_something_is_at_work(tmp_path: Path, lock: str) -> None:
    kept = plant(tmp_path / "runs" / "x" / KEY / "manifest.json", "{}")
    with (
        exclusive(tmp_path / lock, wait=False),
        pytest.raises(InputError, match=f"process {os.getpid()} is at work"),
    ):
        clean()
    assert kept.exists()


# Files that were cut short


@pytest.mark.parametrize("cut", ["manifest.json", "scores.csv"])
@pytest.mark.parametrize("content", ["", "{", '{"files": []}', "\0\0\0"])
def test_a_folder_with_a_file_that_was_cut_is_not_whole(
    tmp_path: Path, cut: str, content: str
) -> None:
    plant(tmp_path / "scores.csv", "a,b\n1,2\n3,4\n5,6")
    plant(tmp_path / "manifest.json", json.dumps({"files": files.listing(tmp_path)}))
    assert sealed(tmp_path, "manifest.json")
    plant(tmp_path / cut, content)
    assert sealed(tmp_path, "manifest.json") is None


def test_a_notebook_that_was_cut_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "executed.ipynb"
    assert not is_whole(path)
    text = nbformat.writes(FINETUNE.read())
    for end in (text, text + "\n"):
        assert is_whole(plant(path, end))
    for cut in ("", "}", "\0" * len(text), *(text[:n] for n in range(1, len(text), 97))):
        assert not is_whole(plant(path, cut))


def test_a_lock_that_was_taken_away_meanwhile_is_not_held(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with exclusive(lock, wait=False):
        lock.unlink()
        with exclusive(lock, wait=False):
            pass
    assert not lock.exists()


def test_a_lock_that_is_a_link_truncates_nothing(tmp_path: Path) -> None:
    precious = plant(tmp_path / "precious.txt")
    (tmp_path / ".lock").symlink_to(precious)
    with pytest.raises(InputError, match="is a link, where a lock should be"):
        exclusive(tmp_path / ".lock", wait=True).__enter__()
    assert precious.read_text() == "mine"


# What a run was made from


def test_a_fingerprint_tells_every_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BIG", 2**21)
    small, folder = plant(tmp_path / "d" / "q.jsonl", "one"), tmp_path / "d"
    seen = {fingerprint(small), fingerprint(folder)}
    os.utime(small, (1, 1))
    assert fingerprint(folder) in seen, "the content of a small file counts, not its time"
    plant(small, "two")
    seen |= {fingerprint(small), fingerprint(folder)}
    small.rename(small.with_name("r.jsonl"))
    seen.add(fingerprint(folder))
    big = plant(tmp_path / "big", "x" * 2**21)
    seen.add(fingerprint(big))
    os.utime(big, (1, 1))
    seen.add(fingerprint(big))
    assert len(seen) == 7
    monkeypatch.setattr(files, "MOST", 3)
    for i in range(4):
        plant(folder / str(i))
    with pytest.raises(InputError, match="more than 3 files"):
        fingerprint(folder)


def test_an_edited_question_file_is_told_from_the_old_one(tmp_path: Path) -> None:
    questions = plant(tmp_path / "q.jsonl", "before")
    notebook = Notebook.find("06_probe_arc")
    values = notebook.check({"questions": "q.jsonl", "model": "llama-nano"})

    def inputs(values: dict[str, Any]) -> dict[str, str]:
        files = notebook.about(values)["files"]
        return {name: fingerprint(path) for name, path in files.items()}

    before = inputs(values)
    assert set(before) == {"questions"}
    plant(questions, "after")
    assert inputs(values) != before
    model = plant(tmp_path / "m" / "config.json").parent
    assert set(inputs(values | {"model": str(model)})) == {
        "questions",
        "model",
    }


# JupyterLab


def test_opening_and_saving_in_jupyterlab_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = plant(tmp_path / "notebooks" / f"{FINETUNE.name}.py", FINETUNE.path.read_text())
    plant(tmp_path / "jupytext.toml", (ROOT / "jupytext.toml").read_text())
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    notebooks.write_pairs()
    before = {path.name: path.read_text() for path in source.parent.iterdir()}
    manager = jupytext.sync_contentsmanager.build_sync_jupytext_contents_manager_class(
        LargeFileManager
    )(root_dir=str(tmp_path), pre_save_hook=lab.plain)
    for suffix in ("ipynb", "py"):
        path = f"notebooks/{FINETUNE.name}.{suffix}"
        content = manager.get(path, content=True, type="notebook")["content"]
        content["metadata"]["language_info"] = {"name": "python", "version": "3.0"}
        manager.save({"type": "notebook", "format": "json", "content": content}, path=path)
        assert {name: (source.parent / name).read_text() for name in before} == before, suffix


def test_the_header_of_a_notebook_is_no_part_of_its_state(tmp_path: Path) -> None:
    text = FINETUNE.path.read_text()
    other = plant(tmp_path / "a.py", text.replace("display_name: Python 3", "display_name: Mine"))
    assert other.read_text() != text
    assert Notebook(other).hash == FINETUNE.hash
    changed = plant(tmp_path / "b.py", text.replace("k: int = 2", "k: int = 3"))
    assert Notebook(changed).hash != FINETUNE.hash
    assert home() == tmp_path
