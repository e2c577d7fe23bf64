"""Studies of examples in words: sets of them are asked, read and probed, table by table.

Model and twins of a set see the same prompts, so the scores are those of Eqs 1 and 2 for it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from mplib import fewshot, probe
from mplib.attention import Reduction
from mplib.causal import head_shape
from mplib.errors import InputError
from mplib.evaluation import Estimate, accuracy, predicted_tokens
from mplib.features import Reading, attention_features, read
from mplib.layers import height_prefixes, parse_layers, select_layers
from mplib.models import LoadedModel, random_twin
from mplib.prompts import Prompts
from mplib.results import paper_table
from mplib.tasks import Example
from mplib.tasks.science import Science
from mplib.tasks.textfeatures import text_features
from mplib.tasks.theories import ProofWriter
from mplib.trees import PADDING, stack_labels

EVERY_DEPTH = "all depths"
"""Name of the set that holds the questions of all depths together."""

DEMONSTRATIONS = 256
"""Training examples from which demonstrations are drawn."""


@dataclass(frozen=True)
class ExampleSet:
    """Examples that are probed together.

    Attributes:
        name: what to call them in tables and figures.
        examples: the examples.
        train: examples to draw demonstrations from.
        depth: height of their trees' roots.
        size: number of statements, 0 where it varies.
    """

    name: str
    examples: Sequence[Example]
    train: Sequence[Example]
    depth: int
    size: int = 0

    @cached_property
    def heights(self) -> np.ndarray:
        """Gold heights, shape (examples, statements)."""
        return stack_labels([example.tree for example in self.examples])

    @cached_property
    def groups(self) -> np.ndarray:
        """Group of each example; its own where the task names none."""
        return np.array(
            [example.group or f"example {i}" for i, example in enumerate(self.examples)]
        )

    @cached_property
    def rules(self) -> np.ndarray | None:
        """Gold heights of the rules alone, the facts left out; None where the task has no kinds."""
        if not all(example.kinds for example in self.examples):
            return None
        rules = np.full(self.heights.shape, False)
        for row, example in zip(rules, self.examples, strict=True):
            row[: len(example.kinds)] = [kind == "rule" for kind in example.kinds]
        return np.where(rules, self.heights, PADDING)


@dataclass(frozen=True)
class Subject:
    """A model in one way of asking it.

    Attributes:
        name: such as ``4-shot`` or ``finetuned (attention)``.
        loaded: the model.
        shots: demonstrations before each question.
    """

    name: str
    loaded: LoadedModel
    shots: int


@dataclass(frozen=True)
class Protocol:
    """How examples are asked, read and probed.

    Attributes:
        template: a key of ``mplib.fewshot.TEMPLATES``.
        shared: whether all examples of a set have the same demonstrations; else drawn anew.
        twins: random twins of each model.
        layers: layers whose attention is probed, counted from 1; all if None.
        reduction: how attention is reduced.
        batch_size: examples a forward pass.
        settings: of the classifiers; the paper takes the Manhattan distance for language.
        seed: of the demonstrations and the twins.
    """

    template: str
    shared: bool = True
    twins: int = 1
    layers: tuple[int, ...] | None = None
    reduction: Reduction = field(default_factory=Reduction)
    batch_size: int = 16
    settings: probe.Settings = field(default_factory=lambda: probe.Settings(metric_power=1))
    seed: int = 0

    def ask(self, subject: Subject, one: ExampleSet) -> tuple[Prompts, np.ndarray | None]:
        """The prompts of a set for a model, and the tokens among which its answer is looked for."""
        demonstrations = fewshot.demonstrate(
            one.train, subject.shots, len(one.examples), shared=self.shared, seed=self.seed
        )
        return fewshot.few_shot(
            subject.loaded.tokenizer, one.examples, demonstrations, template=self.template,
            max_tokens=subject.loaded.positions,
        )  # fmt: skip


@dataclass(frozen=True)
class Readings:
    """What a model and its twins gave for a set of examples.

    Attributes:
        subject: name of the model as it was asked.
        examples: the set.
        model: the model's features and answers.
        twins: features of each twin.
    """

    subject: str
    examples: ExampleSet
    model: Reading
    twins: tuple[np.ndarray, ...]

    @property
    def about(self) -> dict[str, object]:
        """Columns that identify it in tables."""
        of = self.examples
        return {"set": of.name, "depth": of.depth, "size": of.size, "subject": self.subject}


def divide(readings: Readings, sets: Sequence[ExampleSet]) -> list[Readings]:
    """The readings of parts of a set, so that its examples need not be run again for them."""
    assert readings.model.correct is not None and readings.model.log_probability is not None
    place = {id(example): i for i, example in enumerate(readings.examples.examples)}
    found = []
    for one in sets:
        own, width = [place[id(example)] for example in one.examples], one.heights.shape[1]
        model = Reading(
            readings.model.features[own][:, :width],
            readings.model.correct[own],
            readings.model.log_probability[own],
        )
        twins = tuple(values[own][:, :width] for values in readings.twins)
        found.append(Readings(readings.subject, one, model, twins))
    return found


def read_sets(
    subjects: Sequence[Subject], sets: Sequence[ExampleSet], how: Protocol
) -> list[Readings]:
    """Runs every model over every set, once, and its twins likewise.

    Only one twin is in memory at a time.
    """
    readings = []
    chosen = None if how.layers is None else np.array(how.layers) - 1
    for subject in subjects:
        asked = [how.ask(subject, one) for one in sets]
        models = [
            read(subject.loaded.model, prompts, reduction=how.reduction, choices=choices,
                 batch_size=how.batch_size)
            for prompts, choices in asked
        ]  # fmt: skip
        twins: list[list[np.ndarray]] = [[] for _ in sets]
        for i in range(how.twins):
            twin = random_twin(subject.loaded.model, seed=1000 + how.seed + i)
            for found, (prompts, _) in zip(twins, asked, strict=True):
                found.append(
                    attention_features(
                        twin, prompts, reduction=how.reduction, batch_size=how.batch_size
                    )
                )
        for one, model, found in zip(sets, models, twins, strict=True):
            if chosen is not None:
                model = replace(model, features=model.features[..., chosen])
                found = [values[..., chosen] for values in found]
            readings.append(Readings(subject.name, one, model, tuple(found)))
    return readings


def theory_sets(
    task: ProofWriter, split: str, n: int, shots: Sequence[int] = ()
) -> list[ExampleSet]:
    """The cases of a study of theories, at most n questions of each; see ``question_sets``."""
    sets = [
        ExampleSet(
            str(case), task.examples(case, split, n), task.demonstrations(case, DEMONSTRATIONS),
            case.depth, case.size,
        )
        for case in task.parsed
    ]  # fmt: skip
    _check_shots(sets, shots)
    return sets


def question_sets(task: Science, n: int, shots: Sequence[int] = ()) -> list[ExampleSet]:
    """The questions of each depth, at most n, and where there are several depths all together.

    Raises:
        InputError: one of the numbers of ``shots`` is more than the training examples.
    """
    train = [example for _, example in task.examples("train")]
    by_depth: dict[int, list[Example]] = {}
    for depth, example in task.examples("test"):
        by_depth.setdefault(depth, []).append(example)
    sets = [ExampleSet(f"depth {d}", of[:n], train, d) for d, of in sorted(by_depth.items())]
    if len(sets) > 1:
        every = [example for one in sets for example in one.examples]
        sets.append(ExampleSet(EVERY_DEPTH, every, train, max(by_depth)))
    _check_shots(sets, shots)
    return sets


def _check_shots(sets: Sequence[ExampleSet], shots: Sequence[int]) -> None:
    """Finds at once what would else be found after an hour."""
    for one in sets:
        if (most := max(shots, default=0)) > len(one.train):
            raise InputError(
                f"{most} demonstrations, but {one.name} has {len(one.train)} training examples: "
                "lower shots and shot_counts or name a larger file"
            )


def words(sets: Sequence[ExampleSet]) -> list[str]:
    """Every word and mark of the examples, the vocabulary of a model that has none of its own."""
    every = (example for one in sets for example in (*one.examples, *one.train))
    marks = ("True", "False", "Unknown", "?", ":", "The", "answer", "is", "or")
    found = {*marks}
    for example in every:
        for text in (*example.statements, example.question, example.answer, *example.choices):
            found.update(re.findall(r"\w+|[^\w\s]+", text))
    return sorted(found)


def preview(sets: Sequence[ExampleSet]) -> pd.DataFrame:
    """The first example of each set: what is told and asked, and what is useful."""
    rows = []
    for one in sets:
        first = one.examples[0]
        told = enumerate(first.statements, 1)
        useful = sorted((height, i + 1) for i, height in first.tree.heights.items())
        rows.append({
            "set": one.name,
            "examples": len(one.examples),
            "statements": " ".join(f"({i}) {statement}" for i, statement in told),
            "question": first.question,
            "answer": first.answer,
            "useful: height": ", ".join(f"({i}): {height}" for height, i in useful),
        })  # fmt: skip
    return pd.DataFrame(rows)


def choose_layers(
    subject: Subject, dev: Sequence[ExampleSet], layers: str, how: Protocol
) -> tuple[Protocol, pd.DataFrame, list[str]]:
    """The protocol with the layers that a notebook's parameter names (paper, appendix C.2).

    Args:
        subject: the model whose layers they are.
        dev: development examples, needed only for ``selected``.
        layers: see ``mplib.layers.parse_layers``.
        how: the protocol.

    Returns:
        The protocol; the layers as a table (of the selection, where there was one); a sentence
        about the selection, if there was one. Where the model answers no better than chance, the
        selection says nothing and all layers are probed.
    """
    total = head_shape(subject.loaded.model)[0]
    chosen = parse_layers(layers, total)
    if chosen is not None:
        table = pd.DataFrame({"layer": chosen})
        return replace(how, layers=chosen if len(chosen) < total else None), table, []
    examples = [example for one in dev for example in one.examples]
    together = ExampleSet("development", examples, dev[0].train, 0)
    prompts, choices = how.ask(subject, together)
    found = select_layers(subject.loaded.model, prompts, choices=choices, batch_size=how.batch_size)
    if not found.meaningful:
        return replace(how, layers=None), found.table, [f"{found.says} All are probed."]
    if not found.kept:
        raise InputError(
            "layers='selected': the answers need no layer's attention, so none is left to probe: "
            "write layers='all'"
        )
    return replace(how, layers=found.kept), found.table, [found.says]


def accuracy_table(readings: Sequence[Readings]) -> pd.DataFrame:
    """Accuracy of each model on each set, beside what needs no reasoning.

    Columns ``guess``: always the most frequent answer; ``by_negation``: False where the question
    says "not", else True, where these are the answers. In the closed world a question whose proof
    uses no negation as failure is answered rightly by that alone.
    """
    rows = []
    for one in readings:
        assert one.model.correct is not None
        answers = Counter(example.answer for example in one.examples.examples)
        rows.append({
            **one.about,
            **_columns("accuracy", accuracy(one.model.correct)),
            "examples": len(one.model.correct),
            "guess": answers.most_common(1)[0][1] / answers.total(),
            "by_negation": by_negation(one.examples.examples),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _columns(name: str, found: Estimate) -> dict[str, float]:
    return {name: found.value, "low": found.low, "high": found.high}


def by_negation(examples: Sequence[Example]) -> float | None:
    """Share of questions answered rightly by "False" where they say "not", else "True"."""
    if not {example.answer for example in examples} <= {"True", "False"}:
        return None
    says_not = [bool(re.search(r"\bnot\b", example.question)) for example in examples]
    false = [example.answer == "False" for example in examples]
    return float(np.mean(np.equal(says_not, false)))


def shots_table(
    loaded: LoadedModel, sets: Sequence[ExampleSet], shots: Sequence[int], n: int, how: Protocol
) -> pd.DataFrame:
    """Accuracy with several numbers of demonstrations, the first n examples of each set (Table 5).

    Sets of equal depth are taken together; hidden ones are left to ``accuracy_table``.
    """
    rows = []
    for count in shots:
        subject = Subject(f"{count}-shot", loaded, count)
        correct: dict[int, list[np.ndarray]] = {}
        for one in (one for one in sets if one.name != EVERY_DEPTH):
            part = replace(one, examples=one.examples[:n])
            prompts, choices = how.ask(subject, part)
            predicted = predicted_tokens(
                loaded.model, prompts, choices=choices, batch_size=how.batch_size
            )
            correct.setdefault(one.depth, []).append(predicted == prompts.answers)
        for depth, parts in correct.items():
            right = np.concatenate(parts)
            estimate = _columns("accuracy", accuracy(right))
            rows.append(
                {"depth": depth, "subject": subject.name, **estimate, "examples": len(right)}
            )
    return pd.DataFrame(rows)


def probe_tables(readings: Sequence[Readings], how: Protocol) -> tuple[pd.DataFrame, pd.DataFrame]:
    """F1s and scores of every set, among all statements and, where there are kinds, among rules.

    At depth 1 the heights of useful statements are their kinds, fact and rule, so G is asked again
    among rules alone, where only the order of application is left to tell.

    Returns:
        (F1s, scores), the tables of ``mplib.probe.compare`` with the set and ``among`` in front.
    """
    f1, scores = [], []
    for one in readings:
        text = {"text": text_features(one.examples.examples)}
        parts = {"all statements": one.examples.heights}
        if one.examples.rules is not None and one.examples.depth > 1:
            parts["rules alone"] = one.examples.rules
        for among, heights in parts.items():
            found = probe.compare(
                {one.subject: one.model.features}, heights, twins=one.twins, text=text,
                groups=one.examples.groups, settings=how.settings,
            )  # fmt: skip
            f1.append(found.f1.assign(**one.about, among=among))
            scores.append(found.scores.assign(**one.about, among=among))
    return _front(f1), _front(scores)


def prefix_table(readings: Sequence[Readings], how: Protocol) -> pd.DataFrame:
    """Scores of every set from the first l layers, over the twins' own (Figs 7 and 8)."""
    return _front([
        probe.compare_prefixes(
            {one.subject: one.model.features}, one.examples.heights, twins=one.twins,
            groups=one.examples.groups, settings=how.settings,
        ).scores.assign(**one.about)
        for one in readings
    ])  # fmt: skip


def height_table(readings: Sequence[Readings], how: Protocol) -> pd.DataFrame:
    """F1 of useful against useless statements, height by height and layer by layer (Fig 7f)."""
    return _front([
        height_prefixes(
            one.model.features, one.examples.heights,
            groups=one.examples.groups, settings=how.settings,
        ).assign(**one.about)
        for one in readings
    ])  # fmt: skip


def by_set(table: pd.DataFrame) -> pd.DataFrame:
    """A table for a figure in which every set is a row of its own, named after it."""
    several = table.subject.nunique() > 1
    names = table.set + (" - " + table.subject if several else "")
    return table[table.kind == "model"].assign(source=names)


def f1_overview(f1: pd.DataFrame) -> pd.DataFrame:
    """F1s with a column for each kind of source, twins averaged, the strongest text."""
    kinds = f1.pivot_table(
        "f1", ["set", "subject", "among", "target"], "kind", aggfunc="mean", sort=False
    )
    return kinds.reset_index()


def paper_figures(data: str, depths: Sequence[int]) -> pd.DataFrame:
    """The paper's F1s, scores and accuracies for LLaMA-7B, a row for each depth and |S|."""
    tables = [paper_table(name, data=data, depth=list(depths)) for name in ("table8", "table2")]
    paper = pd.concat(tables)
    paper["figure"] = paper.source + ", " + paper.quantity
    return paper.pivot_table("value", ["depth", "size"], "figure", sort=False).reset_index()


def published_table(readings: Sequence[Readings]) -> pd.DataFrame:
    """F1s and scores by the published protocol: folds over statements, not over theories."""
    return _front([
        probe.compare_published(
            {one.subject: one.model.features}, one.twins, one.examples.heights,
            protocol=probe.published_language_f1,
        ).assign(**one.about)
        for one in readings
    ])  # fmt: skip


def _front(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table, what identifies a row first."""
    table = pd.concat(tables, ignore_index=True)
    first = [name for name in ("set", "subject", "among", "layers") if name in table]
    return table[[*first, *(name for name in table if name not in first)]]


def sentences(answers: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
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
