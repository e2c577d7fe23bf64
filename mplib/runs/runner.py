"""Runs one notebook through papermill, strictly: what the command line and Snakemake call."""

import glob
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import papermill
from ipykernel.kernelspec import make_ipkernel_cmd
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from mplib.errors import InputError, NotebookFailed
from mplib.files import (
    ROOT,
    discard,
    exclusive,
    home,
    replace,
    settle,
    sweep,
    temporary_folder,
    unwritable,
)
from mplib.runs.gpus import lent
from mplib.runs.profiles import Job
from mplib.runs.record import KEYS, UNFINISHED

SOCKETS = "mplib"
"""Name of the folder that the kernels' sockets lie in."""


HANDLES = (200, 4096)
"""Files that a run must be able to have open at once, and those that are plenty."""


class OwnKernel(AsyncKernelManager):
    """A kernel of this environment, whatever kernels and settings the user's folders name."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """This Python, with figures in the page and without the user's start-up files."""
        environment = {
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "IPYTHONDIR": str(Path(self.connection_file).parent),
            "PYTHONSTARTUP": "",
            # A page is no place for progress bars and libraries' warnings.
            "TQDM_DISABLE": "1",
            "PYTHONWARNINGS": "ignore",
            # Threads that spin for long make a training five times slower on cores that others use
            # too; those that never do are woken up for each small product, a third slower. GNU's
            # OpenMP spins for some microseconds, others not at all.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive"),
            "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000"),
        }
        return KernelSpec(argv=make_ipkernel_cmd(), env=environment, language="python")


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
    _raise_handles()
    job = Job.of(name, given)
    _ = job.about  # which refuses what cannot be, before anything is started
    tidy()
    with exclusive(job.folder.with_name(f".{job.folder.name}.lock"), wait=True):
        if force or not job.is_finished:
            with lent(job.parameters.get("device", "cpu")):
                _execute(job)
    return job.folder


def _execute(job: Job) -> None:
    """One strict papermill run; the executed notebook is put beside the finished results."""
    notebook, values, running, failed = job.notebook, job.parameters, job.running, job.failed
    discard(failed.parent, [glob.escape(failed.name)])
    began = time.time()
    # Only what differs from the parameters cell, so that a page shows it once.
    changed = {n: v for n, v in values.items() if v != notebook.parameters[n].default}
    _say(f"{notebook.name} ({job.folder.name}) started")
    try:
        with temporary_folder(SOCKETS) as sockets:
            _papermill(job, changed, running, sockets)
    except PapermillExecutionError as error:
        replace(running, failed)
        if error.ename == "InputError":
            raise InputError(error.evalue) from None
        raise NotebookFailed(
            f"{notebook.name} failed with {error.ename}: {error.evalue}; see {failed} for all "
            "up to there"
        ) from None
    except (DeadKernelError, RuntimeError) as error:
        # RuntimeError: it died before it had said anything.
        if running.exists():
            replace(running, failed)
        raise NotebookFailed(
            f"{notebook.name}: its kernel was killed, by somebody or by the system because memory "
            f"ran out ({error}); see {failed} for all up to there"
        ) from None
    except OSError as error:
        raise unwritable(running, error) from error
    replace(running, job.executed)
    _say(f"{notebook.name} ({job.folder.name}) finished in {time.time() - began:.0f} s")


def _papermill(job: Job, changed: Mapping[str, Any], running: Path, sockets: Path) -> None:
    """Runs the notebook in a kernel of its own."""
    # Kernels of one folder share the default socket name; a name of its own each keeps parallel
    # runs apart, and sockets in the file system cannot race for a port.
    options = {
        "transport": "ipc", "ip": f"{sockets}/kernel", "connection_file": f"{sockets}/kernel.json",
    }  # fmt: skip
    # What a kernel's end means is said by the caller.
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    # Papermill fills parameters into the names of files.
    output = str(running).replace("{", "{{").replace("}", "}}")
    papermill.execute_notebook(
        job.notebook.read(), output, parameters=changed, kernel_name="python3",
        language="python", cwd=str(ROOT), progress_bar=False, kernel_manager_class=OwnKernel,
        shutdown_kernel="immediate", config=Config({"KernelManager": options}),
    )  # fmt: skip


def _raise_handles() -> None:
    """Lets this process and its kernel open as many files as the system allows it.

    Raises:
        InputError: that is too few for a kernel.
    """
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < HANDLES[0]:
        raise InputError(
            f"{most} files at once are too few for a notebook: run `ulimit -Hn {HANDLES[1]}`, or "
            "ask who runs this machine"
        )
    if few < HANDLES[1]:
        enough = HANDLES[1] if most == resource.RLIM_INFINITY else min(HANDLES[1], most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, most))


def tidy() -> None:
    """Removes what killed runs left behind, where nobody holds it any more."""
    for path in home().glob(f"runs/*/.*_{KEYS}.*"):
        if path.suffix not in (".partial", ".ipynb", ".replaced"):
            continue
        with suppress(InputError, OSError), ExitStack() as held:
            held.enter_context(exclusive(path.with_suffix(".lock"), wait=False))
            if path.suffix == ".replaced":
                settle(path.with_name(path.stem[1:]), "manifest.json")
            elif path.suffix == ".ipynb":
                discard(path.parent, [glob.escape(path.name)])
            else:
                # A run by hand holds nothing but this.
                held.enter_context(exclusive(path / ".lock", wait=False))
                discard(path, UNFINISHED)
        discard(path, [])
    sweep(SOCKETS)


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
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"--params {text:.200} is no JSON ({error}): quote it as one word"
        ) from None
    if not isinstance(given, dict):
        raise InputError(f"--params {text!r} is no JSON object: use one such as '{{\"k\": 3}}'")
    return given
