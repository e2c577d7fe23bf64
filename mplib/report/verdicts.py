"""A verdict on every claim of the paper, made from what ``results/`` holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mplib.report.claims import CLAIMS, Claim
from mplib.report.evidence import WORDS, Found, find, kept, verdict

RULE = (
    "No verdict and no number on this page is typed by hand. A figure **speaks for** a claim "
    "where its whole 95 % interval lies on the claim's side of 0 (or of a bound that stands "
    "behind it), **against** it where it lies on the other side, and else decides nothing; a "
    "figure without an interval, or not defined, decides nothing. A claim **holds** where all "
    "its main figures and all its controls speak for it, **holds partly** where not all of them "
    "do but a main one does, **does not hold** where none does and a main one speaks against "
    "it, is **undecided** where none speaks, and **untested** where there is no figure. A "
    "control is what would not be so if something else explained the main figures: that of what "
    "attention shows is the gain over the text and the random twins' attention.",
    "Figures are those of `results/claims`, else of `results/quick`. Over seeds the interval is "
    "a t-interval: with numbers a seed trains a model anew, with theories it draws theories and "
    "demonstrations anew; differences are paired by seed. Of a single run it is over examples, "
    "and a difference there takes its two parts as independent. A *head start* is the share of "
    "its final score that a score has reached by the first layers, less the same of another "
    "score, averaged over all numbers of layers but the last. Intervals hold each for itself: "
    "of as many claims one or two would be decided by chance.",
)
"""How the page explains itself."""

PASSES = {"for": "passes", "against": "fails", "open": "undecided", "missing": "not run"}
"""How a control speaks, in words."""

ALIKE = {"for": "all pass", "against": "all fail", "open": "all undecided", "missing": "none run"}
"""The same of several controls."""


@dataclass(frozen=True)
class Verdict:
    """A claim with what was found and what follows from it."""

    claim: Claim
    main: tuple[Found, ...]
    controls: tuple[Found, ...]

    @property
    def word(self) -> str:
        """The verdict, by the rule of ``evidence.verdict`` alone."""
        return verdict([one.speaks for one in self.main], [one.speaks for one in self.controls])

    @property
    def number(self) -> str:
        """The main figures that there are."""
        return "; ".join(f"{one}{_bound(one)}" for one in self.main if one.asked)

    @property
    def control(self) -> str:
        """The controls, with what became of each, or of all alike."""
        said = [f"{one}{_bound(one)}" for one in self.controls]
        became = [PASSES[one.speaks] for one in self.controls]
        if len(said) > 1 and len({*became}) == 1:
            return f"{'; '.join(said)} ({ALIKE[self.controls[0].speaks]})"
        return "; ".join(f"{one} ({end})" for one, end in zip(said, became, strict=True))

    @property
    def overs(self) -> dict[str, set[str]]:
        """The runs' folders by what the intervals are over."""
        found: dict[str, set[str]] = {}
        for one in (*self.main, *self.controls):
            if one.asked:
                found.setdefault(one.over, set()).update(one.runs)
        return found

    @property
    def origin(self) -> str:
        """The runs, and what the intervals are over."""
        return "; ".join(f"{', '.join(sorted(runs))}: {over}" for over, runs in self.overs.items())


def _bound(found: Found) -> str:
    """The bound, where it is not 0."""
    of = found.of
    return f" (bound {'<' if of.below else '>'} {of.bound:g})" if of.bound and found.seeds else ""


def _breakable(name: str) -> str:
    """Names of folders that may be broken into lines, lest a line run out of the page."""
    return name.replace("/", "/<wbr>").replace("_", "_<wbr>")


def judge(claims: Sequence[Claim] = CLAIMS, results: Path | None = None) -> list[Verdict]:
    """The verdict on each claim.

    Args:
        claims: those of the paper, if no others are named.
        results: the folder of all results, the committed ones by default.
    """
    profiles = {name for claim in claims for name in claim.profiles}
    sources = {name: kept(name, results) for name in profiles}
    return [
        Verdict(claim, *(tuple(find(one, asked) for one in part)
                         for part in (claim.main, claim.controls)))
        for claim in claims
        for asked in [[sources[name] for name in claim.profiles]]
    ]  # fmt: skip


def verdicts_page(results: Path | None = None) -> str:
    """A page of the book: every claim below its verdict, and what would settle it."""
    found = judge(results=results)
    by_word = {word: [one for one in found if one.word == word] for word in WORDS}
    parts = [
        "# Verdicts",
        f"What became of {len(found)} claims about reasoning trees in attention, most of them the "
        f"paper's: {counted(found)}.",
    ]
    for word, ones in by_word.items():
        parts += [f"## {word.capitalize()}"] * bool(ones) + [_told(one) for one in ones]
    return "\n\n".join([*parts, "## The rule", *RULE]) + "\n"


def counted(found: Sequence[Verdict]) -> str:
    """How many claims have each verdict, in words."""
    said = {
        "holds": "hold", "holds partly": "hold partly", "does not hold": "do not hold",
        "undecided": "are undecided", "untested": "are untested",
    }  # fmt: skip
    counts = {word: sum(one.word == word for one in found) for word in WORDS}
    # One alone is told in the singular.
    alone = {word: word if word in WORDS[:3] else f"is {word}" for word in WORDS}
    return ", ".join(f"{n} {alone[w] if n == 1 else said[w]}" for w, n in counts.items() if n)


def _told(one: Verdict) -> str:
    """A claim and what speaks for it or against it, as an entry of a list of definitions."""
    lines = {
        "": one.number, "*Controls:* ": one.control, "*From* ": _breakable(one.origin),
        "*More would tell:* ": one.claim.settles,
    }  # fmt: skip
    told = [f": {name}{text}" for name, text in lines.items() if text]
    return "\n".join([f"**{one.claim.sentence}**", *(told or [": No figure yet."])])


def leading(results: Path | None = None) -> str:
    """The claims that matter most, a sentence each, for the README."""
    return "\n".join(
        f"- {one.claim.sentence}: **{one.word}**, {one.number or 'no figure yet'}; controls: "
        f"{one.control} *({'; '.join(one.overs) or 'no run'})*."
        for one in judge([claim for claim in CLAIMS if claim.leads], results)
    )
