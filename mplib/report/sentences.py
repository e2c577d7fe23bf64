"""TODO."""

import pandas as pd

from mplib.probe.scores import Comparison
from mplib.stats import Estimate, accuracy
from mplib.studies.knockout import Knockout, _worst


def probe_sentences(found: Comparison) -> list[str]:
    """What a comparison says, in words, every number from its tables."""
    lines = []
    for row in found.scores[found.scores.kind == "model"].itertuples():
        if pd.isna(row.value):
            lines.append(f"{row.source}: {row.score} over the {row.over} is {row.note}.")
            continue
        verdict = (
            "more than"
            if row.low > 0
            else "less than"
            if row.high < 0
            else "no more, as far as can be told, than"
        )
        lines.append(
            f"{row.source}: {row.score} over the {row.over} is **{row.value:.2f}** "
            f"[{row.low:.2f}, {row.high:.2f}]: its attention tells {verdict} the {row.over} does."
        )
    twins = found.scores[found.scores.kind == "twin"]
    if len(twins):
        lines.append(
            "The random twins' own scores, each over the others, lie between "
            f"{twins.value.min():.2f} and {twins.value.max():.2f}."
        )
    text = found.f1[found.f1.kind == "text"]
    lines += [
        f"From the text alone ({row.source}): F1 {row.f1:.2f} [{row.low:.2f}, {row.high:.2f}] for "
        f"{row.target}."
        for row in text.itertuples()
    ]
    return lines


def pruning_sentences(averaged: pd.DataFrame) -> list[str]:
    """What the averaged pruning curves say between 10 and 40 % of the heads, in words."""
    part = averaged[averaged.percentage.between(10, 40)]
    if part.empty:
        return ["No share of heads between 10 and 40 % was switched off."]
    curves = {name: curve.set_index("percentage") for name, curve in part.groupby("order")}
    shares = ", ".join(f"{p:g}" for p in part.percentage.unique())
    lines = [
        f"Heads off by {name}, {shares} %: accuracy "
        f"{', '.join(f'{value:.3f}' for value in curve.accuracy)}."
        for name, curve in curves.items()
    ]
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


def knockout_sentences(found: Knockout, agreed: pd.DataFrame) -> list[str]:
    """What a knock-out and the probe's agreement with it say, in words."""
    lines = [
        f"The whole model answers {accuracy(found.whole.correct)} of the examples; always giving "
        f"the most frequent answer would be right in {found.guess * 100:.1f} %."
    ]
    table = found.table.set_index(["cut", "first_layer", "last_layer", "measure"])
    useful = _worst(found, "useful statements")
    for cut in dict.fromkeys(found.table.cut):
        # The control is looked at where the useful edges matter most, not where it does itself.
        span = useful if cut == "as many useless" else _worst(found, cut)
        where = f"layer {span[0]}" if span[0] == span[1] else f"layers {span[0]} to {span[1]}"
        row, change = (
            table.loc[(cut, *span, measure)]
            for measure in ("accuracy", "change in log-probability")
        )
        which = "in the same place" if cut == "as many useless" else "where that hurts most"
        lines.append(
            f"Attention to *{cut}* cut in {where}, {which}: accuracy **{row.value:.3f}** "
            f"[{row.low:.3f}, {row.high:.3f}], log-probability of the answer {change.value:+.2f} "
            f"[{change.low:+.2f}, {change.high:+.2f}]."
        )
    more = {1: "more than others", 0: "as much as others, as far as can be told", -1: "less"}
    rows = agreed[(agreed.first_layer == useful[0]) & (agreed.last_layer == useful[1])]
    for row in rows[rows.statistic == "Spearman"].itertuples():
        said = (
            row.note
            if pd.isna(row.value)
            else f"**{row.value:.2f}** [{row.low:.2f}, {row.high:.2f}], so examples that the probe "
            f"reads better lose {more[int(row.low > 0) - int(row.high < 0)]}"
        )
        lines.append(
            f"Rank correlation of the probe's *{row.probe}* with the damage of the useful edges' "
            f"cut there: {said}."
        )
    return lines


def corruption_sentences(
    effects: pd.DataFrame, correlations: pd.DataFrame, accuracy: float
) -> list[str]:
    """What the tables say, in words, every number from them."""
    lines = [f"Accuracy on the clean examples: {accuracy:.1%}.".replace("%", " %")]
    found = effects[(effects.measure == "change in accuracy") & effects.value.notna()]
    for row in found.itertuples():
        against = f" minus that of *{row.minus}*" if row.minus else ""
        lines.append(
            f"Change in accuracy by *{row.corruption}*{against}: **{row.value:+.3f}** "
            f"[{row.low:+.3f}, {row.high:+.3f}], {row.examples} examples."
        )
    for row in correlations.itertuples():
        if pd.isna(row.value):
            lines.append(f"Correlation of {row.first} and {row.second}: {row.note}.")
            continue
        lines.append(
            f"Correlation of {row.first} and {row.second} over the draws: **{row.value:+.2f}** "
            f"[{row.low:+.2f}, {row.high:+.2f}]; taking draws for independent, as the paper does, "
            f"one would say [{row.naive_low:+.2f}, {row.naive_high:+.2f}]."
        )
    return lines


def language_sentences(answers: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """What the tables say, in words, every number from them."""
    lines = []
    for row in answers.itertuples():
        found = Estimate(row.accuracy, row.low, row.high)
        known = "" if pd.isna(row.by_negation) else (
            f', and looking for "not" in the question {row.by_negation:.0%}'
        )  # fmt: skip
        lines.append(
            f"{row.set}, {row.subject}: accuracy {found}; a constant guess has {row.guess:.0%}"
            f"{known}."
        )
    models = scores[(scores.kind == "model") & scores.score.isin(["S_P1", "S_P2"])]
    for (name, subject, among), part in models.groupby(["set", "subject", "among"], sort=False):
        said = [
            f"{row.score} over the {row.over} {row.note}"
            if pd.isna(row.value)
            else f"{row.score} over the {row.over} **{row.value:.2f}** "
            f"[{row.low:.2f}, {row.high:.2f}]"
            for row in part.assign(note=part.get("note")).itertuples()
        ]
        where = "" if among == "all statements" else f", among {among}"
        lines.append(f"{name}{where}, {subject}: {'; '.join(said)}.")
    return lines


def summary_sentences(pooled: pd.DataFrame, made: pd.DataFrame) -> list[str]:
    """What the figures say, in sentences."""
    finished = int((made.state == "finished").sum())
    said = [f"{finished} of {len(made)} runs are finished; they took {made.seconds.sum():.0f} s."]
    for score, what in (("S_P1", "which statements are useful"), ("S_P2", "their heights")):
        part = pooled[pooled.quantity == score]
        for over in ("random twin", "text"):
            found = part[part.over == over].dropna(subset=["value", "low"])
            if len(found):
                above = int((found.low > 0).sum())
                said.append(
                    f"{score} over the {over}: attention tells {what} better in {above} of "
                    f"{len(found)} settings (interval above 0), {found.value.median():.2f} in the "
                    "median setting."
                )
    undefined = int(pooled.value.isna().sum())
    if undefined:
        said.append(f"{undefined} scores are undefined: the text alone is perfect there.")
    changes = pooled[pooled.quantity == "change in accuracy"].dropna(subset="value")
    useless = changes.setting.str.contains("useless")
    for name, part in (("useful", changes[~useless]), ("useless", changes[useless])):
        if len(part):
            worst = part.loc[part.value.idxmin()]
            said.append(
                f"Of all interventions on {name} statements, *{worst.setting}* ({worst.task}) "
                f"changes accuracy most: {worst.value:+.3f} [{worst.low:+.3f}, {worst.high:+.3f}]."
            )
    return said
