"""The tables of a study of examples in words: answers, scores, layers, and what they say."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd

from mplib.models.inference import answers
from mplib.probe import scores
from mplib.probe.knn import CLASSIFIERS
from mplib.probe.published import compare_published, published_language_f1
from mplib.probe.recovered import recover
from mplib.probe.text import shown
from mplib.probe.transfer import transfer
from mplib.stats import accuracy, constant_guess
from mplib.studies.language import Procedure, Readings, Subject
from mplib.studies.layers import height_prefixes
from mplib.tasks.corruptions import Impossible, corrupt_all, removed
from mplib.tasks.examples import Example, ExampleSet, group_names, joined
from mplib.tasks.science.task import EVERY_DEPTH
from mplib.tasks.textbaseline import text_features
from mplib.tasks.trees import PADDING, USELESS
from mplib.tasks.words import words

SOURCES = dict.fromkeys(("labels", "pooling", "prompts"), "the source's")
"""What the published protocol takes from the paper's source, where all of it is."""


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
        answers = np.array([example.answer for example in one.examples.examples])
        rows.append({
            **one.about,
            **accuracy(correct).columns("accuracy"),
            "examples": len(correct),
            "guess": constant_guess(answers),
            "by_negation": by_negation(one.examples.examples),
        })  # fmt: skip
    return pd.DataFrame(rows)


def shortcut_table(
    subjects: Sequence[Subject], readings: Sequence[Readings], n: int, procedure: Procedure
) -> pd.DataFrame:
    """Accuracy that a shortcut would have and reasoning would not: the other way about.

    Parts of the questions, by their answer and by whether they say "not", and the first n of them
    edited: the useful statement of a height removed, after which the answer does not follow any
    more and accuracy should fall to chance, whatever the height, or below it where all that is left
    speaks for another answer; a useless one removed or the order changed, after which it stays.

    Args:
        subjects: those asked without demonstrations are told of.
        readings: of theirs.
        n: how many examples of each set are edited.
        procedure: how they are asked.

    Returns:
        A row for each set, subject and part or edit: accuracy (of the clean answer) with its 95 %
        interval, and the number of examples. What is possible in no example is left out.
    """
    found: list[tuple[Readings, str, np.ndarray]] = []
    by_name = {subject.name: subject for subject in subjects if not subject.shots}
    for one in (one for one in readings if one.subject in by_name):
        assert one.model.answers is not None
        examples, correct = one.examples.examples, one.model.answers.correct
        says_not = np.array(["not" in words(x.question) for x in examples])
        expected = np.array([x.answer for x in examples])
        parts = {f"answer {x}": expected == x for x in examples[0].choices} | {
            'question says "not"': says_not, 'question without "not"': ~says_not,
        }  # fmt: skip
        found += [(one, name, correct[part]) for name, part in parts.items()]
        heights = range(1 + max(x.tree.depth for x in examples))
        edits = {f"height {height} removed": removed(examples[:n], height) for height in heights}
        for edit in ("useless removed", "shuffled"):
            with suppress(Impossible):
                made = corrupt_all(examples[:n], edit, procedure.seed)[0]
                edits[edit] = [x.example for x in made]
        for edit, edited in edits.items():
            if edited:
                part = replace(one.examples, examples=edited)
                found.append((one, edit, _correct(by_name[one.subject], part, procedure)))
    return pd.DataFrame([
        {**one.about, "of": name, **accuracy(right).columns("accuracy"), "examples": len(right)}
        for one, name, right in found if len(right)
    ])  # fmt: skip


def _correct(subject: Subject, one: ExampleSet, procedure: Procedure) -> np.ndarray:
    """Whether a model answers each example of a set rightly."""
    prompts, of = procedure.ask(subject, one)
    size = procedure.batch_size
    return answers(subject.loaded.model, prompts, choices=of, batch_size=size).correct


def by_negation(examples: Sequence[Example]) -> float | None:
    """Share of questions answered rightly by "False" where they say "not", else "True"."""
    if not {example.answer for example in examples} <= {"True", "False"}:
        return None
    return float(np.mean([("not" in words(x.question)) == (x.answer == "False") for x in examples]))


def shots_table(
    asked: Subject, sets: Sequence[ExampleSet], shots: Sequence[int], n: int, procedure: Procedure
) -> pd.DataFrame:
    """Accuracy of a model with several numbers of demonstrations (Table 5), n examples of each set.

    Sets of equal depth are taken together.
    """
    rows = []
    for count in shots:
        subject = Subject(f"{count}-shot", asked.loaded, count)
        correct: dict[int, list[np.ndarray]] = {}
        for one in (one for one in sets if one.name != EVERY_DEPTH):
            part = replace(one, examples=one.examples[:n])
            correct.setdefault(one.depth, []).append(_correct(subject, part, procedure))
        for depth, parts in correct.items():
            right = np.concatenate(parts)
            about = {"depth": depth, "subject": subject.name}
            rows.append(about | accuracy(right).columns("accuracy") | {"examples": len(right)})
    return pd.DataFrame(rows)


def probe_tables(
    readings: Sequence[Readings], procedure: Procedure
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """F1s, scores and gains of every set, among all statements and, where there are kinds, rules.

    At depth 1 the heights of useful statements are their kinds, fact and rule, so G is asked again
    among rules alone, where only the order of application is left to tell.

    Returns:
        (F1s, scores, gains), the tables of ``mplib.probe.compare`` with the set and ``among`` in
        front. The gains have a column ``q``: their p-values with the share of false discoveries
        held over all sets (Benjamini and Hochberg).
    """
    tables: dict[str, list[pd.DataFrame]] = {"f1": [], "scores": [], "gains": []}
    for one in readings:
        text = {"text": text_features(one.examples.examples)}
        parts = {"all statements": one.examples.heights}
        if one.examples.rules is not None and one.examples.depth > 1:
            parts["rules alone"] = one.examples.rules
        for among, heights in parts.items():
            own = {**one.probed, "heights": heights, "text": text}
            found = scores.compare(**own, settings=procedure.settings)
            for name, parts_of in tables.items():
                parts_of.append(getattr(found, name).assign(**one.about, among=among))
    f1, found_scores, gains = map(_front, tables.values())
    return f1, found_scores, scores.discoveries(gains)


def prefix_table(readings: Sequence[Readings], procedure: Procedure) -> pd.DataFrame:
    """Scores of every set from the first l layers, over the twins' own (Figs 7 and 8)."""
    settings, compare = procedure.settings, scores.compare_prefixes
    found = [(one, compare(**one.probed, settings=settings)) for one in readings]
    return _front([table.assign(**one.about) for one, table in found])


def height_table(readings: Sequence[Readings], procedure: Procedure) -> pd.DataFrame:
    """F1 of useful against useless statements, height by height and layer by layer (Fig 7f)."""
    tables, settings = [], procedure.settings
    for one in readings:
        seen, of = one.model.features, one.examples
        found = height_prefixes(seen, of.heights, groups=of.groups, settings=settings)
        tables.append(found.assign(**one.about))
    return _front(tables)


def attention_by_height(readings: Sequence[Readings]) -> dict[str, pd.DataFrame]:
    """Where each model and its twins look: attention by gold height (rows) and layer (columns).

    Attention on a statement is divided by the mean over its example's statements: 1 is its share.
    Rows say how many statements they are the mean of.
    """
    found = {}
    for one in readings:
        heights = one.examples.heights
        known = np.unique(heights[heights != PADDING])[::-1]
        names = [
            f"{'useless' if h == USELESS else f'height {h}'} ({(heights == h).sum()})"
            for h in known
        ]
        own, twins = one.model.features, np.mean(one.twins, axis=0)
        for name, seen in ((one.subject, own), (f"twins of {one.subject}", twins)):
            share = seen / np.nanmean(seen, axis=1, keepdims=True)
            rows = [share[heights == height].mean(axis=0) for height in known]
            found[name] = pd.DataFrame(rows, names, range(1, share.shape[-1] + 1))
    return found


def transfer_table(readings: Sequence[Readings], procedure: Procedure) -> pd.DataFrame:
    """F1 of classifiers fitted to one set and asked about another, by subject.

    Returns:
        The table of ``mplib.probe.transfer`` for three kinds of features: the model's attention,
        its first random twin's, and what the text shows.
    """
    tables = []
    for subject in dict.fromkeys(one.subject for one in readings):
        own = {one.examples.name: one for one in readings if one.subject == subject}
        sets = [one.examples for one in own.values()]
        cuts = np.cumsum([len(one.examples) for one in sets])[:-1]
        text = text_features(joined(sets, subject).examples)
        # Names of groups may come twice; what is told in two sets under any name is one group.
        theories = [
            replace(x, question="", group=x.group and f"{one.name}: {x.group}")
            for one in sets
            for x in one.examples
        ]
        groups = dict(zip(own, np.split(group_names(theories), cuts), strict=True))
        for classifier in CLASSIFIERS:
            texts = zip(np.split(shown(text, classifier), cuts), sets, strict=True)
            kinds = {
                "model": [one.model.features for one in own.values()],
                "twin": [one.twins[0] for one in own.values()],
                "text": [values[:, : one.heights.shape[1]] for values, one in texts],
            }
            for kind, features in kinds.items():
                pairs = zip(features, (one.heights for one in sets), strict=True)
                given = dict(zip(own, pairs, strict=True))
                found = transfer(given, procedure.settings, [classifier], groups=groups)
                tables.append(found.assign(subject=subject, kind=kind))
    return _front(tables)


def by_set(table: pd.DataFrame, among: str = "all statements") -> pd.DataFrame:
    """A table for a figure in which every set, and every subject, is a row named after it.

    Args:
        table: of all sets and subjects.
        among: of which statements, where the table has several.
    """
    table = table[table["among"] == among] if "among" in table else table
    names = table.set + " - " + table.subject if table.subject.nunique() > 1 else table.set
    names = table.subject if table.set.nunique() == 1 else names
    return table[table.kind == "model"].assign(source=names)


def f1_overview(f1: pd.DataFrame) -> pd.DataFrame:
    """F1s with a column for each kind of source, twins averaged."""
    rows = ["set", "subject", "among", "target", "classifier"]
    f1 = f1[~f1.target.str.contains("bits")]
    return f1.pivot_table("f1", rows, "kind", aggfunc="mean", sort=False).reset_index()


def tree_tables(
    readings: Sequence[Readings], procedure: Procedure
) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """How much of each gold tree is read, set by set.

    Returns:
        The tables of ``mplib.probe.recovered`` with the set in front; of each set the heights read
        from the model, shape (examples, statements).
    """
    tables, read = [], []
    for one in readings:
        examples, groups = one.examples.examples, one.examples.groups
        found = recover(
            one.model.features, [example.tree for example in examples], twins=one.twins,
            text=text_features(examples), groups=groups, settings=procedure.settings,
        )  # fmt: skip
        tables.append(found.table.assign(**one.about))
        read.append(found.read["model"])
    return _front(tables), read


def published_table(readings: Sequence[Readings], source: Sequence[Readings] = ()) -> pd.DataFrame:
    """F1s and scores by the published protocol: folds over statements, not over theories.

    Args:
        readings: of our prompts and pooling, probed for the whole tree.
        source: of the source's prompts and pooling, probed for its labels, from
            ``mplib.studies.published``.
    """
    ours = {"labels": "whole tree", "pooling": "the paper's", "prompts": "ours"}
    tables = []
    for one, about in [*((x, ours) for x in readings), *((x, SOURCES) for x in source)]:
        models, heights = {one.subject: one.model.features}, one.examples.heights
        found = compare_published(models, one.twins, heights, published_language_f1)
        tables.append(found.assign(**one.about, **about))
    return _front(tables)


def _front(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table, what identifies a row first."""
    table = pd.concat(tables, ignore_index=True)
    first = [name for name in ("set", "subject", "among", "layers", *SOURCES) if name in table]
    return table[[*first, *(name for name in table if name not in first)]]
