"""The paper's claims, in our words, with what speaks for or against each of them."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import pearsonr

from mplib.report.evidence import PROFILES, Evidence, Reading, each, figure, less
from mplib.stats import Estimate


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, or one that this project adds.

    Attributes:
        place: where the paper says it.
        says: the claim in our words.
        main: the figures that the claim is about.
        controls: figures that would not be so if something else explained the main ones.
        settles: what would decide what is open.
        leads: whether it stands on the README's first screen.
        profiles: whose kept tables are asked.
    """

    place: str
    says: str
    main: tuple[Evidence, ...]
    controls: tuple[Evidence, ...] = ()
    settles: str = ""
    leads: bool = False
    profiles: tuple[str, ...] = PROFILES

    @property
    def sentence(self) -> str:
        """The claim with its place."""
        return f"{self.says} ({self.place})"


NUMBERS: dict[str, Any] = {"k": 2, "trainable": "all"}
"""The second smallest of a list, all parameters trained."""


def score(name: str, task: str = "ksmallest", by: str = "kNN", **chosen: Any) -> Reading:
    """A model's score over its twins, by the paper's classifier if no other is named."""
    if task == "ksmallest":
        chosen = {"source": "finetuned", **NUMBERS, **chosen}
    return figure(task, "scores", kind="model", score=name, classifier=by, **chosen)


def gain(target: str, task: str = "ksmallest", **chosen: Any) -> Reading:
    """What attention adds to the text that its twins' does not, in F1, by the logistic regression.

    The rows of ``columns.gained``.
    """
    if task == "ksmallest":
        chosen = {"source": "finetuned", **NUMBERS, **chosen}
    shared = {"kind": "model", "measure": "F1", "classifier": "logistic", "target": target}
    return figure(task, "gains", over="text and twins", **shared, **chosen)


def theories(which: str, subject: str = "4-shot") -> dict[str, str]:
    """The rows of a set of theories, such as ``depth 1, |S| = 4``."""
    return {"set": which, "subject": subject, "among": "all statements"}


D1 = {size: theories(f"depth 1, |S| = {size}") for size in (4, 8, 12, 16)}
HIDDEN = {depth: theories(f"depth {depth}, |S| = 8, hidden") for depth in (1, 2)}
SCIENCE = theories("all depths")

words_score, words_gain = partial(score, task="proofwriter"), partial(gain, task="proofwriter")
science_score, science_gain = partial(score, task="science"), partial(gain, task="science")


def reached(k: int = 2, **chosen: Any) -> Reading:
    """Test accuracy after finetuning."""
    chosen = {"model": "finetuned", **NUMBERS, "k": k, **chosen}
    return figure("ksmallest", "accuracy", "accuracy", **chosen)


def text_f1(target: str) -> Reading:
    """F1 that the paper's classifier reaches from the numbers and their places, with no model."""
    chosen = {"source": "text", "classifier": "kNN", "target": target, **NUMBERS}
    return figure("ksmallest", "f1", "f1", **chosen)


def head_start(first: Any, second: Any, by: str = "score", column: str = "value") -> Any:
    """By how much one figure leads another on the way through the layers; for ``each``.

    The mean, over all prefixes of the layers but the whole, of the share of its last value that the
    first has reached, less that of the second: one number, for which no layer is chosen.
    """

    def measure(part: pd.DataFrame) -> float:
        curves = part.pivot(index="layers", columns=by, values=column).reindex(
            columns=[first, second]
        )
        shares = (curves / curves.iloc[-1].where(curves.iloc[-1] > 0)).iloc[:-1]
        return float((shares[first] - shares[second]).mean())

    return measure


def curve(first: str, second: str, **chosen: Any) -> Reading:
    """The head start of one score on another."""
    return each("proofwriter", "prefix_scores", head_start(first, second), kind="model", **chosen)


def prefix(name: str, layers: int) -> Reading:
    """A score of the finetuned model's first layers."""
    chosen = {"kind": "model", "source": "finetuned", **NUMBERS}
    return figure("ksmallest", "prefix_scores", score=name, layers=layers, **chosen)


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


def maps(measure: Any) -> Reading:
    """Of the mean attention by rank after finetuning."""
    return each("ksmallest", "attention_by_rank", measure, model="finetuned: all", k=2)


def left(order: str, percentage: int) -> Reading:
    """Accuracy after switching off so many per cent of the heads."""
    chosen = {"order": order, "percentage": percentage, **NUMBERS}
    return figure("ksmallest", "pruning_averaged", "accuracy", **chosen)


def entropies_together(part: pd.DataFrame) -> Estimate:
    """Correlation of the heads' two entropies; Fisher's interval, over heads."""
    found = pearsonr(part.position_entropy, part.size_entropy)
    return Estimate(float(found.statistic), *map(float, found.confidence_interval()))


def both_low(part: pd.DataFrame) -> float:
    """Share of heads with both entropies below .7."""
    return float(((part.position_entropy < 0.7) & (part.size_entropy < 0.7)).mean())


def heads(measure: Any) -> Reading:
    """Of the heads' entropies."""
    return each("ksmallest", "entropies", measure, **NUMBERS)


def patched(measure: str, donor: str = "root replaced", layer: int = 2) -> Reading:
    """How often a list's answer changes once one layer's attention output is another list's."""
    window = {"first_layer": layer, "last_layer": layer, "direction": "noising"}
    return figure("ksmallest", "patching", donor=donor, measure=measure, **window, **NUMBERS)


def cut_less(minus: str) -> Reading:
    """Loss by cutting the edges to useful statements in layer 2, less that by cutting others."""
    window = {"first_layer": 2, "last_layer": 2, "renormalised": True, **NUMBERS}
    chosen = {"cut": "useful statements", "minus": minus, "measure": "change in accuracy"}
    return figure("ksmallest", "contrasts", **chosen, **window)


def change(task: str, corruption: str, minus: str | None = None) -> Reading:
    """Change in accuracy by a corruption, or by how much more than by another."""
    chosen = NUMBERS if task == "ksmallest" else {}
    what = {"corruption": corruption, "minus": minus, "measure": "change in accuracy"}
    return figure(task, "effects", **what, **chosen)


def last_layer(measure: Any) -> Reading:
    """Of the roll-out through all layers."""

    def last(part: pd.DataFrame) -> float:
        return float(measure(part.loc[part.layer.idxmax()]))

    return each("ksmallest", "rollout", last, **NUMBERS)


def steps_before(quantity: str) -> Reading:
    """How many steps before the accuracy a quantity stands halfway."""

    def measure(part: pd.DataFrame) -> float:
        from mplib.studies.film import rises  # late: it loads the models

        halfway = rises(part).set_index("quantity").halfway
        return float(halfway.get("accuracy", np.nan) - halfway.get(quantity, np.nan))

    return each("ksmallest", "film", measure, **NUMBERS)


def by_part(name: str, part: str) -> Reading:
    """A score where only a part of the parameters was trained."""
    return score(name, trainable=part)


def shots(subject: str) -> Reading:
    """Accuracy of four demonstrations less that of another number, theories of depth 2."""
    four = figure("proofwriter", "accuracy", "accuracy", set=HIDDEN[2]["set"], subject="4-shot")
    other = figure("proofwriter", "shots", "accuracy", depth=2, subject=subject)
    return less(four, other)


MORE_SEEDS = "three seeds, of the profile `claims`"
ABOVE_CHANCE = "a language model whose answers are above chance"

CLAIMS = [
    Claim(
        "Tables 1, 4",
        "A finetuned model's attention shows which numbers the answer needs, and their heights",
        (Evidence("S_P1", score("S_P1")), Evidence("S_P2", score("S_P2"))),
        (
            Evidence("beside the text, gain V", gain("V")),
            Evidence("gain G", gain("G")),
        ),
        "GPT-2 small and the paper's task: the profile `paper` on a GPU",
        leads=True,
    ),
    Claim(
        "Tables 1, 4",
        "A pretrained model that was not finetuned shows little of the tree",
        (Evidence("S_P1 of pretrained weights", score("S_P1", source="pretrained")),),
        settles="pretrained GPT-2: the profile `paper`; our small models start from nothing",
    ),
    Claim(
        "Table 1",
        "Accuracy falls as k grows",
        (
            Evidence("k = 2 less k = 4", less(reached(2), reached(4))),
            Evidence("k = 2 less k = 8", less(reached(2), reached(8))),
        ),
        settles="k from 1 to 8 in GPT-2 small: the profile `paper`",
    ),
    Claim(
        "Tables 1, 4",
        "Which numbers are useful is harder to read as k grows",
        (
            Evidence("S_P1, k = 1 less 8", less(score("S_P1", k=1), score("S_P1", k=8))),
            Evidence("k = 2 less 8", less(score("S_P1"), score("S_P1", k=8))),
        ),
        (Evidence("gain V, k = 2 less 8", less(gain("V"), gain("V", k=8))),),
        "k from 1 to 8 in GPT-2 small: the profile `paper`",
    ),
    Claim(
        "Tables 1, 4",
        "Heights are harder to read as k grows",
        (
            Evidence("S_P2, k = 2 less 4", less(score("S_P2"), score("S_P2", k=4))),
            Evidence("k = 2 less 8", less(score("S_P2"), score("S_P2", k=8))),
        ),
        (Evidence("gain G, k = 2 less 8", less(gain("G"), gain("G", k=8))),),
        "k from 1 to 8 in GPT-2 small: the profile `paper`",
    ),
    Claim(
        "Tables 2, 8",
        "Useful statements are harder to find among more statements",
        (
            Evidence(
                "S_P1, 4 less 16 statements",
                less(words_score("S_P1", **D1[4]), words_score("S_P1", **D1[16])),
            ),
        ),
        (
            Evidence(
                "gain V, 4 less 16", less(words_gain("V", **D1[4]), words_gain("V", **D1[16]))
            ),
        ),
        ABOVE_CHANCE,
    ),
    Claim(
        "Tables 2, 8",
        "A language model's attention shows the heights in a proof of plain theories",
        (
            Evidence("S_P2, |S| = 4", words_score("S_P2", **D1[4])),
            Evidence("|S| = 8", words_score("S_P2", **D1[8])),
        ),
        (
            Evidence("gain G, |S| = 4", words_gain("G", **D1[4])),
            Evidence("|S| = 8", words_gain("G", **D1[8])),
        ),
        "theories whose text does not tell facts from rules",
    ),
    Claim(
        "Tables 2, 8",
        "A language model's attention shows which statements of a theory the proof uses, where "
        "single statements do not tell",
        (
            Evidence("S_P1, depth 1", words_score("S_P1", **HIDDEN[1])),
            Evidence("depth 2", words_score("S_P1", **HIDDEN[2])),
        ),
        (
            Evidence("beside the text, gain V, depth 1", words_gain("V", **HIDDEN[1])),
            Evidence("depth 2", words_gain("V", **HIDDEN[2])),
        ),
        ABOVE_CHANCE,
        leads=True,
    ),
    Claim(
        "Tables 2, 8",
        "A language model's attention shows heights in the proofs of such hidden theories",
        (Evidence("S_P2, depth 2", words_score("S_P2", **HIDDEN[2])),),
        (
            Evidence("gain G, depth 1", words_gain("G", **HIDDEN[1])),
            Evidence("depth 2", words_gain("G", **HIDDEN[2])),
        ),
        ABOVE_CHANCE,
    ),
    Claim(
        "Tables 2, 5",
        "A finetuned language model shows more of the tree than the same with demonstrations",
        (
            Evidence(
                "S_P1, depth 1, |S| = 8",
                less(
                    words_score("S_P1", **(D1[8] | {"subject": "finetuned (all)"})),
                    words_score("S_P1", **D1[8]),
                ),
            ),
        ),
        settles="a language model finetuned on theories, probed by 05 beside itself",
    ),
    Claim(
        "Table 3",
        "Draws of examples whose heights can be read are answered better",
        (
            Evidence(
                "correlation of accuracy and S_P2",
                figure("proofwriter", "correlations", first="accuracy", second="S_P2"),
            ),
        ),
        (
            Evidence(
                "log odds of a right answer where the whole tree is read",
                figure(
                    "proofwriter", "per_example",
                    outcome="answers rightly", measure="whole tree right",
                ),
            ),
        ),
        ABOVE_CHANCE,
    ),
    Claim(
        "Fig 10",
        "Where the tree is read, answers withstand a corrupted useless statement",
        (
            Evidence(
                "log odds of losing a right answer where the whole tree is read",
                figure(
                    "proofwriter", "per_example",
                    outcome="loses the right answer, useless negated", measure="whole tree right",
                ),
                below=True,
            ),
        ),
        settles=f"{ABOVE_CHANCE}, of which ten or more are lost",
    ),
    Claim(
        "Table 5",
        "Four demonstrations are best",
        (
            Evidence("accuracy, 4 shots less none", shots("0-shot")),
            Evidence("4 less 8", shots("8-shot")),
        ),
        settles="128 questions for each number of demonstrations, and a model above chance",
    ),
    Claim(
        "Fig 5",
        "Lower layers look at all numbers up to the k-th smallest, upper ones at the k-th",
        (Evidence("layers by which attention on the root lies later", maps(later)),),
        (Evidence("there, attention on it less that on the leaf", maps(at_the_root)),),
        MORE_SEEDS,
    ),
    Claim(
        "Fig 6",
        "Lower layers find the useful numbers, and only then come their heights",
        (
            Evidence(
                "S_P1 less S_P2 of the first layer", less(prefix("S_P1", 1), prefix("S_P2", 1))
            ),
        ),
        (
            Evidence(
                "head start of S_P1 over all layers",
                each(
                    "ksmallest", "prefix_scores", head_start("S_P1", "S_P2"),
                    kind="model", source="finetuned", **NUMBERS,
                ),
            ),
        ),
        "a model of more than four layers",
        leads=True,
    ),
    Claim(
        "Fig 7",
        "A language model finds useful statements in lower layers than their heights",
        (
            Evidence("head start of S_P1, |S| = 4", curve("S_P1", "S_P2", set=D1[4]["set"])),
            Evidence("|S| = 8", curve("S_P1", "S_P2", set=D1[8]["set"])),
        ),
        (Evidence("hidden, depth 2", curve("S_P1", "S_P2", set=HIDDEN[2]["set"])),),
        ABOVE_CHANCE,
    ),
    Claim(
        "Fig 7f",
        "Leaves are found in lower layers than the root",
        (
            Evidence(
                "head start of the leaves' F1",
                each(
                    "proofwriter", "height_f1", head_start(0, 1, "height", "f1"),
                    set=D1[8]["set"], subject="4-shot",
                ),
            ),
        ),
        (
            Evidence(
                "hidden",
                each(
                    "proofwriter", "height_f1", head_start(0, 1, "height", "f1"),
                    set=HIDDEN[1]["set"], subject="4-shot",
                ),
            ),
        ),
        ABOVE_CHANCE,
    ),
    *(
        Claim(
            "Table 2, Fig 8",
            f"Attention shows the explanation of a science question ({whose})",
            (
                Evidence("S_P1", science_score("S_P1", **SCIENCE)),
                Evidence("S_P2", science_score("S_P2", **SCIENCE)),
            ),
            (
                Evidence("gain V", science_gain("V", **SCIENCE)),
                Evidence("gain G", science_gain("G", **SCIENCE)),
            ),
            f"128 questions or more, and {ABOVE_CHANCE}",
            profiles=profiles,
        )
        for whose, profiles in (
            ("our own questions", PROFILES), ("EntailmentBank", ("entailmentbank",)),
        )
    ),
    Claim(
        "Fig 9",
        "Two heads of five, those that look at places, can be switched off",
        (
            Evidence(
                "accuracy, 40 % off less none",
                less(left("position entropy", 40), left("position entropy", 0)),
                bound=-0.05,
            ),
        ),
        (
            Evidence(
                "less 40 % at random", less(left("position entropy", 40), left("random", 40))
            ),
        ),
        "models with more heads than sixteen",
    ),
    Claim(
        "Fig 9",
        "A tenth of the heads, those that look at sizes, cannot",
        (
            Evidence(
                "accuracy, 10 % off less none",
                less(left("size entropy", 10), left("size entropy", 0)),
                bound=-0.05, below=True,
            ),
        ),
        (
            Evidence(
                "less 10 % at random", less(left("size entropy", 10), left("random", 10)),
                below=True,
            ),
        ),
        "models with more heads than sixteen",
    ),
    Claim(
        "Fig 14",
        "A head looks at places or at sizes",
        (Evidence("correlation of the entropies", heads(entropies_together), below=True),),
        (Evidence("share of heads with both low", heads(both_low), bound=0.01, below=True),),
        "a larger model, whose heads look at places",
    ),
    Claim(
        "Fig 15",
        "Training attention or MLPs alone shows the tree almost as well as training all, "
        "training the biases alone less",
        (
            Evidence(
                "S_P1, attention less all",
                less(by_part("S_P1", "attention"), score("S_P1")), bound=-0.1,
            ),
            Evidence("MLPs less all", less(by_part("S_P1", "mlp"), score("S_P1")), bound=-0.1),
            Evidence("biases less all", less(by_part("S_P1", "bias"), score("S_P1")), below=True),
        ),
        (
            Evidence(
                "S_P2, biases less all", less(by_part("S_P2", "bias"), score("S_P2")), below=True
            ),
        ),
        "three seeds of each part, from pretrained weights",
    ),
    Claim(
        "Fig 17",
        "Of lists of 64, accuracy falls with k",
        (
            Evidence(
                "accuracy, k = 1 less 32", less(reached(1, m=64), reached(32, m=64))
            ),
        ),
        settles="the profile `figure17`, on a GPU",
        profiles=("figure17",),
    ),
    Claim(
        "Fig 18",
        "Of lists of 64, useful numbers can be read for large k, their heights cannot",
        (
            Evidence("S_P1, k = 32", score("S_P1", k=32, m=64), bound=0.2),
            Evidence("S_P2 (root), k = 32", score("S_P2_root", k=32, m=64), 0.1, below=True),
        ),
        settles="the profile `figure17`, on a GPU",
        profiles=("figure17",),
    ),
    Claim(
        "Section 5",
        "The answer needs what the attention shows: patch the last token's attention in layer 2 "
        "from a list with another root, and the other list's answer comes",
        (
            Evidence(
                "share of the donor's answers, above that by patching the embeddings",
                less(patched("donor's answer"), patched("donor's answer", layer=0)),
            ),
        ),
        (
            Evidence(
                "changed by a useless donor",
                patched("answers changed", "useless replaced"), bound=0.05, below=True,
            ),
            Evidence(
                "change in accuracy by cutting useful edges, beyond useless ones of equal mass",
                cut_less("useless of equal mass"), below=True,
            ),
            Evidence("beyond all useless ones", cut_less("all useless"), below=True),
        ),
        "patching in a language model above chance",
        leads=True,
    ),
    Claim(
        "Section 6",
        "Corrupting the tree changes the answer (numbers)",
        (
            Evidence(
                "change in accuracy, root replaced", change("ksmallest", "root replaced"),
                below=True,
            ),
            Evidence("leaf replaced", change("ksmallest", "leaf replaced"), below=True),
        ),
        (
            Evidence(
                "beyond a useless number, root",
                change("ksmallest", "root replaced", "useless replaced"), below=True,
            ),
            Evidence(
                "leaf", change("ksmallest", "leaf replaced", "useless replaced"), below=True
            ),
        ),
        "a model above chance on theories, for words",
        leads=True,
    ),
    Claim(
        "Section 6",
        "Corrupting the proof changes the answer (theories)",
        (
            Evidence(
                "change in accuracy, useful negated", change("proofwriter", "useful negated"),
                below=True,
            ),
        ),
        (
            Evidence(
                "beyond useless negated",
                change("proofwriter", "useful negated", "useless negated"), below=True,
            ),
        ),
        ABOVE_CHANCE,
    ),
    Claim(
        "Appendix A",
        "Rolled out through all layers, attention ends on the first token",
        (
            Evidence(
                "its share in the last layer", last_layer(lambda row: row.first_token), bound=0.5
            ),
        ),
        (
            Evidence(
                "above that of even attention",
                last_layer(lambda row: row.first_token - row.first_token_if_even),
            ),
        ),
        "twelve layers or more",
    ),
    Claim(
        "This project",
        "In training, the tree can be read before the answers are right",
        (
            Evidence("steps by which S_P1 comes first", steps_before("S_P1")),
            Evidence("S_P2", steps_before("S_P2")),
        ),
        (
            Evidence("gain V", steps_before("gain V")),
            Evidence("gain G", steps_before("gain G")),
        ),
        f"{MORE_SEEDS}, and a film of a model that has trained longer",
    ),
]  # fmt: skip
"""In the order of the paper's tables and figures."""
