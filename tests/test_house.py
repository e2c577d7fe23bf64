"""The house: which room may import which, how long files and functions are, what is public."""

import ast
import doctest
import importlib
import io
import re
import tokenize
from pathlib import Path

import pytest

import mplib

PACKAGE = Path(mplib.__file__).parent
ROOT = PACKAGE.parent
FOUNDATION = {"errors", "files", "machine", "stats"}
"""Files at the root that every room may import."""

ARROWS = {
    "errors": set(),
    "files": {"errors"},
    "machine": set(),
    "stats": {"errors"},
    "tasks": FOUNDATION,
    "models": FOUNDATION,
    "probe": FOUNDATION | {"tasks"},
    "studies": FOUNDATION | {"tasks", "models", "probe"},
    "runs": FOUNDATION,
    "report": FOUNDATION | {"tasks", "models", "probe", "studies", "runs"},
}
"""What each room may import beside itself. The package's face, the command line and the notebooks
join the rooms."""

SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of what a file imports from the package, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports say where they come from"
            # `from mplib import runs` names a room too.
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "mplib"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows_go_one_way(path: Path) -> None:
    own = room(path)
    if own in ("__init__", "__main__"):
        return
    rooms = {name.split(".")[1] for name in imported(path) if "." in name}
    assert rooms <= ARROWS[own] | {own}, f"{own} imports {sorted(rooms - ARROWS[own] - {own})}"


def test_an_arrow_the_wrong_way_is_seen(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "def late():\n    from mplib.runs import engine\n    from mplib import report\n"
    )
    assert {name.split(".")[1] for name in imported(wrong)} == {"runs", "report"}


def test_every_room_says_what_lives_there() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        lines = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()
        assert 4 <= len(lines) <= 14, path
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == ARROWS.keys() - FOUNDATION


def code_lines(text: str) -> int:
    """Lines that hold code: no blanks, comments or docstrings."""
    strings = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in layout | {tokenize.ENDMARKER}
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - strings)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_are_one_idea(path: Path) -> None:
    text = path.read_text()
    assert code_lines(text) <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            source = ast.get_source_segment(text, node)
            assert source is not None
            assert code_lines("\n".join(source.splitlines())) <= 60, f"{path}: {node.name}"


def test_the_package_names_no_notebook() -> None:
    for path in SOURCES:
        assert not re.search(r"[\"'](0\d|\d\d_\w+)[\"']", path.read_text()), path


def test_every_name_of_the_face_is_there_and_explained() -> None:
    for name in mplib.NAMES:
        assert getattr(mplib, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'attentoin'"):
        _ = mplib.attentoin
    assert set(mplib.NAMES) <= set(dir(mplib))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_examples_in_docstrings_run(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if ">>>" in path.read_text():
        assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_name_of_the_face_shows_an_example() -> None:
    for name in mplib.NAMES:
        assert ">>> " in getattr(mplib, name).__doc__, name
