"""Which edges the answer needs: attention to the gold tree's statements cut, layers at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from scipy.stats import norm, rankdata
from torch import Tensor
from transformers import PreTrainedModel

from mplib import stats
from mplib.errors import InputError, one_of
from mplib.models.attention import Intervention, Reduction, layer_count
from mplib.models.inference import Answers, all_answers, answers, attention_features
from mplib.models.prompts import Prompts
from mplib.probe.knn import Predictions, useful_heights, usefulness
from mplib.stats import Estimate
from mplib.studies.language import Procedure, Subject
from mplib.tasks.examples import ExampleSet
from mplib.tasks.trees import PADDING, USELESS

Layers = tuple[int, int]
"""A window of layers, first and last, counted from 1."""

Case = tuple[str, Layers, bool]
"""A knock-out: the set of statements, the window, and whether what is left sums to one again."""

Queries = Literal["question", "all"]
"""From which tokens edges are cut: the question's, or all that stand behind the statement."""

USEFUL, MATCHED = "useful statements", "useless of equal mass"
"""The set whose edges the answer should need, and the control that takes as much attention."""


def edge_sets(
    heights: np.ndarray,
    seed: int = 0,
    mass: np.ndarray | None = None,
    spans: Sequence[Layers] = (),
) -> dict[str, np.ndarray]:
    """Statements to which edges are cut, by name; each of shape (examples, statements).

    The useful ones, the root alone, the leaves alone, as many useless ones as are useful, drawn at
    random (all of them where there are fewer), useless ones of equal mass, which differ from window
    to window, shape (windows, examples, statements), and all useless ones. A set that is empty or
    equal to the useful statements is left out, such as the leaves of a tree of one statement.

    Args:
        heights: gold heights with ``USELESS`` and ``PADDING``, shape (examples, statements).
        seed: of the draw.
        mass: of ``attention_mass``; no set of equal mass if None.
        spans: the windows; see ``windows``.
    """
    useful = heights > USELESS
    root = useful & (heights == heights.max(axis=1, keepdims=True))
    useless = heights == USELESS
    chance = np.random.default_rng(seed).random(heights.shape)
    place = np.where(useless, chance, np.inf).argsort(axis=1).argsort(axis=1)
    sets = {
        USEFUL: useful,
        "root alone": root,
        "leaves alone": useful & (heights == 0) & ~root,
        "as many useless": useless & (place < useful.sum(axis=1, keepdims=True)),
        MATCHED: useless[:0] if mass is None else equal_mass(heights, mass, spans),
        "all useless": useless,
    }
    return {
        name: chosen
        for name, chosen in sets.items()
        if chosen.any() and (chosen is useful or (chosen != useful).any())
    }


def attention_mass(model: PreTrainedModel, prompts: Prompts, batch_size: int = 256) -> np.ndarray:
    """Share of the question's attention that each statement gets in each layer.

    Returns:
        The sum over the statement's tokens, the mean over the question's and over heads, shape
        (examples, statements, layers); zero where an example has no such statement.
    """
    per_token = attention_features(
        model, prompts, reduction=Reduction(question="mean"), batch_size=batch_size
    )
    tokens = prompts.statements[..., 1] - prompts.statements[..., 0]
    return np.nan_to_num(per_token) * tokens[..., None]


def mass_in(mass: np.ndarray, spans: Sequence[Layers]) -> np.ndarray:
    """The mean over the layers of each window, shape (windows, examples, statements)."""
    return np.stack([mass[..., first - 1 : last].mean(axis=-1) for first, last in spans])


def equal_mass(heights: np.ndarray, mass: np.ndarray, spans: Sequence[Layers]) -> np.ndarray:
    """Useless statements that together get about as much attention as the useful ones.

    Chosen for each window and example: from the one that gets most to the one that gets least, each
    is taken that brings the sum nearer. Where all useless ones get less, that is all of them.

    Args:
        heights: gold heights, shape (examples, statements).
        mass: of ``attention_mass``, in the untouched model.
        spans: windows of layers.

    Returns:
        True for those chosen, shape (windows, examples, statements).
    """
    shares = mass_in(mass, spans)
    wanting = np.where(heights > USELESS, shares, 0).sum(axis=-1, keepdims=True)
    offered = np.where(heights == USELESS, shares, 0)
    chosen = np.zeros(offered.shape, dtype=bool)
    for place in np.split(np.argsort(-offered, axis=-1), offered.shape[-1], axis=-1):
        share = np.take_along_axis(offered, place, axis=-1)
        nearer = wanting > share / 2
        np.put_along_axis(chosen, place, nearer, axis=-1)
        wanting = wanting - share * nearer
    return chosen & (heights == USELESS)


def cut_edges(prompts: Prompts, statements: np.ndarray, queries: Queries = "question") -> Tensor:
    """The edges to the chosen statements that are cut, shape (examples, tokens, tokens).

    Tokens are those of the prefix too, where there is one.

    Rows are the question's tokens and all behind them, so that nothing between the question and
    the answer can look in its place; for lists of numbers that is the last token. With ``all``
    every token behind a statement is a row too, so that nothing else can hand on what it says.

    Args:
        prompts: a batch.
        statements: True for the chosen ones, shape (examples, statements).
        queries: from which tokens edges are cut.
    """
    one_of("queries", queries, get_args(Queries))
    tokens = np.arange(len(prompts.prefix) + prompts.input_ids.shape[1])
    start, end = prompts.statements[..., :1], prompts.statements[..., 1:]
    first = np.broadcast_to(prompts.question[:, :1, None], end.shape)
    looking = tokens >= (first if queries == "question" else np.minimum(first, end))
    seen = (tokens >= start) & (tokens < end) & statements[..., None]
    pairs = (torch.from_numpy(part).float() for part in (looking.swapaxes(1, 2), seen))
    return torch.bmm(*pairs) > 0


def answers_without(
    model: PreTrainedModel, prompts: Prompts, cases: Mapping[Case, np.ndarray],
    queries: Queries = "question", *, choices: np.ndarray | None = None, batch_size: int = 256,
) -> dict[Case, Answers]:  # fmt: skip
    """Answers every example, the edges to chosen statements cut in a window of layers, by case.

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: the examples.
        cases: to which statements edges are cut, each of shape (examples, statements).
        queries: from which tokens edges are cut; see ``cut_edges``.
        choices: token ids among which the answer is looked for; the whole vocabulary if None.
        batch_size: examples a forward pass.
    """

    def changes(chosen: np.ndarray, batch: Prompts) -> Iterator[tuple[Case, Intervention]]:
        for case, statements in cases.items():
            cut = cut_edges(batch, statements[chosen], queries).to(model.device)
            _, (first, last), again = case
            window = frozenset(range(first - 1, last))
            yield case, Intervention(cut=cut, cut_layers=window, renormalise=again)

    found = all_answers(
        model, prompts, changes=changes, choices=choices, batch_size=batch_size,
        late=queries == "question", title="knock-out",
    )  # fmt: skip
    return {case: found[case] for case in cases}


def windows(layers: int, sizes: Sequence[int]) -> list[Layers]:
    """Every window of each size that slides over the layers.

    Raises:
        InputError: a window is empty or larger than the model.

    >>> windows(4, [1, 3])
    [(1, 1), (2, 2), (3, 3), (4, 4), (1, 3), (2, 4)]
    """
    if wrong := [size for size in sizes if not 1 <= size <= layers]:
        raise InputError(f"a window of {wrong[0]} layers: it must have from 1 to {layers} layers")
    return [(first, first + n - 1) for n in sizes for first in range(1, layers - n + 2)]


def blocks(layers: int, count: int) -> list[Layers]:
    """Windows side by side over all layers, as equal as can be.

    Raises:
        InputError: there are fewer layers than that.

    >>> blocks(7, 3)
    [(1, 2), (3, 4), (5, 7)]
    """
    if not 1 <= count <= layers:
        raise InputError(f"{count} windows: a model of {layers} layers has from 1 to {layers}")
    edges = [layers * i // count for i in range(count + 1)]
    return [(first + 1, last) for first, last in pairwise(edges)]


@dataclass(frozen=True)
class Knockout:
    """What cutting edges does to the answers.

    Attributes:
        table: a row for each set of statements, window, measure, and with and without what is left
            summing to one again; with how many statements were cut and what share of the question's
            attention they get in the untouched model (``mass``), both means over examples.
        cut: the answers by case.
        whole: the answers of the whole model.
        guess: accuracy of always giving the most frequent answer.
    """

    table: pd.DataFrame
    cut: dict[Case, Answers]
    whole: Answers
    guess: float


def knock_out(
    model: PreTrainedModel,
    prompts: Prompts,
    sets: Mapping[str, np.ndarray],
    spans: Sequence[Layers],
    mass: np.ndarray,
    *,
    renormalise: Sequence[bool] = (True, False),
    queries: Queries = "question",
    choices: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    batch_size: int = 256,
) -> Knockout:
    """Cuts the edges to each set of statements in each window of layers.

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: the examples.
        sets: statements by name, each of shape (examples, statements), or (windows, examples,
            statements) where windows have their own; see ``edge_sets`` and ``equal_mass``.
        spans: windows of layers; see ``windows``.
        mass: of ``attention_mass``.
        renormalise: whether the remaining attention of a cut row sums to one again; both by
            default.
        queries: from which tokens edges are cut; see ``cut_edges``.
        choices: token ids among which the answer is looked for; the whole vocabulary if None.
        groups: group of each example, drawn together by the bootstrap; each its own if None.
        resamples: bootstrap resamples behind each interval of a change.
        seed: of the resamples, the same for every case, so that cases can be compared.
        batch_size: examples a forward pass.
    """
    whole = answers(model, prompts, choices=choices, batch_size=batch_size)
    weights = stats.example_weights(len(prompts), groups, resamples, seed)
    shares, rows = mass_in(mass, spans), []
    cases = {
        (name, span, again): statements
        for name, chosen in sets.items()
        for span, share, statements in zip(
            spans, shares, np.broadcast_to(chosen, shares.shape), strict=True
        )
        for again in renormalise
    }
    given = answers_without(model, prompts, cases, queries, choices=choices, batch_size=batch_size)
    for (name, span, again), cut in given.items():
        statements = cases[name, span, again]
        share = (statements * shares[spans.index(span)]).sum(axis=-1).mean()
        found = {"accuracy": stats.accuracy(cut.correct), **_changes(cut, whole, weights)}
        about = {
            "cut": name, "window": span[1] - span[0] + 1, "first_layer": span[0],
            "last_layer": span[1], "renormalised": again, "queries": queries,
            "statements": statements.sum(axis=-1).mean(), "mass": share, "examples": len(prompts),
        }  # fmt: skip
        rows += [about | {"measure": key, **value.columns()} for key, value in found.items()]
    return Knockout(pd.DataFrame(rows), given, whole, stats.constant_guess(prompts.answers))


def knock_out_words(
    subjects: Sequence[Subject], questions: ExampleSet, procedure: Procedure, count: int, *,
    renormalise: bool = True, queries: Queries = "question", resamples: int = 1000,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Cuts the edges to each set of statements, in blocks of layers and in all, for each subject.

    Args:
        subjects: the models, as they are asked.
        questions: in words.
        procedure: how they are asked; its seed is that of random statements and resamples.
        count: into how many blocks the layers are divided; see ``blocks``.
        renormalise: whether the remaining attention of a cut row sums to one again.
        queries: from which tokens edges are cut; see ``cut_edges``.
        resamples: bootstrap resamples behind each interval of a change.

    Returns:
        The table of ``knock_out`` and that of ``contrasts``, with the column ``subject`` in front.
        The former has a row more for each subject: accuracy with ``nothing`` cut, in no layer; and
        a column ``guess``, the accuracy of always giving the most frequent answer.

    Raises:
        InputError: a model has fewer layers than blocks.
    """
    tables, size = [], procedure.batch_size
    drawing: dict[str, Any] = {"resamples": resamples, "seed": procedure.seed}
    drawing["groups"] = questions.groups
    for subject in subjects:
        model, (prompts, choices) = subject.loaded.model, procedure.ask(subject, questions)
        layers = layer_count(model)
        spans = [*dict.fromkeys([*blocks(layers, count), (1, layers)])]
        mass = attention_mass(model, prompts, size)
        sets = edge_sets(questions.heights, procedure.seed, mass, spans)
        found = knock_out(
            model, prompts, sets, spans, mass, renormalise=[renormalise], queries=queries,
            choices=choices, batch_size=size, **drawing,
        )  # fmt: skip
        whole = stats.accuracy(found.whole.correct).columns()
        untouched = {"cut": "nothing", "window": 0, "first_layer": 0, "last_layer": 0}
        row = found.table.iloc[:1].assign(**untouched, statements=0, mass=0, measure="accuracy")
        table = pd.concat([row.assign(**whole), found.table]).assign(guess=found.guess)
        tables.append((table, contrasts(found, **drawing)))
        for part in tables[-1]:
            part.insert(0, "subject", subject.name)
    cut, against = (pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True))
    return cut, against


def needed(subject: Subject, questions: ExampleSet, procedure: Procedure) -> np.ndarray:
    """What each answer needs of the proof: cut in all layers, beyond useless edges of equal mass.

    Returns:
        Whether it is right with the useless edges cut, less whether it is with the useful ones cut,
        from the question's tokens; -1, 0 or 1, shape (examples,).
    """
    model, (prompts, choices) = subject.loaded.model, procedure.ask(subject, questions)
    span, size = (1, layer_count(model)), procedure.batch_size
    mass = attention_mass(model, prompts, size)
    matched = equal_mass(questions.heights, mass, [span])[0]
    cases = {(USEFUL, span, True): questions.heights > USELESS, (MATCHED, span, True): matched}
    found = answers_without(model, prompts, cases, choices=choices, batch_size=size)
    useful, useless = (found[case].correct.astype(float) for case in cases)
    return useless - useful


def _changes(cut: Answers, whole: Answers, weights: np.ndarray) -> dict[str, Estimate]:
    """Paired changes from some answers to others, with their 95 % intervals."""
    right = cut.correct.astype(float) - whole.correct
    return {
        "change in accuracy": stats.weighted_mean(right, weights),
        "change in log-probability": stats.weighted_mean(
            cut.log_probability - whole.log_probability, weights
        ),
    }


def contrasts(
    found: Knockout, *, groups: np.ndarray | None = None, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """How much more the cut of the useful edges costs than that of each useless set.

    Args:
        found: a knock-out.
        groups: group of each example, drawn together by the bootstrap; each its own if None.
        resamples: bootstrap resamples behind each interval.
        seed: of the resamples.

    Returns:
        A row for each useless set (``minus``), window and measure: the paired difference with its
        95 % interval and p-values, see ``with_p``.
    """
    weights = stats.example_weights(len(found.whole.correct), groups, resamples, seed)
    rows = [
        {
            "cut": USEFUL, "minus": name, "first_layer": span[0], "last_layer": span[1],
            "renormalised": again, "measure": measure, **estimate.columns(),
        }
        for (name, span, again), control in found.cut.items() if "useless" in name
        for measure, estimate in _changes(found.cut[USEFUL, span, again], control, weights).items()
    ]  # fmt: skip
    return with_p(pd.DataFrame(rows)) if rows else pd.DataFrame()


def with_p(table: pd.DataFrame, correlations: bool = False) -> pd.DataFrame:
    """A table of figures with the p-values of "it is 0", each alone and among all of its rows.

    ``p`` is that of a normal with the interval's width (Altman and Bland 2011); a correlation is
    taken after Fisher's transformation. ``p_fdr`` is corrected for the rows being many: of the rows
    below 0.05, 5 % are expected to be false (Benjamini and Hochberg 1995). Both are NaN where there
    is no figure, or no width.

    Args:
        table: with columns value, low and high.
        correlations: whether the figures are correlations.
    """
    figures = table[["value", "low", "high"]].astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        value, low, high = (np.arctanh(figures) if correlations else figures).to_numpy().T
        p = 2 * norm.sf(np.abs(value) * 2 * norm.ppf(0.975) / (high - low))
    return table.assign(p=p, p_fdr=stats.false_discoveries(p))


def _correlation(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson correlation under each row of weights; NaN where one side does not vary."""
    total = weights.sum(axis=1)
    a, b = a - a.mean(), b - b.mean()
    means = [weights @ x / total for x in (a, b, a * a, b * b, a * b)]
    variances = (means[2] - means[0] ** 2) * (means[3] - means[1] ** 2)
    varies = variances > 1e-12 * max(float(a.var() * b.var()), 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(varies, (means[4] - means[0] * means[1]) / np.sqrt(variances), np.nan)


def probe_correctness(heights: np.ndarray, predictions: Predictions) -> dict[str, np.ndarray]:
    """How right the probe was in each example, each of shape (examples,).

    Args:
        heights: gold heights, shape (examples, statements).
        predictions: the probe's, out of fold.
    """
    rated = heights != PADDING
    useful = (predictions.useful == usefulness(heights)) | ~rated
    height = (predictions.height == useful_heights(heights)) | ~(heights > USELESS)
    return {
        "whole tree right": (useful & height).all(axis=1).astype(float),
        "share of statements right": (useful & rated).sum(axis=1) / rated.sum(axis=1),
    }


def agreement(
    correctness: Mapping[str, np.ndarray],
    found: Knockout,
    *,
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Does an example whose tree the probe reads suffer more when the tree's edges are cut?

    Correlates, over examples, the probe's correctness with the drop of the right answer's
    log-probability. Ranks are those of the whole sample in every resample.

    Args:
        correctness: of the probe, by measure, each of shape (examples,).
        found: a knock-out of the same examples, of which the cuts of useful statements count.
        groups: group of each example, drawn together by the bootstrap; each its own if None.
        resamples: bootstrap resamples behind each interval.
        seed: of the resamples.

    Returns:
        A row for each window, with and without what is left summing to one again, measure and
        statistic, with p-values (see ``with_p``); without a value, and with a note, where one side
        does not vary.
    """
    weights = stats.example_weights(len(found.whole.correct), groups, resamples, seed)
    rows = []
    for (cut, span, again), given in found.cut.items():
        damage = found.whole.log_probability - given.log_probability
        for measure, right in correctness.items() if cut == USEFUL else ():
            cases = {"Spearman": (rankdata(right), rankdata(damage))}
            if len(np.unique(right)) == 2:
                cases["point-biserial"] = (right, damage)
            for statistic, pair in cases.items():
                values = _correlation(*pair, weights)
                estimate, note = Estimate(np.nan, np.nan, np.nan), None
                if np.isnan(values[0]):
                    constant = "the damage" if np.ptp(damage) == 0 else "the probe's correctness"
                    note = f"undefined: {constant} is the same in every example"
                else:
                    estimate = stats.percentile_interval(values)
                rows.append({
                    "first_layer": span[0], "last_layer": span[1], "renormalised": again,
                    "probe": measure, "statistic": statistic, **estimate.columns(), "note": note,
                })  # fmt: skip
    return with_p(pd.DataFrame(rows), correlations=True)
