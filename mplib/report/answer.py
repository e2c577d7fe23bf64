"""The book's question, answered from ``results/``: the first page says it, and the README."""

import json
from dataclasses import replace
from pathlib import Path

from mplib.files import ROOT
from mplib.report import readings as the
from mplib.report.claims import CLAIMS
from mplib.report.evidence import PROFILES, Evidence, Found, Reading, find, kept
from mplib.report.figures.view import view
from mplib.report.verdicts import counted, judge

DEPTH = 3
"""Of the hidden theories that stand for all: the least at which no word tells the rules' order."""


def answer(results: Path | None = None) -> str:
    """What lists say, what theories in words say, and how many claims hold; as Markdown.

    Args:
        results: the folder of all results, the committed ones by default.
    """
    results = results or ROOT / "results"
    return "\n".join(f"- {line}" for line in (_lists(results), _words(results), _claims(results)))


def example(results: Path | None = None) -> str:
    """Gold and read trees of theories in words, to play with; empty where none are kept."""
    for manifest in sorted(((results or ROOT / "results") / "quick").rglob("manifest.json")):
        trees = manifest.parent / "trees.view.json"
        if trees.is_file() and json.loads(manifest.read_text()).get("task") == "proofwriter":
            shown = view(**json.loads(trees.read_text())).data
            return (
                "Below, the proof of a question beside the tree that the probe reads from the "
                "attention of the model that learned to answer: the one read best, the median, the "
                "worst and others. Choose a question and a statement."
                f"\n\n``````{{raw}} html\n{shown}\n``````\n"
            )
    return ""


def _found(results: Path, **asked: Reading) -> dict[str, Found]:
    sources = [kept(profile, results) for profile in PROFILES]
    return {name: find(Evidence(name, reading), sources) for name, reading in asked.items()}


def _said(one: Found, share: bool = False) -> str:
    """A figure with its interval, or that there is none; that of a share ends at 0 and 1."""
    if not one.asked:
        return "not measured"
    found = one.estimate
    if share:
        found = replace(found, low=max(0.0, found.low), high=min(1.0, found.high))
    return f"{found:.2f}"


def _lists(results: Path) -> str:
    found = _found(
        results, reached=the.reached(), useful=the.gain("V"), heights=the.gain("G"),
        patched=the.patched("donor's answer"),
    )  # fmt: skip
    said = {name: _said(one, name in ("reached", "patched")) for name, one in found.items()}
    return (
        "**A small model trained on lists works step by step.** It finds the second smallest of 16 "
        f"numbers (accuracy {said['reached']}). Its attention shows which numbers the answer needs "
        f"(gain in F1 over the text and random models: {said['useful']}) and in which order "
        f"(gain {said['heights']}). When its second layer is given the attention of another list, "
        f"it answers for that list (share {said['patched']})."
        if found["useful"].speaks == found["heights"].speaks == "for"
        else "**A small model trained on lists does not show that it works step by step**: gains "
        f"{said['useful']} and {said['heights']}."
    )


def _words(results: Path) -> str:
    found = _found(
        results, able=the.in_words("accuracy", DEPTH, the.REASONER),
        base=the.in_words("accuracy", DEPTH, "4-shot"),
        gain=the.in_words("gain V", DEPTH, the.REASONER),
        more=the.reasoner_less("4-shot", "gain V", DEPTH),
        beyond=the.reasoner_less(the.CONTROL, "gain V", DEPTH), shallow=the.without_leaf(DEPTH),
    )  # fmt: skip
    said = {name: _said(one) for name, one in found.items()}
    if found["able"].speaks == "missing":
        return "**A language model that learned to answer from theories** was not asked yet."
    ways = {"for": "shows more of the proof", "against": "shows less of the proof"}
    way = ways.get(found["more"].speaks, "does not show for certain that it uses the proof more")
    low, high = found["base"].estimate.low, found["base"].estimate.high
    chance = " (not measurably more than chance)" if low <= 0.5 <= high else ""
    shallow = (
        " It does not need the whole proof: without the fact that a proof begins with, it gives "
        f"the answer that no longer follows in {_said(found['shallow'], share=True)} of questions."
        if found["shallow"].asked and found["shallow"].estimate.low > 0.5 else ""
    )  # fmt: skip
    return (
        f"**A language model that learned to answer from theories {way}.** With four "
        f"demonstrations, SmolLM2 answers {said['base']} of new questions that take {DEPTH} steps "
        f"correctly{chance}; after finetuning, {said['able']}. Its attention then shows which "
        f"statements the proof needs, with a gain in F1 of {said['gain']} over the text and random "
        f"models, {said['more']} more than before, and {said['beyond']} more than after the "
        f"same finetuning on answers dealt at random.{shallow}"
    )


def _claims(results: Path) -> str:
    found = judge(CLAIMS, results)
    return (
        f"**Of {len(found)} claims, the paper's and our own**: {counted(found)}, all by one rule."
    )
