"""Pages inside the page: views to play with, which work offline and from a file."""

import json
from html import escape
from importlib.resources import files
from typing import Any

from IPython.display import HTML


class View(HTML):
    """A page inside the page.

    Attributes:
        page: its text, which works as a file of its own too.
        given: what ``view`` made it of, as JSON.
    """

    def __init__(self, page: str, title: str, height: int, given: str) -> None:
        """Puts the page into a sandbox, in which it can run its script and nothing else."""
        self.page, self.given = page, given
        super().__init__(
            f'<div><iframe title="{escape(title)}" sandbox="allow-scripts" '
            f'srcdoc="{escape(page)}" style="width:100%;height:{height}px;border:0"></iframe></div>'
        )


def view(name: str, title: str, data: Any, height: int) -> View:
    """A view of ``mplib/data``, below the styles and the script that all of them share.

    Everything it needs is in it. It runs in a sandbox and all text is escaped.

    Args:
        name: of its file.
        title: for those who cannot see it.
        data: what it shows, as JSON can hold it.
        height: in pixels.
    """
    shared, own = (
        (files("mplib") / "data" / f"{part}.html").read_text("utf-8") for part in ("view", name)
    )
    # No "<" survives, so that no text can end the script.
    told = json.dumps(data).replace("<", "\\u003c")
    page = shared.replace("TITLE", escape(title)).replace("DATA", told) + own
    given = json.dumps({"name": name, "title": title, "data": data, "height": height})
    return View(page, title, height, given)
