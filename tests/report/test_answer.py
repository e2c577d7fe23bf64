"""The answer on the first page, from whatever results are kept."""

import json
import shutil
from html import escape
from pathlib import Path

import pandas as pd
import pytest

from mplib.files import ROOT
from mplib.report.answer import answer, example
from mplib.report.figures.view import view


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A copy of the kept results that the answer rests on."""
    for folder in ("claims", "quick"):
        shutil.copytree(ROOT / "results" / folder, tmp_path / folder)
    return tmp_path


def test_the_answer_follows_the_tables(results: Path) -> None:
    lists, _, claims = answer(results).splitlines()
    assert lists.startswith("- **A small model trained on lists works step by step.**")
    assert claims.startswith("- **Of ") and "by one rule" in claims
    for path in results.rglob("gains.csv"):
        pd.read_csv(path).assign(low=-1.0).to_csv(path, index=False)
    shutil.rmtree(results / "claims")
    lists, *_ = answer(results).splitlines()
    assert "does not show that it works step by step" in lists


@pytest.mark.parametrize(
    ("low", "high", "way"),
    [(0.1, 0.3, "shows more of the proof"), (-0.3, -0.1, "shows less"), (-0.1, 0.1, "certain")],
)
def test_what_is_said_of_words_goes_by_the_interval(
    results: Path, low: float, high: float, way: str
) -> None:
    rows = [("accuracy", "4-shot", None, 0.5), ("accuracy", "smollm2-135m-theories", None, 0.9)]
    dealt = "smollm2-135m-dealt"
    rows += [("gain V", "smollm2-135m-theories", minus, 0.2) for minus in (None, "4-shot", dealt)]
    table = pd.DataFrame(rows, columns=["measure", "subject", "minus", "value"])
    table = table.assign(low=low, high=high, seed=0, set="depth 3, |S| = 8, hidden")
    table["among"] = table.measure.map({"gain V": "all statements"})
    folder = results / "quick" / "05_probe_proofwriter"
    assert json.loads((folder / "manifest.json").read_text())["task"] == "proofwriter"
    table.to_csv(folder / "contrasts.csv", index=False)
    shortcuts = pd.read_csv(folder / "shortcuts.csv")
    shortcuts.assign(accuracy=0.6, low=low + 0.45, high=0.7).to_csv(
        folder / "shortcuts.csv", index=False
    )
    _, words, _ = answer(results).splitlines()
    assert (
        ("in 0.60 [0.55, 0.70] of questions." in words) == ("whole proof" in words) == (low > 0.05)
    )
    assert way in words and f"0.90 [{low:.2f}, {high:.2f}]" in words
    assert f"0.20 [{low:.2f}, {high:.2f}] more than after the same finetuning" in words


def test_without_results_nothing_is_claimed(tmp_path: Path) -> None:
    lists, words, claims = answer(tmp_path).splitlines()
    assert "not measured" in lists and "was not asked yet" in words and "untested" in claims


def test_the_first_page_shows_kept_trees_and_nothing_where_there_are_none(tmp_path: Path) -> None:
    assert example(tmp_path) == ""
    for task, text in (("ksmallest", "lists"), ("proofwriter", "<theories>")):
        folder = tmp_path / "quick" / task
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"task": task}))
        assert example(tmp_path) == ""
        shown = view("recovered_trees", "Trees", [text], 560)
        (folder / "trees.view.json").write_text(shown.given)
    found = example(tmp_path)
    assert "\\u003ctheories" in found and escape(shown.page) in found and "lists" not in found
