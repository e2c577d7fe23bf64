"""Which edges the answer needs: attention to the gold tree's statements cut, layers at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from mplib import stats
from mplib.errors import InputError
from mplib.models.attention import Intervention
from mplib.models.inference import Answers, all_answers, answers
from mplib.models.prompts import Prompts
from mplib.probe.knn import Predictions, useful_heights, usefulness
from mplib.stats import Estimate
from mplib.tasks.trees import PADDING, USELESS

Layers = tuple[int, int]
"""A window of layers, first and last, counted from 1."""


def edge_sets(heights: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Statements to which edges are cut, by name; each of shape (examples, statements).

    The useful ones, the root alone, the leaves alone, and as many useless ones as are useful,
    drawn at random (all of them where there are fewer). A set that is empty or equal to the useful
    statements is left out, such as the leaves of a tree of one statement.

    Args:
        heights: gold heights with ``USELESS`` and ``PADDING``, shape (examples, statements).
        seed: of the draw.
    """
    useful = heights > USELESS
    root = useful & (heights == heights.max(axis=1, keepdims=True))
    useless = heights == USELESS
    chance = np.random.default_rng(seed).random(heights.shape)
    place = np.where(useless, chance, np.inf).argsort(axis=1).argsort(axis=1)
    sets = {
        "useful statements": useful,
        "root alone": root,
        "leaves alone": useful & (heights == 0) & ~root,
        "as many useless": useless & (place < useful.sum(axis=1, keepdims=True)),
    }
    return {
        name: chosen
        for name, chosen in sets.items()
        if chosen.any() and (chosen is useful or (chosen != useful).any())
    }


def cut_edges(prompts: Prompts, statements: np.ndarray) -> Tensor:
    """The edges from the question to the chosen statements, shape (examples, tokens, tokens).

    Rows are the question's tokens and all behind them, so that nothing between the question and
    the answer can look in its place; for lists of numbers that is the last token.

    Args:
        prompts: a batch.
        statements: True for the chosen ones, shape (examples, statements).
    """
    tokens = np.arange(prompts.input_ids.shape[1])
    start, end = prompts.statements[..., :1], prompts.statements[..., 1:]
    keys = ((tokens >= start) & (tokens < end) & statements[..., None]).any(axis=1)
    queries = tokens >= prompts.question[:, :1]
    return torch.from_numpy(queries[:, :, None] & keys[:, None, :])


def answer_without(
    model: PreTrainedModel,
    prompts: Prompts,
    statements: np.ndarray,
    layers: Layers | None = None,
    *,
    renormalise: bool = True,
    choices: np.ndarray | None = None,
    batch_size: int = 256,
) -> Answers:
    """Answers every example, the edges to chosen statements cut in a window of layers.

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: the examples.
        statements: to which edges are cut, shape (examples, statements).
        layers: the window; all layers if None.
        renormalise: whether the remaining attention of a cut row sums to one again.
        choices: token ids among which the answer is looked for; the whole vocabulary if None.
        batch_size: examples a forward pass.
    """
    window = None if layers is None else frozenset(range(layers[0] - 1, layers[1]))

    def changes(chosen: np.ndarray, batch: Prompts) -> list[tuple[str, Intervention]]:
        cut = cut_edges(batch, statements[chosen]).to(model.device)
        return [("", Intervention(cut=cut, cut_layers=window, renormalise=renormalise))]

    given = all_answers(model, prompts, changes=changes, choices=choices, batch_size=batch_size)
    return given[""]


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


@dataclass(frozen=True)
class Knockout:
    """What cutting edges does to the answers.

    Attributes:
        table: a row for each set of statements, window and measure, with its 95 % interval.
        damage: drop of the right answer's log-probability in each example, by set and window.
        whole: the answers of the whole model.
        guess: accuracy of always giving the most frequent answer.
    """

    table: pd.DataFrame
    damage: dict[tuple[str, Layers], np.ndarray]
    whole: Answers
    guess: float

    def damages(self, cut: str) -> list[tuple[Layers, np.ndarray]]:
        """Windows in which one set of edges was cut, each with the damage in every example."""
        return [(span, damage) for (name, span), damage in self.damage.items() if name == cut]

    def worst(self, cut: str) -> Layers:
        """The window in which cutting these edges costs the right answer most."""
        return max(self.damages(cut), key=lambda case: case[1].mean())[0]


def knock_out(
    model: PreTrainedModel,
    prompts: Prompts,
    sets: Mapping[str, np.ndarray],
    spans: Sequence[Layers],
    *,
    renormalise: bool = True,
    choices: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    batch_size: int = 256,
) -> Knockout:
    """Cuts the question's edges to each set of statements in each window of layers.

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: the examples.
        sets: statements by name, each of shape (examples, statements); see ``edge_sets``.
        spans: windows of layers; see ``windows``.
        renormalise: whether the remaining attention of a cut row sums to one again.
        choices: token ids among which the answer is looked for; the whole vocabulary if None.
        groups: group of each example, drawn together by the bootstrap; each its own if None.
        resamples: bootstrap resamples behind each interval of a change.
        seed: of the resamples, the same for every case, so that cases can be compared.
        batch_size: examples a forward pass.
    """
    whole = answers(model, prompts, choices=choices, batch_size=batch_size)
    cases = [(name, span) for name in sets for span in spans]
    weights = stats.example_weights(len(prompts), groups, resamples, seed)
    rows, damage = [], {}
    for name, span in tqdm(cases, desc="knock-out", unit="cut"):
        cut = answer_without(
            model, prompts, sets[name], span, renormalise=renormalise, choices=choices,
            batch_size=batch_size,
        )  # fmt: skip
        damage[name, span] = whole.log_probability - cut.log_probability
        lost = whole.correct - cut.correct.astype(float)
        found = {
            "accuracy": stats.accuracy(cut.correct),
            "change in accuracy": stats.weighted_mean(-lost, weights),
            "change in log-probability": stats.weighted_mean(-damage[name, span], weights),
        }
        rows += [
            {
                "cut": name, "window": span[1] - span[0] + 1, "first_layer": span[0],
                "last_layer": span[1], "measure": measure, **estimate.columns(),
                "renormalised": renormalise, "examples": len(prompts),
            }
            for measure, estimate in found.items()
        ]  # fmt: skip
    return Knockout(pd.DataFrame(rows), damage, whole, stats.constant_guess(prompts.answers))


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
    cut: str = "useful statements",
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
        found: a knock-out of the same examples.
        cut: the set of statements whose edges were cut.
        groups: group of each example, drawn together by the bootstrap; each its own if None.
        resamples: bootstrap resamples behind each interval.
        seed: of the resamples.

    Returns:
        A row for each window, measure and statistic; without a value, and with a note, where one
        side does not vary.
    """
    weights = stats.example_weights(len(found.whole.correct), groups, resamples, seed)
    rows = []
    for span, damage in found.damages(cut):
        for measure, right in correctness.items():
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
                rows.append((*span, measure, statistic, *astuple(estimate), note))
    return pd.DataFrame(rows, columns=[
        "first_layer", "last_layer", "probe", "statistic", "value", "low", "high", "note"
    ])  # fmt: skip
