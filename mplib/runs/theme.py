"""An extension of the book's builder: what the theme leaves undone on every page.

Browsers draw MathML themselves, so formulas need no script. Thebe's script, which no page uses, is
loaded twice and stops with an error; icons come a second time as a script of 1.5 MB; some roles and
names say something else than what is seen.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

from mplib.runs.repository import BRANCH, address

MENDED = (
    # The style sheet has the icons as fonts, a tenth of the size.
    (r"<script[^>]*/fontawesome\.js[^>]*></script>", ""),
    # Spoken names are what stands there.
    (r'(<summary) aria-label="Toggle hidden content"', r"\1"),
    (r'(search-button-field[^>]*) title="Search" aria-label="Search"', r"\1"),
    (r'<summary>(?=<span class="toctree-toggle")', '<summary aria-label="Further pages">'),
    (r'<i (class="theme-switch )', r'<i aria-hidden="true" \1'),
    # A list has items.
    (r'role="doc-biblioentry"', 'role="listitem"'),
    # A figure that is wider than the page scrolls by itself, with the keyboard too.
    (
        r'(\n|</div>)(<img [^>]*src="[^"]*_images/[^>]*>)',
        r'\1<div class="output figure" tabindex="0">\2</div>',
    ),
)
"""Patterns in pages and what replaces them."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
    # Before the theme reads its options.
    app.connect("config-inited", _address, priority=100)
    app.connect("html-page-context", _context, priority=900)
    app.connect("build-finished", _finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def buttons(repository: str) -> dict[str, Any]:
    """The theme's options that link repository and issues from every page; none without a page."""
    shown = {"repository_url": repository, "repository_branch": BRANCH}
    return {**shown, "use_repository_button": True, "use_issues_button": True} if repository else {}


def _address(app: Sphinx, config: Any) -> None:
    config.html_theme_options = {**config.html_theme_options, **buttons(address())}


def _formula(translator: Any, node: nodes.math | nodes.math_block) -> None:
    """Writes a formula as MathML."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    formula = convert(node.astext(), display=display)
    translator.body.append(
        f'<div class="formula">{formula}</div>' if display == "block" else formula
    )
    raise nodes.SkipNode


def mended(page: str) -> str:
    """A page without what is wrong with all of them.

    >>> mended('<summary aria-label="Toggle hidden content">')
    '<summary>'
    """
    for pattern, replacement in MENDED:
        page = re.sub(pattern, replacement, page)
    return page


def _context(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    def is_thebe(script: Any) -> bool:
        told = f"{getattr(script, 'filename', script)} {getattr(script, 'attributes', '')}"
        return "thebe" in told.lower()

    scripts = context.get("script_files", [])
    context["script_files"] = [script for script in scripts if not is_thebe(script)]
    if page == app.config.root_doc:
        context["docstitle"] = ""  # the book's name is this page's


def _finished(app: Sphinx, failure: Exception | None) -> None:
    for path in Path(app.outdir).rglob("*.html"):
        path.write_text(mended(path.read_text("utf-8")), "utf-8")
