"""What a run leaves behind, all at once or not at all: tidy tables, figures and a manifest."""

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mplib.errors import InputError
from mplib.files import (
    ROOT,
    Held,
    discard,
    exclusive,
    fingerprint,
    home,
    listing,
    put_in_place,
    unwritable,
    write_atomically,
)
from mplib.runs.gpus import POLL_SECONDS
from mplib.runs.notebooks import Notebook
from mplib.runs.profiles import PLUMBING, run_folder

if TYPE_CHECKING:  # the runner starts many a run and draws nothing itself
    import pandas as pd
    from matplotlib.figure import Figure

UNFINISHED = (
    "*.csv", "figures/*.png", "figures/*.pdf", "figures/*.html", "figures/*.view.json",
    "manifest.json", ".*.[0-9]*",
)  # fmt: skip
"""What a run writes before it is finished; nothing else is removed when it is begun anew."""


KEYS = "[0-9a-f]" * 8
"""Pattern of the hash that the names of runs' folders end in."""


PATIENCE = 10
"""Seconds for which a run waits for a kernel that was left behind and is about to end."""


_held: dict[Path, ExitStack] = {}
"""Unfinished runs of this process, each held until it is finished, begun anew, or dead."""


PACKAGES = ("torch", "transformers", "scikit-learn", "numpy", "pandas")


@dataclass
class Run:
    """One execution of a notebook: collects its results and puts them in place at the end."""

    notebook: Notebook
    parameters: dict[str, Any]
    folder: Path
    about: dict[str, Any]
    source: str
    inputs: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    summary: dict[str, str] = field(default_factory=dict)

    @property
    def partial(self) -> Path:
        """Where results lie until the run is finished."""
        return self.folder.with_name(f".{self.folder.name}.partial")

    def table(
        self, name: str, table: "pd.DataFrame", *, summary: str | None = None
    ) -> "pd.DataFrame":
        """Saves a tidy table as CSV with the run's parameters as columns; returns it without.

        Args:
            name: of the file, without its suffix.
            table: a row for each figure.
            summary: the kind of figures that the summary of all runs takes from it, if any.
        """
        if summary:
            self.summary[name] = summary
        scalars = {
            key: value
            for key, value in self.parameters.items()
            if key not in table.columns and key not in PLUMBING and not isinstance(value, list)
        }
        write_atomically(self.partial / f"{name}.csv", table.assign(**scalars).to_csv(index=False))
        return table

    def figure(self, name: str, figure: "Figure") -> None:
        """Shows a figure in the page and saves it as PNG and as PDF."""
        import matplotlib.pyplot as plt
        from IPython.display import display

        try:
            (self.partial / "figures").mkdir(parents=True, exist_ok=True)
            for suffix, options in (
                ("png", {"dpi": 200}),
                ("pdf", {"metadata": {"CreationDate": None}}),
            ):
                path = self.partial / "figures" / f"{name}.{suffix}"
                figure.savefig(path, bbox_inches="tight", **options)
        except OSError as error:
            raise unwritable(self.partial / "figures" / name, error) from error
        display(figure, metadata={"image/png": {"alt": described(name, figure)}})
        plt.close(figure)

    def view(self, name: str, view: Any) -> None:
        """Shows an interactive view in the page; saves it as a page of its own, and what it shows.

        Args:
            name: of the files, without their suffix.
            view: something that IPython displays, its text as HTML in ``page``, what it was made of
                as JSON in ``given``.
        """
        from IPython.display import display

        for suffix, text in (("html", view.page), ("view.json", view.given)):
            write_atomically(self.partial / "figures" / f"{name}.{suffix}", text)
        display(view)

    def finish(self) -> None:
        """Writes the manifest, puts all results in place and says where they are.

        Raises:
            InputError: it is finished already, or the results cannot be written.
        """
        from IPython.display import Markdown, display

        if self.partial not in _held:
            raise InputError("this run is finished: to make it anew, run its notebook from the top")
        seconds = round(time.time() - self.started, 1)
        manifest: dict[str, Any] = {
            "notebook": self.notebook.name,
            "source": self.source,
            "parameters": self.parameters,
            "inputs": self.inputs,
            **{key: self.about[key] for key in ("task", "label", "work") if key in self.about},
            "summary": self.summary,
            "tables": sorted(path.name for path in self.partial.glob("*.csv")),
            "files": listing(self.partial),
            "seconds": seconds,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **provenance(),
        }
        write_atomically(self.partial / "manifest.json", json.dumps(manifest, indent=1))
        try:
            _held.pop(self.partial).close()
            put_in_place(self.partial, self.folder, "manifest.json")
        except OSError as error:
            raise unwritable(self.folder, error) from error
        where = self.folder.relative_to(home())
        versions = ", ".join(f"{name} {number}" for name, number in manifest["versions"].items())
        display(Markdown(
            f"*Tables, figures and manifest: `{where}`. {seconds:.0f} s on {manifest['device']}; "
            f"{versions}; code {manifest['code']}, commit {manifest['commit']}.*"
        ))  # fmt: skip


def described(name: str, figure: "Figure") -> str:
    """What a figure shows, for those who do not see it: its panels, axes and legend."""
    axes = [axis for axis in figure.axes if axis.axison]
    legends = [*figure.legends, *filter(None, (axis.get_legend() for axis in axes))]
    parts = {
        "Panels": [axis.get_title() for axis in axes],
        "Across": [axis.get_xlabel() for axis in axes],
        "Up": [axis.get_ylabel() for axis in axes],
        "Told apart": [text.get_text() for legend in legends for text in legend.get_texts()],
    }
    told = {key: "; ".join(dict.fromkeys(filter(None, texts))) for key, texts in parts.items()}
    lines = [f"Figure: {name.replace('_', ' ')}.", *(f"{k}: {v}." for k, v in told.items() if v)]
    return " ".join(" ".join(lines).split())


def start_run(name: str, scope: Mapping[str, Any]) -> Run:
    """Opens a run from inside a notebook, after its parameters cell.

    Args:
        name: the notebook's name, such as ``03_probe_ksmallest``.
        scope: the notebook's variables, ``globals()``.

    Raises:
        InputError: a parameter has the wrong type, results cannot be written, or another process
            is at this very run.

    >>> summary = next(x for x in Notebook.all() if [*x.parameters] == ["profile"])
    >>> run = start_run(summary.name, {"profile": "quick"})
    >>> run.parameters
    {'profile': 'quick'}
    """
    _quiet()
    notebook = Notebook.find(name)
    values = notebook.check({key: scope[key] for key in notebook.parameters})
    about = notebook.about(values)
    inputs = {name: fingerprint(path) for name, path in about.get("files", {}).items()}
    run = Run(notebook, values, run_folder(notebook, values), about, notebook.hash, inputs)
    _hold(run.partial)
    return run


def _hold(partial: Path) -> None:
    """Empties the folder of an unfinished run and keeps others out of it.

    Raises:
        InputError: another process is at it, or somebody else's files lie there.
    """
    if partial in _held:
        _held.pop(partial).close()
    until = time.time() + PATIENCE
    while True:
        try:
            with ExitStack() as stack:
                stack.enter_context(exclusive(partial / ".lock", wait=False))
                _held[partial] = stack.pop_all()
            break
        except Held:
            if time.time() > until:
                raise
            time.sleep(POLL_SECONDS)
    try:
        left = discard(partial, UNFINISHED)
    except OSError as error:
        raise unwritable(partial, error) from error
    if others := [name for name in left if name != ".lock"]:
        raise InputError(
            f"{partial} holds {others[0]}, which is none of a run's files: move it elsewhere"
        )


def _quiet() -> None:
    """Keeps progress bars and advice of libraries out of published pages."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if "transformers" in sys.modules:  # which has read it already
        from transformers.utils import logging

        logging.set_verbosity_error()
        if os.environ.get("TQDM_DISABLE"):
            logging.disable_progress_bar()


def provenance() -> dict[str, Any]:
    """Versions, commit, code, machine and the Hub's models behind a result."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # there is no git, or it cannot be started
        commit = ""
    return {
        "versions": {
            "Python": platform.python_version(),
            "mplib": version("mechanisticprobe"),
            **{name: version(name) for name in PACKAGES},
        },
        "commit": commit or "unknown",
        "code": code_hash(),
        "device": _device(),
        **_revisions(),
    }


def _revisions() -> dict[str, dict[str, str]]:
    """Commits of the models of the Hub that were loaded, if any were."""
    if "torch" not in sys.modules:  # without it none was
        return {}
    from mplib.machine import REVISIONS

    return {"revisions": dict(REVISIONS)} if REVISIONS else {}


def _device() -> str:
    """The GPU's name, or how many cores there are; and whether it computes in bfloat16."""
    name = f"{os.cpu_count()} CPU cores"
    if "torch" not in sys.modules:  # a notebook that has not loaded it has used neither
        return name
    import torch

    from mplib.machine import has_bfloat16

    if on_gpu := torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    return f"{name}, bfloat16" if has_bfloat16(torch.device("cuda" if on_gpu else "cpu")) else name


def code_hash() -> str:
    """Hash of the package's own source, so that results made by other code can be told."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "mplib").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
