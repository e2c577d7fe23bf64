"""Each check of the built book finds its fault in a small book made for it, and nothing else."""

import json

import browser
import numpy as np
import pytest
from PIL import Image

from mplib.files import ROOT
from mplib.report.figures.view import view

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width">
<style>body {{ margin: 8px }} img {{ max-width: 100% }} [data-theme=dark] body {{ background: #111;
color: #eee }} [data-theme=dark] a {{ color: #9cf }}</style><script>
const dark = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
const follow = () => {{ root.dataset.theme = {theme}; }};
dark.onchange = follow; follow();
</script></head><body><main><button class="primary-toggle" onclick="{opens}">Menu</button>
<dialog><a href="good.html">A good page</a></dialog>
<article><h1 id="top">A page</h1>{body}</article></main></body></html>"""

FOLLOWS = "dark.matches ? 'dark' : 'light'"

OPENS = "document.querySelector('dialog').showModal()"

FIGURE = """<div style="overflow-x:auto" tabindex="0">
<img src="{0}.png" alt="{1}" style="max-width:{2}"></div>"""

WHOLE = FIGURE.format("dark", "A line.", "none")

FAULTS = {
    "theme": {"theme": "'light'"},
    "console": {"body": "<script>missing()</script>"},
    "request": {"body": '<script src="https://localhost:1/elsewhere.js"></script>'},
    "overflow": {"body": '<p style="width:2000px">wide</p>'},
    "cut": {"body": '<div style="overflow:hidden"><table width="2000"><tr><td>1</table></div>'},
    "image": {"body": '<img src="good.html" alt="No picture.">'},
    "alt": {"body": FIGURE.format("dark", "dark.png", "none")},
    "first": {"body": '<p style="height:1000px">first</p>' + WHOLE},
    "small": {"body": FIGURE.format("dark", "A line.", "100%")},
    "contrast": {"body": FIGURE.format("faint", "A line.", "none")},
    "menu": {"opens": ""},
    "view": {
        "body": """<iframe title="A view" srcdoc="<html lang='en'><title>A view</title>
<main><h1>A view</h1><button role='button'>1</button><p aria-live='polite'>All.</p></main></html>
"></iframe>"""
    },
    "axe": {"body": "<button></button>"},
    "weight": {"body": '<img src="heavy.png" alt="A heavy picture." style="display:none">'},
    "link": {"body": '<a href="good.html#nowhere">Nowhere</a> <a href="gone.html">Gone</a>'},
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> browser.Faults:
    """What is found in a book that has a good page and a page for each fault."""
    book = tmp_path_factory.mktemp("book")
    good = {"theme": FOLLOWS, "opens": OPENS, "body": WHOLE}
    for name, change in {"good": {}, **FAULTS}.items():
        (book / f"{name}.html").write_text(PAGE.format(**good | change))
    for name, ink in (("dark", 40), ("faint", 220)):
        picture = np.full((200, 800, 3), 255, dtype=np.uint8)
        picture[90:110, 50:] = ink
        Image.fromarray(picture).save(book / f"{name}.png")
    noise = np.random.default_rng(0).integers(256, size=(900, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(book / "heavy.png")
    with browser.browser() as chromium:
        return browser.look(book, chromium)


def test_every_kind_of_fault_has_its_page() -> None:
    assert FAULTS.keys() == set(browser.KINDS)


@pytest.mark.parametrize("kind", browser.KINDS)
def test_a_fault_is_found(found: browser.Faults, kind: str) -> None:
    pages = {fault.split(".html")[0] for fault in found[kind]}
    # What cannot be loaded is told on the console too.
    assert pages == {kind} | ({"request"} if kind == "console" else set()), found[kind]


def test_a_view_alone_is_dark_for_those_who_want_it_and_in_a_page_left_to_the_page(
    tmp_path,
) -> None:
    kept = ROOT / "results" / "quick" / "05_probe_proofwriter" / "trees.view.json"
    trees = view(**json.loads(kept.read_text()))
    (tmp_path / "alone.html").write_text(trees.page)
    (tmp_path / "page.html").write_text(trees.data)
    shown = "getComputedStyle(document.body).filter"
    with browser.browser() as chromium:
        for scheme, dark in (("dark", True), ("light", False)):
            page = chromium.new_page(color_scheme=scheme)
            page.goto((tmp_path / "alone.html").as_uri())
            assert (page.evaluate(shown) != "none") == dark
            page.goto((tmp_path / "page.html").as_uri())
            assert page.frames[1].evaluate(shown) == "none"
