"""A built book in a real browser: each page wide and narrow, light and dark, and what is wrong."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Error, Locator, Page, expect, sync_playwright

WIDE, NARROW, HEIGHT = 1280, 390, 900

BYTES = 2_000_000
"""What one page may weigh with all that it loads."""

SHRUNK = 11 / (0.694 * 12 * 100 / 72)
"""How far a figure may be shrunk: its smallest text, x-small of 12 points at 100 dots an inch, is
then 11 pixels high."""

CONTRAST = 4.5
"""Of a figure's ink with its ground, as for text (WCAG 2, level AA); the theme's dimming aside."""

SCRIPT = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  await frame(); await frame();  // until the page has taken on the scheme that was asked for
  const all = q => [...document.querySelectorAll(q)].filter(e => e.checkVisibility());
  const name = e => "<" + e.tagName.toLowerCase() + (e.id && "#" + e.id) + "> " +
    (e.alt || e.title || e.textContent || e.src || "").trim().replace(/\\s+/g, " ").slice(0, 60);
  const root = document.documentElement, edge = root.clientWidth;
  const box = e => e.getBoundingClientRect();
  // The reader neither sees its right end nor can scroll to it.
  const isCut = e => {
    for (let outer = e.parentElement; outer !== root; outer = outer.parentElement) {
      const {overflowX} = getComputedStyle(outer);
      if (overflowX !== "visible" && box(e).right > box(outer).right + 1)
        return !/auto|scroll/.test(overflowX);
    }
    return box(e).right > edge + 1;
  };
  const ground = e => [...function* () { for (; e; e = e.parentElement) yield e; }()]
    .map(e => getComputedStyle(e).backgroundColor).find(colour => !/, 0\\)$/.test(colour));
  return {
    theme: root.dataset.theme,
    overflow: root.scrollWidth > edge
      ? all("body *").filter(e => box(e).right > edge + 1).slice(-3).map(name) : [],
    cut: all("main table, main pre, main img, main iframe").filter(isCut).map(name),
    image: all("img").filter(e => !e.naturalWidth).map(e => e.src),
    alt: all("article img").filter(e => !/\\S \\S/.test(e.alt)).map(e => e.src),
    figures: all("article img").map(e => ({
      name: name(e), file: e.src, top: box(e).top + scrollY, shrunk: box(e).width / e.naturalWidth,
      ground: ground(e) || "rgb(255, 255, 255)",
    })),
    ids: [...document.querySelectorAll("[id]")].map(e => e.id),
    links: [...document.querySelectorAll("a[href]")].map(e => e.href),
  };
}"""

Faults = dict[str, list[str]]

PART = "[role=button], [role=option]:not([aria-disabled=true], [aria-selected=true])"
"""What in a view can be clicked and is not what it tells of already."""

KINDS = (
    "theme", "console", "request", "overflow", "cut", "image", "alt", "first", "small", "contrast",
    "menu", "view", "axe", "weight", "link",
)  # fmt: skip
"""What can be wrong with a page."""


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium of this machine; the test is skipped where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(
                executable_path=path, channel=None if path else "chrome"
            )
        except Error:
            if path:
                raise
            pytest.skip("no Chromium and no Chrome on this machine")
        yield chromium
        chromium.close()


def look(html: Path, chromium: Browser) -> Faults:
    """What is wrong with a built book by kind, each fault with its page and its element.

    A page is loaded once at each width, light or dark, and then changes to the other.
    """
    faults: Faults = {kind: [] for kind in KINDS}
    ids, links = {}, {}
    for width, schemes in ((WIDE, ("light", "dark")), (NARROW, ("dark", "light"))):
        size = {"width": width, "height": HEIGHT}
        page = chromium.new_page(viewport=size, color_scheme=schemes[0], reduced_motion="reduce")
        asked: set[str] = set()
        page.on("request", lambda request, asked=asked: asked.add(request.url))
        told: Faults = {"request": [], "console": []}
        _listen(page, told)
        for path in sorted(html.rglob("*.html")):
            if "_static" in path.parts:
                continue
            page.emulate_media(color_scheme=schemes[0])
            page.goto(path.as_uri())
            where = f"{path.relative_to(html)}, {width} px"
            for scheme in schemes:
                page.emulate_media(color_scheme=scheme)
                seen = page.evaluate(SCRIPT)
                for kind, texts in _seen(page, seen, width, scheme).items():
                    faults[kind] += [f"{where}, {scheme}: {text}" for text in dict.fromkeys(texts)]
            ids[path], links[path] = {"", *seen["ids"]}, sorted({*seen["links"]})
            for kind, texts in {**_loaded(asked), **told}.items():
                faults[kind] += [f"{where}: {text}" for text in texts]
            asked.clear(), *(texts.clear() for texts in told.values())
        page.close()
    faults["link"] += [
        f"{path.relative_to(html)}: {target}"
        for path, targets in links.items()
        for target in targets
        if target.startswith("file:") and not _is_there(target, ids)
    ]
    return faults


def _listen(page: Page, faults: Faults) -> None:
    """Notes what a page complains of and what it cannot load or loads from elsewhere."""
    local = ("file:", "data:", "blob:", "about:")

    def note(kind: str, text: str, is_fault: bool = True) -> None:
        if is_fault:
            faults[kind].append(text)

    page.on("request", lambda x: note("request", f"outside: {x.url}", not x.url.startswith(local)))
    page.on("requestfailed", lambda x: note("request", f"fails: {x.url}"))
    page.on("pageerror", lambda x: note("console", x.message))
    page.on("console", lambda x: note("console", x.text, x.type == "error"))


def _seen(page: Page, seen: dict[str, Any], width: int, scheme: str) -> Faults:
    """What is wrong with a page as one reader sees it."""
    faults: Faults = {kind: seen[kind] for kind in ("overflow", "cut", "image", "alt")}
    figures = seen["figures"]
    faults["theme"] = [f"it is {seen['theme']}"] if seen["theme"] != scheme else []
    faults["first"] = [
        f"{figure['name']} begins at {figure['top']:.0f} px"
        for figure in figures[:1]
        if figure["top"] > HEIGHT
    ]
    faults["axe"] = _inaccessible(page, width, scheme)
    if width == NARROW:
        faults["small"] = [figure["name"] for figure in figures if figure["shrunk"] < SHRUNK]
    else:
        ratios = {figure["name"]: _contrast(figure) for figure in figures}
        faults["contrast"] = [
            f"{x}: {ratio:.1f}" for x, ratio in ratios.items() if ratio < CONTRAST
        ]
    if width == NARROW and scheme == "light":
        faults["menu"] = _shut_menus(page)
    if scheme == "light":
        faults["view"] = _dead_views(page)
    return faults


def _loaded(asked: set[str]) -> Faults:
    """What is wrong with all that a page loads."""
    files = {file: file.stat().st_size for url in asked if (file := _file(url)).is_file()}
    weight = sum(files.values())
    heaviest = max(files, key=lambda file: files[file]).name
    return {"weight": [f"{weight / 1e6:.1f} MB, {heaviest}"] if weight > BYTES else []}


def _contrast(figure: dict[str, Any]) -> float:
    """Of a figure's ink with its margin, the ground of all that stands beside axes."""
    if _file(figure["file"]).suffix != ".png":
        return CONTRAST
    ground = tuple(map(int, re.findall(r"\d+", figure["ground"])[:3]))
    picture = Image.open(_file(figure["file"])).convert("RGBA")
    on_page = Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture)
    colours = np.asarray(on_page.convert("RGB")) / 255
    linear = np.where(colours > 0.04045, ((colours + 0.055) / 1.055) ** 2.4, colours / 12.92)
    light = linear @ [0.2126, 0.7152, 0.0722] + 0.05
    margin = np.median(light[0])
    dark, bright = np.quantile(light, [0.002, 0.998])
    return max(bright / margin, margin / dark)


def _inaccessible(page: Page, width: int, scheme: str) -> list[str]:
    """Serious and critical findings of axe in a page and the pages inside it.

    Contrast, which is slow, depends on the scheme alone, and all else on the width alone.
    """
    rules = {
        "label-content-name-mismatch": {"enabled": True},
        "color-contrast": {"enabled": width == WIDE},
    }
    options: dict[str, Any] = {"resultTypes": ["violations"], "iframes": False, "preload": False}
    if scheme == "light":
        options["rules"] = rules
    elif width == WIDE:
        options["runOnly"] = ["color-contrast"]
    else:
        return []
    # Rows of a table are alike.
    context = {"include": [["html"]], "exclude": [["tbody tr:nth-child(n+4)"]]}
    return [
        f"{rule['id']} ({rule['impact']}): {node['target'][0]}"
        for frame in page.frames
        for rule in Axe().run(frame, context, options).response["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"][:3]
    ]


def _shut_menus(page: Page) -> list[str]:
    """Menus that a narrow page lacks or whose buttons bring no link that can be tapped."""
    found = [] if page.locator(".primary-toggle:visible").count() else ["no button of the menu"]
    for name in ("primary", "secondary"):
        button = page.locator(f".{name}-toggle:visible")
        if button.count():
            try:
                button.click(timeout=5000)
                page.locator("dialog[open] a:visible").first.click(trial=True, timeout=5000)
                page.keyboard.press("Escape")
            except Error as error:
                found.append(f"the {name} one: {error.message.splitlines()[0]}")
    return found


def _dead_views(page: Page) -> list[str]:
    """Views inside a page that say nothing new after a click, or after arrow keys."""
    found = []
    for frame in page.frames[1:]:
        told, title = frame.locator("[aria-live]"), frame.title()
        parts, keys = frame.locator(PART), ("ArrowRight", "ArrowDown", "ArrowUp", "ArrowLeft")
        part = (parts if parts.count() else frame.locator("svg")).first  # a curve alone has none
        try:
            if not _says_more(told, lambda part=part: part.click(timeout=2000)):
                found.append(f"{title}: a click does nothing")
            if not any(_says_more(told, lambda key=key: page.keyboard.press(key)) for key in keys):
                found.append(f"{title}: no arrow key does anything")
        except Error as error:
            found.append(f"{title}: {error.message.splitlines()[0]}")
    return found


def _says_more(told: Locator, act: Callable[[], None]) -> bool:
    """Whether a text is another one soon after something is done."""
    before = told.inner_text(timeout=2000)
    act()
    try:
        expect(told).not_to_have_text(before, timeout=1500)
    except AssertionError:
        return False
    return True


def _file(url: str) -> Path:
    """The file that an address names."""
    return Path(unquote(urlsplit(url).path))


def _is_there(target: str, ids: dict[Path, set[str]]) -> bool:
    """Whether a link leads to a file, and to a place in it if it is a page."""
    file, place = _file(target), unquote(urldefrag(target).fragment)
    return file.is_file() and (file not in ids or place in ids[file])
