"""Profiles: which notebooks are run with which parameters, and what each run needs and makes."""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from mplib.errors import InputError, suggest
from mplib.files import ROOT, home
from mplib.runs.notebooks import Notebook
from mplib.studies.checkpoints import checkpoint_folders

FINETUNE = "01_finetune"


KEYS = ("about", "threads", "gpus", "all", "notebooks")
"""What may stand in a profile."""


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
    def trains(self) -> bool:
        """Whether it makes the checkpoint that others read."""
        return self.notebook.name == FINETUNE

    @property
    def gathers(self) -> bool:
        """Whether it reads all other runs of a profile."""
        return "profile" in self.notebook.parameters

    @property
    def computes(self) -> bool:
        """Whether it may want a GPU."""
        return self.parameters.get("device", "cpu") != "cpu"

    @cached_property
    def trained(self) -> list[Path]:
        """What a finished training leaves, in the checkpoints that it makes or may read."""
        if "checkpoint" not in self.parameters:
            return []
        folders = checkpoint_folders(self.parameters).values()
        return [folder / "training.json" for folder in folders]

    @cached_property
    def inputs(self) -> list[Path]:
        """Files of other runs which make its results old when they are newer."""
        if self.gathers:
            jobs = plan(self.parameters["profile"])
            return [job.executed for job in jobs if not job.gathers]
        return [] if self.trains else self.trained

    @property
    def is_finished(self) -> bool:
        """Whether its results are complete and not older than what they were made from."""
        manifest = self.folder / "manifest.json"
        needed = [manifest, self.executed, *(self.trained if self.trains else [])]
        if not all(path.is_file() for path in needed):
            return False
        made = self.executed.stat().st_mtime
        newer = [path for path in self.inputs if path.is_file() and path.stat().st_mtime > made]
        return not newer and json.loads(manifest.read_text()).get("source") == self.notebook.hash


def read_profile(name: str) -> dict[str, Any]:
    """Reads ``profiles/NAME.yaml``, or the file itself where the name ends in ``.yaml``.

    Raises:
        InputError: there is no such profile, it is no YAML, or it has unknown keys.
    """
    known = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))
    path = Path(name) if name.endswith(".yaml") else ROOT / "profiles" / f"{name}.yaml"
    if not path.is_file():
        raise InputError(
            f"unknown profile {name!r}: expected one of {', '.join(known)}, or a file that ends in "
            f".yaml.{suggest(name, known)}"
        )
    try:
        profile = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"profile {name!r} is no YAML: {error}") from None
    keys = profile if isinstance(profile, dict) else {}
    if unknown := [key for key in keys if key not in KEYS]:
        raise InputError(
            f"profile {name!r} has an unknown key {unknown[0]!r}: expected {', '.join(KEYS)}."
            f"{suggest(unknown[0], list(KEYS))}"
        )
    if not isinstance(keys.get("notebooks"), dict):
        raise InputError(f"profile {name!r} names no notebooks: give it `notebooks:` and a name")
    return profile


def plan(profile_name: str) -> list[Job]:
    """Every run of a profile, each list of values expanded to one run a value.

    A notebook may be given several sets of parameters, as a list. Sets that come to the same are
    one run: a sweep shares, say, one finetuning among all analyses of it.

    Raises:
        InputError: an unknown profile, notebook or parameter, or a value of the wrong type.
    """
    profile = read_profile(profile_name)
    common = profile.get("all") or {}
    chosen = {
        Notebook.find(name).name: own if isinstance(own, list) else [own or {}]
        for name, own in profile["notebooks"].items()
    }
    notebooks = [notebook for notebook in Notebook.all() if notebook.name in chosen]
    for name in common:
        if not any(name in notebook.parameters for notebook in notebooks):
            every = sorted({p for notebook in notebooks for p in notebook.parameters})
            raise InputError(
                f"profile {profile_name!r} sets {name!r} for all, but no notebook has it."
                f"{suggest(name, every)}"
            )
    common = {"profile": profile_name, **common}
    jobs = [
        Job(notebook, values)
        for notebook in notebooks
        for own in chosen[notebook.name]
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
