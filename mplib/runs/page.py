"""An executed notebook as a page: what was found first, the code folded, no runner's times."""

import re
from collections.abc import Iterator
from itertools import pairwise

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

FIRST = 3
"""Lines of the summary that a page opens with."""


def page(notebook: NotebookNode, links: str = "") -> NotebookNode:
    """Makes the page of an executed notebook; equal results give equal pages.

    A section whose heading has the tag ``if-shown`` is left out where its code shows nothing.
    Below the title stand the summary's first lines and the first figure. Code is folded. The
    parameters are one cell that has the run's values, and a line says which are not the defaults.
    What a picture says of itself goes where the book's builder looks for it.

    Args:
        notebook: as it was executed.
        links: a line of Markdown that ends the page.
    """
    notebook.metadata.pop("papermill", None)
    cells = _parameters([*_shown_sections(notebook.cells)])
    for cell in cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
    cells = [*_opening(cells), *cells[1:]]
    if links:
        cells.append(new_markdown_cell(links, id="links"))
    notebook.cells = [part for cell in cells for part in _single(cell)]
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
                cell.metadata["mystnb"] = {"image": {"alt": alt}}
    return notebook


def _shown_sections(cells: list[NotebookNode]) -> Iterator[NotebookNode]:
    """The cells without sections that may be empty and are."""
    starts = [i for i, cell in enumerate(cells) if cell.source.startswith("## ")]
    for start, end in pairwise([0, *starts, len(cells)]):
        section = cells[start:end]
        tags = section[0].metadata.get("tags", ()) if section else ()
        if "if-shown" not in tags or any(cell.get("outputs") for cell in section):
            yield from section


def _opening(cells: list[NotebookNode]) -> Iterator[NotebookNode]:
    """The title, what was found, the first figure, and what the first cell says besides."""
    title, _, rest = cells[0].source.partition("\n")
    yield new_markdown_cell(title, id="title")
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    said = [output.data.get("text/markdown", "") for output in outputs if "data" in output]
    summary = next((text for text in reversed(said) if text.startswith("- ")), "")
    if lines := re.findall(r"^- .*(?:\n  .*)*", summary, re.MULTILINE):
        more = ['- <a href="#summary">and more</a>'] if len(lines) > FIRST else []
        yield new_markdown_cell("\n".join([*lines[:FIRST], *more]), id="found")
    if figures := [output for output in outputs if _is_figure(output)]:
        yield _shown("# The first figure of this page.", figures[:1], "first-figure")
    if rest.strip():
        yield new_markdown_cell(rest.strip(), id="question")


def _single(cell: NotebookNode) -> Iterator[NotebookNode]:
    """The cell, cut before each figure but its first: the builder knows one alt text a cell."""
    outputs = cell.get("outputs", [])
    starts = [i for i, output in enumerate(outputs) if _is_figure(output)][1:]
    if starts:
        cell.outputs = outputs[: starts[0]]
    yield cell
    for start, end in pairwise([*starts, len(outputs)] if starts else []):
        yield _shown("# A further figure.", outputs[start:end], f"{cell.id[:50]}-{start}")


def _shown(source: str, outputs: list[NotebookNode], name: str) -> NotebookNode:
    """A cell of which the page shows the outputs alone."""
    return new_code_cell(source, metadata={"tags": ["remove-input"]}, outputs=outputs, id=name)


def _is_figure(output: NotebookNode) -> bool:
    return "image/png" in output.get("data", ())


def _parameters(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells, what papermill injected written into the parameters cell."""
    tagged = {tag: cell for cell in cells for tag in cell.metadata.get("tags", ())}
    injected = tagged.get("injected-parameters")
    if injected is None or "parameters" not in tagged:
        return cells
    values = dict(re.findall(r"^(\w+) = (.+)$", injected.source, re.MULTILINE))
    own = tagged["parameters"]

    def changed(match: re.Match[str]) -> str:
        return f"{match[1]}{values.get(match[2], match[3])}{match[4] or ''}"

    form = re.compile(r"^((\w+): [\w\[\]]+ = )(.+?)(  # .*)?$", re.MULTILINE)
    own.source = form.sub(changed, own.source)
    told = ", ".join(f"`{name} = {value}`" for name, value in values.items())
    note = new_markdown_cell(f"Parameters that are not the defaults: {told}.", id="changed")
    return [
        x for cell in cells for x in ([note, own] if cell is own else [cell]) if x is not injected
    ]
