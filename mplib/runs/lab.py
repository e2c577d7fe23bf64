"""What JupyterLab does where `make lab` starts it."""

from typing import Any


def plain(model: dict[str, Any], path: str = "", **_: Any) -> None:
    """Keeps out of a saved notebook of this project what a run or a machine puts into it.

    Its outputs stay on the screen, and `runs/` has its results; notebooks elsewhere keep theirs.

    Args:
        model: what Jupyter is about to save.
        path: where, from the folder that JupyterLab was started in.
    """
    if model["type"] != "notebook" or not path.strip("/").startswith("notebooks/"):
        return
    model["content"]["metadata"].pop("language_info", None)
    for cell in model["content"]["cells"]:
        cell["metadata"] = {k: v for k, v in cell["metadata"].items() if k == "tags"}
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
