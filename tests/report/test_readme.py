"""The README's tables: what is taken from results, and how it is written."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import comparison

from mplib.report import readme
from mplib.report.columns import gained
from mplib.stats import Estimate, over_seeds

TASKS = {"numbers": "ksmallest", "language": "proofwriter"}


def keep(
    root: Path, name: str, section: str, profile: str = "quick", **tables: pd.DataFrame
) -> None:
    """Keeps the tables of a run as results of a profile that feed a section."""
    folder = root / "results" / profile / name
    folder.mkdir(parents=True)
    for table, rows in tables.items():
        rows.to_csv(folder / f"{table}.csv", index=False)
    (folder / "manifest.json").write_text(json.dumps({"task": TASKS[section]}))


def cells(table: str) -> list[list[str]]:
    """A table of Markdown, row by row, without the line below its head."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()]
    return [[cell.strip() for cell in line] for line in (lines[0], *lines[2:])]


def said(row: pd.Series, digits: int) -> str:
    return f"{Estimate(row.value, row.low, row.high):.{digits}f}"


def test_numbers_stand_beside_the_papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    about = {"k": 2, "trainable": "all", "seed": 0}
    rows = [("before", 0.1, 0.0, 0.2), ("finetuned", 0.977, 0.973, 0.981)]
    accuracy = pd.DataFrame(rows, columns=["model", "accuracy", "low", "high"]).assign(**about)
    keep(tmp_path, "01", "numbers", accuracy=accuracy)
    found = comparison()
    own = {name: getattr(found, name) for name in ("scores", "gains", "f1")}
    own = {
        name: table[table.source != "before"].replace("tuned", "finetuned").assign(**about)
        for name, table in own.items()
    }
    keep(tmp_path, "03", "numbers", **own)
    keep(tmp_path, "05", "language", accuracy=accuracy.assign(accuracy=0))
    *table, _, said_below = readme.numbers_table().splitlines()
    head, *rows = cells("\n".join(table))
    assert head == ["", "paper", "ours"]
    by = {name: (paper, ours) for name, paper, ours in rows}
    assert list(by) == [
        "test accuracy", "gain V over the text", "gain G over the text", "S_P1 (useful or not)",
        "S_P2 (height, macro)", "S_P2 (root)", "F1 of V by the text alone",
        "F1 of G by the text alone",
    ]  # fmt: skip
    assert by["test accuracy"] == ("0.994", "0.977 [0.973, 0.981]"), "Table 1, k = 2"
    gain = gained(own["gains"]).set_index("target")
    assert by["gain V over the text"] == ("", said(gain.loc["V"], 3))
    scores = own["scores"].set_index(["kind", "classifier", "score"])
    for name, score in (("S_P1 (useful or not)", "S_P1"), ("S_P2 (height, macro)", "S_P2")):
        assert by[name][1] == said(scores.loc["model", "kNN", score], 3)
    assert by["S_P2 (height, macro)"][0] == "", "the paper's S_P2 is the root's"
    assert by["S_P2 (root)"][0] != ""
    text = own["f1"][(own["f1"].source == "text") & (own["f1"].classifier == "kNN")]
    text = text.set_index("target").f1
    assert by["F1 of G by the text alone"][1].startswith(f"{text['G']:.3f} [")
    assert said_below == "Intervals over examples of one run."
    for seed, share in enumerate((0.9, 0.92, 0.97)):
        trained = accuracy.assign(accuracy=share, seed=seed)
        keep(tmp_path, f"01/seed{seed}", "numbers", "claims", accuracy=trained)
    *table, _, said_below = readme.numbers_table().splitlines()
    assert dict((name, ours) for name, _, ours in cells("\n".join(table)))["test accuracy"] == (
        f"{over_seeds([0.9, 0.92, 0.97]):.3f}"
    )
    assert said_below == "Intervals over 3 seeds and over examples of one run."


def test_theories_have_a_row_for_each_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    places = [("d1, |S| = 4", "all statements"), ("d2", "all statements"), ("d2", "rules alone")]
    found = comparison()
    own = {name: getattr(found, name) for name in ("scores", "gains")}
    tables = {
        name: pd.concat([
            table[table.source != "before"].assign(set=one, among=among, subject="4-shot", seed=0)
            for one, among in places
        ])
        for name, table in own.items()
    }  # fmt: skip
    scores = tables["scores"]
    undefined = (scores["set"] == "d2") & (scores.score == "S_P2")
    scores.loc[undefined, ["value", "low", "high"]] = np.nan
    accuracy = pd.DataFrame({"set": ["d1, |S| = 4", "d2"], "accuracy": [0.5, 0.625]})
    accuracy["subject"] = "4-shot"
    keep(tmp_path, "05", "language", accuracy=accuracy, **tables)
    *table, _, said_below = readme.language_table().splitlines()
    assert said_below == "Intervals over examples of one run."
    head, *rows = cells("\n".join(table))
    assert head == [
        "theories", "accuracy", "gain V", "gain G", "S_P1 over twins", "S_P2 over twins",
    ]  # fmt: skip
    gain = gained(own["gains"]).set_index(["source", "target"]).loc["tuned"]
    near = own["scores"][own["scores"].classifier == "kNN"].set_index(["source", "score"])
    near = near.loc["tuned"]
    assert rows == [
        [
            name, share, said(gain.loc["V"], 2), said(gain.loc["G"], 2), said(near.loc["S_P1"], 2),
            said(near.loc["S_P2"], 2) if "|" in name else "not defined",
        ]
        for name, share in (
            (r"d1, \|S\| = 4", "0.50"), ("d2", "0.62"), ("d2, rules alone", "0.62"),
        )
    ]  # fmt: skip
    both = {name: pd.concat([table, table.assign(subject="b")]) for name, table in tables.items()}
    accuracies = pd.concat([accuracy, accuracy.assign(subject="b", accuracy=1.0)])
    keep(tmp_path, "05", "language", "reasoner", accuracy=accuracies, **both)
    head, *rows = cells("\n".join(readme.language_table(["reasoner"]).splitlines()[:-2]))
    assert head[:3] == ["theories", "model", "accuracy"] and len(rows) == 6
    assert [row[1:3] for row in rows if "4" in row[0]] == [["4-shot", "0.50"], ["b", "1.00"]]
    for seed in (0, 1):
        again = {name: table.assign(seed=seed) for name, table in tables.items()}
        again["gains"] = again["gains"].assign(value=[0.25, 0.75][seed])
        again["scores"] = again["scores"].assign(value=[0.5, np.nan][seed])
        keep(tmp_path, f"05-{seed}", "language", "claims", accuracy=accuracy, **again)
    *table, _, said_below = readme.language_table().splitlines()
    assert said_below == "Intervals over 2 seeds."
    pooled = f"{over_seeds([0.25, 0.75]):.2f}"
    assert cells("\n".join(table))[1][2:] == [pooled, pooled, *["0.50 (1 of 2 seeds)"] * 2]
