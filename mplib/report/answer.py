"""The book's question, answered from ``results/``: the first page says it, and the README."""

from pathlib import Path

from mplib.files import ROOT
from mplib.report import readings as the
from mplib.report.claims import CLAIMS
from mplib.report.evidence import PROFILES, Evidence, Found, Reading, find, kept
from mplib.report.verdicts import judge

DEPTH = 3
"""Of the hidden theories that stand for all: the least at which no word tells the rules' order."""


def answer(results: Path | None = None) -> str:
    """What lists say, what theories in words say, and how many claims hold; as Markdown.

    Args:
        results: the folder of all results, the committed ones by default.
    """
    results = results or ROOT / "results"
    return "\n".join(f"- {line}" for line in (_lists(results), _words(results), _claims(results)))


def _found(results: Path, **asked: Reading) -> dict[str, Found]:
    sources = [kept(profile, results) for profile in PROFILES]
    return {name: find(Evidence(name, reading), sources) for name, reading in asked.items()}


def _said(one: Found, form: str = ".2f") -> str:
    """A figure with its interval, or that there is none."""
    return f"{one.estimate:{form}}" if one.asked else "not measured"


def _lists(results: Path) -> str:
    found = _found(
        results, reached=the.reached(), useful=the.gain("V"), heights=the.gain("G"),
        patched=the.patched("donor's answer"),
    )  # fmt: skip
    said = {name: _said(one) for name, one in found.items()}
    return (
        "**Trained on lists, a small model works step by step.** It finds the second smallest of "
        f"16 numbers ({said['reached']} of answers right); its attention tells which numbers the "
        f"answer needs, {said['useful']} in F1 beyond what the text and random models tell, and "
        f"in what order, {said['heights']}. Given another list's attention in its second layer, "
        f"it gives that list's answer (share {said['patched']})."
        if found["useful"].speaks == found["heights"].speaks == "for"
        else "**Trained on lists, a small model does not show that it works step by step**: gains "
        f"{said['useful']} and {said['heights']}."
    )


def _words(results: Path) -> str:
    found = _found(
        results, able=the.in_words("accuracy", DEPTH, the.REASONER),
        base=the.in_words("accuracy", DEPTH, "4-shot"),
        gain=the.in_words("gain V", DEPTH, the.REASONER),
        more=the.reasoner_less_shown("gain V", DEPTH),
    )  # fmt: skip
    said = {name: _said(one) for name, one in found.items()}
    if found["able"].speaks == "missing":
        return "**A language model that learned to answer from theories** was not asked yet."
    ways = {"for": "shows more of the proof", "against": "shows less of the proof"}
    way = ways.get(found["more"].speaks, "does not show for certain that it uses the proof more")
    low, high = found["base"].estimate.low, found["base"].estimate.high
    chance = " (no more than chance, as far as can be told)" if low <= 0.5 <= high else ""
    return (
        f"**A language model that learned to answer from theories {way}.** SmolLM2 with four "
        f"demonstrations answers {said['base']} of new questions, {DEPTH} steps deep, "
        f"rightly{chance}; finetuned, {said['able']}. Which statements the proof needs can then be "
        f"told from its attention {said['gain']} better in F1 than from the text and random "
        f"models, {said['more']} more than before."
    )


def _claims(results: Path) -> str:
    words = [one.word for one in judge(CLAIMS, results)]
    said = {"holds": "hold", "holds partly": "partly", "does not hold": "not",
            "undecided": "are undecided", "untested": "untested"}  # fmt: skip
    told = [f"{words.count(word)} {one}" for word, one in said.items() if word in words]
    return f"**Of {len(words)} claims, the paper's and our own**: {', '.join(told)}; by one rule."
