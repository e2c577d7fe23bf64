"""The tables of a study of examples in words: answers, scores, layers, and what they say."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mplib.models.inference import answers
from mplib.models.loading import LoadedModel
from mplib.probe import scores
from mplib.probe.published import compare_published, published_language_f1
from mplib.stats import accuracy
from mplib.studies.language import Procedure, Readings, Subject
from mplib.studies.layers import height_prefixes
from mplib.tasks.examples import Example, ExampleSet
from mplib.tasks.science.task import EVERY_DEPTH
from mplib.tasks.textbaseline import text_features
from mplib.tasks.words import words


def preview(sets: Sequence[ExampleSet]) -> pd.DataFrame:
    """The first example of each set: what is told and asked, and what is useful.

    Where training examples are asked too, a column says how many were left out of demonstrations.
    """
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
    left_out = [one.left_out for one in sets]
    return pd.DataFrame(rows).assign(
        **{"asked, so not demonstrated": left_out} if any(left_out) else {}
    )


def accuracy_table(readings: Sequence[Readings]) -> pd.DataFrame:
    """Accuracy of each model on each set, beside what needs no reasoning.

    Columns ``guess``: always the most frequent answer; ``by_negation``: False where the question
    says "not", else True, where these are the answers. In the closed world a question whose proof
    uses no negation as failure is answered rightly by that alone.
    """
    rows = []
    for one in readings:
        assert one.model.answers is not None
        correct = one.model.answers.correct
        counts = Counter(example.answer for example in one.examples.examples)
        rows.append({
            **one.about,
            **accuracy(correct).columns("accuracy"),
            "examples": len(correct),
            "guess": counts.most_common(1)[0][1] / counts.total(),
            "by_negation": by_negation(one.examples.examples),
        })  # fmt: skip
    return pd.DataFrame(rows)


def by_negation(examples: Sequence[Example]) -> float | None:
    """Share of questions answered rightly by "False" where they say "not", else "True"."""
    if not {example.answer for example in examples} <= {"True", "False"}:
        return None
    says_not = ["not" in words(example.question) for example in examples]
    false = [example.answer == "False" for example in examples]
    return float(np.mean(np.equal(says_not, false)))


def shots_table(
    loaded: LoadedModel,
    sets: Sequence[ExampleSet],
    shots: Sequence[int],
    n: int,
    procedure: Procedure,
) -> pd.DataFrame:
    """Accuracy with several numbers of demonstrations, the first n examples of each set (Table 5).

    Sets of equal depth are taken together.
    """
    rows = []
    for count in shots:
        subject = Subject(f"{count}-shot", loaded, count)
        correct: dict[int, list[np.ndarray]] = {}
        for one in (one for one in sets if one.name != EVERY_DEPTH):
            part = replace(one, examples=one.examples[:n])
            prompts, choices = procedure.ask(subject, part)
            given = answers(loaded.model, prompts, choices=choices, batch_size=procedure.batch_size)
            correct.setdefault(one.depth, []).append(given.correct)
        for depth, parts in correct.items():
            right = np.concatenate(parts)
            estimate = accuracy(right).columns("accuracy")
            rows.append(
                {"depth": depth, "subject": subject.name, **estimate, "examples": len(right)}
            )
    return pd.DataFrame(rows)


def probe_tables(
    readings: Sequence[Readings], procedure: Procedure
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """F1s and scores of every set, among all statements and, where there are kinds, among rules.

    At depth 1 the heights of useful statements are their kinds, fact and rule, so G is asked again
    among rules alone, where only the order of application is left to tell.

    Returns:
        (F1s, scores), the tables of ``mplib.probe.compare`` with the set and ``among`` in front.
    """
    f1s, found_scores = [], []
    for one in readings:
        text = {"text": text_features(one.examples.examples)}
        parts = {"all statements": one.examples.heights}
        if one.examples.rules is not None and one.examples.depth > 1:
            parts["rules alone"] = one.examples.rules
        for among, heights in parts.items():
            found = scores.compare(
                {one.subject: one.model.features}, heights, twins=one.twins, text=text,
                groups=one.examples.groups, settings=procedure.settings,
            )  # fmt: skip
            f1s.append(found.f1.assign(**one.about, among=among))
            found_scores.append(found.scores.assign(**one.about, among=among))
    return _front(f1s), _front(found_scores)


def prefix_table(readings: Sequence[Readings], procedure: Procedure) -> pd.DataFrame:
    """Scores of every set from the first l layers, over the twins' own (Figs 7 and 8)."""
    return _front([
        scores.compare_prefixes(
            {one.subject: one.model.features}, one.examples.heights, twins=one.twins,
            groups=one.examples.groups, settings=procedure.settings,
        ).scores.assign(**one.about)
        for one in readings
    ])  # fmt: skip


def height_table(readings: Sequence[Readings], procedure: Procedure) -> pd.DataFrame:
    """F1 of useful against useless statements, height by height and layer by layer (Fig 7f)."""
    return _front([
        height_prefixes(
            one.model.features, one.examples.heights,
            groups=one.examples.groups, settings=procedure.settings,
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


def published_table(readings: Sequence[Readings]) -> pd.DataFrame:
    """F1s and scores by the published protocol: folds over statements, not over theories."""
    return _front([
        compare_published(
            {one.subject: one.model.features}, one.twins, one.examples.heights,
            protocol=published_language_f1,
        ).assign(**one.about)
        for one in readings
    ])  # fmt: skip


def _front(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table, what identifies a row first."""
    table = pd.concat(tables, ignore_index=True)
    first = [name for name in ("set", "subject", "among", "layers") if name in table]
    return table[[*first, *(name for name in table if name not in first)]]
