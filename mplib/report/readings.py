"""The figures that claims rest on, each picked from the table that holds it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import pearsonr

from mplib.report.evidence import Reading, each, figure, less
from mplib.stats import Estimate

NUMBERS: dict[str, Any] = {"k": 2, "trainable": "all"}
"""The second smallest of a list, all parameters trained."""


def theories(which: str) -> dict[str, str]:
    """The rows of a set of theories, or of questions, such as ``depth 1, |S| = 4``."""
    return {"set": which, "subject": "4-shot"}


D1 = {size: theories(f"depth 1, |S| = {size}") for size in (4, 8, 12, 16)}
HIDDEN = {depth: theories(f"depth {depth}, |S| = 8, hidden") for depth in (1, 2, 3)}
SCIENCE = theories("all depths")
ACCURACY = "change in accuracy"
REASONER, CONTROL = "smollm2-135m-theories", "smollm2-135m-dealt"


@dataclass(frozen=True)
class Probed:
    """What the probe says of the models of a task.

    Attributes:
        task: the task's name.
        common: column values that all rows must have, if no others are asked for.
        among: the same for the tables that have all statements and rules alone.
    """

    task: str
    common: dict[str, Any]
    among: dict[str, Any]

    def score(self, name: str, **chosen: Any) -> Reading:
        """A model's score over its twins, by the paper's classifier."""
        chosen = self.common | self.among | chosen | {"kind": "model", "classifier": "kNN"}
        return figure(self.task, "scores", score=name, **chosen)

    def gain(self, target: str, **chosen: Any) -> Reading:
        """What attention adds to the text and its twins' does not; the rows of ``gained``."""
        chosen = self.common | self.among | chosen | {"measure": "F1", "classifier": "logistic"}
        return figure(self.task, "gains", over="text and twins", target=target, **chosen)

    def first_comes(self, first: str, second: str, **chosen: Any) -> Reading:
        """The head start of one score on another."""
        chosen = self.common | chosen | {"kind": "model"}
        return each(self.task, "prefix_scores", head_start(first, second), **chosen)


numbers = Probed("ksmallest", NUMBERS | {"source": "finetuned"}, {})
words, science = (
    Probed(task, {}, {"among": "all statements"}) for task in ("proofwriter", "science")
)
score, gain, first_comes = numbers.score, numbers.gain, numbers.first_comes


def reached(**chosen: Any) -> Reading:
    """Test accuracy after finetuning."""
    chosen = NUMBERS | {"model": "finetuned"} | chosen
    return figure("ksmallest", "accuracy", "accuracy", **chosen)


def falls(reading: Callable[..., Reading], first: int, last: int, *of: str) -> Reading:
    """A figure for one k less the same for another."""
    return less(reading(*of, k=first), reading(*of, k=last))


def text_f1(target: str) -> Reading:
    """F1 that the paper's classifier reaches from the numbers and their places, with no model."""
    chosen = NUMBERS | {"source": "text", "classifier": "kNN", "target": target}
    return figure("ksmallest", "f1", "f1", **chosen)


def part_less_all(name: str, part: str) -> Reading:
    """A score where only a part of the parameters was trained, less that of all."""
    return less(score(name, trainable=part), score(name))


def in_words(measure: str, depth: int, subject: str, minus: str | None = None) -> Reading:
    """A figure of a model on hidden theories, or less that of another on the same ones."""
    among = None if measure == "accuracy" else "all statements"
    chosen = HIDDEN[depth] | {"subject": subject, "minus": minus}
    return figure("proofwriter", "contrasts", measure=measure, among=among, **chosen)


def without_leaf(depth: int) -> Reading:
    """Accuracy of the model that reasons in words on hidden theories that have lost a leaf."""
    chosen = HIDDEN[depth] | {"subject": REASONER, "of": "height 0 removed"}
    return figure("proofwriter", "shortcuts", "accuracy", **chosen)


def reasoner_less(other: str, measure: str, depth: int) -> Reading:
    """A figure of the model that reasons in words, less that of another on the same questions."""
    return in_words(measure, depth, REASONER, other)


def head_start(
    first: Any, second: Any, by: str = "score", column: str = "value"
) -> Callable[[pd.DataFrame], float]:
    """By how much one figure leads another on the way through the layers; for ``each``.

    The mean, over all prefixes of the layers but the whole, of the share of its last value that the
    first has reached, less that of the second: one number, for which no layer is chosen. None where
    a last value is not clear of 0.
    """

    def measure(part: pd.DataFrame) -> float:
        curves = part.pivot(index="layers", columns=by, values=[column, "low"])
        values, low = (curves[one].reindex(columns=[first, second]) for one in (column, "low"))
        shares = (values / values.iloc[-1].where(low.iloc[-1] > 0)).iloc[:-1]
        return float((shares[first] - shares[second]).mean())

    return measure


def leaves_first(**chosen: Any) -> Reading:
    """The head start of the leaves' F1 on that of the nodes above them."""
    return each("proofwriter", "height_f1", head_start(0, 1, "height", "f1"), **chosen)


def first_layer(name: str) -> Reading:
    """A score of the finetuned model's first layer."""
    chosen = numbers.common | {"kind": "model", "score": name, "layers": 1}
    return figure("ksmallest", "prefix_scores", **chosen)


def later(part: pd.DataFrame) -> float:
    """How many layers later the attention on the root lies, on average, than on the leaf."""
    by_rank = part.pivot(index="layer", columns="rank", values="attention")
    centres = by_rank.mul(by_rank.index, axis=0).sum() / by_rank.sum()
    return float(centres[part.k.iloc[0]] - centres[1])


def at_the_root(part: pd.DataFrame) -> float:
    """Attention on the root less that on the leaf, in the layer that looks most at the root."""
    by_rank = part.pivot(index="layer", columns="rank", values="attention")
    root = by_rank[part.k.iloc[0]]
    return float((root - by_rank[1])[root.idxmax()])


def maps(measure: Callable[[pd.DataFrame], float]) -> Reading:
    """Of the mean attention by rank after finetuning."""
    return each("ksmallest", "attention_by_rank", measure, model="finetuned: all", k=2)


def off(order: str, percentage: int, less_off: int | None = None, other: str = "") -> Reading:
    """Accuracy with so many per cent of the heads off, less that with others or fewer off."""

    def left(order: str, percentage: int) -> Reading:
        chosen = NUMBERS | {"order": order, "percentage": percentage}
        return figure("ksmallest", "pruning_averaged", "accuracy", **chosen)

    fewer = percentage if less_off is None else less_off
    return less(left(order, percentage), left(other or order, fewer))


def entropies_together(part: pd.DataFrame) -> Estimate:
    """Correlation of the heads' two entropies; Fisher's interval, over heads."""
    found = pearsonr(part.position_entropy, part.size_entropy)
    return Estimate(float(found.statistic), *map(float, found.confidence_interval()))


def both_low(part: pd.DataFrame) -> float:
    """Share of heads with both entropies below .7."""
    return float(((part.position_entropy < 0.7) & (part.size_entropy < 0.7)).mean())


def heads(measure: Callable[[pd.DataFrame], Estimate | float]) -> Reading:
    """Of the heads' entropies."""
    return each("ksmallest", "entropies", measure, **NUMBERS)


def patched(measure: str, donor: str = "root replaced", layer: int = 2) -> Reading:
    """How often an answer changes once one layer's attention output is another list's."""
    window = {"first_layer": layer, "last_layer": layer, "direction": "noising"}
    return figure("ksmallest", "patching", donor=donor, measure=measure, **window, **NUMBERS)


def cut_less(minus: str) -> Reading:
    """Change in accuracy by cutting edges to useful statements in layer 2, less that by others."""
    window = {"first_layer": 2, "last_layer": 2, "renormalised": True, "measure": ACCURACY}
    return figure("ksmallest", "contrasts", minus=minus, **window, **NUMBERS)


def change(task: str, corruption: str, minus: str | None = None) -> Reading:
    """Change in accuracy by a corruption, or by how much more than by another."""
    chosen = NUMBERS if task == "ksmallest" else {"subject": REASONER}
    return figure(task, "effects", corruption=corruption, minus=minus, measure=ACCURACY, **chosen)


def correlation(first: str, second: str) -> Reading:
    """Correlation over draws of theories."""
    return figure("proofwriter", "correlations", first=first, second=second)


def where_read(outcome: str) -> Reading:
    """Change in the log odds of an outcome by a standard deviation of whole proofs read."""
    return figure("proofwriter", "per_example", outcome=outcome, measure="whole tree right")


def four_less(shots: int) -> Reading:
    """Accuracy with four demonstrations less that with another number, theories of depth 2."""
    four = figure("proofwriter", "accuracy", "accuracy", **HIDDEN[2])
    return less(four, figure("proofwriter", "shots", "accuracy", depth=2, subject=f"{shots}-shot"))


def to_first(layer: pd.Series) -> float:
    """Share of the rolled-out attention on the first token."""
    return float(layer.first_token)


def to_first_beyond_even(layer: pd.Series) -> float:
    """The same, less that of attention that is even in every layer."""
    return float(layer.first_token - layer.first_token_if_even)


def rolled_out(measure: Callable[[pd.Series], float]) -> Reading:
    """Of attention rolled out through all layers."""

    def last(part: pd.DataFrame) -> float:
        return measure(part.loc[part.layer.idxmax()])

    return each("ksmallest", "rollout", last, **NUMBERS)


def steps_before(quantity: str, task: str = "ksmallest", **chosen: Any) -> Reading:
    """How many steps before the accuracy a quantity stands halfway."""

    def measure(part: pd.DataFrame) -> float:
        from mplib.studies.film import rises  # late: it loads the models

        halfway = rises(part).set_index("quantity").halfway
        return float(halfway.get("accuracy", np.nan) - halfway.get(quantity, np.nan))

    return each(task, "film", measure, **(chosen or NUMBERS))
