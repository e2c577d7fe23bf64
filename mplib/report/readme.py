"""The README's tables, written from ``results/`` so that no number in it is typed by hand."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from mplib.files import ROOT
from mplib.report.answer import answer
from mplib.report.claims import AT_SIZE
from mplib.report.evidence import PROFILES, Evidence, Reading, Tables, find, kept
from mplib.report.paper import paper_table
from mplib.report.readings import NUMBERS, gain, reached, score, text_f1, words
from mplib.report.verdicts import leading


def _sources(profiles: Sequence[str] = PROFILES) -> list[Tables]:
    """The tables of the profiles that the README quotes, in the order in which they are asked."""
    return [kept(profile, ROOT / "results") for profile in profiles]


def _written(
    asked: dict[str, Reading], digits: int, sources: list[Tables]
) -> tuple[dict[str, str], set[str]]:
    """Figures with their intervals, by name, and what the intervals are over."""
    found = {name: find(Evidence(name, reading), sources) for name, reading in asked.items()}
    said = {}
    for name, one in found.items():
        some = f" ({len(one.seeds)} of {one.asked} seeds)" if len(one.seeds) < one.asked else ""
        text = f"{one.estimate:.{digits}f}"
        said[name] = text + some if one.seeds else "not defined"
    overs = {one.over.replace(f"{len(one.seeds)} of ", "") for one in found.values() if one.seeds}
    return said, overs


def _intervals(table: pd.DataFrame, overs: set[str]) -> str:
    """A table as Markdown, and below it what its intervals are over."""
    return f"{_markdown(table)}\n\nIntervals {' and '.join(sorted(overs))}."


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
    said, overs = _written({name: reading for name, (_, reading) in asked.items()}, 3, _sources())
    rows = [(name, theirs.get(of, ""), said[name]) for name, (of, _) in asked.items()]
    return _intervals(pd.DataFrame(rows, columns=["", "paper", "ours"]), overs)


def language_table(profiles: Sequence[str] = PROFILES) -> str:
    """Gains and scores on theories in words, as Markdown; of the first profile that is kept."""
    sources = _sources(profiles)
    tables = next(one for one in sources if len(one("proofwriter", "gains")))
    gains, answers = tables("proofwriter", "gains"), tables("proofwriter", "accuracy")
    rows, overs = [], set()
    for chosen in gains[["set", "among", "subject"]].drop_duplicates().to_dict("records"):
        asked = {f"gain {of}": words.gain(of, **chosen) for of in "VG"}
        asked |= {f"{of} over twins": words.score(of, **chosen) for of in ("S_P1", "S_P2")}
        said, over = _written(asked, 2, sources)
        where = "" if chosen["among"] == "all statements" else f", {chosen['among']}"
        asked_so = (answers[["set", "subject"]] == [chosen["set"], chosen["subject"]]).all(axis=1)
        theories = f"{chosen['set']}{where}".replace("|", "\\|")
        share = f"{answers.accuracy[asked_so].mean():.2f}"
        rows.append({"theories": theories, "model": chosen["subject"], "accuracy": share, **said})
        overs |= over
    table = pd.DataFrame(rows)
    one = table.model.nunique() == 1
    return _intervals(table.drop(columns="model") if one else table, overs)


def kinds_table() -> str:
    """Accuracy of the model that reasons in words on every kind of theory, whole and edited."""
    tables = kept("kinds", ROOT / "results")
    asked = tables("proofwriter", "accuracy").set_index("set")
    edited = tables("proofwriter", "shortcuts")
    edited = edited[edited["of"].str.endswith(("removed", "shuffled"))]
    said = edited.pivot_table(index="set", columns="of", values="accuracy", sort=False)
    figures = said.map(lambda value: "" if pd.isna(value) else f"{value:.2f}")
    rows = pd.DataFrame({
        "theories": [name.replace("|", "\\|") for name in asked.index],
        "accuracy": [f"{x.accuracy:.2f} [{x.low:.2f}, {x.high:.2f}]" for x in asked.itertuples()],
    }).join(figures.reindex(asked.index).reset_index(drop=True))  # fmt: skip
    count, few = int(asked.examples.max()), int(edited.examples.max())
    return f"{_markdown(rows)}\n\n{count} questions of each kind, {few} of them edited."


def paper_size_table() -> str:
    """GPT-2 small's shape from random weights, a row for each k, beside Table 1, as Markdown."""
    rows, overs, sources = [], set(), _sources(AT_SIZE)
    for k in (1, 2, 4, 8):
        paper = paper_table("table1", k=k, source="finetuned").set_index("quantity").value
        asked = {
            "accuracy": ("accuracy", reached(k=k)),
            "S_P1": ("S_P1", score("S_P1", k=k)),
            "S_P2 (root)": ("S_P2_root", score("S_P2_root", k=k)),
            "gain V": ("", gain("V", k=k)),
            "gain G": ("", gain("G", k=k)),
        }
        said, over = _written({name: reading for name, (_, reading) in asked.items()}, 2, sources)
        row = {"k": str(k)}
        for name, (of, _) in asked.items():
            row |= {f"{name}, paper": f"{paper[of]:.2f}" if of in paper else ""} if of else {}
            row[name] = said[name]
        rows.append(row)
        overs |= over
    return _intervals(pd.DataFrame(rows), overs)


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
        "answer": answer(), "verdicts": leading(ROOT / "results"), "numbers": numbers_table(),
        "size": paper_size_table(), "language": language_table(),
        "reasoner": language_table(["quick"]), "kinds": kinds_table(), "bench": bench_table(),
    }  # fmt: skip
    for marker, table in tables.items():
        before, opening, rest = re.split(rf"(<!-- {marker}: .*? -->\n)", text)
        text = before + opening + table + rest[rest.index(f"\n<!-- /{marker} -->") :]
    return text


def update() -> None:
    """Writes the tables into the README."""
    path = ROOT / "README.md"
    path.write_text(render(path.read_text()))
