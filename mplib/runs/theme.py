"""An extension of the book's builder: formulas that need no script, and no page loads Thebe.

Browsers draw MathML themselves, so formulas stand in pages that are read offline. Thebe's script is
used by no page, is loaded twice, and stops with an error on every one.
"""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
    app.connect("html-page-context", _without_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _formula(translator: Any, node: nodes.math | nodes.math_block) -> None:
    """Writes a formula as MathML."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    formula = convert(node.astext(), display=display)
    translator.body.append(
        f'<div class="formula">{formula}</div>' if display == "block" else formula
    )
    raise nodes.SkipNode


def _without_thebe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    def is_thebe(script: Any) -> bool:
        told = f"{getattr(script, 'filename', script)} {getattr(script, 'attributes', '')}"
        return "thebe" in told.lower()

    scripts = context.get("script_files", [])
    context["script_files"] = [script for script in scripts if not is_thebe(script)]
