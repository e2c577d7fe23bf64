"""Features: shapes, order and scale; what is inside a layer is the subject of test_attention."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_prompts
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mplib.models.attention import Reduction
from mplib.models.inference import (
    attention_features,
    full_attention,
    order_statements,
    scale_examples,
)
from mplib.models.loading import load_model
from mplib.tasks.ksmallest import KSmallest


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_batch_size_changes_no_number(llama, batch, batch_size):
    expected = attention_features(llama, batch, batch_size=4)
    found = attention_features(llama, batch, batch_size=batch_size)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_number_is_a_statement_of_one_token_read_at_the_last():
    task = KSmallest(2, m=6, pool=20)
    loaded = load_model("nano", vocabulary=20, seed=1)
    lists = task.draw(5, seed=0)
    prompts, _ = loaded.write_numbers(lists, task.answers(lists), 20)
    features = attention_features(loaded.model, prompts)
    last_rows = full_attention(loaded.model, prompts)[:, :, :, -1]
    assert features.shape == (5, 6, 2)
    np.testing.assert_allclose(features, last_rows.mean(2).transpose(0, 2, 1), rtol=1e-5)
    np.testing.assert_allclose(features.sum(1), 1, rtol=1e-5)
    # Every token is a statement here: the maximum over one token is that token.
    by_max = attention_features(loaded.model, prompts, reduction=Reduction(statement="max"))
    np.testing.assert_allclose(by_max, features, rtol=1e-5)


def test_tokens_take_the_place_of_statements_when_asked(llama, batch):
    reduction = Reduction(statement="tokens", heads="keep")
    features = attention_features(llama, batch, reduction=reduction, batch_size=1)
    assert features.shape == (4, batch.input_ids.shape[1], 3, 4)
    rows = full_attention(llama, batch)
    for i, (start, end) in enumerate(batch.question):
        expected = rows[i][:, :, start:end].max(axis=2).transpose(2, 0, 1)
        np.testing.assert_allclose(features[i], expected, rtol=1e-5, atol=1e-6)


def test_full_attention_is_square_and_reads_no_spans(llama, batch):
    tokens = batch.input_ids.shape[1]
    found = full_attention(llama, batch)
    assert found.shape == (4, 3, 4, tokens, tokens)
    other = replace(batch, question=np.broadcast_to([tokens - 1, tokens], (4, 2)))
    assert (full_attention(llama, other) == found).all()


def test_an_example_without_statements_is_all_missing(gpt2):
    prompts = make_prompts([5, 4], [[(0, 2)], []], [(4, 5), (3, 4)])
    features = attention_features(gpt2, prompts)
    assert np.isnan(features[1]).all() and np.isfinite(features[0]).all()


@given(st.data())
def test_ordering_moves_whole_statements(data):
    n, statements, layers = (data.draw(st.integers(1, 4)) for _ in range(3))
    features = np.arange(n * statements * layers, dtype=float).reshape(n, statements, layers)
    order = np.array([data.draw(st.permutations(range(statements))) for _ in range(n)])
    found = order_statements(features, order)
    for i in range(n):
        for place, statement in enumerate(order[i]):
            assert (found[i, place] == features[i, statement]).all()
    again = order_statements(features[..., None], order)
    assert (again[..., 0] == found).all()


@given(arrays(np.float64, (3, 4, 2), elements=st.floats(0, 1, width=16)))
def test_scaling_makes_the_largest_of_each_example_one(features):
    features[0, 3] = np.nan  # a statement that is not there
    found = scale_examples(features)
    for i, example in enumerate(features):
        largest = np.nanmax(example)
        assert np.nanmax(found[i]) == (1 if largest > 0 else 0)
        np.testing.assert_allclose(found[i] * largest, np.where(largest > 0, example, example * 0))
