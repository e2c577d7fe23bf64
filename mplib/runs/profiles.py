"""Profiles: which notebooks are run with which parameters, and what state each run is in."""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from mplib.errors import InputError, suggest
from mplib.files import ROOT, home
from mplib.runs.notebooks import Notebook

KEYS = ("about", "threads", "gpus", "all", "notebooks")
"""What may stand in a profile's file."""


PLUMBING = {"device", "batch_size"}
"""Parameters that say how a result is computed and not which result it is."""


def run_key(notebook: Notebook, parameters: Mapping[str, Any]) -> str:
    """Folder name of a run: what differs from the defaults, in words, and a hash of everything.

    The same parameters give the same name however the notebook is started.
    """
    values = {n: parameters[n] for n in sorted(notebook.parameters) if n not in PLUMBING}
    digest = hashlib.sha256(json.dumps(values).encode()).hexdigest()[:8]
    words = [
        re.sub(r"[^A-Za-z0-9.]+", "-", f"{name}{value}").strip("-")
        for name, value in values.items()
        if value != notebook.parameters[name].default
    ]
    return "_".join(["_".join(words)[:60].strip("_-") or "default", digest])


def run_folder(notebook: Notebook, parameters: Mapping[str, Any]) -> Path:
    """Where the results of a notebook with these parameters belong."""
    return home() / "runs" / notebook.name / run_key(notebook, parameters)


@dataclass(frozen=True)
class Job:
    """One notebook with one set of parameters.

    Attributes:
        notebook: the notebook.
        parameters: all its parameters.
    """

    notebook: Notebook
    parameters: dict[str, Any]

    @classmethod
    def of(cls, name: str, given: Mapping[str, Any]) -> "Job":
        """A notebook, by name, with parameters that differ from its own.

        Raises:
            InputError: unknown notebook or parameter, or a value of the wrong type.
        """
        notebook = Notebook.find(name)
        return cls(notebook, notebook.check(given))

    @cached_property
    def folder(self) -> Path:
        """Where its results belong."""
        return run_folder(self.notebook, self.parameters)

    @property
    def executed(self) -> Path:
        """The executed notebook, the last file of a run to be put in place."""
        return self.folder / "executed.ipynb"

    @property
    def failed(self) -> Path:
        """Where the notebook lies, up to its error, if it failed."""
        return self.folder.with_name(f"{self.folder.name}.failed.ipynb")

    @property
    def name(self) -> str:
        """A name for its Snakemake rule."""
        return f"{self.notebook.name}_{self.folder.name}"

    @property
    def computes(self) -> bool:
        """Whether it may want a GPU."""
        return self.parameters.get("device", "cpu") != "cpu"

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the notebook tells about this run; see ``Notebook.about``."""
        return self.notebook.about(self.parameters)

    @property
    def gathers(self) -> str | None:
        """The profile whose other runs it reads, if it does."""
        return self.about.get("gathers")

    @cached_property
    def makes(self) -> list[Path]:
        """What it leaves beside its results, for other runs to read."""
        return [Path(path) for path in self.about.get("makes", [])]

    @cached_property
    def inputs(self) -> list[Path]:
        """Files of other runs which make its results old when they are newer."""
        if self.gathers:
            jobs = Profile.read(self.gathers).jobs
            return [job.executed for job in jobs if not job.gathers]
        return [Path(path) for path in self.about.get("needs", [])]

    @property
    def state(self) -> str:
        """The one answer to what became of it.

        ``finished``: its results are complete, and newer than what they were made from; ``old``:
        they are complete, but the notebook or what it read has changed since, or what it made is
        gone; ``failed`` or ``missing``: there are none.
        """
        manifest = self.folder / "manifest.json"
        if not (manifest.is_file() and self.executed.is_file()):
            return "failed" if self.failed.is_file() else "missing"
        made = self.executed.stat().st_mtime
        newer = any(path.is_file() and path.stat().st_mtime > made for path in self.inputs)
        lost = not all(path.is_file() for path in self.makes)
        source = json.loads(manifest.read_text()).get("source")
        return "old" if newer or lost or source != self.notebook.hash else "finished"

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.state == "finished"


@dataclass(frozen=True)
class Profile:
    """A file of ``profiles/``.

    Attributes:
        name: its name, or its path where it lies elsewhere.
        about: a line on what it is for.
        threads: of each notebook; a share of the machine's if None.
        gpus: of a cluster, for each notebook.
        common: parameters of all notebooks that have them.
        notebooks: each notebook's own sets of parameters.
    """

    name: str
    about: str = ""
    threads: int | None = None
    gpus: int | None = None
    common: dict[str, Any] = field(default_factory=dict)
    notebooks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str) -> "Profile":
        """Reads ``profiles/NAME.yaml``, or the file itself where the name ends in ``.yaml``.

        Raises:
            InputError: there is no such profile, it is no YAML, or it has unknown keys.
        """
        known = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))
        path = Path(name) if name.endswith(".yaml") else ROOT / "profiles" / f"{name}.yaml"
        if not path.is_file():
            raise InputError(
                f"unknown profile {name!r}: expected one of {', '.join(known)}, or a file that "
                f"ends in .yaml.{suggest(name, known)}"
            )
        try:
            found = yaml.safe_load(path.read_text())
        except yaml.YAMLError as error:
            raise InputError(f"profile {name!r} is no YAML: {error}") from None
        keys = found if isinstance(found, dict) else {}
        if unknown := [key for key in keys if key not in KEYS]:
            raise InputError(
                f"profile {name!r} has an unknown key {unknown[0]!r}: expected {', '.join(KEYS)}."
                f"{suggest(unknown[0], list(KEYS))}"
            )
        notebooks = keys.pop("notebooks", None)
        if not isinstance(notebooks, dict):
            raise InputError(
                f"profile {name!r} names no notebooks: give it `notebooks:` and a name"
            )
        sets = {
            notebook: own if isinstance(own, list) else [own or {}]
            for notebook, own in notebooks.items()
        }
        return cls(name, common=keys.pop("all", None) or {}, notebooks=sets, **keys)

    @cached_property
    def jobs(self) -> list[Job]:
        """Every run, each list of values expanded to one run a value.

        A notebook may be given several sets of parameters, as a list. Sets that come to the same
        are one run: a sweep shares, say, one finetuning among all analyses of it. A parameter
        called ``profile`` is given this one's name.

        Raises:
            InputError: an unknown notebook or parameter, or a value of the wrong type.
        """
        sets = {Notebook.find(name): own for name, own in self.notebooks.items()}
        every = {parameter for notebook in sets for parameter in notebook.parameters}
        if unknown := [name for name in self.common if name not in every]:
            raise InputError(
                f"profile {self.name!r} sets {unknown[0]!r} for all, but no notebook has it."
                f"{suggest(unknown[0], sorted(every))}"
            )
        common = {"profile": self.name, **self.common}
        jobs = [
            Job(notebook, values)
            for notebook in sorted(sets, key=lambda notebook: notebook.name)
            for own in sets[notebook]
            for values in _expand(
                notebook, {n: v for n, v in common.items() if n in notebook.parameters} | own
            )
        ]
        return list({job.folder: job for job in jobs}.values())


def _expand(notebook: Notebook, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The product over all parameters that are given a list but are no lists themselves.

    A parameter that is a list is swept by a list of lists.
    """
    notebook.check({name: None for name in given if name not in notebook.parameters})
    axes = []
    for name, value in given.items():
        nested = notebook.parameters[name].kind.startswith("list")
        swept = isinstance(value, list) and (
            any(isinstance(each, list) for each in value) if nested else True
        )
        if swept and not value:
            raise InputError(f"{notebook.name}: {name}=[] sweeps over nothing; name a value")
        axes.append([(name, each) for each in (value if swept else [value])])
    return [notebook.check(dict(point)) for point in itertools.product(*axes)]
