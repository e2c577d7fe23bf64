"""The paper's claims, in our words, with what speaks for or against each of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from mplib.report import readings as the
from mplib.report.evidence import PROFILES, Evidence, less
from mplib.report.readings import D1, HIDDEN, SCIENCE, science, words


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
        at_size: whether it is asked of a model of GPT-2 small's size too, as a claim of its own.
    """

    place: str
    says: str
    main: Sequence[Evidence]
    controls: Sequence[Evidence]
    settles: str
    leads: bool = False
    profiles: tuple[str, ...] = PROFILES
    at_size: bool = False

    @property
    def sentence(self) -> str:
        """The claim with its place."""
        return f"{self.says} ({self.place})"


above, below = Evidence, partial(Evidence, below=True)

PAPER = "GPT-2 small on the paper's task: the profile `paper` on a GPU"
FIGURE17 = "the profile `figure17` on a GPU, kept"
ABLE = "a language model whose answers are above chance"
HALF_WAY = ("halfway", "quick")  # of a model half way, some answers are right and some wrong
MORE_HEADS = "models of more than sixteen heads"
AT_SIZE = ("scratch-h200", "scratch-h100")  # the profile `scratch`, as far as it ran on each card

_CLAIMS = [
    Claim(
        "Tables 1, 4",
        "A finetuned model's attention shows which numbers the answer needs, and their heights",
        [above("S_P1", the.score("S_P1")), above("S_P2", the.score("S_P2"))],
        [above(f"gain {of}", the.gain(of)) for of in "VG"],
        PAPER, leads=True, at_size=True,
    ),
    Claim(
        "Tables 1, 4", "A pretrained model that was not finetuned shows little of the tree",
        [below("S_P1 of pretrained weights", the.score("S_P1", source="pretrained"), bound=0.3)],
        [], f"{PAPER}; our small models start from nothing",
    ),
    Claim(
        "Table 1", "Accuracy falls as k grows",
        [above(f"k = 2 less k = {k}", the.falls(the.reached, 2, k), bound=0.01) for k in (4, 8)],
        [], PAPER, at_size=True,
    ),
    Claim(
        "Tables 1, 4", "Which numbers are useful is harder to read as k grows",
        [above(f"S_P1, k = {k} less 8", the.falls(the.score, k, 8, "S_P1")) for k in (1, 2)],
        [above(f"gain V, k = {k} less 8", the.falls(the.gain, k, 8, "V")) for k in (1, 2)], PAPER,
        at_size=True,
    ),
    Claim(
        "Tables 1, 4", "Heights are harder to read as k grows",
        [above(f"S_P2, k = 2 less {k}", the.falls(the.score, 2, k, "S_P2")) for k in (4, 8)],
        [above(f"gain G, k = 2 less {k}", the.falls(the.gain, 2, k, "G")) for k in (4, 8)], PAPER,
        at_size=True,
    ),
    Claim(
        "Tables 2, 8", "Useful statements are harder to find among more statements",
        [above(f"S_P1, 4 less {n} statements",
               less(words.score("S_P1", **D1[4]), words.score("S_P1", **D1[n]))) for n in (8, 16)],
        [above(f"gain V, 4 less {n}", less(words.gain("V", **D1[4]), words.gain("V", **D1[n])))
         for n in (8, 16)],
        ABLE,
    ),
    Claim(
        "Tables 2, 8", "A language model's attention shows the heights in proofs of plain theories",
        [above(f"S_P2, {n} statements", words.score("S_P2", **D1[n])) for n in (4, 8)],
        [above(f"gain G, {n} statements", words.gain("G", **D1[n])) for n in (4, 8)],
        "theories whose text does not tell facts from rules",
    ),
    Claim(
        "Tables 2, 8", "A language model's attention shows which statements a proof uses in hidden "
        "theories, where no single statement tells",
        [above(f"S_P1, depth {d}", words.score("S_P1", **HIDDEN[d])) for d in (1, 2)],
        [above(f"gain V, depth {d}", words.gain("V", **HIDDEN[d])) for d in (1, 2)],
        ABLE, leads=True,
    ),
    Claim(
        "Tables 2, 8", "A language model's attention shows heights in proofs of hidden theories",
        [above("S_P2, depth 2", words.score("S_P2", **HIDDEN[2]))],
        [above(f"gain G, depth {d}", words.gain("G", **HIDDEN[d])) for d in (1, 2)], ABLE,
    ),
    Claim(
        "Tables 2, 5", "A finetuned language model shows more of the tree than demonstrations do",
        [above(f"S_P1, depth {d}", the.reasoner_less("4-shot", "S_P1", d)) for d in (1, 3)],
        [above(f"gain V, depth {d}{than}", the.reasoner_less(other, "gain V", d)) for d in (1, 3)
         for other, than in (("4-shot", ""), (the.CONTROL, ", less finetuned on dealt answers"))],
        "a larger model, and three trainings", profiles=("reasoner", "quick"),
    ),
    Claim(
        "Table 3", "Draws of examples whose heights can be read are answered better",
        [above("correlation of accuracy and S_P2", the.correlation("accuracy", "S_P2"))],
        [above("log odds of a right answer by an sd of whole trees read",
               the.where_read("answers rightly"))],
        ABLE, profiles=HALF_WAY,
    ),
    Claim(
        "Fig 10", "Where the tree is read, answers withstand a corrupted useless statement",
        [below("log odds of losing a right answer by an sd of whole trees read",
               the.where_read("loses the right answer, useless negated"))],
        [], f"{ABLE}, and of which ten or more are lost", profiles=HALF_WAY,
    ),
    Claim(
        "Table 5", "Four demonstrations are best",
        [above(f"accuracy of 4 less that of {n}", the.four_less(n)) for n in (0, 8)], [],
        f"128 questions for each number of demonstrations, and {ABLE}",
    ),
    Claim(
        "Fig 5", "Lower layers look at all numbers up to the k-th smallest, upper ones at the k-th",
        [above("layers by which attention on the root lies later", the.maps(the.later))],
        [above("attention on it less that on the leaf, where most", the.maps(the.at_the_root))],
        "three seeds, of the profile `claims`",
    ),
    Claim(
        "Fig 6", "Lower layers find the useful numbers, and only then come their heights",
        [above("S_P1 less S_P2 of the first layer",
               less(the.first_layer("S_P1"), the.first_layer("S_P2")))],
        [above("head start of S_P1 over all layers", the.first_comes("S_P1", "S_P2"))],
        "a model of more than four layers", leads=True, at_size=True,
    ),
    Claim(
        "Fig 7", "A language model finds useful statements in lower layers than their heights",
        [above(f"head start of S_P1, {n} statements", words.first_comes("S_P1", "S_P2", **D1[n]))
         for n in (4, 8)],
        [above("hidden, depth 2", words.first_comes("S_P1", "S_P2", **HIDDEN[2]))], ABLE,
    ),
    Claim(
        "Fig 7f", "Leaves are found in lower layers than the root",
        [above("head start of the leaves' F1, 8 statements", the.leaves_first(**D1[8]))],
        [above("hidden", the.leaves_first(**HIDDEN[1]))], ABLE,
    ),
    *(
        Claim(
            "Table 2, Fig 8", f"Attention shows the explanation of a science question ({whose})",
            [above(name, science.score(name, **SCIENCE)) for name in ("S_P1", "S_P2")],
            [above(f"gain {of}", science.gain(of, **SCIENCE)) for of in "VG"],
            f"128 questions or more, and {ABLE}", profiles=profiles,
        )
        for whose, profiles in (("ours", PROFILES), ("EntailmentBank's", ("entailmentbank",)))
    ),
    Claim(
        "Fig 9", "Two heads of five, those that look at places, can be switched off",
        [above("accuracy, 40 % off less none", the.off("position entropy", 40, 0), bound=-0.05)],
        [above("less 40 % at random", the.off("position entropy", 40, other="random"))], MORE_HEADS,
        at_size=True,
    ),
    Claim(
        "Fig 9", "A tenth of the heads, those that look at sizes, cannot",
        [below("accuracy, 10 % off less none", the.off("size entropy", 10, 0), bound=-0.05)],
        [below("less 10 % at random", the.off("size entropy", 10, other="random"))], MORE_HEADS,
        at_size=True,
    ),
    Claim(
        "Fig 14", "A head looks at places or at sizes",
        [below("correlation of the entropies", the.heads(the.entropies_together))],
        [below("share of heads with both low", the.heads(the.both_low), bound=0.01)],
        "a larger model, some of whose heads look at places", at_size=True,
    ),
    Claim(
        "Fig 15", "Training attention or MLPs alone shows the tree almost as well as training all; "
        "training the biases alone shows less",
        [above("S_P1, attention less all", the.part_less_all("S_P1", "attention"), bound=-0.1),
         above("MLPs less all", the.part_less_all("S_P1", "mlp"), bound=-0.1),
         below("biases less all", the.part_less_all("S_P1", "bias"))],
        [below("S_P2, biases less all", the.part_less_all("S_P2", "bias"))],
        "three seeds of each part, from pretrained weights",
    ),
    Claim(
        "Fig 17", "Of lists of 64, accuracy falls with k",
        [above("k = 2 less 32", less(the.reached(m=64), the.reached(k=32, m=64)))], [],
        FIGURE17, profiles=("figure17",),
    ),
    Claim(
        "Fig 18", "Of lists of 64, useful numbers can be read for large k, their heights cannot",
        [above("S_P1, k = 32", the.score("S_P1", k=32, m=64), bound=0.2),
         below("S_P2 (root), k = 32", the.score("S_P2_root", k=32, m=64), bound=0.1)],
        [], FIGURE17, profiles=("figure17",),
    ),
    Claim(
        "Section 5", "The answer needs what the attention shows: with the last token's attention "
        "output of layer 2 from a list with another root comes that list's answer",
        [above("share of its answers, less that with embeddings alone",
               less(the.patched("donor's answer"), the.patched("donor's answer", layer=0)))],
        [below("answers changed by a list with another useless number",
               the.patched("answers changed", "useless replaced"), bound=0.05),
         below("change in accuracy by cutting useful edges, beyond useless ones of equal mass",
               the.cut_less("useless of equal mass")),
         below("beyond all useless ones", the.cut_less("all useless"))],
        f"patching in {ABLE}", leads=True,
    ),
    Claim(
        "Section 6", "Corrupting the tree changes the answer to a list",
        [below(f"change in accuracy, {one} replaced", the.change("ksmallest", f"{one} replaced"))
         for one in ("root", "leaf")],
        [below(f"beyond a useless number, {one}",
               the.change("ksmallest", f"{one} replaced", "useless replaced"))
         for one in ("root", "leaf")],
        PAPER, leads=True,
    ),
    Claim(
        "Section 6", "Corrupting the proof changes the answer about a theory",
        [below("change in accuracy, useful negated", the.change("proofwriter", "useful negated"))],
        [below("beyond useless negated",
               the.change("proofwriter", "useful negated", "useless negated"))],
        ABLE,
    ),
    Claim(
        "Appendix A", "Rolled out through all layers, attention ends on the first token",
        [above("its share in the last layer", the.rolled_out(the.to_first), bound=0.5)],
        [above("less that of even attention", the.rolled_out(the.to_first_beyond_even))],
        "twelve layers or more",
    ),
    *(
        Claim(
            "this project", f"In training on {told}, {what} can be read before answers are right",
            [above(f"steps by which {score} comes first", the.steps_before(score, **films))],
            [above(f"gain {of}", the.steps_before(f"gain {of}", **films))],
            "a film of a model that trains longer", profiles=(profile,),
        )
        for told, profile, films in (
            ("lists", "claims", {}),
            ("theories", "reasoner",
             {"task": "proofwriter", "checkpoint": f"checkpoints/{the.REASONER}"}),
        )
        for what, score, of in (("usefulness", "S_P1", "V"), ("heights", "S_P2", "G"))
    ),
]  # fmt: skip


def _at_size(claim: Claim) -> Claim:
    """The same claim of a model of GPT-2 small's size, trained from random weights."""
    says = f"At GPT-2 small's size, {claim.says[0].lower()}{claim.says[1:]}"
    settles = "pretrained weights, and three seeds"
    return replace(claim, says=says, settles=settles, leads=False, profiles=AT_SIZE, at_size=False)


CLAIMS = [one for each in _CLAIMS for one in ([each, _at_size(each)] if each.at_size else [each])]
"""In the order of the paper's tables and figures."""
