"""Runs one notebook through papermill, strictly: what the command line and Snakemake call."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import papermill
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from mplib.errors import InputError, NotebookFailed
from mplib.files import ROOT, unwritable
from mplib.runs.gpus import lent
from mplib.runs.locks import exclusive
from mplib.runs.profiles import Job


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
    job = Job.of(name, given)
    with exclusive(job.folder.with_name(f".{job.folder.name}.lock"), wait=True):
        if force or not job.is_finished:
            with lent(job.parameters.get("device", "cpu")):
                _execute(job)
    return job.folder


def _execute(job: Job) -> None:
    """One strict papermill run; the executed notebook is put beside the finished results."""
    notebook, values, folder, failed = job.notebook, job.parameters, job.folder, job.failed
    running = folder.with_name(f".{folder.name}.ipynb")
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
        raise unwritable(running, error) from error
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
    running.replace(job.executed)
    _say(f"{notebook.name}: {folder.name} finished in {time.time() - began:.0f} s")


def _say(line: str) -> None:
    """One line for whoever watches."""
    print(line, file=sys.stderr, flush=True)


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
