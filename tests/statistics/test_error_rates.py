"""Error rates, power and coverage of the probe's scores and gains, by simulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from mplib.probe.knn import ProbeSettings
from mplib.probe.permutation import permutation_p
from mplib.probe.scores import compare, compare_prefixes
from mplib.tasks.proofwriter.generator import examples
from mplib.tasks.textbaseline import text_features
from mplib.tasks.trees import PADDING, USELESS, stack_labels

pytestmark = pytest.mark.statistics

KNN = {"classifiers": ["kNN"], "controls": ()}


def gold(n: int, statements: int, rng: np.random.Generator) -> np.ndarray:
    """A leaf and a root among useless statements, anywhere."""
    row = np.array([0, 1] + [USELESS] * (statements - 2), dtype=np.int8)
    return rng.permuted(np.tile(row, (n, 1)), axis=1)


def shown(heights: np.ndarray, gap: float, layers: int, rng: np.random.Generator) -> np.ndarray:
    """Noise, of which the first layer tells all three kinds of statements apart by a gap."""
    values = rng.normal(size=(*heights.shape, layers))
    values[..., 0] += gap * heights
    return values


def test_noise_scores_nothing_over_three_twins():
    held = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        heights = gold(60, 4, rng)
        noise = rng.normal(size=(4, *heights.shape, 6))
        found = compare({"noise": noise[0]}, heights, twins=noise[1:], **KNN).scores
        row = found[(found.kind == "model") & (found.score == "S_P1")].iloc[0]
        held.append(row.low <= 0 <= row.high)
    # One twin, and folds that are fitted once, hold in 73.
    assert sum(held) >= 75


def test_noise_gains_nothing_over_the_text_of_hidden_theories():
    above: dict[tuple[str, str], list[bool]] = {}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        told = examples(64, depth=1, n_statements=8, giveaway=False, seed=seed)
        # One height: kinds tell the heights of depth 1, so usefulness alone is asked for.
        heights = np.minimum(stack_labels([one.tree for one in told]), 0)
        noise = rng.normal(size=(4, *heights.shape, 6))
        found = compare(
            {"noise": noise[0]}, heights, twins=noise[1:], text={"text": text_features(told)},
            controls=(), settings=ProbeSettings(metric_power=1, halves=6, fold_seeds=2, seed=seed),
        ).gains  # fmt: skip
        for row in found[(found.measure == "F1") & (found.target == "V")].itertuples():
            above.setdefault(row.classifier, []).append(row.low > 0)
    assert {name: sum(values) <= 4 for name, values in above.items()} == {
        "kNN": True, "logistic": True,
    }, above  # fmt: skip


def test_attention_that_only_knows_how_many_statements_there_are_is_not_told_from_chance():
    small = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        heights = gold(40, 10, rng)
        for row in heights:
            useless = np.flatnonzero(row == USELESS)
            row[useless[rng.integers(2, 9) :]] = PADDING
        sizes = (heights != PADDING).sum(axis=1)
        blind = np.broadcast_to((1 / sizes)[:, None, None], (*heights.shape, 2))
        blind = blind + 1e-3 * rng.normal(size=blind.shape)
        two = ProbeSettings(folds=2, seed=seed)
        small += permutation_p(blind, heights, settings=two, deals=39)["V"] <= 0.05
    assert small <= 0.15 * 30


@pytest.mark.parametrize("layers", [1, 4, 30])
@pytest.mark.parametrize("classifier", ["kNN", "logistic"])
def test_a_gap_of_six_deviations_is_read(layers, classifier):
    rng = np.random.default_rng(0)
    heights = gold(128, 6, rng)
    found = compare(
        {"planted": shown(heights, 6, layers, rng)}, heights, twins=[],
        controls=(), classifiers=[classifier],
    ).f1.set_index("target")  # fmt: skip
    assert found.f1["V"] >= 0.99 and found.f1["G"] >= 0.99


def test_what_attention_adds_to_a_text_at_six_deviations_is_always_a_gain():
    """Text and attention each cannot tell the useful from half of the useless; both together can.

    Attention alone against the text alone, as scores over the text once were, finds it in 2 of 20.
    """
    above: dict[tuple[str, str], list[bool]] = {}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        heights = gold(64, 6, rng)
        text, model, twins = halves_of_the_truth(heights, rng)
        found = compare(
            {"m": model}, heights, twins=twins, text={"text": text}, controls=(),
            settings=ProbeSettings(halves=6, fold_seeds=2, seed=seed),
        ).gains  # fmt: skip
        for row in found[(found.measure == "F1") & (found.target == "V")].itertuples():
            above.setdefault(row.classifier, []).append(row.low > 0)
    assert above == {"kNN": [True] * 20, "logistic": [True] * 20}


def halves_of_the_truth(
    heights: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Text, attention and three twins; of useless statements each of the first two hides half."""
    useless = heights == USELESS
    hidden = useless & (rng.random(heights.shape) < 0.5)
    text, model = rng.normal(size=(2, *heights.shape, 4))
    text[..., 0] += 6 * (~useless | hidden)
    model[..., 0] += 6 * (~useless | (useless & ~hidden))
    return text, model, rng.normal(size=(3, *heights.shape, 4))


def errors(n: int, seeds: int, settings: ProbeSettings) -> dict[str, tuple[float, float]]:
    """Of a moderate signal: true deviation over mean standard error, and coverage."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        heights = gold(n, 4, rng)
        model, twins = shown(heights, 1, 4, rng), rng.normal(size=(3, *heights.shape, 4))
        both = compare({"m": model}, heights, twins=twins, settings=settings, **KNN)
        f1 = both.f1[both.f1.kind == "model"].rename(columns={"f1": "value", "target": "score"})
        scores = both.scores[both.scores.kind == "model"]
        for table in (f1, scores):
            for row in table.itertuples():
                found.setdefault(row.score, []).append((row.value, row.low, row.high))
    quantile, rates = student.ppf(0.975, settings.halves), {}
    for name, rows in found.items():
        value, low, high = np.array(rows).T
        error = (high - low).mean() / 2 / quantile
        covered = ((low <= value.mean()) & (value.mean() <= high)).mean()
        rates[name] = (value.std(ddof=1) / error, covered)
    return rates


def test_intervals_know_of_fitting_too():
    rates = errors(128, 80, ProbeSettings())
    for name in ("V", "G", "S_P1", "S_P2"):
        ratio, covered = rates[name]
        assert ratio <= 1.1 and covered >= 0.88, rates


def test_a_curve_of_noise_leaves_zero_nowhere():
    left = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        heights = gold(60, 4, rng)
        noise = rng.normal(size=(4, *heights.shape, 8))
        settings = replace(ProbeSettings(), seed=seed)
        curve = compare_prefixes({"m": noise[0]}, heights, twins=noise[1:], settings=settings)
        curve = curve[curve.score == "S_P1"]
        left += bool(((curve.low > 0) | (curve.high < 0)).any())
    assert left <= 0.15 * 30
