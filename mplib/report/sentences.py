"""What the tables say, in the sentences of a page's summary; every number is read from a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mplib.probe.scores import Comparison
from mplib.stats import Estimate, accuracy
from mplib.studies.heads import Entropies
from mplib.studies.knockout import Knockout
from mplib.studies.layers import LayerSelection, write_layers


def _estimate(row: Any, name: str = "value") -> Estimate:
    """The figure of a table's row, with its interval."""
    return Estimate(getattr(row, name), row.low, row.high)


def _bold(found: Estimate, form: str) -> str:
    """A figure in bold with its interval, each in the given form."""
    value, interval = f"{found:{form}}".split(" ", 1)
    return f"**{value}** {interval}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def training_sentences(
    before: Estimate, after: Estimate, history: pd.DataFrame, examples: int, steps: int
) -> list[str]:
    """What a finetuning came to.

    Args:
        before: test accuracy of the model that was started from.
        after: of the finetuned one.
        history: of the training, by step.
        examples: how many test problems there are.
        steps: optimiser steps that were planned.
    """
    best = history.loc[history.dev_accuracy.idxmax()]
    return [
        f"Test accuracy on {examples:,} problems: **{after}**; before finetuning it was {before}.",
        f"Best development accuracy {best.dev_accuracy:.1%} at step {best.step:,.0f} of {steps:,}.",
        "The interval is Wilson's, over test problems; other seeds may give other models.",
    ]


def map_sentences(by_rank: Mapping[str, np.ndarray], k: int) -> list[str]:
    """In which layers the last token looks at the tree.

    Args:
        by_rank: mean attention by model, smallest number first, shape (numbers, layers).
        k: the k-th smallest number is the root, it and those below are the leaves.
    """
    lines = []
    for name, values in by_rank.items():
        root, tree, even = values[k - 1], values[:k].sum(axis=0), 1 / len(values)
        lines.append(
            f"{name}: the last token's attention on the number of rank {k} is largest in layer "
            f"{root.argmax() + 1} ({root.max():.3f}; evenly spread would be {even:.3f}), and on "
            f"the numbers up to it in layer {tree.argmax() + 1} ({tree.max():.3f}; evenly "
            f"{k * even:.3f})."
        )
    return lines


def probe_sentences(found: Comparison) -> list[str]:
    """What a comparison of models with their baselines says."""
    lines = []
    for row in found.scores[found.scores.kind == "model"].itertuples():
        if pd.isna(row.value):
            lines.append(f"{row.source}: {row.score} over the {row.over} is {row.note}.")
            continue
        verdicts = {1: "more than", 0: "no more, as far as can be told, than", -1: "less than"}
        lines.append(
            f"{row.source}: {row.score} over the {row.over} is {_bold(_estimate(row), '.2f')}: "
            f"its attention tells {verdicts[_sign(row)]} the {row.over} does."
        )
    twins = found.scores[found.scores.kind == "twin"].value
    if len(twins):
        lines.append(
            "The random twins' own scores, each over the others, lie between "
            f"{twins.min():.2f} and {twins.max():.2f}."
        )
    lines += [
        f"From the text alone ({row.source}): F1 {_estimate(row, 'f1'):.2f} for {row.target}."
        for row in found.f1[found.f1.kind == "text"].itertuples()
    ]
    return lines


def _sign(row: Any) -> int:
    """1 or -1 where the interval lies above or below zero, 0 where it does not tell."""
    return int(row.low > 0) - int(row.high < 0)


def layer_sentences(found: LayerSelection | None) -> list[str]:
    """Which layers the answers need, or that this cannot be found; nothing without a selection."""
    if found is None:
        return []
    examples = f"{found.table.examples.iloc[0]} development prompts"
    if not found.meaningful:
        return [
            f"The whole model answers {found.clean} of {examples}: no more, as far as can be "
            f"told, than the {_percent(found.guess)} of always giving the most frequent answer, "
            "so which layers it needs cannot be found this way. All are probed."
        ]
    return [
        f"{len(found.kept)} of {len(found.table)} layers keep their attention "
        f"({write_layers(found.kept)}): accuracy on {examples} is {found.clean} with all layers "
        f"and {found.after} with these, where a loss of {found.tolerance * 100:g} points was "
        "allowed."
    ]


def language_sentences(answers: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """What the accuracies and scores of sets of examples say."""
    lines = []
    for row in answers.itertuples():
        line = f"{row.set}, {row.subject}: accuracy {_estimate(row, 'accuracy')}; a constant guess "
        line += f"has {row.guess:.0%}"
        if not pd.isna(row.by_negation):
            line += f', and looking for "not" in the question {row.by_negation:.0%}'
        lines.append(f"{line}.")
    models = scores[(scores.kind == "model") & scores.score.isin(["S_P1", "S_P2"])]
    for (name, subject, among), part in models.groupby(["set", "subject", "among"], sort=False):
        said = [
            f"{row.score} over the {row.over} "
            f"{row.note if pd.isna(row.value) else _bold(_estimate(row), '.2f')}"
            for row in part.itertuples()
        ]
        where = "" if among == "all statements" else f", among {among}"
        lines.append(f"{name}{where}, {subject}: {'; '.join(said)}.")
    return lines


def causal_sentences(
    entropies: Entropies, pruned: pd.DataFrame, found: Knockout, agreed: pd.DataFrame,
    rolled: pd.DataFrame,
) -> list[str]:  # fmt: skip
    """What the whole causal study says: entropies, heads off, edges cut, roll-out."""
    return [
        *entropy_sentences(entropies),
        *pruning_sentences(pruned),
        *knockout_sentences(found, agreed),
        *rollout_sentences(rolled),
    ]


def entropy_sentences(found: Entropies, small: float = 0.7) -> list[str]:
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
    """What a knock-out and the probe's agreement with it say."""
    lines = [
        f"The whole model answers {accuracy(found.whole.correct)} of the examples; always giving "
        f"the most frequent answer would be right in {_percent(found.guess)}."
    ]
    table = found.table.set_index(["cut", "first_layer", "last_layer", "measure"])
    useful = found.worst("useful statements")
    for cut in dict.fromkeys(found.table.cut):
        # The control is looked at where the useful edges matter most, not where it does itself.
        control = cut == "as many useless"
        first, last = useful if control else found.worst(cut)
        right, change = (
            _estimate(table.loc[(cut, first, last, measure)])
            for measure in ("accuracy", "change in log-probability")
        )
        lines.append(
            f"Attention to *{cut}* cut in "
            f"{f'layer {first}' if first == last else f'layers {first} to {last}'}, "
            f"{'in the same place' if control else 'where that hurts most'}: accuracy "
            f"{_bold(right, '.3f')}, log-probability of the answer {change:+.2f}."
        )
    more = {1: "more than others", 0: "as much as others, as far as can be told", -1: "less"}
    rows = agreed[(agreed.first_layer == useful[0]) & (agreed.last_layer == useful[1])]
    for row in rows[rows.statistic == "Spearman"].itertuples():
        said = (
            row.note
            if pd.isna(row.value)
            else f"{_bold(_estimate(row), '.2f')}, so examples that the probe reads better lose "
            f"{more[_sign(row)]}"
        )
        lines.append(
            f"Rank correlation of the probe's *{row.probe}* with the damage of the useful edges' "
            f"cut there: {said}."
        )
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


def corruption_sentences(
    effects: pd.DataFrame, correlations: pd.DataFrame, clean: float
) -> list[str]:
    """What corruptions do, and how accuracy and scores move together over draws.

    Args:
        effects: of the corruptions; no ``minus`` is an empty text.
        correlations: over draws.
        clean: accuracy on the examples as they are.
    """
    lines = [f"Accuracy on the clean examples: {_percent(clean)}."]
    changes = effects[(effects.measure == "change in accuracy") & effects.value.notna()]
    for row in changes.itertuples():
        against = f" minus that of *{row.minus}*" if row.minus else ""
        lines.append(
            f"Change in accuracy by *{row.corruption}*{against}: {_bold(_estimate(row), '+.3f')}, "
            f"{row.examples} examples."
        )
    for row in correlations.itertuples():
        pair = f"Correlation of {row.first} and {row.second}"
        lines.append(
            f"{pair}: {row.note}."
            if pd.isna(row.value)
            else f"{pair} over the draws: {_bold(_estimate(row), '+.2f')}; taking draws for "
            "independent, as the paper does, one would say "
            f"[{row.naive_low:+.2f}, {row.naive_high:+.2f}]."
        )
    return lines


def summary_sentences(pooled: pd.DataFrame, made: pd.DataFrame) -> list[str]:
    """What all figures of a profile say together."""
    finished = int((made.state == "finished").sum())
    lines = [f"{finished} of {len(made)} runs are finished; they took {made.seconds.sum():.0f} s."]
    for score, what in (("S_P1", "which statements are useful"), ("S_P2", "their heights")):
        part = pooled[pooled.quantity == score]
        for over in ("random twin", "text"):
            found = part[part.over == over].dropna(subset=["value", "low"])
            if len(found):
                lines.append(
                    f"{score} over the {over}: attention tells {what} better in "
                    f"{(found.low > 0).sum()} of {len(found)} settings (interval above 0), "
                    f"{found.value.median():.2f} in the median setting."
                )
    undefined = int(pooled.value.isna().sum())
    if undefined:
        lines.append(f"{undefined} scores are undefined: the text alone is perfect there.")
    changes = pooled[pooled.quantity == "change in accuracy"].dropna(subset="value")
    useless = changes.setting.str.contains("useless")
    for name, part in (("useful", changes[~useless]), ("useless", changes[useless])):
        if len(part):
            worst = part.loc[part.value.idxmin()]
            lines.append(
                f"Of all interventions on {name} statements, *{worst.setting}* ({worst.task}) "
                f"changes accuracy most: {_estimate(worst):+.3f}."
            )
    return lines
