"""What the book's builder is taught: formulas without scripts; the reference names every name."""

import subprocess
import sys
from pathlib import Path

import mplib
from mplib.files import ROOT
from mplib.runs.theme import mended


def test_formulas_are_mathml(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text(
        'extensions = ["mplib.runs.theme"]\nhtml_math_renderer = "mathml"\n'
    )
    (tmp_path / "index.rst").write_text(
        "A\n=\n\nIn a line :math:`x^2`.\n\n.. math:: \\frac{a}{b}\n"
    )
    line = [sys.executable, "-m", "sphinx", "-q", "-W", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in page
    assert 'class="formula"><math' in page and 'display="block"' in page and "<mfrac>" in page
    assert "mathjax" not in page.lower()


def test_the_reference_has_every_name_of_the_face() -> None:
    page = (ROOT / "book" / "api.md").read_text()
    for name, place in mplib.NAMES.items():
        assert place.partition(":")[0] in page, name


def test_a_figure_below_a_table_of_its_cell_scrolls_too() -> None:
    figure = '<img alt="x" src="../_images/x.png" />'
    for before in ("\n", "</table></div>"):
        page = mended(before + figure)
        assert page == f'{before}<div class="output figure" tabindex="0">{figure}</div>'
    assert mended(f"<p>{figure}</p>") == f"<p>{figure}</p>"
