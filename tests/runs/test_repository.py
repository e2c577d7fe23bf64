"""Links to the repository: only where git knows one."""

import subprocess
from pathlib import Path

import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from mplib.files import ROOT
from mplib.runs import repository, theme
from mplib.runs.page import page


@pytest.mark.parametrize(
    "remote",
    [
        "git@github.com:owner/name.git", "https://github.com/owner/name",
        "https://github.com/owner/name.git/", "https://token@github.com/owner/name.git",
        "ssh://git@github.com/owner/name.git",
    ],
)  # fmt: skip
def test_a_remote_has_a_page(remote: str) -> None:
    assert repository.page_of(remote) == "https://github.com/owner/name"


@pytest.mark.parametrize(
    "remote", ["", "/work/x", "../x", "git@host:a/b.git", "file:///github.com/a/b"]
)
def test_any_other_remote_has_none(remote: str) -> None:
    assert repository.page_of(remote) == ""


def test_the_address_is_that_of_the_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "ROOT", tmp_path)
    assert repository.address() == "", "no repository at all"
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    assert repository.address() == "", "a repository that comes from nowhere"
    url = "git@gitlab.com:owner/name.git"
    subprocess.run([*git, "remote", "add", "origin", url], check=True)
    assert repository.address() == "https://gitlab.com/owner/name"
    monkeypatch.setenv("PATH", "")
    assert repository.address() == "", "no git"


def test_a_page_ends_with_links_that_name_files_of_the_project() -> None:
    name = "03_probe_ksmallest"
    said = repository.notebook_links(name, "https://github.com/o/n")
    for kind, suffix in (("blob", "py"), ("edit", "py"), ("tree", "ipynb")):
        assert f"{kind}/{'' if kind == 'tree' else 'main/'}notebooks/{name}.{suffix}" in said
    assert (ROOT / "notebooks" / f"{name}.ipynb").is_file()
    assert "Binder" in said and "Colab" in said
    assert "Binder" not in repository.notebook_links(name, "https://gitlab.com/o/n")
    assert repository.notebook_links(name, "") == ""
    found = page(new_notebook(cells=[new_markdown_cell("# A")]), said)
    assert found.cells[-1].source == said
    assert len(page(new_notebook(cells=[new_markdown_cell("# A")])).cells) == 1


def test_buttons_are_there_where_the_clone_has_a_page() -> None:
    assert theme.buttons("") == {}
    shown = theme.buttons("https://github.com/o/n")
    assert shown["repository_url"] == "https://github.com/o/n" and shown["use_issues_button"]
