"""What the tables say, in the sentences of a page's summary; every number is read from a table."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mplib.report.columns import gained
from mplib.stats import Estimate
from mplib.tasks.trees import PADDING, USELESS

if TYPE_CHECKING:  # the summary of finished runs needs no torch
    from mplib.models.loading import LoadedModel
    from mplib.probe.scores import Comparison
    from mplib.studies.language import Procedure
    from mplib.studies.layers import LayerSelection
    from mplib.tasks.examples import ExampleSet


class _Found(Estimate):
    """A row's value with its interval, as a sentence shows it."""

    def __format__(self, form: str) -> str:
        """Figures, ``.2f``, the first in bold, ``**.2f``, or one of ``above|around|below`` zero."""
        if "|" in form:
            return form.split("|")[1 - (self.low > 0) + (self.high < 0)]
        figure, *interval = super().__format__(form.strip("*")).partition(" [")
        return "".join([f"**{figure}**" if "*" in form else figure, *interval])


def say(table: pd.DataFrame, start: str, known: str = "", unknown: str = "{note}.") -> list[str]:
    """A sentence for each row of a table; forms name columns, and ``found``, a ``_Found``.

    Args:
        table: the rows, with columns value, low and high.
        start: how every sentence begins.
        known: how it goes on where there is a value.
        unknown: how it goes on where there is none.
    """
    lines = []
    for row in table.to_dict("records"):
        found = _Found(row["value"], row["low"], row["high"])
        form = start + (unknown if pd.isna(found.value) else known)
        lines.append(form.format(**row, found=found))
    return lines


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
    kept = "The last state is kept, without a look at development problems."
    if history.dev_accuracy.notna().any():
        best = history.loc[history.dev_accuracy.idxmax()]
        accuracy, step = f"{best.dev_accuracy:.1%}", f"{best.step:,.0f} of {steps:,}"
        kept = f"Best development accuracy {accuracy} at step {step}."
    return [
        f"Test accuracy on {examples:,} problems: **{after}**; before finetuning it was {before}.",
        kept,
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


def gain_sentences(gains: pd.DataFrame) -> list[str]:
    """What attention adds to the text, by the classifier that is fit for both together."""
    told = {"V": "which statements are useful", "G": "their heights"}
    part = gains[(gains.over == "text and twins") & gains.target.isin(told)]
    lines = []
    for (source, target), rows in part.groupby(["source", "target"], sort=False):
        by = {
            (row.classifier, row.measure): _Found(row.value, row.low, row.high)
            for row in rows.itertuples()
        }
        if not {("logistic", "F1"), ("logistic", "bits")} <= {*by}:
            continue
        found, bits, near = map(by.get, [("logistic", "F1"), ("logistic", "bits"), ("kNN", "F1")])
        other = f"; with the kNN {near:+.3f}" if near else ""
        lines.append(
            f"{source}: beyond the text, its attention shows {told[target]} "
            f"{found:better than|not measurably better than|worse than} its twins' "
            f"does: gain in F1 {found:**+.3f}, in bits per statement {bits:+.3f}{other}."
        )
    return lines


def probe_sentences(found: "Comparison") -> list[str]:
    """What a comparison of models with their baselines says."""
    near = found.scores[found.scores.classifier == "kNN"]
    lines = gain_sentences(found.gains) + say(
        near[near.kind == "model"],
        "{source}: {score} over the {over} is ",
        "{found:**.2f}: its attention shows {found:more than|not measurably more than|less than} "
        "the {over}'s does.",
    )
    twins = near[near.kind == "twin"].value.dropna()
    if len(twins):
        span = f"{twins.min():.2f} and {twins.max():.2f}"
        lines.append(f"The random twins' own scores, each against the others, are between {span}.")
    text = found.f1[(found.f1.kind == "text") & ~found.f1.target.str.contains("bits")]
    form = "From the {source} alone ({classifier}): F1 {found:.2f} for {target}."
    return lines + say(text.rename(columns={"f1": "value"}), form)


def ruler_sentences(answers: pd.DataFrame, rates: pd.DataFrame) -> list[str]:
    """What models of known ways do, and how often the probe finds a tree in them.

    Args:
        answers: how often each gives which answer, of ``ruler.measure``.
        rates: of ``ruler.error_rates``.
    """
    lines = []
    for source, part in answers.groupby("source", sort=False):
        given = say(part.assign(value=part.share), "the {answer} in ", "{found}")
        lines.append(f"{source} gives {', '.join(given)}.")
    gains = gained(rates)
    near = rates[(rates.classifier == "kNN") & rates.target.isin(["S_P1", "S_P2"])]
    what = [*("gain " + gains.target), *(near.target + " over the " + near.over)]
    told = pd.concat([gains, near]).assign(what=what)
    for source, part in told.groupby("source", sort=False):
        shares = say(part, "{what} above 0 in {above:.0%}, below in {below:.0%}")
        lines.append(f"{source}, {part.seeds.max()} seeds: {'; '.join(shares)}.")
    blind = gains[gains.source.isin(["recaller", "shortcut", "noise"])]
    above, of = (blind.above * blind.seeds).sum(), blind.seeds.sum()
    return [
        *lines,
        f"Where there is no tree to find, {above:.0f} of {of} gains are above 0 "
        f"({above / of:.1%}); 95 % intervals promise 2.5 %. Each of the {blind.seeds.max()} "
        "recallers knows "
        f"{blind.by_heart.min():.0%} or more of its lists by heart.",
    ]


def probed_sentence(procedure: "Procedure", loaded: "LoadedModel") -> str:
    """Which layers are probed, and which of a hybrid's cannot be."""
    from mplib.studies.layers import write_layers

    readable = [number + 1 for number in loaded.attention_layers]
    chosen = f"{len(procedure.layers)} of {len(readable)}" if procedure.layers else "All"
    if len(readable) == loaded.layers:
        return f"{chosen} layers are probed."
    return (
        f"{chosen} layers with attention are probed ({write_layers(tuple(readable))} of "
        f"{loaded.layers}). The others mix tokens in another way, which is not read: what is found "
        "holds for a part of the model, and what is not found may be in the rest."
    )


def layer_sentences(found: "LayerSelection | None") -> list[str]:
    """Which layers the answers need, or that this cannot be found; nothing without a selection."""
    from mplib.studies.layers import write_layers

    if found is None:
        return []
    examples = f"{found.table.examples.iloc[0]} development prompts"
    if not found.meaningful:
        return [
            f"The whole model answers {found.clean} of {examples}: not measurably more than the "
            f"{found.guess * 100:.1f} % of always giving the most frequent answer, so which "
            "layers it needs cannot be found this way. All are probed."
        ]
    return [
        f"{len(found.kept)} of {len(found.table)} layers keep their attention ("
        f"{write_layers(found.kept)}): accuracy on {examples} is {found.clean} with all layers and "
        f"{found.after} with these, where a loss of {found.tolerance * 100:g} points was allowed."
    ]


def tree_sentences(trees: pd.DataFrame) -> list[str]:
    """How often the whole tree is read, and whether attention adds to what the text places.

    Args:
        trees: the table of recovered trees, of one set or with columns ``set`` and ``subject``.
    """
    lines, among = [], ["set", "subject"] if "set" in trees else []
    for key, part in trees.groupby(among, sort=False) if among else [((), trees)]:
        whole = part[(part.measure == "exact match") & (part["minus"] == "")]
        shares = ", ".join(say(whole, "{source} ", "{found:.2f}"))
        adds = part[(part.measure == "height accuracy") & (part.source == "joint")]
        about = {"where": ", ".join(["Whole trees", *key]), "shares": shares}
        lines += say(
            adds[adds["minus"] == "text"].assign(**about),
            "{where}: shares of examples with every statement right: {shares}. Text and "
            "attention together place {found:more|not measurably more|fewer} of the "
            "tree's statements at the right height than the text alone ({found:**+.2f}).",
        )
    return lines


def language_sentences(
    answers: pd.DataFrame, scores: pd.DataFrame, gains: pd.DataFrame, trees: pd.DataFrame
) -> list[str]:
    """What accuracies, gains, scores and recovered trees say of the last of the models."""
    last = answers.subject.iloc[-1]
    tables = (answers, scores, gains, trees)
    answers, scores, gains, trees = (table[table.subject == last] for table in tables)
    negation = ', and looking for "not" in the question {:.0%}'
    also = ["" if pd.isna(share) else negation.format(share) for share in answers.by_negation]
    form = "{set}, {subject}: accuracy {found}; a constant guess has {guess:.0%}{also}."
    lines = say(answers.assign(also=also, value=answers.accuracy), form)
    parts = ["set", "subject", "among"]
    near = scores[(scores.kind == "model") & (scores.classifier == "kNN")]
    near = near[near.score.isin(["S_P1", "S_P2"])]
    for (name, subject, among), part in gained(gains).groupby(parts, sort=False):
        of = near[(near[parts] == [name, subject, among]).all(axis=1)]
        said = say(part, "gain in F1 of {target} ", "{found:**+.3f} (q {q:.2g})", "undefined")
        said += say(of, "{score} over the {over} ", "{found:.2f}", "{note}")
        where = "" if among == "all statements" else f", among {among}"
        lines.append(f"{name}{where}, {subject}: {'; '.join(said)}.")
    return lines + tree_sentences(trees)


FEW = 20
"""Groups of questions below which intervals are rough: their halves hold fewer than ten."""


def own_sentences(answers: pd.DataFrame, gains: pd.DataFrame) -> list[str]:
    """A sentence for each model: how much it answers rightly, what its attention adds to the text.

    Args:
        answers: of ``language_tables.accuracy_table``.
        gains: of ``language_tables.probe_tables``.
    """
    told = gained(gains)
    told = told.assign(what=told.target.map({"V": "which statements are useful", "G": "heights"}))
    above = answers[["accuracy", "low", "high"]].sub(answers.guess, axis=0).to_numpy()
    over, adds = (
        [_Found(*row) for row in above],
        "{what} {found:better|not measurably better|worse}",
    )
    adds += " than its random twins' does (gain in F1 {found:**+.3f})"
    gain = [", and ".join(say(told[told.subject == name], adds)) for name in answers.subject]
    return say(
        answers.assign(value=answers.accuracy, over=over, gain=gain),
        "**{subject}** answers {found:.2f} of {examples} questions rightly, "
        "{over:more than|not measurably more than|less than} the {guess:.2f} of always giving the "
        "most frequent answer. Beside the text, its attention tells {gain}.",
    )


def limit_sentences(one: "ExampleSet", scores: pd.DataFrame) -> list[str]:
    """What a set of questions is too small or too plain to tell, and which scores have no value."""
    groups, labels = len({*one.groups}), {*one.heights.flat} - {PADDING}
    cases = {
        f"Intervals need 4 groups of questions; there are {groups}.": groups < 4,
        f"{groups} groups of questions are few: take intervals for rough.": 4 <= groups < FEW,
        "Every statement is useful, so which ones are cannot be asked; add some that lead nowhere.":
            USELESS not in labels,
        "All useful statements have one height, so heights cannot be asked; add steps that follow "
        "from others.": len(labels - {USELESS}) < 2,
        "Not every question names its choices: any word may follow, and an answer is right whose "
        "first token is the likeliest.": not all(example.choices for example in one.examples),
    }  # fmt: skip
    lines = [said for said, holds in cases.items() if holds]
    near = scores[(scores.kind == "model") & (scores.classifier == "kNN") & scores.value.isna()]
    near = near[near.score.isin(["S_P1", "S_P2"])]
    return lines + say(near, "{subject}: {score} is ", unknown="{note}.")


def written_sentences(
    name: str, precision: pd.DataFrame, gains: pd.DataFrame, graphs: pd.DataFrame
) -> list[str]:
    """Whether written steps look at what they follow from.

    Args:
        name: of the model.
        precision: of ``mplib.studies.step_tables.precision_table``.
        gains: of ``mplib.studies.steps.probe_edges``.
        graphs: of ``mplib.studies.step_tables.graph_table``.
    """
    whole = precision[precision.layer == 0].set_index("source").precision
    beyond = graphs[(graphs.measure == "edge F1") & (graphs["minus"] == "text and twin")]
    return [
        *say(
            gained(gains),
            f"**Beside the text, {name}'s attention is "
            "{found:better|not measurably better|worse} at telling what a step follows from than "
            "random models' attention is**: gain {found:+.3f} in F1, p {p:.2g}. The text has "
            "distance, place, length, shared words and numbers.",
        ),
        *say(beyond, "The edges of whole graphs, read by boosted trees: {found:+.3f} in F1 beyond "
              "text and random model."),
        "By mean attention alone, nothing fitted, average precision is "
        f"{whole['model']:.2f}; by a random model's {whole['twins']:.2f}, by recency "
        f"{whole['recency']:.2f}, by shared words {whole['shared words']:.2f}.",
    ]  # fmt: skip


def steps_sentences(**written: pd.DataFrame) -> list[str]:
    """The written reasoning of several models: of each its gain, and what a step needs.

    Args:
        **written: of ``mplib.studies.step_tables.side_by_side``; none say nothing.
    """
    if not written:
        return []
    beyond = written["needs"]
    told = gained(written["gains"]).merge(
        beyond[beyond["minus"] == "others as far away"], on="subject", suffixes=("", "_needs")
    )
    needs = told[["value_needs", "low_needs", "high_needs"]].to_numpy()
    return say(
        told.assign(needs=[_Found(*row) for row in needs]),
        "**Written reasoning, {subject}**: beside the text, its attention is "
        "{found:better|not measurably better|worse} at telling what a step follows from than "
        "random models' is (gain in F1 {found:**+.3f}); a step "
        "{needs:does better without|does not measurably need|needs} what it follows from "
        "({needs:+.2f} nats a token beyond others as far away).",
    )


def needs_sentences(needs: pd.DataFrame, faults: pd.DataFrame) -> list[str]:
    """What written steps need, and whether faulty ones differ.

    Args:
        needs: of ``mplib.studies.step_tables.needs_table``.
        faults: of its ``fault_table``.
    """
    alone, beyond = (needs[needs["minus"] == x] for x in ("", "others as far away"))
    lines = say(
        beyond,
        "**A step {found:does better without|does not measurably need|needs} {cut}**: kept from "
        "looking there, its own tokens change by {found:+.2f} nats a token, beyond {minus}.",
    )
    lines += say(alone, "Kept from looking at *{cut}*: {found:+.2f} nats a token.")
    if len(faults):
        apart = faults[faults["steps of"].str.contains(" less ")]
        few = "too few problems have a step of either kind to tell."
        named = apart.rename(columns={"steps of": "kinds"})
        lines += say(named, "Steps {kinds}, {quantity}: ", "{found:+.2f}.", few)
    return lines


def recall_sentences(table: pd.DataFrame) -> list[str]:
    """What the recall dial says: answers in each world, and what differs between them.

    Args:
        table: of ``mplib.studies.paired.dial``.
    """
    table = table[table["among"] != "rules alone"]
    alone, apart = table[table["minus"] == ""], table[table["minus"] != ""]
    lines = []
    for subject, own in alone.groupby("subject", sort=False):
        right, need = (own[own.measure == measure] for measure in ("accuracy", "need"))
        gaps = apart[(apart.subject == subject) & (apart.measure == "accuracy")]
        told = f"from {right.value.min():.2f} to {right.value.max():.2f}"
        lines.append(
            f"**{subject}** answers above chance in {(right.low > 0.5).sum()} of {len(right)} sets "
            f"(accuracy {told}), and for certain better in the more familiar of two worlds in "
            f"{(gaps.low > 0).sum()} of {len(gaps)} comparisons."
        )
        if len(need):
            lines[-1] += (
                f" Its answers need the useful statements in {(need.low > 0).sum()} of {len(need)}"
                f" sets (need {need.value.min():+.2f} to {need.value.max():+.2f})."
            )
    apart = apart[apart.measure.isin(["accuracy", "need", "gain V"])].dropna(subset="value")
    sure = (apart.low > 0) | (apart.high < 0)
    lines += say(
        apart[sure].assign(also=noted(apart[sure])),
        "{subject}, {set} minus {minus}: {measure} {found:**+.2f}{also}.",
    )
    return [
        *lines,
        f"{(~sure).sum()} of {len(apart)} differences between worlds in accuracy, need and gain V "
        "are not certain.",
    ]


def noted(table: pd.DataFrame) -> list[str]:
    """Each row's note, to stand in brackets at the end of a sentence; nothing without one."""
    return ["" if pd.isna(note) else f" ({note})" for note in table.note]


def summary_sentences(pooled: pd.DataFrame, made: pd.DataFrame) -> list[str]:
    """What all figures of a profile say together."""
    told = {
        "gain V": "adds to the text about which statements are useful",
        "gain G": "adds to the text about their heights",
        "S_P1": "shows which statements are useful",
        "S_P2": "shows their heights",
    }
    scores = pooled[pooled.quantity.isin(told)].dropna(subset=["value", "low"])
    lines = [
        f"{quantity}: attention {does} more than the random twins' in "
        f"{(found.low > 0).sum()} of {len(found)} settings (interval above 0), "
        f"{found.value.median():.2f} in the median setting."
        for quantity, does in told.items()
        if len(found := scores[scores.quantity == quantity])
    ]
    if undefined := pooled[pooled.quantity.str.startswith("S_P")].value.isna().sum():
        lines.append(f"Scores not defined, because the twins leave too little room: {undefined}.")
    changes = pooled[pooled.quantity == "change in accuracy"].dropna(subset="value")
    kind = np.where(changes.setting.str.contains("useless"), "useless", "useful")
    lines += say(
        changes.assign(kind=kind).loc[changes.groupby(kind).value.idxmin()],
        "Of all interventions on {kind} statements, ",
        "*{setting}* ({task}) changes accuracy most: {found:+.3f}.",
    )
    finished, took = (made.state == "finished").sum(), f"they took {made.seconds.sum():.0f} s"
    return [*lines, f"{finished} of {len(made)} runs are finished; {took}."]
