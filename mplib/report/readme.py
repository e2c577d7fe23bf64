"""The README's tables, written from ``results/`` so that no number in it is typed by hand."""

import json
import re
from typing import Any

import pandas as pd

from mplib.files import ROOT
from mplib.report.columns import gained
from mplib.report.evidence import PROFILES, Evidence, find, kept
from mplib.report.paper import paper_table
from mplib.report.readings import NUMBERS, gain, reached, score, text_f1
from mplib.report.verdicts import leading
from mplib.stats import Estimate


def _tables(section: str) -> dict[str, pd.DataFrame]:
    """The quick profile's tables that feed a section of the README, by name."""
    found = {}
    for path in sorted((ROOT / "results" / "quick").rglob("manifest.json")):
        for name, fed in json.loads(path.read_text()).get("readme", {}).items():
            if fed == section:
                found[name] = pd.read_csv(path.with_name(f"{name}.csv"))
    return found


def numbers_table() -> str:
    """Accuracy, gains and scores beside the paper's for the same k.

    Of the profile ``claims``, over seeds, where its tables are kept; else of the quick profile.
    """
    paper = paper_table("table1", k=NUMBERS["k"], source="finetuned")
    theirs = paper.set_index("quantity").value.map("{:.3f}".format)
    asked = {
        "test accuracy": ("accuracy", reached()),
        "gain V over the text": ("", gain("V")),
        "gain G over the text": ("", gain("G")),
        "S_P1 (useful or not)": ("S_P1", score("S_P1")),
        "S_P2 (height, macro)": ("", score("S_P2")),
        "S_P2 (root)": ("S_P2_root", score("S_P2_root")),
        "F1 of V by the text alone": ("", text_f1("V")),
        "F1 of G by the text alone": ("", text_f1("G")),
    }
    sources = [kept(profile, ROOT / "results") for profile in PROFILES]
    rows, overs = [], set()
    for name, (quantity, reading) in asked.items():
        found = find(Evidence(name, reading), sources)
        ours = f"{found.estimate:.3f}" if found.seeds else "not defined"
        rows.append((name, theirs.get(quantity, ""), ours))
        overs |= {found.over} if found.asked else set()
    table = _markdown(pd.DataFrame(rows, columns=["", "paper", "ours"]))
    return f"{table}\n\nIntervals {' and '.join(sorted(overs))}."


def _said(row: Any, digits: int) -> str:
    """A row's value with its interval, or that there is none."""
    if pd.isna(row.value):
        return "not defined"
    return f"{Estimate(row.value, row.low, row.high):.{digits}f}"


def language_table() -> str:
    """The quick profile's gains and scores on theories in words, as Markdown."""
    tables = _tables("language")
    answers, scores = tables["accuracy"].set_index("set").accuracy, tables["scores"]
    scores = scores[(scores.kind == "model") & (scores.classifier == "kNN")]
    scores = scores[scores.score.isin(["S_P1", "S_P2"])].assign(column=scores.score + " over twins")
    gains = gained(tables["gains"])
    both = pd.concat([gains.assign(column="gain " + gains.target), scores])
    rows = []
    for (name, among), part in both.groupby(["set", "among"], sort=False):
        where = "" if among == "all statements" else f", {among}"
        row = {"theories": f"{name}{where}".replace("|", "\\|"), "accuracy": f"{answers[name]:.2f}"}
        rows.append(row | {one.column: _said(one, 2) for one in part.itertuples()})
    return _markdown(pd.DataFrame(rows).fillna(""))


def _markdown(table: pd.DataFrame) -> str:
    """A table whose texts stay as they are."""
    return table.to_markdown(index=False, disable_numparse=True)


def bench_table() -> str:
    """The committed benchmark ratios as Markdown, without the exponents of growth."""
    rows = [row for case in _bench() for row in case["rows"] if row["unit"] != "exponent"]
    return _bench_rows(rows, ["name", "published", "ours", "unit", "ratio", "wanted"])


def _bench() -> list[dict[str, Any]]:
    """Every committed benchmark case."""
    return [json.loads(p.read_text()) for p in sorted((ROOT / "results" / "bench").glob("*.json"))]


def _bench_rows(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Rows of benchmarks as Markdown, figures with three digits."""
    table = pd.DataFrame(rows).reindex(columns=columns)  # few files have a limit
    for column in {"published", "ours", "ratio", "wanted", "at_most"} & {*columns}:
        table[column] = [f"{value:.3g}" if pd.notna(value) else "" for value in table[column]]
    return _markdown(table)


def speed_page() -> str:
    """A page of the book: every comparison with its machine, and how time and memory grow."""
    parts = [
        "# Speed and memory",
        "`make bench` runs the published algorithm, written anew as plain loops, and ours in turn, "
        "round by round on one machine. A ratio is the median of the rounds' ratios. "
        "*Wanted* is the least ratio that was set as a goal before measuring.",
    ]
    for case in _bench():
        machine = case["machine"]
        where = machine["gpu"] or f"{machine['cores']} cores of {machine['processor']}"
        growth = case["case"] == "growth"
        parts += [
            f"## {case['case'].capitalize().replace('_', ' ')}",
            "An exponent of 1 grows in proportion, one of 2 with the square. It is the slope of "
            "the logarithms over sizes that double."
            if growth
            else "",
            _bench_rows(
                case["rows"],
                ["name", "published", "ours"]
                + (["at_most"] if growth else ["unit", "ratio", "wanted", "verdict"]),
            ),
            "\n".join(f"- *{row['name']}*: {row['note']}." for row in case["rows"] if row["note"]),
            f"*{where}, {machine['threads']} threads, torch {machine['torch']}, transformers "
            f"{machine['transformers']}, {case['date']}, {case['seconds']} s.*",
        ]  # fmt: skip
    return "\n\n".join(filter(None, parts)) + "\n"


def render(text: str) -> str:
    """The README with its marked tables replaced by what ``results/`` holds now."""
    tables = {
        "verdicts": leading(ROOT / "results"), "numbers": numbers_table(),
        "language": language_table(), "bench": bench_table(),
    }  # fmt: skip
    for marker, table in tables.items():
        before, opening, rest = re.split(rf"(<!-- {marker}: .*? -->\n)", text)
        text = before + opening + table + rest[rest.index(f"\n<!-- /{marker} -->") :]
    return text


def update() -> None:
    """Writes the tables into the README."""
    path = ROOT / "README.md"
    path.write_text(render(path.read_text()))
