"""What the summaries' sentences say, word by word, from small tables."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from planted import comparison

from mplib.probe.scores import Comparison
from mplib.report import causal, corruption, sentences
from mplib.report.columns import gained
from mplib.stats import Estimate
from mplib.studies.heads import Entropies
from mplib.studies.knockout import Knockout
from mplib.studies.layers import LayerSelection
from mplib.tasks.examples import Example, ExampleSet
from mplib.tasks.trees import ReasoningTree


def rows(columns: str, *values: tuple) -> pd.DataFrame:
    return pd.DataFrame(values, columns=columns.split())


def test_training():
    history = rows("step dev_accuracy", (500, 0.4), (1000, 0.9251), (1500, 0.9))
    before, after = Estimate(0.0572, 0.051, 0.064), Estimate(0.9772, 0.9727, 0.981)
    said = sentences.training_sentences(before, after, history, examples=5000, steps=1500)
    assert said[:2] == [
        "Test accuracy on 5,000 problems: **97.7 % [97.3, 98.1]**; before finetuning it was 5.7 % "
        "[5.1, 6.4].",
        "Best development accuracy 92.5% at step 1,000 of 1,500.",
    ]


def test_maps():
    attention = np.array([[0.3, 0.1], [0.2, 0.5], [0.1, 0.1], [0.1, 0.1]])
    assert sentences.map_sentences({"tuned": attention}, k=2) == [
        "tuned: the last token's attention on the number of rank 2 is largest in layer 2 (0.500; "
        "evenly spread would be 0.250), and on the numbers up to it in layer 2 (0.600; evenly "
        "0.500)."
    ]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.3, "more"), (-0.1, 0.3, "not measurably more"), (-0.3, -0.1, "fewer")],
)
def test_whole_trees(low, high, verdict):
    trees = rows(
        "measure source minus value low high",
        ("exact match", "model", "", 0.41, 0.37, 0.45),
        ("exact match", "text", "", 0.08, 0.05, 0.1),
        ("exact match", "joint", "text", 0.5, 0.4, 0.6),
        ("height accuracy", "joint", "", 0.8, 0.7, 0.9),
        ("height accuracy", "joint", "text", 0.2, low, high),
    )
    said = (
        "shares of examples with every statement right: model 0.41 [0.37, 0.45], text "
        f"0.08 [0.05, 0.10]. Text and attention together place {verdict} of the tree's statements "
        f"at the right height than the text alone (**+0.20** [{low:+.2f}, {high:+.2f}])."
    )
    assert sentences.tree_sentences(trees) == [f"Whole trees: {said}"]
    of_sets = pd.concat([trees.assign(set=name, subject="4-shot") for name in ("d1", "d2")])
    assert sentences.tree_sentences(of_sets) == [
        f"Whole trees, {name}, 4-shot: {said}" for name in ("d1", "d2")
    ]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.3, "more than"), (-0.3, -0.1, "less than"),
        (-0.1, 0.1, "not measurably more than"), (0, 0.2, "not measurably more than"),
    ],
)  # fmt: skip
def test_a_score_tells_more_only_where_its_interval_lies_above_zero(low, high, verdict):
    scores = rows(
        "kind source score over classifier value low high note",
        ("model", "tuned", "S_P1", "random twin", "kNN", 0.2, low, high, None),
        ("model", "tuned", "S_P1", "random twin", "logistic", 0.9, 0.8, 1, None),
        ("model", "tuned", "S_P2", "random twin", "kNN", *[np.nan] * 3, "not defined here"),
        ("twin", "twin 0", "S_P1", "random twin", "kNN", -0.01, -0.1, 0.1, None),
        ("twin", "twin 1", "S_P1", "random twin", "kNN", 0.02, -0.1, 0.1, None),
        ("twin", "twin 1", "S_P1", "random twin", "logistic", 0.5, 0.4, 0.6, None),
    )
    f1 = rows(
        "kind source target classifier f1 low high",
        ("text", "text", "V", "logistic", 0.85, 0.84, 0.86),
        ("text", "text", "V bits", "logistic", 0.4, 0.3, 0.5),
        ("joint", "text + tuned", "V", "logistic", 0.95, 0.94, 0.96),
    )
    first, *rest = sentences.probe_sentences(Comparison(f1, scores, gains()[:0]))
    assert first.startswith(
        f"tuned: S_P1 over the random twin is **0.20** [{low:.2f}, {high:.2f}]: its attention "
        f"shows {verdict}"
    )
    assert rest == [
        "tuned: S_P2 over the random twin is not defined here.",
        "The random twins' own scores, each against the others, are between -0.01 and 0.02.",
        "From the text alone (logistic): F1 0.85 [0.84, 0.86] for V.",
    ]


def gains(low: float = 0.1, high: float = 0.3) -> pd.DataFrame:
    """Gains in V with the given interval, and what is no gain over the text."""
    return rows(
        "source target classifier measure over value low high",
        ("tuned", "V", "kNN", "F1", "text and twins", 0.15, -0.1, 0.4),
        ("tuned", "V", "kNN", "F1", "permuted labels", 0.9, 0.8, 1),
        ("tuned", "V", "kNN", "bits", "text and twins", 0.8, 0.7, 0.9),
        ("tuned", "V", "logistic", "F1", "text and twins", 0.2, low, high),
        ("tuned", "V", "logistic", "bits", "text and twins", 0.05, 0.04, 0.06),
        ("tuned", "V", "logistic", "F1", "permuted labels", 0.9, 0.8, 1),
        ("tuned", "G_root", "logistic", "F1", "text and twins", 0.7, 0.6, 0.8),
        ("tuned", "G_root", "logistic", "bits", "text and twins", 0.7, 0.6, 0.8),
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.3, "better than"), (-0.3, -0.1, "worse than"),
        (-0.1, 0.1, "not measurably better than"),
        (0, 0.2, "not measurably better than"),
    ],
)  # fmt: skip
def test_a_gain_is_told_by_the_classifier_that_is_fit_for_it(low, high, verdict):
    told = (
        f"tuned: beyond the text, its attention shows which statements are useful {verdict} its "
        f"twins' does: gain in F1 **+0.200** [{low:+.3f}, {high:+.3f}], in bits per statement "
        "+0.050 [+0.040, +0.060]"
    )
    table = gains(low, high)
    both = f"{told}; with the kNN +0.150 [-0.100, +0.400]."
    assert sentences.gain_sentences(table) == [both]
    assert sentences.gain_sentences(table[table.classifier == "logistic"]) == [f"{told}."]
    assert sentences.gain_sentences(table[table.classifier == "kNN"]) == []


def test_every_model_and_both_targets_are_told_of():
    found = comparison()
    said = sentences.probe_sentences(found)
    for name, better in (("tuned", True), ("before", False)):
        for target, of in (("V", "which statements are useful"), ("G", "their heights")):
            (line,) = [x for x in said if x.startswith(f"{name}: beyond") and f"shows {of}" in x]
            assert (f"shows {of} better than its twins' does" in line) == better
            row = gained(found.gains).set_index(["source", "target"]).loc[name, target]
            assert f"gain in F1 **{row.value:+.3f}** [{row.low:+.3f}, {row.high:+.3f}]" in line


def test_layers():
    trials = rows(
        "layer removed accuracy low high examples",
        (3, True, 0.5, 0.4, 0.6, 100), (2, False, 0.1, 0.05, 0.2, 100),
        (1, False, 0.2, 0.1, 0.3, 100),
    )  # fmt: skip
    found = LayerSelection((1, 2), trials, Estimate(0.52, 0.42, 0.62), 0.1, 0.05)
    assert sentences.layer_sentences(found) == [
        "2 of 3 layers keep their attention (1-2): accuracy on 100 development prompts is 52.0 % "
        "[42.0, 62.0] with all layers and 50.0 % [40.0, 60.0] with these, where a loss of 5 points "
        "was allowed."
    ]
    found = LayerSelection((1, 2), trials, found.clean, 0.5, 0.05)
    assert sentences.layer_sentences(found) == [
        "The whole model answers 52.0 % [42.0, 62.0] of 100 development prompts: not "
        "measurably more than the 50.0 % of always giving the most frequent answer, so which "
        "layers it needs cannot be found this way. All are probed."
    ]
    assert sentences.layer_sentences(None) == []


def test_language():
    answers = rows(
        "set subject accuracy low high guess by_negation",
        ("depth 1", "4-shot", 0.5, 0.4, 0.6, 0.5, 1.0),
        ("science", "4-shot", 0.3, 0.2, 0.4, 0.25, None),
    )
    every, note = "all statements", "not defined here: the baseline's F1 is 0.990"
    scores = rows(
        "set subject among kind score over classifier value low high note",
        ("depth 1", "4-shot", every, "model", "S_P1", "random twin", "kNN", 0.7, 0.6, 0.8, None),
        ("depth 1", "4-shot", every, "model", "S_P1", "random twin", "logistic", 0, 0, 0, None),
        ("depth 1", "4-shot", every, "model", "S_P2", "random twin", "kNN", *[np.nan] * 3, note),
        ("depth 1", "4-shot", every, "model", "S_P2_root", "random twin", "kNN", 1, 1, 1, None),
        ("depth 1", "4-shot", every, "twin", "S_P1", "random twin", "kNN", 0, -0.1, 0.1, None),
        ("depth 1", "4-shot", "rules alone", "model", "S_P1", "random twin", "kNN", 9, 8, 10, None),
    )
    about = {"set": "depth 1", "subject": "4-shot"}
    found = pd.concat([
        gains().assign(**about, among=every, q=0.001234),
        gains(-0.1, 0.5).assign(**about, among="rules alone", q=0.5),
    ])  # fmt: skip
    trees = rows("set subject measure source minus value low high")
    assert sentences.language_sentences(answers, scores, found, trees) == [
        "depth 1, 4-shot: accuracy 50.0 % [40.0, 60.0]; a constant guess has 50%, and looking for "
        '"not" in the question 100%.',
        "science, 4-shot: accuracy 30.0 % [20.0, 40.0]; a constant guess has 25%.",
        "depth 1, 4-shot: gain in F1 of V **+0.200** [+0.100, +0.300] (q 0.0012); S_P1 over the "
        f"random twin 0.70 [0.60, 0.80]; S_P2 over the random twin {note}.",
        "depth 1, among rules alone, 4-shot: gain in F1 of V **+0.200** [-0.100, +0.500] (q 0.5); "
        "S_P1 over the random twin 9.00 [8.00, 10.00].",
    ]


def test_recall():
    names = "depth subject among measure set minus value low high note"
    about, all_ = (1, "4-shot"), "all statements"
    table = rows(
        names,
        (*about, "", "accuracy", "d1, true", "", 0.75, 0.6, 0.85, np.nan),
        (*about, "", "accuracy", "d1, true", "d1, false", 0.5, 0.3, 0.7, "rare"),
        (*about, "", "need", "d1, true", "", 0.4, 0.2, 0.6, np.nan),
        (*about, all_, "gain V", "d1, true", "", 0.1, 0.0, 0.2, np.nan),
        (*about, all_, "gain V", "d1, true", "d1, false", 0.0, -0.1, 0.1, np.nan),
        (*about, "rules alone", "gain V", "d1, true", "d1, false", 0.3, 0.1, 0.5, np.nan),
        (*about, all_, "S_P1", "d1, true", "d1, false", 0.3, 0.1, 0.5, np.nan),
    )
    first, *rest = sentences.recall_sentences(table)
    assert first == (
        "**4-shot** answers above chance in 1 of 1 sets (accuracy from 0.75 to 0.75), and for "
        "certain better in the more familiar of two worlds in 1 of 1 comparisons. Its answers need "
        "the useful statements in 1 of 1 sets (need +0.40 to +0.40)."
    )
    chance = sentences.recall_sentences(table.assign(low=-0.1))[0]
    assert "above chance in 0 of 1" in chance and "worlds in 0 of 1" in chance
    assert "statements in 0 of 1" in chance
    assert rest == [
        "4-shot, d1, true minus d1, false: accuracy **+0.50** [+0.30, +0.70] (rare).",
        "1 of 2 differences between worlds in accuracy, need and gain V are not certain.",
    ]
    without = sentences.recall_sentences(table[table.measure != "need"])[0]
    assert "need" not in without


def test_ones_own_models_are_told_of_in_a_sentence_each():
    answers = rows(
        "subject accuracy low high examples guess",
        ("a", 0.5, 0.4, 0.6, 64, 0.3), ("b", 0.25, 0.1, 0.4, 64, 0.3),
    )  # fmt: skip
    about = ("text and twins", "F1", "logistic")
    gains = rows(
        "over measure classifier subject target value low high",
        (*about, "a", "V", 0.1, 0.05, 0.15), (*about, "a", "G", 0.0, -0.1, 0.1),
        (*about, "b", "V", -0.1, -0.2, -0.05),
    )  # fmt: skip
    assert sentences.own_sentences(answers, gains) == [
        "**a** answers 0.50 [0.40, 0.60] of 64 questions rightly, more than the 0.30 of always "
        "giving the most frequent answer. Beside the text, its attention tells which statements "
        "are useful better than its random twins' does (gain in F1 **+0.100** [+0.050, +0.150]), "
        "and heights not measurably better than its random twins' does (gain in F1 "
        "**+0.000** [-0.100, +0.100]).",
        "**b** answers 0.25 [0.10, 0.40] of 64 questions rightly, not measurably more "
        "than the 0.30 of always giving the most frequent answer. Beside the text, its attention "
        "tells which statements are useful worse than its random twins' does (gain in F1 "
        "**-0.100** [-0.200, -0.050]).",
    ]


def questions(n: int, heights: dict[int, int], statements: int, **more: object) -> ExampleSet:
    """Questions with equal trees, each of a group of its own."""
    tree = ReasoningTree(statements, heights, (), max(heights, key=heights.__getitem__))
    told = [tuple(f"{i} {j}" for j in range(statements)) for i in range(n)]
    return ExampleSet("all", [Example(x, "", "a", tree, **more) for x in told], [], 1)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (questions(20, {0: 0, 1: 1}, 3, choices=("a",)), []),
        (questions(19, {0: 0, 1: 1}, 3, choices=("a",)), ["19 groups of questions are few"]),
        (questions(3, {0: 0, 1: 1}, 3, choices=("a",)), ["Intervals need 4 groups"]),
        (questions(20, {0: 0, 1: 1}, 2, choices=("a",)), ["Every statement is useful"]),
        (questions(20, {0: 0}, 3, choices=("a",)), ["All useful statements have one height"]),
        (questions(20, {0: 0, 1: 1}, 3), ["Not every question names its choices"]),
    ],
)
def test_what_questions_cannot_tell(one, said):
    columns = "kind classifier subject score value low high note"
    defined = rows(columns, ("model", "kNN", "m", "S_P1", 0.2, 0.1, 0.3, np.nan))
    for sentence, start in zip(sentences.limit_sentences(one, defined), said, strict=True):
        assert sentence.startswith(start)
    no = rows(columns, ("model", "kNN", "m", "S_P1", np.nan, np.nan, np.nan, "not defined here"))
    assert sentences.limit_sentences(one, no)[len(said) :] == ["m: S_P1 is not defined here."]


def test_entropies():
    place, size = np.array([[0.5, 0.69], [0.7, 0.9]]), np.array([[0.3, 0.8], [0.6, 0.9]])
    assert causal.entropy_sentences(Entropies(place, size)) == [
        "Of 4 heads, 2 have a position entropy below 0.7 (the smallest is 0.50), 2 a size entropy "
        "below 0.7 (smallest 0.30), 1 both; in the paper's GPT-2 67, 24 and none of 144."
    ]


def test_pruning_counts_the_shares_at_which_one_order_hurts_more():
    averaged = rows(
        "order percentage accuracy low high",
        ("position entropy", 10, 0.9, 0.85, 0.95), ("position entropy", 20, 0.5, 0.45, 0.55),
        ("position entropy", 40, 0.3, 0.2, 0.4), ("position entropy", 50, 0.2, 0.1, 0.3),
        ("size entropy", 10, 0.7, 0.65, 0.75), ("size entropy", 20, 0.5, 0.45, 0.55),
        ("size entropy", 40, 0.6, 0.5, 0.7), ("size entropy", 50, 0.9, 0.8, 1.0),
    )  # fmt: skip
    position, size, both = causal.pruning_sentences(averaged)
    assert position == "Heads off by position entropy, 10, 20, 40 %: accuracy 0.900, 0.500, 0.300."
    assert size.endswith("accuracy 0.700, 0.500, 0.600.")
    assert "at 1 of these 3 shares, less at 1, and at 1 the intervals overlap" in both
    assert causal.pruning_sentences(averaged[averaged.percentage > 40]) == [
        "No share of heads between 10 and 40 % was switched off."
    ]


def test_every_window_of_a_knockout_is_told():
    table = rows(
        "cut first_layer last_layer renormalised mass measure value",
        ("useful statements", 1, 1, True, 0.32, "accuracy", 0.4),
        ("useful statements", 1, 1, False, 0.32, "accuracy", 0.9),
        ("useful statements", 1, 1, True, 0.32, "change in accuracy", -0.5),
        ("useful statements", 1, 2, True, 0.5, "accuracy", 0.2),
        ("useless of equal mass", 1, 1, True, 0.335, "accuracy", 0.65),
        ("useless of equal mass", 1, 2, True, 0.4, "accuracy", 0.9),
    )
    contrasted = rows(
        "minus first_layer last_layer renormalised measure value p_fdr",
        ("useless of equal mass", 1, 1, True, "change in accuracy", -0.25, 0.06),
        ("useless of equal mass", 1, 2, True, "change in accuracy", -0.7, 0.001),
        ("useless of equal mass", 1, 2, False, "change in accuracy", 0.1, 0.001),
        ("useless of equal mass", 1, 2, True, "change in log-probability", -3, 0.001),
    )
    agreed = rows(
        "first_layer last_layer renormalised probe statistic value p_fdr note",
        (1, 1, True, "tree", "Spearman", 0.9, 0.01, None),
        (1, 2, True, "tree", "Spearman", -0.2, 0.04, None),
        (1, 2, False, "tree", "Spearman", 0.8, 0.04, None),
        (1, 2, True, "tree", "point-biserial", 0.5, 0.01, None),
        (1, 2, True, "share", "Spearman", np.nan, np.nan, "undefined: the damage is the same"),
    )
    whole = SimpleNamespace(correct=np.arange(100) > 0)
    found = Knockout(table, {}, whole, 0.07)
    said = causal.knockout_sentences(found, contrasted, agreed)
    assert said[0].startswith("The whole model answers 99.0 % [94.6, 99.8] of the examples;")
    among = "of 2 windows (false discovery rate 5 % over all rows of the table)."
    assert said[1:] == [
        "Edges to *useful statements* cut: accuracy (layers) 0.400 (1), 0.200 (1-2); share of the "
        "question's attention that they get 0.32 (1), 0.50 (1-2).",
        "Edges to *useless of equal mass* cut: accuracy (layers) 0.650 (1), 0.900 (1-2); share of "
        "the question's attention that they get 0.34 (1), 0.40 (1-2).",
        "Change in accuracy by the cut of the useful edges minus that of *useless of equal mass*: "
        f"-0.250 (1), -0.700 (1-2); above 0 in none and below 0 in 1-2 {among}",
        "Rank correlation of the probe's *tree* with the damage of the useful edges' cut: +0.90 "
        f"(1), -0.20 (1-2); above 0 in 1 and below 0 in 1-2 {among}",
        "Rank correlation of the probe's *share* with the damage of the useful edges' cut: "
        "undefined: the damage is the same.",
    ]
    alone = causal.knockout_sentences(found, pd.DataFrame(), agreed[:0], renormalised=False)
    assert alone[1].startswith("Edges to *useful statements* cut: accuracy (layers) 0.900 (1);")
    assert len(alone) == 2


def test_patches_are_told_window_by_window_beside_the_useless_donor():
    table = rows(
        "donor direction first_layer last_layer measure value low high pairs",
        ("root replaced", "noising", 0, 0, "donor's answer", 0.002, 0, 0.01, 984),
        ("root replaced", "noising", 1, 2, "donor's answer", 0.9, 0.8, 0.95, 984),
        ("root replaced", "noising", 1, 2, "logit difference", -6.6, -7, -6, 984),
        ("root replaced", "denoising", 2, 2, "clean answer", 0.717, 0.7, 0.75, 984),
        ("useless replaced", "noising", 1, 1, "answers changed", 0.001, 0, 0.006, 1000),
        ("useless replaced", "denoising", 1, 2, "answers changed", 0.012, 0.01, 0.02, 1000),
        ("useless replaced", "noising", 1, 1, "clean answer", 0.98, 0.9, 1, 1000),
    )
    assert causal.patching_sentences(table) == [
        "Last token's attention output from lists with *root replaced* (984 pairs): the donor's "
        "answer in 0.2 % (untouched), 90.0 % (1-2); logit of the clean answer minus that of the "
        "donor's: -6.6 (1-2).",
        "The other way round, clean outputs in the donor's run: the clean answer in 71.7 % (2).",
        "Last token's attention output from lists with *useless replaced*, whose answer is the "
        "same (1000 pairs): at most 1.2 % [1.0, 2.0] of the answers change, in any window and "
        "direction.",
    ]


def in_words(low: float, high: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A knock-out of one model whose accuracy has this interval, and its contrasts."""
    cut = rows(
        "cut window first_layer last_layer mass measure value low high",
        ("nothing", 0, 0, 0, 0, "accuracy", 0.9, low, high),
        ("useful statements", 2, 1, 2, 0.2, "accuracy", 0.8, 0.7, 0.9),
        ("useful statements", 4, 1, 4, 0.3, "accuracy", 0.5, 0.4, 0.6),
        ("root alone", 4, 1, 4, 0.1, "accuracy", 0.6, 0.5, 0.7),
        ("useless of equal mass", 4, 1, 4, 0.28, "accuracy", 0.85, 0.8, 0.9),
    )
    against = rows(
        "minus first_layer last_layer measure value low high p_fdr",
        ("useless of equal mass", 1, 2, "change in accuracy", -0.05, -0.1, 0.0, 0.2),
        ("useless of equal mass", 1, 4, "change in accuracy", -0.35, -0.5, -0.2, 0.001),
        ("useless of equal mass", 1, 4, "change in log-probability", -1, -2, -0.5, 0.001),
        ("all useless", 1, 4, "change in accuracy", 0.1, 0.0, 0.2, 0.3),
    )
    about = {"subject": "reasoner", "guess": 0.5, "examples": 64}
    return cut.assign(**about), against.assign(subject="reasoner")


def test_cuts_and_patches_in_words_say_first_what_was_found():
    patched = rows(
        "donor direction first_layer last_layer measure value low high pairs",
        ("useful fact replaced", "noising", 0, 0, "donor's answer", 0.1, 0, 0.2, 20),
        ("useful fact replaced", "noising", 1, 2, "donor's answer", 0.3, 0.2, 0.4, 20),
        ("useful fact replaced", "noising", 3, 4, "donor's answer", 0.4, 0.3, 0.5, 20),
        ("useful fact replaced", "noising", 1, 4, "donor's answer", 0.8, 0.7, 0.9, 20),
        ("useful fact replaced", "noising", 1, 4, "answers changed", 0.7, 0.6, 0.8, 20),
        ("useful fact replaced", "noising", 1, 4, "logit difference", -2, -3, -1, 20),
        ("useful fact replaced", "denoising", 1, 4, "clean answer", 0.75, 0.6, 0.8, 20),
        ("useless fact replaced", "noising", 0, 0, "answers changed", 0, 0, 0.1, 60),
        ("useless fact replaced", "noising", 1, 4, "answers changed", 0.05, 0, 0.1, 60),
    ).assign(subject="reasoner", examples=64)
    needs, swapped, control, *rest = causal.causal_word_sentences(*in_words(0.8, 0.95), patched)
    assert needs == (
        "reasoner answers **90.0 % [80.0, 95.0]** of 64 questions, more than always giving the "
        "most frequent answer (50%). Its answers need the attention to useful statements more than "
        "that to useless ones of equal mass: cutting the former in all layers changes accuracy by "
        "**-0.350** [-0.500, -0.200] more than the latter."
    )
    assert swapped == (
        "reasoner given all layers' attention output from theories with *useful fact replaced*: "
        "the donor's answer in **80.0 % [70.0, 90.0]**, untouched in 10.0 % [0.0, 20.0] (20 of 64 "
        "questions have such a donor)."
    )
    assert control == (
        "reasoner given all layers' attention output from theories with *useless fact replaced*: "
        "5.0 % [0.0, 10.0] of the answers change (60 of 64 questions have such a donor)."
    )
    assert rest[0].startswith(
        "reasoner: edges to *useful statements* cut: accuracy (layers) 0.800 (1-2), 0.500 (1-4);"
    )
    assert not [line for line in rest if "root alone" in line or "all useless" in line]
    assert any("from theories with *useful fact replaced* (20 pairs)" in line for line in rest)


def test_nothing_is_told_of_what_chance_needs_or_of_no_donors():
    none = pd.DataFrame(columns=["subject", "donor"])
    first, nothing, *rest = causal.causal_word_sentences(*in_words(0.45, 0.95), none)
    assert (
        first.endswith("(50%), so what its answers need cannot be told.")
        and "need the" not in first
    )
    assert nothing.startswith("Nothing is patched: no question has a donor")
    assert len(rest) == 3


def test_the_last_of_several_models_is_told_first():
    none = pd.DataFrame(columns=["subject", "donor"])
    both = [pd.concat([own.assign(subject="base"), own]) for own in in_words(0.8, 0.95)]
    first, second, *_ = causal.causal_word_sentences(*both, none)
    assert first.startswith("reasoner answers") and second.startswith("base answers")


def test_rollout():
    table = rows(
        "layer first_token first_token_if_even bound one_token",
        (1, 0.1, 0.1, 0.1, 0.0625), (4, 0.1625, 0.234, 0.015, 0.0625),
    )  # fmt: skip
    assert causal.rollout_sentences(table) == [
        "Rolled out over 4 layers, the first token holds 0.163 of the last one, 2.6 times one "
        "token's even share; attention spread evenly in every layer would give it 0.234. The bound "
        "of appendix A with the measured weights is 0.015."
    ]


def test_corruption():
    rare = "0 of 64 groups differ from the rest: interval of rare events"
    effects = rows(
        "corruption minus measure value low high examples note",
        ("root replaced", "", "change in accuracy", -0.9, -1, -0.8, 256, None),
        ("root replaced", "", "accuracy", 0.01, 0, 0.02, 256, None),
        ("root replaced", "useless replaced", "change in accuracy", -0.5, -0.6, -0.4, 256, None),
        ("useless replaced", "", "change in accuracy", 0, -0.042, 0.042, 64, rare),
        ("leaf replaced", "", "change in accuracy", *[np.nan] * 3, 0, "undefined"),
    )
    few = "no interval: accuracy differs in 3 of 256 groups from the rest; 10 are needed"
    over = "draws of these 256 examples"
    correlations = rows(
        "first second over value low high naive_low naive_high note",
        ("accuracy", "S_P1", over, 0.14, -0.01, 0.2, 0.1, 0.19, None),
        ("S_P1", "S_P2", over, 0.2, np.nan, np.nan, 0.1, 0.3, few),
        ("accuracy", "S_P2", over, *[np.nan] * 5, "undefined: accuracy is the same in every draw"),
    )
    assert corruption.corruption_sentences(effects, correlations, {"": 0.98828125}) == [
        "Accuracy on the clean examples: 98.8 %.",
        "Change in accuracy by *root replaced* minus that of *useless replaced*: **-0.500** "
        "[-0.600, -0.400], 256 examples.",
        "Change in accuracy by *root replaced*: **-0.900** [-1.000, -0.800], 256 examples.",
        "Change in accuracy by *useless replaced*: **+0.000** [-0.042, +0.042], 64 examples (0 of "
        "64 groups differ from the rest: interval of rare events).",
        "Correlation of accuracy and S_P1 over draws of these 256 examples: **+0.14** [-0.01, "
        "+0.20]; treating draws as independent, as the paper does, would give [+0.10, +0.19].",
        "Correlation of S_P1 and S_P2 over draws of these 256 examples: **+0.20**; treating draws "
        "as independent, as the paper does, would give [+0.10, +0.30] (no interval: accuracy "
        "differs in 3 of 256 groups from the rest; 10 are needed).",
        "Correlation of accuracy and S_P2: undefined: accuracy is the same in every draw.",
    ]
    beside = pd.concat([effects.iloc[[0, 2]].assign(subject="a"), effects[:1].assign(subject="b")])
    beside.loc[beside.subject == "b", "value"] = -0.95
    assert corruption.corruption_sentences(beside, correlations[:0], {"a": 0.5, "b": 1.0}) == [
        "b: accuracy on the clean examples: 100.0 %.",
        "b: change in accuracy by *root replaced*: **-0.950** [-1.000, -0.800], 256 examples.",
        "a: accuracy on the clean examples: 50.0 %.",
        "a: change in accuracy by *root replaced* minus that of *useless replaced*: **-0.500** "
        "[-0.600, -0.400], 256 examples.",
    ]


def test_links():
    regressed = rows(
        "outcome measure value low high p q note",
        ("answers rightly", "tree", 0.5, 0.2, 0.8, 0.001, 0.003, None),
        ("answers rightly", "share", 0.1, -0.2, 0.4, 0.4, 0.4, None),
        ("loses", "tree", *[np.nan] * 3, 0.002, 0.003, "no value: it tells them apart"),
        ("loses", "share", *[np.nan] * 5, "undefined: 1 groups have the outcome"),
    )
    assert corruption.link_sentences(regressed) == [
        "Example by example, 3 of 4 links to the probe's correctness can be tested; 2 remain after "
        "false discovery control at 5 %.",
        "*answers rightly* goes with *tree*: log-odds **+0.50** [+0.20, +0.80] for one standard "
        "deviation, p = 0.001.",
        "*loses* goes with *tree*: p = 0.002; no value: it tells them apart.",
    ]


def test_summary():
    pooled = rows(
        "task setting quantity over value low high",
        ("lists", "tuned", "gain V", "text and twins", 0.2, 0.1, 0.3),
        ("theories", "4-shot", "gain V", "text and twins", 0.1, -0.1, 0.3),
        ("lists", "tuned", "S_P1", "random twin", 0.3, 0.1, 0.5),
        ("theories", "4-shot", "S_P1", "random twin", -0.1, -0.3, 0.1),
        ("theories", "4-shot", "S_P2", "random twin", *[np.nan] * 3),
        ("theories", "useful replaced", "change in accuracy", "", -0.4, -0.5, -0.3),
        ("theories", "useless negated", "change in accuracy", "", *[np.nan] * 3),
    )
    made = rows("state seconds", ("finished", 3.0), ("failed", np.nan))
    assert sentences.summary_sentences(pooled, made) == [
        "gain V: attention adds to the text about which statements are useful more than the random "
        "twins' in 1 of 2 settings (interval above 0), 0.15 in the median setting.",
        "S_P1: attention shows which statements are useful more than the random twins' in 1 of 2 "
        "settings (interval above 0), 0.10 in the median setting.",
        "Scores not defined, because the twins leave too little room: 1.",
        "Of all interventions on useful statements, *useful replaced* (theories) changes accuracy "
        "most: -0.400 [-0.500, -0.300].",
        "1 of 2 runs are finished; they took 3 s.",
    ]


def test_gained_are_v_and_g_in_f1_by_the_logistic_classifier_alone():
    found = gained(comparison().gains)
    assert list(found[["source", "target"]].itertuples(index=False, name=None)) == [
        ("tuned", "V"), ("before", "V"), ("tuned", "G"), ("before", "G"),
    ]  # fmt: skip
    assert set(found.measure) == {"F1"} and set(found.over) == {"text and twins"}
    assert set(found.classifier) == {"logistic"}


def test_the_ruler():
    answers = rows(
        "source answer share low high",
        ("recaller", "right answer", 0.1, 0.05, 0.2),
        ("recaller", "dealt answer", 1.0, 0.97, 1.0),
        ("shortcut, arranged", "right answer", 0.99, 0.95, 1.0),
    )
    gain, score = ("F1", "logistic", "text and twins"), ("score", "kNN", "random twin")
    rates = rows(
        "source target measure classifier over value low high seeds above below by_heart",
        ("recaller", "V", *gain, 0.001, -0.01, 0.01, 20, 0.05, 0.0, 0.99),
        ("recaller", "V", "bits", *gain[1:], 0.001, -0.01, 0.01, 20, 0.9, 0.9, 0.99),
        ("recaller", "G", *gain, 0.002, -0.01, 0.01, 20, 0.1, 0.05, 0.99),
        ("recaller", "S_P1", *score, 0.01, -0.01, 0.03, 20, 0.15, 0.0, 0.99),
        ("shortcut, arranged", "G", *gain, 0.25, 0.2, 0.3, 20, 1.0, 0.0, 0.99),
        ("noise", "G", *gain, 0.0, -0.1, 0.1, 10, 0.0, 0.0, 0.99),
    )
    assert sentences.ruler_sentences(answers, rates) == [
        "recaller gives the right answer in 10.0 % [5.0, 20.0], the dealt answer in 100.0 % [97.0, "
        "100.0].",
        "shortcut, arranged gives the right answer in 99.0 % [95.0, 100.0].",
        "recaller, 20 seeds: gain V above 0 in 5%, below in 0%; gain G above 0 in 10%, below in "
        "5%; S_P1 over the random twin above 0 in 15%, below in 0%.",
        "shortcut, arranged, 20 seeds: gain G above 0 in 100%, below in 0%.",
        "noise, 10 seeds: gain G above 0 in 0%, below in 0%.",
        "Where there is no tree to find, 3 of 50 gains are above 0 (6.0%); 95 % intervals promise "
        "2.5 %. Each of the 20 recallers knows 99% or more of its lists by heart.",
    ]
