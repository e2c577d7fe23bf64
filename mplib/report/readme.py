"""The README's tables, written from ``results/`` so that no number in it is typed by hand."""

import json
import re
from typing import Any

import pandas as pd

from mplib.files import ROOT
from mplib.report.paper import paper_table


def numbers_table() -> str:
    """The quick profile's accuracy and scores beside the paper's for the same k, as Markdown."""
    folder = ROOT / "results" / "quick"
    accuracy = pd.read_csv(folder / "01_finetune" / "accuracy.csv").set_index("model")
    probe = folder / "03_probe_ksmallest"
    scores, f1 = pd.read_csv(probe / "scores.csv"), pd.read_csv(probe / "f1.csv")
    k = int(scores.k[0])
    paper = paper_table("table1", k=k, source="finetuned").set_index("quantity").value
    reached = accuracy.loc["finetuned"]
    rows = [
        {
            "": "test accuracy",
            "paper": f"{paper['accuracy']:.3f}",
            "ours": _interval(reached.accuracy, reached.low, reached.high),
            "ours, over the text": "",
        }
    ]
    names = {
        "S_P1": "S_P1 (useful or not)",
        "S_P2": "S_P2 (height, macro)",
        "S_P2_root": "S_P2 (root)",
    }
    for score, name in names.items():
        found = scores[(scores.score == score) & (scores.kind == "model")].set_index("over")
        twin = found.loc["random twin"]
        text = found[found.index.str.startswith("text")].iloc[0]
        rows.append({
            "": name,
            "paper": f"{paper[score]:.3f}" if score in paper else "",
            "ours": _interval(twin.value, twin.low, twin.high),
            "ours, over the text": _interval(text.value, text.low, text.high),
        })  # fmt: skip
    best = f1[f1.kind == "text"].groupby("target").f1.max()
    rows.append({
        "": "F1 of the text alone",
        "paper": "",
        "ours": f"V {best['V']:.3f}, G {best['G']:.3f}",
        "ours, over the text": "",
    })  # fmt: skip
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


def language_table() -> str:
    """The quick profile's scores on theories in words, as Markdown."""
    folder = ROOT / "results" / "quick" / "05_probe_proofwriter"
    answers = pd.read_csv(folder / "accuracy.csv").set_index("set").accuracy
    scores = pd.read_csv(folder / "scores.csv")
    scores = scores[(scores.kind == "model") & scores.score.isin(["S_P1", "S_P2"])]
    scores["over"] = scores.over.str.partition(" (")[0]
    rows = []
    for (name, among), part in scores.groupby(["set", "among"], sort=False):
        where = "" if among == "all statements" else f", {among}"
        row = {"theories": f"{name}{where}".replace("|", "\\|"), "accuracy": f"{answers[name]:.2f}"}
        for one in part.itertuples():
            said = f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]"
            row[f"{one.score} over {one.over}"] = "text is perfect" if pd.isna(one.value) else said
        rows.append(row)
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


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
    return table.to_markdown(index=False, disable_numparse=True)


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
            f"## {case['case'].capitalize()}",
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
    tables = {"numbers": numbers_table(), "language": language_table(), "bench": bench_table()}
    for marker, table in tables.items():
        before, opening, rest = re.split(rf"(<!-- {marker}: .*? -->\n)", text)
        text = before + opening + table + rest[rest.index(f"\n<!-- /{marker} -->") :]
    return text


def update() -> None:
    """Writes the tables into the README."""
    path = ROOT / "README.md"
    path.write_text(render(path.read_text()))
