"""Notebooks as files: their cells, and what these tell of a run before it is started."""

import ast
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

from mplib.errors import InputError, unknown
from mplib.files import ROOT
from mplib.runs.parameters import TYPES, Parameter, shown

if TYPE_CHECKING:
    from nbformat import NotebookNode


@dataclass(frozen=True)
class Notebook:
    """A notebook of this project, by the path of its percent-format source."""

    path: Path

    @property
    def name(self) -> str:
        """Its name without suffix, such as ``03_probe_ksmallest``."""
        return self.path.stem

    @classmethod
    def all(cls) -> list["Notebook"]:
        """Every notebook, in order."""
        return [cls(path) for path in sorted((ROOT / "notebooks").glob("*.py"))]

    @classmethod
    def find(cls, name: str) -> "Notebook":
        """The notebook of that name, or whose name alone begins with these words, or a file.

        Raises:
            InputError: there is none, or several names begin so.
        """
        if name.endswith(".py") and os.path.isfile(name):  # unlike Path's, of any name
            return cls(Path(name).resolve())
        known = {notebook.name: notebook for notebook in cls.all()}
        stem = Path(name).stem
        begin = [each for each in known if stem and each.startswith(f"{stem}_")]
        begin = [stem] if stem in known else begin
        if len(begin) != 1:
            which = "unknown notebook" if not begin else "several notebooks begin with"
            raise unknown(f"{which} {shown(name)}", stem, begin or known)
        return known[begin[0]]

    def read(self) -> "NotebookNode":
        """The notebook as cells, without outputs, each cell named by its place."""
        # Imported late: it is slow, and most of the command line needs no notebook.
        import jupytext

        notebook = jupytext.read(self.path)
        for place, cell in enumerate(notebook.cells):
            # Random ids would make every copy differ.
            cell["id"] = f"cell-{place:02d}"
        notebook.nbformat, notebook.nbformat_minor = 4, 5
        return notebook

    @cached_property
    def hash(self) -> str:
        """Hash of its cells, so that results of another version of it can be told.

        The header is left out: whoever saves the notebook may write another one.
        """
        cells = re.sub(rb"\A# ---\n.*?^# ---\n", b"", self.path.read_bytes(), flags=re.M | re.S)
        return hashlib.sha256(cells).hexdigest()[:8]

    def _cell(self, tag: str) -> str:
        """The source of the one cell with a tag, empty where there is none."""
        # Not through jupytext: its imports cost more than all else at the start of a run.
        cells = re.split(r"^# %%", self.path.read_text(), flags=re.MULTILINE)
        found = [cell for cell in cells if re.match(rf'.*\btags\b.*"{tag}"', cell)]
        if len(found) > 1:
            raise InputError(f"{self.path} needs one cell tagged {tag!r}, found {len(found)}")
        return found[0].partition("\n")[2] if found else ""

    def about(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What the notebook tells about a run of itself, in its cell tagged ``about``.

        The cell is run with the parameters as its variables and sets ``about``, every key of which
        may be left out: ``task`` and ``label``, what a sweep's runs share and its name on a page;
        ``needs``, files of other runs that make its results old; ``makes``, files that other runs
        need; ``files``, the user's files and folders that it reads, by parameter, whose content is
        compared; ``gathers``, the profile whose other runs it reads; ``work``, what it does with
        its model, for its cost.

        Args:
            parameters: all of the notebook's parameters.

        Raises:
            InputError: the cell fails with these values.
        """
        scope = dict(parameters)
        try:
            exec(self._code, scope)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{self.path} tells nothing about a run with {dict(parameters)}: {error}; "
                "is one of these values out of range?"
            ) from error
        return scope.get("about", {})

    @cached_property
    def _code(self) -> CodeType:
        return compile(self._cell("about"), f"{self.path} (about)", "exec")

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Declared parameters by name, in order."""
        source = self._cell("parameters")
        if not source:
            raise InputError(f"{self.path} needs one cell tagged 'parameters', found 0")
        try:
            body = ast.parse(source).body
            lines = source.splitlines()
            found = [_declared(node, lines) for node in body]
        except (SyntaxError, ValueError) as error:
            raise InputError(
                f"{self.path}: {error}; a parameter is a line such as `k: int = 2  # how many`"
            ) from None
        return {parameter.name: parameter for parameter in found}

    @property
    def help(self) -> str:
        """Its parameters, a paragraph each: type, default, what it is and its range."""
        lines = [f"{self.name} has these parameters; -p NAME VALUE changes one:"]
        for one in self.parameters.values():
            lines += [f"  {one.name}: {one.kind} = {one.default!r}", f"      {one.comment}"]
        return "\n".join(lines)

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters with their values, defaults where none is given.

        Raises:
            InputError: an unknown parameter, or a value of the wrong type or out of range.
        """
        for name in given:
            if name not in self.parameters:
                raise unknown(f"{self.name} has no parameter {name!r}", name, self.parameters)
        return {
            name: parameter.check(given[name]) if name in given else parameter.default
            for name, parameter in self.parameters.items()
        }


def _declared(node: ast.stmt, lines: list[str]) -> Parameter:
    """The parameter that a statement declares; its comment may go on in lines of its own.

    Raises:
        ValueError: it declares none.
    """
    if not isinstance(node, ast.AnnAssign) or node.value is None:
        raise ValueError(f"`{ast.unparse(node)}` must be `name: type = literal`")
    kind = ast.unparse(node.annotation)
    if kind.removeprefix("list[").removesuffix("]") not in TYPES:
        raise ValueError(
            f"the type {kind}: expected {', '.join(TYPES)}, or a list such as list[int]"
        )
    end = node.end_lineno or 1
    further = takewhile(lambda line: line.startswith("#"), lines[end:])
    comment = [lines[end - 1].partition("#")[2], *(line.lstrip("#") for line in further)]
    said = " ".join(part.strip() for part in comment)
    return Parameter(ast.unparse(node.target), kind, ast.literal_eval(node.value), said)


def write_pairs(*, check: bool = False) -> list[Path]:
    """Writes the ``.ipynb`` of every notebook from its source, without outputs.

    Args:
        check: whether only to look.

    Returns:
        With ``check``, the pairs that are missing or differ from their source.
    """
    import jupytext
    from jupytext.config import load_jupytext_config

    stale = []
    for notebook in Notebook.all():
        pair = notebook.path.with_suffix(".ipynb")
        text = notebook.read()
        # As JupyterLab saves it, or opening and saving would change it.
        settings = load_jupytext_config(str(notebook.path))
        settings.set_default_format_options(text.metadata["jupytext"])
        content = jupytext.writes(text, fmt="ipynb") + "\n"
        if not check:
            pair.write_text(content)
        elif not pair.exists() or pair.read_text() != content:
            stale.append(pair)
    return stale
