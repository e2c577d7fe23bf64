"""Runs one notebook through papermill, strictly: what the command line and Snakemake call."""

import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import papermill
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from mplib.errors import InputError, NotebookFailed
from mplib.notebooks import Notebook
from mplib.paths import ROOT, home
from mplib.results import run_folder


def execute(name: str, given: Mapping[str, Any], *, force: bool = False) -> Path:
    """Runs a notebook with the given parameters, unless its results are there already.

    Args:
        name: the notebook.
        given: parameters that differ from the notebook's own.
        force: whether to run it although it has been.

    Returns:
        The folder with the executed notebook, its tables, figures and manifest.

    Raises:
        InputError: unknown notebook or parameter, wrong type, or an input the notebook refuses.
        NotebookFailed: any other error inside the notebook; ``failed.ipynb`` shows it.
    """
    notebook = Notebook.find(name)
    values = notebook.check(given)
    folder = run_folder(notebook, values)
    with exclusive(folder.with_name(f".{folder.name}.lock"), wait=True):
        if not force and is_finished(folder):
            return folder
        _execute(notebook, values, folder)
    return folder


def is_finished(folder: Path) -> bool:
    """Whether a run's results are complete."""
    return (folder / "manifest.json").is_file() and (folder / "executed.ipynb").is_file()


def _execute(notebook: Notebook, values: dict[str, Any], folder: Path) -> None:
    """One strict papermill run; the executed notebook is put beside the finished results."""
    running = folder.with_name(f".{folder.name}.ipynb")
    failed = folder.with_name(f"{folder.name}.failed.ipynb")
    failed.unlink(missing_ok=True)
    began = time.time()
    # Only what differs from the parameters cell, so that a page shows it once.
    changed = {n: v for n, v in values.items() if v != notebook.parameters[n].default}
    _say(f"{notebook.name}: {folder.name} started")
    # Kernels of one folder share the default socket name; a name of its own each keeps parallel
    # runs apart, and sockets in the file system cannot race for a port.
    sockets = tempfile.mkdtemp(prefix="mplib-")
    # A page is no place for progress bars and libraries' warnings; the kernel inherits this.
    os.environ |= {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
    # Threads that wait by spinning make a training five times slower on cores that others use too.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    transport = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
    try:
        papermill.execute_notebook(
            notebook.read(), str(running), parameters=changed, kernel_name="python3",
            language="python", cwd=str(ROOT), progress_bar=False, config=transport,
        )  # fmt: skip
    except PapermillExecutionError as error:
        running.replace(failed)
        if error.ename == "InputError":
            raise InputError(error.evalue) from None
        raise NotebookFailed(
            f"{notebook.name} failed with {error.ename}: {error.evalue}; see {failed} for all "
            "up to there"
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot write {running} ({error.strerror}): make room, or set MPLIB_HOME to a folder "
            "that can be written; results written before are untouched"
        ) from error
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
    running.replace(folder / "executed.ipynb")
    _say(f"{notebook.name}: {folder.name} finished in {time.time() - began:.0f} s")


def _say(line: str) -> None:
    """One line for whoever watches."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def exclusive(lock: Path, *, wait: bool) -> Iterator[int]:
    """Holds a lock that the system itself lets go when its last holder dies, however it dies.

    Args:
        lock: the lock's file.
        wait: whether to wait for another holder, or to refuse.

    Yields:
        The lock's file descriptor, to be passed on to processes that should hold it too.

    Raises:
        InputError: somebody else holds it, or the folder cannot be written.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a+")
    except OSError as error:
        raise InputError(
            f"cannot write in {lock.parent} ({error.strerror}): make it writable or set MPLIB_HOME "
            "to a folder that is"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                f"another build (process {file.read().strip()}) is at work in {home()}: "
                "wait until it is done, or stop it"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def parse_parameters(text: str) -> dict[str, Any]:
    """Parameters given as one JSON object.

    Raises:
        InputError: it is none.
    """
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--params {text!r} is no JSON ({error}): quote it as one word") from None
    if not isinstance(given, dict):
        raise InputError(f"--params {text!r} is no JSON object: use one such as '{{\"k\": 3}}'")
    return given


def parse_value(text: str) -> Any:
    """A parameter's value from the command line: JSON where it is, else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return {"True": True, "False": False}.get(text, text)
