"""What a run leaves behind, all at once or not at all: tidy tables, figures and a manifest."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure

from mplib.errors import InputError
from mplib.notebooks import Notebook
from mplib.paths import ROOT, home
from mplib.profiles import PLUMBING, run_folder

PACKAGES = ("torch", "transformers", "scikit-learn", "numpy", "pandas")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        InputError: the disk is full or the folder cannot be written; what was there stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        _discard(temporary)
        raise _unwritable(path, error) from error


def _discard(path: Path) -> None:
    """Removes a file where that is possible."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def _unwritable(path: Path, error: OSError) -> InputError:
    """The one error for a place that takes no files."""
    return InputError(
        f"cannot write {path} ({error.strerror}): make room or make it writable, or set MPLIB_HOME "
        "to a folder that is; results written before are untouched"
    )


@dataclass
class Run:
    """One execution of a notebook: collects its results and puts them in place at the end."""

    notebook: Notebook
    parameters: dict[str, Any]
    folder: Path
    source: str
    started: float = field(default_factory=time.time)

    @property
    def partial(self) -> Path:
        """Where results lie until the run is finished."""
        return self.folder.with_name(f".{self.folder.name}.partial")

    def table(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        """Saves a tidy table as CSV with the run's parameters as columns; returns it without."""
        scalars = {
            key: value
            for key, value in self.parameters.items()
            if key not in table.columns and key not in PLUMBING and not isinstance(value, list)
        }
        write_atomically(self.partial / f"{name}.csv", table.assign(**scalars).to_csv(index=False))
        return table

    def figure(self, name: str, figure: Figure) -> None:
        """Shows a figure in the page and saves it as PNG and as PDF."""
        try:
            (self.partial / "figures").mkdir(parents=True, exist_ok=True)
            for suffix, options in (
                ("png", {"dpi": 200}),
                ("pdf", {"metadata": {"CreationDate": None}}),
            ):
                path = self.partial / "figures" / f"{name}.{suffix}"
                figure.savefig(path, bbox_inches="tight", **options)
        except OSError as error:
            raise _unwritable(self.partial / "figures" / name, error) from error
        display(figure)
        plt.close(figure)

    def finish(self) -> None:
        """Writes the manifest, puts all results in place and says where they are."""
        seconds = round(time.time() - self.started, 1)
        manifest = {
            "notebook": self.notebook.name,
            "source": self.source,
            "parameters": self.parameters,
            "tables": sorted(path.name for path in self.partial.glob("*.csv")),
            "seconds": seconds,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **provenance(),
        }
        write_atomically(self.partial / "manifest.json", json.dumps(manifest, indent=1))
        try:
            replaced = self.folder.with_name(f".{self.folder.name}.replaced")
            shutil.rmtree(replaced, ignore_errors=True)
            if self.folder.exists():
                self.folder.rename(replaced)
            self.partial.rename(self.folder)
            shutil.rmtree(replaced, ignore_errors=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        where = self.folder.relative_to(home())
        versions = ", ".join(f"{name} {number}" for name, number in manifest["versions"].items())
        display(Markdown(
            f"*Tables, figures and manifest: `{where}`. {seconds:.0f} s on {manifest['device']}; "
            f"{versions}; code {manifest['code']}, commit {manifest['commit']}.*"
        ))  # fmt: skip


def start(name: str, scope: Mapping[str, Any]) -> Run:
    """Opens a run from inside a notebook, after its parameters cell.

    Args:
        name: the notebook's name, such as ``03_probe_ksmallest``.
        scope: the notebook's variables, ``globals()``.

    Raises:
        InputError: a parameter has the wrong type, or results cannot be written.
    """
    _quiet()
    notebook = Notebook.find(name)
    values = notebook.check({key: scope[key] for key in notebook.parameters})
    run = Run(notebook, values, run_folder(notebook, values), notebook.hash)
    try:
        shutil.rmtree(run.partial, ignore_errors=True)
        run.partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(run.partial, error) from error
    return run


def _quiet() -> None:
    """Keeps progress bars and advice of libraries out of published pages."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    if os.environ.get("TQDM_DISABLE"):
        logging.disable_progress_bar()


def provenance() -> dict[str, Any]:
    """Versions, commit, code and machine behind a result."""
    import torch

    import mplib

    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    )
    return {
        "versions": {
            "Python": platform.python_version(),
            "mplib": mplib.__version__,
            **{name: version(name) for name in PACKAGES},
        },
        "commit": commit or "unknown",
        "code": code_hash(),
        "device": device,
    }


def code_hash() -> str:
    """Hash of the package's own source, so that results made by other code can be told."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "mplib").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def task_identity(task: Any) -> dict[str, Any]:
    """What identifies a task in manifests and checkpoints: its name and its attributes."""
    return {"name": type(task).__name__, **asdict(task)}


def tidy_maps(maps: Mapping[str, np.ndarray], row: str) -> pd.DataFrame:
    """Attention maps as a tidy table: model, row, layer, attention; rows and layers from 1."""
    parts = []
    for name, values in maps.items():
        rows, layers = np.indices(values.shape) + 1
        columns = {row: rows.ravel(), "layer": layers.ravel(), "attention": values.ravel()}
        parts.append(pd.DataFrame({"model": name, **columns}))
    return pd.concat(parts, ignore_index=True)


def paper_table(name: str, **chosen: Any) -> pd.DataFrame:
    """Rows of one of the paper's tables, kept in ``results/paper``, as fractions.

    Args:
        name: a file there without its suffix, such as ``table1`` or ``fig6``.
        **chosen: column values that the rows must have; a list for any of several.
    """
    table = pd.read_csv(ROOT / "results" / "paper" / f"{name}.csv")
    for column, value in chosen.items():
        table = table[table[column].isin(value if isinstance(value, list) else [value])]
    return table.assign(paper=name)


def show(table: pd.DataFrame) -> HTML:
    """A table for a page: three digits, no index, no column that holds nothing."""
    table = table.dropna(axis=1, how="all").rename_axis(columns=None)
    return HTML(table.to_html(index=False, na_rep="", float_format="{:.3f}".format, border=0))


def summary(*sentences: str) -> None:
    """Shows sentences as the bullets of a page's summary."""
    display(Markdown("\n".join(f"- {sentence}" for sentence in sentences)))
