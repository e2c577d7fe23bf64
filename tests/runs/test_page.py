"""Pages: what was found comes first, code is folded, parameters stand in one cell."""

import matplotlib.pyplot as plt
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mplib.runs.page import page
from mplib.runs.record import described

PARAMETERS = """k: int = 2  # the k-th smallest number; 1 or more
cases: list[str] = ["d1 s4"]  # which;
# 1 or more
model: str = "tiny"  # preset or folder
plain: int = 1"""


def executed(summary: str, **figure: object) -> nbformat.NotebookNode:
    picture = new_output("display_data", {"image/png": "aGk="}, metadata={"image/png": figure})
    said = new_output("display_data", {"text/markdown": summary})
    where = new_output("display_data", {"text/markdown": "*Tables: `runs/a`.*"})
    cells = [
        new_markdown_cell("# Does it?\n\nIt might.\n\n**Cost.** Little."),
        new_code_cell(PARAMETERS, metadata={"tags": ["parameters"], "papermill": {"a": 1}}),
        new_code_cell(
            '# Parameters\nk = 3\ncases = ["d1 s8 hidden", "a # b"]\n',
            metadata={"tags": ["injected-parameters"]},
        ),
        new_code_cell("draw()", outputs=[picture]),
        new_markdown_cell("## Summary"),
        new_code_cell("say()", outputs=[said, where]),
    ]
    return new_notebook(cells=cells, metadata={"papermill": {"b": 2}})


def test_a_page_opens_with_what_was_found() -> None:
    found = page(executed("- **one**\n  goes on\n- two\n- three\n- four", alt="A figure."))
    nbformat.validate(found)
    title, said, picture, question, note, parameters, *rest = found.cells
    assert (title.source, question.source) == ("# Does it?", "It might.\n\n**Cost.** Little.")
    lines = said.source.splitlines()
    assert lines[:4] == ["- **one**", "  goes on", "- two", "- three"] and "#summary" in lines[4]
    assert picture.outputs[0].data["image/png"] == "aGk="
    assert picture.metadata["tags"] == ["remove-input"]
    assert note.source.endswith('`k = 3`, `cases = ["d1 s8 hidden", "a # b"]`.')
    assert parameters.source == PARAMETERS.replace("= 2 ", "= 3 ").replace(
        '["d1 s4"]', '["d1 s8 hidden", "a # b"]'
    )
    assert [cell.source for cell in rest] == ["draw()", "## Summary", "say()"]
    folded = [cell for cell in found.cells if cell.cell_type == "code" and cell is not picture]
    assert all("hide-input" in cell.metadata["tags"] for cell in folded)
    shown = [cell for cell in found.cells if "mystnb" in cell.metadata]
    assert [cell.source for cell in shown] == [picture.source, "draw()"]
    assert shown[0].metadata["mystnb"] == {"image": {"alt": "A figure."}}
    assert "papermill" not in found.metadata | parameters.metadata


def test_each_figure_of_a_cell_keeps_its_own_alt_text() -> None:
    pictures = [
        new_output("display_data", {"image/png": "aGk="}, metadata={"image/png": {"alt": alt}})
        for alt in ("First.", "Second.")
    ]
    said = new_output("display_data", {"text/plain": "between"})
    drawn = new_code_cell("draw()", outputs=[said, pictures[0], said, pictures[1], said])
    found = page(new_notebook(cells=[new_markdown_cell("# Does it?"), drawn]))
    nbformat.validate(found)
    _, first, second = (cell for cell in found.cells if cell.cell_type == "code")
    assert (first.source, first.outputs) == ("draw()", [said, pictures[0], said])
    assert second.outputs == [pictures[1], said] and "remove-input" in second.metadata["tags"]
    alts = [cell.metadata["mystnb"]["image"]["alt"] for cell in (first, second)]
    assert alts == ["First.", "Second."]


def test_a_page_of_a_run_that_found_little() -> None:
    bare = executed("nothing")
    bare.cells = [cell for cell in bare.cells if cell.source not in ("draw()", "say()")]
    del bare.cells[2]
    found = page(bare)
    assert [cell.source for cell in found.cells] == [
        "# Does it?", "It might.\n\n**Cost.** Little.", PARAMETERS, "## Summary"
    ]  # fmt: skip


def test_a_figure_says_what_it_shows() -> None:
    figure, axes = plt.subplots(1, 2)
    for axis, title in zip(axes, ("gain V", "gain\nG"), strict=True):
        axis.plot([0, 1], label="kNN")
        axis.set(title=title, xlabel="layers")
    figure.legend(["kNN"])
    assert described("prefix_scores", figure) == (
        "Figure: prefix scores. Panels: gain V; gain G. Across: layers. Told apart: kNN."
    )
    plt.close(figure)


def test_a_section_that_may_be_empty_is_left_out_where_it_is() -> None:
    said = new_output("display_data", {"text/plain": "there"})

    def sections(tags: list[str], outputs: list[nbformat.NotebookNode]) -> list[str]:
        cells = [
            new_markdown_cell("# Title"), new_markdown_cell("## One", metadata={"tags": tags}),
            new_code_cell("a()"), new_markdown_cell("More."), new_code_cell("b()", outputs=outputs),
            new_markdown_cell("## Two"),
        ]  # fmt: skip
        return [cell.source for cell in page(new_notebook(cells=cells)).cells]

    assert sections(["if-shown"], []) == ["# Title", "## Two"]
    assert len(sections(["if-shown"], [said])) == len(sections([], [])) == 6
