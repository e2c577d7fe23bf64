"""Which layers are probed: their selection, how they are named, and heights layer by layer."""

import weakref
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from conftest import MODERN, VOCABULARY, build, make_prompts, predicted_tokens, singles
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, LlamaConfig

from mplib.errors import InputError
from mplib.models.attention import Intervention
from mplib.models.prompts import Prompts
from mplib.probe.knn import ProbeSettings
from mplib.probe.scores import compare
from mplib.stats import accuracy
from mplib.studies import layers
from mplib.studies.layers import height_prefixes, parse_layers, select_layers, write_layers
from mplib.tasks.trees import PADDING, USELESS

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(4, 15, size=50)
PADDED = make_prompts(
    LENGTHS, [[(0, 1)]] * len(LENGTHS), np.stack([LENGTHS - 1, LENGTHS], axis=1), seed=1
)
FAMILIES = ["gpt2", "llama"]


def answered(model, prompts: Prompts = PADDED, wrong: int = 0) -> Prompts:
    """The prompts with the model's own answers, so that what is lost can be counted."""
    answers = predicted_tokens(model, prompts)
    answers[:wrong] = (answers[:wrong] + 1) % VOCABULARY
    return replace(prompts, answers=answers)


class Anew:
    """Every set of layers switched off, each example evaluated alone, without padding."""

    def __init__(self, model, prompts: Prompts, choices=None) -> None:
        self.right: dict[frozenset[int], np.ndarray] = {}
        for off in (set(bits) for n in range(4) for bits in combinations(range(3), n)):
            heads = torch.zeros(3, 4, dtype=torch.bool)
            heads[sorted(off)] = True
            change = Intervention(heads_off=heads)
            predicted = [
                predicted_tokens(model, one, choices=choices, change=change)[0]
                for one in singles(prompts.whole())
            ]
            self.right[frozenset(off)] = np.array(predicted) == prompts.answers

    def __getitem__(self, off: set[int]) -> int:
        """How many examples are right without these layers' attention."""
        return self.right[frozenset(off)].sum()

    def greedy(self, tolerance: float, *, total: bool = True):
        """The layers kept, from 1, and how many examples are right in each trial."""
        off: set[int] = set()
        trials = []
        allowed = self[off] - tolerance * 50
        for layer in (2, 1, 0):
            trials.append(self[off | {layer}])
            if trials[-1] >= allowed - 1e-6:
                off.add(layer)
                allowed = allowed if total else trials[-1] - tolerance * 50
        return tuple(n + 1 for n in range(3) if n not in off), trials


# Selection


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("unused", [0, 1, 2])
def test_a_layer_whose_attention_gives_nothing_goes_and_only_that_one(family, unused):
    model = build(family)
    projections = {"gpt2": "attn.c_proj.weight", "llama": "self_attn.o_proj.weight"}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if f".{unused}.{projections[family]}" in name:
                parameter.zero_()
    found = select_layers(model, answered(model), tolerance=0, batch_size=16)
    assert found.kept == tuple(n + 1 for n in range(3) if n != unused)
    assert found.table.layer.tolist() == [3, 2, 1]
    assert found.table.removed.tolist() == [n == unused for n in (2, 1, 0)]
    assert found.clean.value == found.after.value == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_search_is_that_of_evaluating_everything_anew(family):
    model = build(family)
    prompts = answered(model, wrong=5)
    anew = Anew(model, prompts)
    results, differ = set(), False
    for tolerance in np.linspace(0, 1, 11):
        found = select_layers(model, prompts, tolerance=tolerance, batch_size=16)
        kept, trials = anew.greedy(tolerance)
        assert found.kept == kept
        off: set[int] = set()
        for row, right in zip(found.table.itertuples(), trials, strict=True):
            expected = accuracy(np.arange(50) < right)
            assert (row.accuracy, row.low, row.high) == pytest.approx(
                (expected.value, expected.low, expected.high)
            )
            assert row.removed == (row.layer not in kept)
            assert (row.layers_off, row.examples) == (len(off) + 1, 50)
            off |= {row.layer - 1} if row.removed else set()
        assert found.clean.value == 0.9
        assert found.after.value == anew[off] / 50 >= 0.9 - tolerance - 1e-6
        results.add(kept)
        # A rule that allows as much for each layer must not pass.
        differ |= anew.greedy(tolerance, total=False)[0] != kept
    assert {(1, 2, 3), ()} < results and differ


def test_a_loss_of_just_the_tolerance_is_allowed(gpt2):
    prompts, inexact = answered(gpt2), False
    for wrong in range(10):
        prompts.answers[:wrong] = VOCABULARY - 1
        strict = select_layers(gpt2, prompts, tolerance=0)
        without = strict.table.accuracy[0]
        lost = round(strict.clean.value - without, 2)
        assert lost > 0.02 and not strict.table.removed[0]
        assert select_layers(gpt2, prompts, tolerance=lost).table.removed[0]
        assert not select_layers(gpt2, prompts, tolerance=lost - 0.01).table.removed[0]
        inexact |= without < strict.clean.value - lost
    assert inexact, "some loss must be one that floating-point numbers get wrong"


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_batches_and_a_shared_prefix_change_nothing(family):
    model = build(family)
    same = np.tile(np.arange(20, 26), (50, 1))
    # Six tokens that all prompts begin with, before each one's own.
    ids = np.concatenate([np.zeros((50, 6), dtype=np.int64), PADDED.input_ids], axis=1)
    pads = ids.shape[1] - PADDED.lengths - 6
    np.put_along_axis(ids, pads[:, None] + np.arange(6), same, axis=1)
    longer = replace(
        PADDED,
        input_ids=ids,
        attention_mask=np.arange(ids.shape[1]) >= pads[:, None],
        statements=PADDED.statements + 6,
        question=PADDED.question + 6,
    )
    prompts = answered(model, longer)
    shared = prompts.share_prefix()
    assert len(shared.prefix) == 6
    kept, trials = Anew(model, prompts).greedy(0.6)
    for given_prompts, batch_size in ((prompts, 256), (prompts, 7), (shared, 7)):
        found = select_layers(model, given_prompts, tolerance=0.6, batch_size=batch_size)
        assert found.kept == kept
        np.testing.assert_allclose(found.table.accuracy * 50, trials)


def test_answers_are_looked_for_among_the_choices(gpt2):
    answers = np.arange(50) % 2 + 7
    prompts = replace(PADDED, answers=answers)
    choices = np.array([7, 8])
    found = select_layers(gpt2, prompts, choices=choices, tolerance=0.1)
    anew = Anew(gpt2, prompts, choices)
    kept, trials = anew.greedy(0.1)
    assert found.kept == kept
    assert found.clean.value == anew[set()] / 50 > 0.2
    np.testing.assert_allclose(found.table.accuracy * 50, trials)


def test_trials_begin_above_what_is_known_and_leave_the_model_as_it_was(gpt2, monkeypatch):
    computed: Counter[int] = Counter()
    hooks = [
        block.attn.register_forward_hook(lambda *_, layer=layer: computed.update([layer]))
        for layer, block in enumerate(gpt2.transformer.h)
    ]
    before = predicted_tokens(gpt2, PADDED)
    computed.clear()
    outputs: dict[int, weakref.ref] = {}
    hooks += [
        block.register_forward_hook(
            lambda *given: outputs.update({id(given[-1]): weakref.ref(given[-1])})
        )
        for block in gpt2.transformer.h
    ]
    held = []

    def watched(*args, trial=layers.all_answers, **kwargs):
        given = trial(*args, **kwargs)
        held.append(sum(output() is not None for output in outputs.values()))
        return given

    monkeypatch.setattr(layers, "all_answers", watched)
    select_layers(gpt2, PADDED, batch_size=25)
    for hook in hooks:
        hook.remove()
    # Two batches, four evaluations: the trial of the top layer begins above the second.
    assert [computed[layer] for layer in range(3)] == [6, 6, 8]
    assert held == [2] * 4, "one layer's output is kept for each batch, no more"
    assert all("forward" not in vars(block) for block in gpt2.transformer.h)
    assert (predicted_tokens(gpt2, PADDED) == before).all()


def test_a_deeper_model_is_searched_as_if_every_trial_were_computed_anew():
    config = LlamaConfig(**MODERN | {"num_hidden_layers": 9})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    prompts = answered(model)
    computed: list[int] = []
    for layer in model.model.layers:
        layer.self_attn.register_forward_hook(lambda *_: computed.append(1))
    found = select_layers(model, prompts, tolerance=0.7)
    assert len(computed) < 0.75 * 10 * 9
    assert 0 < len(found.kept) < 9
    off = torch.zeros(9, 4, dtype=torch.bool)
    for row in found.table.itertuples():
        off[row.layer - 1] = True
        predicted = predicted_tokens(model, prompts, change=Intervention(heads_off=off))
        assert row.accuracy == (predicted == prompts.answers).mean()
        assert row.removed == (row.accuracy >= 0.3 - 1e-6)
        off[row.layer - 1] = row.removed


@pytest.mark.parametrize(("wrong", "meaningful"), [(10, True), (20, False), (50, False)])
def test_at_chance_or_below_nothing_can_be_selected(gpt2, wrong, meaningful):
    choices = np.array([11, 40])
    answers = predicted_tokens(gpt2, PADDED, choices=choices)
    # By turns from either answer, so that both stay as frequent as they are.
    by_turns = np.argsort(answers, kind="stable").reshape(2, 25).T.ravel()[:wrong]
    answers[by_turns] = 51 - answers[by_turns]
    found = select_layers(gpt2, replace(PADDED, answers=answers), choices=choices)
    assert found.guess == 0.5 and found.clean.value == 1 - wrong / 50
    assert found.meaningful == meaningful


@pytest.mark.parametrize("tolerance", [-0.01, 5, float("nan")])
def test_a_tolerance_that_is_no_share_is_refused(gpt2, tolerance):
    with pytest.raises(InputError, match=f"tolerance={tolerance}.*from 0 to 1"):
        select_layers(gpt2, PADDED, tolerance=tolerance)


# Layers in words


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("all", (*range(1, 13),)), ("1-12", (*range(1, 13),)), ("1-10,12", (*range(1, 11), 12)),
        ("selected", None), ("7", (7,)), ("5-5", (5,)), ("12, 1 - 3", (1, 2, 3, 12)),
        ("2-4,3-5,4", (2, 3, 4, 5)),
    ],
)  # fmt: skip
def test_layers_are_read_from_a_parameter(text, named):
    assert parse_layers(text, 12) == named


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", ""), ("1,,3", ""), ("1,", ""), ("0", "0"), ("13", "13"), ("1-13", "1-13"),
        ("0-3", "0-3"), ("2,5-3", "5-3"), ("-3", "-3"), ("3-", "3-"), ("1:3", "1:3"),
        ("All", "All"), ("1.5", "1.5"), ("1-2-3", "1-2-3"), ("٣", "٣"), ("all,2", "all"),
        ("1 2", "1 2"),
    ],
)  # fmt: skip
def test_wrong_layers_are_named(text, part):
    with pytest.raises(InputError) as error:
        parse_layers(text, 12)
    assert str(error.value).startswith(f"layers={text!r}: {part!r} is no layer")
    assert "from 1 to 12; write 'all', 'selected'" in str(error.value)


@given(st.sets(st.integers(1, 40), min_size=1))
def test_layers_are_written_as_they_are_read(chosen):
    written = write_layers(tuple(sorted(chosen)))
    assert parse_layers(written, 40) == tuple(sorted(chosen))


# Heights layer by layer


FAST = ProbeSettings(halves=5)


def planted(n: int = 100, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Heights 0 to 2, and features of which layer h shows height h, and no layer height 2."""
    rng = np.random.default_rng(seed)
    heights = rng.permuted(np.tile([0, 0, 1, 1, 2, *[USELESS] * 4, PADDING], (n, 1)), axis=1)
    features = rng.normal(size=(*heights.shape, 3))
    for height in (0, 1):
        features[..., height] += 8 * (heights == height)
    return features, heights.astype(np.int8)


def test_each_height_is_found_from_the_layer_on_that_shows_it():
    features, heights = planted()
    found = height_prefixes(features, heights, settings=FAST).set_index(["layers", "height"])
    assert len(found) == 3 * 3
    assert (found.low <= found.f1).all() and (found.f1 <= found.high).all()
    for first in (1, 2, 3):
        assert found.f1[first, 0] > 0.95
        assert (found.f1[first, 1] > 0.95) == (first > 1)
        assert found.f1[first, 2] < 0.65
    assert found.high[1, 1] < 0.65


def test_height_by_height_is_the_first_classifier_without_the_other_heights():
    features, heights = planted()
    groups = np.repeat(np.arange(50), 2)
    settings = ProbeSettings(5, 1, folds=3, halves=5, seed=4, fold_seeds=1)
    of = {"groups": groups, "settings": settings}
    found = height_prefixes(features, heights, **of)
    first = height_prefixes(features[..., :1], heights, **of).set_index("height")
    wider = []
    for row in found.itertuples():
        left = heights.copy()
        left[(heights >= 0) & (heights != row.height)] = PADDING
        values = {"model": features[..., : row.layers]}
        f1 = compare(values, left, twins=[], controls=(), classifiers=["kNN"], **of).f1
        expected = f1[(f1.source == "model") & (f1.target == "V")].iloc[0]
        assert row.f1 == pytest.approx(expected.f1)
        assert row.low <= expected.low and expected.high <= np.clip(row.high, 0, 1)
        if row.layers == 1:
            # A curve of one point has that point's own interval; the longer one's is wider.
            alone = first.loc[row.height]
            ends = np.clip([alone.low, alone.high], 0, 1)
            assert ends == pytest.approx((expected.low, expected.high))
            wider.append((row.high - row.low) / (alone.high - alone.low))
    assert min(wider) >= 1 and max(wider) > 1.1


def test_without_useless_statements_there_is_nothing_to_tell():
    features, heights = planted(20)
    found = height_prefixes(features, np.where(heights == USELESS, PADDING, heights))
    assert found.empty and list(found) == ["layers", "height", "f1", "low", "high"]


def test_heights_of_other_examples_are_refused():
    features, heights = planted(20)
    with pytest.raises(InputError, match="shape"):
        height_prefixes(features, heights[:10], settings=FAST)
