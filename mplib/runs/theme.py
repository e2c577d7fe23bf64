"""An extension of the book's builder: no page loads Thebe, which no page uses.

Its script is loaded twice and stops with an error on every page.
"""

from typing import Any

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("html-page-context", _without_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _without_thebe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    def is_thebe(script: Any) -> bool:
        told = f"{getattr(script, 'filename', script)} {getattr(script, 'attributes', '')}"
        return "thebe" in told.lower()

    scripts = context.get("script_files", [])
    context["script_files"] = [script for script in scripts if not is_thebe(script)]
