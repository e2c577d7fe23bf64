"""What JupyterLab does where `make lab` starts it."""

from typing import Any


def plain(model: dict[str, Any], **_: Any) -> None:
    """Keeps this machine's version of Python out of a saved notebook.

    Args:
        model: what Jupyter is about to save.
    """
    if model["type"] == "notebook":
        model["content"]["metadata"].pop("language_info", None)
