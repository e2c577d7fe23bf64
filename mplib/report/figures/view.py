"""Pages inside the page: views to play with, which work offline and from a file."""

import json
from html import escape
from importlib.resources import files
from typing import Any

from IPython.display import HTML


def view(name: str, title: str, data: Any, height: int) -> HTML:
    """A view of ``mplib/data``, with the word ``DATA`` in it replaced.

    Everything it needs is in it. It runs in a sandbox and all text is escaped.

    Args:
        name: of its file.
        title: for those who cannot see it.
        data: what it shows, as JSON can hold it.
        height: in pixels.
    """
    page = (files("mplib") / "data" / f"{name}.html").read_text("utf-8")
    # No "<" survives, so that no text can end the script.
    page = page.replace("DATA", json.dumps(data).replace("<", "\\u003c"))
    return HTML(
        f'<div><iframe title="{escape(title)}" sandbox="allow-scripts" srcdoc="{escape(page)}" '
        f'style="width:100%;height:{height}px;border:0"></iframe></div>'
    )
