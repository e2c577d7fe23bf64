"""The published protocol against figures that the paper's published source computed."""

import json
from typing import Any

import numpy as np
import pytest
from conftest import GOLDEN, needs_golden, numbers, predicted_tokens
from transformers import AutoModelForCausalLM

from mplib.models import inference
from mplib.models.attention import Reduction
from mplib.probe.published import published_f1
from mplib.studies import heads
from mplib.tasks.ksmallest import KSmallest

pytestmark = needs_golden
CLOSE = {"rtol": 0, "atol": 1e-4}


class Study:
    """A folder's lists and checkpoint, and what mplib makes of them."""

    def __init__(self) -> None:
        content = json.loads((GOLDEN / "golden.json").read_text())
        self.everything: dict[str, Any] = content["results"]
        self.distinct: dict[str, Any] = self.everything["distinct"]
        self.lists = np.array(content["lists"])
        vocabulary, m = self.everything["vocab"], self.everything["m"]
        self.task = KSmallest(self.everything["k0"] + 1, m, vocabulary, repeats=True)
        self.model = AutoModelForCausalLM.from_pretrained(GOLDEN, use_safetensors=True).eval()
        self.prompts = numbers(self.task, self.lists)
        self.features = inference.attention_features(self.model, self.prompts, batch_size=128)
        self.scaled = inference.scale_examples(self.features)
        self.is_distinct = np.array([len(set(row)) == m for row in self.lists.tolist()])


@pytest.fixture(scope="module")
def study() -> Study:
    return Study()


def test_the_lists_are_those_of_the_figures(study):
    assert study.lists.shape == (study.everything["n"], study.everything["m"])
    assert study.is_distinct.sum() == study.distinct["n"]


@pytest.mark.parametrize("distinct", [False, True], ids=["all", "distinct"])
def test_both_f1s(study, distinct):
    rows = study.is_distinct if distinct else slice(None)
    expected = study.distinct if distinct else study.everything
    found = published_f1(study.scaled[rows], study.task.published_heights(study.lists[rows]))
    np.testing.assert_allclose(found["V"], expected["f1_noise"], **CLOSE)
    np.testing.assert_allclose(found["G"], expected["f1_depth"], **CLOSE)


def test_the_f1s_of_every_prefix_of_layers(study):
    scaled = study.scaled[study.is_distinct]
    heights = study.task.published_heights(study.lists[study.is_distinct])
    found = [
        published_f1(scaled[..., :layers], heights) for layers in range(1, scaled.shape[-1] + 1)
    ]
    np.testing.assert_allclose(
        [[f1["V"], f1["G"]] for f1 in found], study.distinct["layerwise"], **CLOSE
    )


def test_mean_attention_by_rank_and_by_position(study):
    values = study.features[study.is_distinct]
    ordered = inference.order_statements(values, study.task.order(study.lists[study.is_distinct]))
    np.testing.assert_allclose(ordered.mean(0), study.distinct["attn_rank"], **CLOSE)
    np.testing.assert_allclose(values.mean(0), study.distinct["attn_pos"], **CLOSE)


def test_accuracy(study):
    prompts = study.prompts[np.flatnonzero(study.is_distinct)]
    accuracy = (predicted_tokens(study.model, prompts) == prompts.answers).mean()
    # Exactly, or within one list: two logits may be closer than rounding.
    assert abs(accuracy - study.distinct["accuracy"]) < 1.5 / study.distinct["n"]


@pytest.fixture(scope="module")
def entropies(study) -> heads.Entropies:
    rows = np.flatnonzero(study.is_distinct)
    attention = inference.attention_features(
        study.model, study.prompts[rows], reduction=Reduction(heads="keep")
    )
    return heads.head_entropies(attention, study.task.order(study.lists[rows]))


def test_head_entropies(study, entropies):
    np.testing.assert_allclose(entropies.position, study.distinct["entropy_pos"], **CLOSE)
    np.testing.assert_allclose(entropies.size, study.distinct["entropy_size"], **CLOSE)


def test_pruned_heads_and_the_accuracy_without_them(study, entropies):
    keys = {"position entropy": "min_pos", "size entropy": "min_size"}
    orders = {name: heads.pruning_orders(entropies)[name] for name in keys}
    prompts = study.prompts[np.flatnonzero(study.is_distinct)]
    percentages = [int(p) for p in study.distinct["prune"]["min_pos"]]
    found = heads.prune(study.model, prompts, orders, percentages, published=True)
    assert len(found) == 2 * len(percentages)
    for row in found.itertuples():
        wanted = study.distinct["prune"][keys[row.order]][str(row.percentage)]
        assert row.heads_removed == wanted["heads_removed"]
        off = heads.heads_off(orders[row.order][0], row.heads_removed, entropies.size.shape)
        np.testing.assert_array_equal(~off, np.array(wanted["mask"], dtype=bool))
        assert abs(row.accuracy - wanted["accuracy"]) < 1.5 / study.distinct["n"]
