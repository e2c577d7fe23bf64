"""Profiles: which notebooks are run with which parameters, and what state each run is in."""

import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mplib.errors import InputError, suggest, unknown
from mplib.files import ROOT, fingerprint, home, is_whole, sealed
from mplib.runs.notebooks import Notebook
from mplib.runs.parameters import Parameter, read_yaml, shown

SETTINGS = (
    Parameter("threads", "int", 1, "of each notebook; 1 to 4096"),
    Parameter("gpus", "int", 1, "of a cluster, for each notebook; 0 to 4096"),
)
KEYS = ("about", *(each.name for each in SETTINGS), "all", "notebooks")
"""What may stand in a profile's file."""

MOST_RUNS = 20_000
"""Of one notebook's sets of parameters: a slip of many lists ends in an error and not in a hang."""


PLUMBING = {"device", "batch_size"}
"""Parameters that say how a result is computed and not which result it is."""


def run_key(notebook: Notebook, parameters: Mapping[str, Any]) -> str:
    """Folder name of a run: what differs from the defaults, in words, and a hash of everything.

    The same parameters give the same name however the notebook is started.
    """
    values = {n: parameters[n] for n in sorted(notebook.parameters) if n not in PLUMBING}
    own = {n: v for n, v in values.items() if v != notebook.parameters[n].default}
    return f"{_in_words(own) or 'default'}_{_digest(values)}"


def _digest(values: Mapping[str, Any]) -> str:
    """Eight letters that other values would not give."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:8]


def _in_words(values: Mapping[str, Any]) -> str:
    """Parameters as a part of a file's name."""
    words = (re.sub(r"[^A-Za-z0-9.]+", "-", f"{n}{v}").strip("-") for n, v in values.items())
    return "_".join(words)[:60].strip("_-")


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

    @cached_property
    def executed(self) -> Path:
        """The executed notebook, the last file of a run to be put in place."""
        return self.folder / "executed.ipynb"

    @property
    def running(self) -> Path:
        """Where the notebook lies while it runs."""
        return self.folder.with_name(f".{self.folder.name}.ipynb")

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
    def needs(self) -> list[Path]:
        """What other runs make that it reads, if it is there."""
        return [Path(path) for path in self.about.get("needs", [])]

    @cached_property
    def inputs(self) -> list[Path]:
        """Files of other runs which make its results old when they are newer."""
        if self.gathers:
            jobs = Profile.read(self.gathers).jobs
            return [job.executed for job in jobs if not job.gathers]
        return self.needs

    @property
    def state(self) -> str:
        """The one answer to what became of it.

        ``finished``: its results are complete, and newer than what they were made from; ``old``:
        they are complete, but the notebook or what it read has changed since, or what it made is
        gone; ``failed`` or ``missing``: there are none. A file that a power cut left empty is none.
        """
        manifest = sealed(self.folder, "manifest.json")
        if manifest is None or not is_whole(self.executed):
            return "failed" if self.failed.is_file() else "missing"
        made = self.executed.stat().st_mtime
        newer = any(path.is_file() and path.stat().st_mtime > made for path in self.inputs)
        lost = any(sealed(path.parent, path.name) is None for path in self.makes)
        # What is gone cannot have changed; earlier results tell nothing of what they read.
        known = manifest.get("inputs", {})
        files = {n: p for n, p in self.about.get("files", {}).items() if n in known and p.exists()}
        changed = any(fingerprint(path) != known[name] for name, path in files.items())
        other = manifest.get("source") != self.notebook.hash
        return "old" if newer or lost or changed or other else "finished"

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.state == "finished"


@dataclass(frozen=True)
class Profile:
    """A file of ``profiles/``.

    Attributes:
        name: its name, or its path where it lies elsewhere.
        threads: of each notebook; a share of the machine's if None.
        gpus: of a cluster, for each notebook.
        common: parameters of all notebooks that have them.
        notebooks: each notebook's own sets of parameters.
    """

    name: str
    threads: int | None = None
    gpus: int | None = None
    common: dict[str, Any] = field(default_factory=dict)
    notebooks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str) -> "Profile":
        """Reads ``profiles/NAME.yaml``, or the file itself where the name ends in ``.yaml``.

        Raises:
            InputError: there is no such profile, it is no YAML, or not of a profile's shape.
        """
        known = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))
        path = name if name.endswith(".yaml") else str(ROOT / "profiles" / f"{name}.yaml")
        if not os.path.isfile(path):  # unlike Path's, of any name
            raise InputError(
                f"unknown profile {shown(name)}: expected one of {', '.join(known)}, or a file "
                f"that ends in .yaml.{suggest(name, known)}"
            )
        with _named(name):
            try:
                found = read_yaml(Path(path).read_bytes())
            except OSError as error:
                raise InputError(f"cannot be read ({error.strerror})") from None
            return cls._of(name, found if isinstance(found, dict) else {})

    @classmethod
    def _of(cls, name: str, keys: Mapping[str, Any]) -> "Profile":
        """A profile of what stands in its file."""
        for key in keys:
            if key not in KEYS:
                raise unknown(f"has an unknown key {shown(key)}", str(key), KEYS)
        if not isinstance(about := keys.get("about") or "", str):
            raise InputError(f"about={shown(about)}: expected a line on what it is for")
        notebooks = keys.get("notebooks")
        if not isinstance(notebooks, dict) or not notebooks:
            raise InputError("names no notebooks: give it `notebooks:` and a name")
        common = _parameters("all", keys.get("all"))
        sets = {
            str(notebook): [
                _parameters(notebook, each) for each in (own if isinstance(own, list) else [own])
            ]
            for notebook, own in notebooks.items()
        }
        if empty := [notebook for notebook, own in sets.items() if not own]:
            raise InputError(f"{empty[0]}: [] is no run; leave it empty for its own parameters")
        settings = {
            each.name: each.check(keys[each.name])
            for each in SETTINGS
            if keys.get(each.name) is not None
        }
        return cls(name, common=common, notebooks=sets, **settings)

    @cached_property
    def jobs(self) -> list[Job]:
        """Every run, each list of values expanded to one run a value.

        A notebook may be given several sets of parameters, as a list. Sets that come to the same
        are one run: a sweep shares, say, one finetuning among all analyses of it. Finetunings that
        would write the same checkpoint are told apart, and analyses are run for each of them. A
        parameter called ``profile`` is given this one's name.

        Raises:
            InputError: an unknown notebook or parameter, or a value of the wrong type or range.
        """
        with _named(self.name):
            found = [Job(notebook, values) for notebook, values in self._expanded()]
            return list({job.folder: job for job in told_apart(found)}.values())

    def _expanded(self) -> list[tuple[Notebook, dict[str, Any]]]:
        """Every notebook with all its parameters, for each point of the sweeps."""
        names = {name: Notebook.find(name) for name in self.notebooks}
        sets = {notebook: self.notebooks[name] for name, notebook in names.items()}
        if len(sets) < len(names):
            raise InputError(f"names a notebook twice ({', '.join(names)}): give it a list of sets")
        every = {parameter for notebook in sets for parameter in notebook.parameters}
        if unknown := [name for name in self.common if name not in every]:
            raise InputError(
                f"sets {shown(unknown[0])} for all, but no notebook has it."
                f"{suggest(unknown[0], sorted(every))}"
            )
        common = {"profile": self.name, **self.common}
        return [
            (notebook, values)
            for notebook in sorted(sets, key=lambda notebook: notebook.name)
            for own in sets[notebook]
            for values in _expand(
                notebook, {n: v for n, v in common.items() if n in notebook.parameters} | own
            )
        ]


def told_apart(jobs: list[Job]) -> list[Job]:
    """Jobs in which no two finetunings with other parameters write the same checkpoint.

    Where some would, the name of each one's gets what differs, and whatever reads that checkpoint
    is run for each; where it has a parameter that differs itself, for those alone that agree in it.
    """
    writers: dict[Path, list[Job]] = {}
    for job in jobs:
        for path in job.makes if "checkpoint" in job.parameters else []:
            writers.setdefault(path, []).append(job)
    shared = {path: _suffixes(found) for path, found in writers.items() if len(found) > 1}
    return [named for job in jobs for named in _named_apart(job, shared)]


def _suffixes(jobs: list[Job]) -> dict[str, dict[str, Any]]:
    """What tells finetunings apart: the parameters that differ, by an addition to a name.

    It is empty where they differ in nothing but the device.
    """
    first, *others = (job.parameters for job in jobs)
    differ = [n for n in first if n != "device" and any(o.get(n) != first[n] for o in others)]
    found = [{n: job.parameters.get(n) for n in differ} for job in jobs] if differ else []
    single = {_digest(own): own for own in found}
    words = [_in_words(own) for own in single.values()]
    if len({*words}) < len(words):  # cut, or signs that no name has
        words = [f"{word}_{key}" for word, key in zip(words, single, strict=True)]
    return dict(zip(words, single.values(), strict=True))


def _named_apart(job: Job, shared: Mapping[Path, dict[str, dict[str, Any]]]) -> list[Job]:
    """A job for each of the checkpoints that now lie where it would write or read one."""
    chosen: dict[str, None] = {}
    for path in (*job.makes, *job.needs) if "checkpoint" in job.parameters else ():
        found = shared.get(path, {})
        agree = [
            suffix
            for suffix, differing in found.items()
            if all(
                job.parameters.get(n, v) == v
                for n, v in differing.items()
                if path in job.makes or n not in PLUMBING
            )
        ]
        chosen |= dict.fromkeys(agree or found)
    name = job.parameters.get("checkpoint")
    base = "{auto}" if name == "auto" else name
    named = [{**job.parameters, "checkpoint": f"{base}_{suffix}"} for suffix in chosen]
    return [Job(job.notebook, values) for values in named] or [job]


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors in here say which profile they are about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"profile {name!r}: {error}") from None


def _parameters(key: str, given: Any) -> dict[str, Any]:
    """What stands behind a notebook's name, or behind ``all``."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InputError(f"{key}: {shown(given)} are no parameters: expected some such as {{k: 2}}")
    return given


def _expand(notebook: Notebook, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The product over all parameters that are given a list but are no lists themselves.

    A parameter that is a list is swept by a list of lists.
    """
    notebook.check({name: None for name in given if name not in notebook.parameters})
    axes = []
    for name, value in given.items():
        nested = notebook.parameters[name].kind.startswith("list")
        lists = isinstance(value, list) and any(isinstance(each, list) for each in value)
        swept = lists if nested else isinstance(value, list)
        if swept and not value:
            raise InputError(f"{notebook.name}: {name}=[] sweeps over nothing; name a value")
        axes.append([(name, each) for each in (value if swept else [value])])
    if (runs := math.prod(map(len, axes))) > MOST_RUNS:
        raise InputError(
            f"{notebook.name}: {runs} runs are too many: sweep over {MOST_RUNS} at most"
        )
    return [notebook.check(dict(point)) for point in itertools.product(*axes)]
