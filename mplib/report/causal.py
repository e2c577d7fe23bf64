"""What the causal study's tables say, in the sentences of a summary: heads, cuts, patches."""

from typing import TYPE_CHECKING

import pandas as pd

from mplib.report.sentences import say
from mplib.stats import Estimate, accuracy

MATCHED = "useless of equal mass"
"""The control that stands for all in a summary; see ``mplib.studies.knockout``."""

if TYPE_CHECKING:  # the summary of finished runs needs no torch
    from mplib.studies.heads import Entropies
    from mplib.studies.knockout import Knockout


def causal_sentences(
    entropies: "Entropies", pruned: pd.DataFrame, found: "Knockout", contrasted: pd.DataFrame,
    agreed: pd.DataFrame, patched: pd.DataFrame, rolled: pd.DataFrame, *, renormalised: bool = True,
) -> list[str]:  # fmt: skip
    """What the whole causal study says: entropies, heads off, edges cut, patches, roll-out."""
    lines = entropy_sentences(entropies) + pruning_sentences(pruned)
    lines += knockout_sentences(found, contrasted, agreed, renormalised)
    return lines + patching_sentences(patched) + rollout_sentences(rolled)


def entropy_sentences(found: "Entropies", small: float = 0.7) -> list[str]:
    """How many heads look at certain places, and how many at certain ranks of size.

    Args:
        found: entropies of all heads.
        small: below this an entropy counts as small.
    """
    place, size = found.position < small, found.size < small
    return [
        f"Of {size.size} heads, {place.sum()} have a position entropy below {small} (the smallest "
        f"is {found.position.min():.2f}), {size.sum()} a size entropy below {small} (smallest "
        f"{found.size.min():.2f}), {(place & size).sum()} both; in the paper's GPT-2 67, 24 and "
        "none of 144."
    ]


def pruning_sentences(averaged: pd.DataFrame) -> list[str]:
    """What the averaged pruning curves say between 10 and 40 % of the heads."""
    part = averaged[averaged.percentage.between(10, 40)]
    if part.empty:
        return ["No share of heads between 10 and 40 % was switched off."]
    curves = {name: curve.set_index("percentage") for name, curve in part.groupby("order")}
    lines, shares = [], ", ".join(f"{p:g}" for p in part.percentage.unique())
    for name, curve in curves.items():
        values = ", ".join(f"{value:.3f}" for value in curve.accuracy)
        lines.append(f"Heads off by {name}, {shares} %: accuracy {values}.")
    if {"position entropy", "size entropy"} <= set(curves):
        position, size = curves["position entropy"], curves["size entropy"]
        more, less = int((size.high < position.low).sum()), int((position.high < size.low).sum())
        lines.append(
            f"Losing heads of small size entropy hurts more than losing as many of small position "
            f"entropy at {more} of these {len(size)} shares, less at {less}, and at "
            f"{len(size) - more - less} the intervals overlap. In the paper it hurts more at every "
            "one."
        )
    return lines


def _layers(table: pd.DataFrame) -> pd.Series:
    """The window of each row: ``2``, ``1-2``, or ``untouched``."""
    first, last = table.first_layer.astype(str), table.last_layer.astype(str)
    return first.where(first == last, first + "-" + last).replace("0", "untouched")


def _along(table: pd.DataFrame, form: str, column: str = "value") -> str:
    """A figure of every row with its window: ``0.021 (1), 0.229 (2), 0.005 (1-2)``."""
    pairs = zip(table[column], _layers(table), strict=True)
    return ", ".join(f"{value:{form}} ({layers})".replace("%", " %") for value, layers in pairs)


def _beyond_chance(table: pd.DataFrame) -> str:
    """In which windows figures differ from 0 when that is asked so often."""
    sure = table[table.p_fdr < 0.05]
    sides = {"above 0": sure[sure.value > 0], "below 0": sure[sure.value < 0]}
    said = [f"{side} in {', '.join(_layers(part)) or 'none'}" for side, part in sides.items()]
    among = "false discovery rate 5 % over all rows of the table"
    return " and ".join(said) + f" of {len(table)} windows ({among})"


def knockout_sentences(
    found: "Knockout", contrasted: pd.DataFrame, agreed: pd.DataFrame, renormalised: bool = True
) -> list[str]:
    """What a knock-out in every window says, and the probe's agreement with it.

    Args:
        found: the knock-out.
        contrasted: of its useful edges with useless ones.
        agreed: of the probe with it.
        renormalised: which of the cuts are told: those after which the rest sums to one again.
    """
    lines = [
        f"The whole model answers {accuracy(found.whole.correct)} of the examples; always giving "
        f"the most frequent answer would be right in {found.guess * 100:.1f} %."
    ]
    told, contrasted, agreed = (
        table[table.renormalised == renormalised] if len(table) else table
        for table in (found.table, contrasted, agreed)
    )
    lines += _cut_sentences(told, contrasted)
    ranks = agreed[agreed.statistic == "Spearman"]
    for probe, table in ranks.groupby("probe", sort=False):
        known, start = table[table.value.notna()], f"Rank correlation of the probe's *{probe}*"
        said = (
            f"{_along(known, '+.2f')}; {_beyond_chance(known)}"
            if len(known)
            else table.note.iloc[0]
        )
        lines.append(f"{start} with the damage of the useful edges' cut: {said}.")
    return lines


def _cut_sentences(cut: pd.DataFrame, contrasted: pd.DataFrame) -> list[str]:
    """Accuracy in every window, and how far the useful edges' cut is from those of useless ones."""
    cuts = [
        f"Edges to *{name}* cut: accuracy (layers) {_along(table, '.3f')}; share of the question's "
        f"attention that they get {_along(table, '.2f', 'mass')}."
        for name, table in cut[cut.measure == "accuracy"].groupby("cut", sort=False)
    ]
    if contrasted.empty:
        return cuts
    changes = contrasted[contrasted.measure == "change in accuracy"]
    return cuts + [
        f"Change in accuracy by the cut of the useful edges minus that of *{minus}*: "
        f"{_along(table, '+.3f')}; {_beyond_chance(table)}."
        for minus, table in changes.groupby("minus", sort=False)
    ]


def patching_sentences(table: pd.DataFrame, of: str = "lists") -> list[str]:
    """What becomes of the answers when the last token's attention output comes from a donor.

    Args:
        table: of patching.
        of: what the donors are.
    """
    lines = []
    for donor, rows in table.groupby("donor", sort=False):
        start = f"Last token's attention output from {of} with *{donor}*"
        pairs = f"({rows.pairs.iloc[0]} pairs)"
        by = dict(list(rows.groupby(["direction", "measure"])))
        if ("noising", "donor's answer") in by:
            answers = _along(by["noising", "donor's answer"], ".1%")
            logits = _along(by["noising", "logit difference"], "+.1f")
            restored = _along(by["denoising", "clean answer"], ".1%")
            lines += [
                f"{start} {pairs}: the donor's answer in {answers}; logit of the clean answer "
                f"minus that of the donor's: {logits}.",
                f"The other way round, clean outputs in the donor's run: the clean answer in "
                f"{restored}.",
            ]
        else:
            most = rows[rows.measure == "answers changed"].nlargest(1, "value")
            start = f"{start}, whose answer is the same {pairs}: at most "
            lines += say(most, start, "{found} of the answers change, in any window and direction.")
    return lines


def causal_word_sentences(
    cut: pd.DataFrame, contrasted: pd.DataFrame, patched: pd.DataFrame
) -> list[str]:
    """What cuts and patches in words say of each model, and of the last one in all windows.

    Args:
        cut: of ``knockout.knock_out_words``, with its table of contrasts; its last model is told
            first.
        contrasted: that table.
        patched: of ``patching.patch_theories``.
    """
    first: list[str] = []
    rest: list[str] = []
    for subject, table in reversed([*cut.groupby("subject", sort=False)]):
        told, swaps = table[table.cut.isin(["useful statements", MATCHED])], patched
        against = contrasted[:0]
        if len(contrasted):
            against = contrasted[(contrasted.subject == subject) & (contrasted.minus == MATCHED)]
        lines = _cut_sentences(told, against)
        first.append(_needed(table, against))
        if len(patched):
            swaps = patched[patched.subject == subject]
            first += _followed(swaps)
            lines += patching_sentences(swaps, "theories")
        # Of the others the page has tables and figures.
        rest = rest or [f"{subject}: {line[0].lower()}{line[1:]}" for line in lines]
    if patched.empty:
        first.append(
            "Nothing is patched: no question has a donor of as many tokens, its theory with one "
            "fact replaced. Ask more questions, or other cases."
        )
    return first + rest


def _needed(cut: pd.DataFrame, contrasted: pd.DataFrame) -> str:
    """How well a model answers, and whether cuts in all layers tell what it needs for that."""
    row = cut[cut.cut == "nothing"].iloc[0]
    whole, unsure = Estimate(row.value, row.low, row.high), "not measurably more"
    line = f"{row.subject} answers **{whole}** of {row.examples} questions"
    guess = f"than always giving the most frequent answer ({row.guess:.0%})"
    if not whole.low > row.guess:
        return f"{line}, {unsure} {guess}, so what its answers need cannot be told."
    whole_window = contrasted.last_layer - contrasted.first_layer + 1 == cut.window.max()
    gaps = contrasted[(contrasted.measure == "change in accuracy") & whole_window]
    needs = say(
        gaps, " Its answers need the attention to useful statements ",
        "{found:less|not measurably more|more} than that to useless ones of equal mass: cutting "
        "the former in all layers changes accuracy by {found:**+.3f} more than the latter.",
    )  # fmt: skip
    return "".join([f"{line}, more {guess}.", *needs])


def _followed(swaps: pd.DataFrame) -> list[str]:
    """How often answers follow a donor's attention output in all layers, beside the control."""
    far = swaps[(swaps.direction == "noising") & (swaps.first_layer <= 1)]
    far = far[far.last_layer.isin([0, far.last_layer.max()])].sort_values("last_layer")
    lines = []
    for (subject, donor), rows in far.groupby(["subject", "donor"], sort=False):
        start = f"{subject} given all layers' attention output from theories with *{donor}*"
        of = f"{rows.pairs.iloc[-1]} of {rows.examples.iloc[-1]} questions"
        said = say(rows[rows.measure == "answers changed"], "", "{found} of the answers change")[-1]
        if len(given := rows[rows.measure == "donor's answer"]):
            before, after = say(given, "", "{found}")
            said = f"the donor's answer in **{after}**, untouched in {before}"
        lines.append(f"{start}: {said} ({of} have such a donor).")
    return lines


def rollout_sentences(table: pd.DataFrame) -> list[str]:
    """What the first token holds of the last one after all layers."""
    top = table.iloc[-1]
    return [
        f"Rolled out over {top.layer:.0f} layers, the first token holds {top.first_token:.3f} of "
        f"the last one, {top.first_token / top.one_token:.1f} times one token's even share; "
        f"attention spread evenly in every layer would give it {top.first_token_if_even:.3f}. The "
        f"bound of appendix A with the measured weights is {top.bound:.3f}."
    ]
