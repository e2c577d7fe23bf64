"""Flow: mean attention over arranged lists, and roll-out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import VOCABULARY, numbers
from hypothesis import given
from hypothesis import strategies as st

from mplib.errors import InputError
from mplib.models.attention import Intervention, Reduction
from mplib.models.facts import backend
from mplib.models.inference import full_attention
from mplib.models.passes import forward
from mplib.studies import flow
from mplib.tasks.ksmallest import KSmallest

TASK = KSmallest(2, m=7, pool=VOCABULARY)
LISTS = TASK.draw(40, seed=1)
PROMPTS = numbers(TASK, LISTS)


# Flow


@st.composite
def arrangements(draw):
    m = draw(st.integers(2, 8))
    n = draw(st.integers(1, 6))
    lists = [draw(st.permutations(range(m))) for _ in range(n)]
    return np.array(lists), draw(st.lists(st.integers(1, m), min_size=1, unique=True))


@given(arrangements())
def test_the_smallest_numbers_come_to_their_places(case):
    lists, places = case
    before = lists.copy()
    found = flow.arrange(lists, places)
    assert (lists == before).all()
    assert (np.sort(found, axis=1) == np.sort(lists, axis=1)).all()
    for row in found:
        for rank, place in enumerate(places):
            assert row[place - 1] == np.sort(row)[rank]
    # What is right already stays as it is.
    assert (flow.arrange(found, places) == found).all()
    assert ((found != lists).sum(axis=1) <= 2 * len(places)).all()


@pytest.mark.parametrize("off", [None, [[1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]])
def test_the_mean_flow_is_over_examples_and_heads_that_are_on(gpt2, off):
    prompts = PROMPTS[:9]
    change = None
    if off is None:
        off, every = np.zeros((3, 4), bool), full_attention(gpt2, prompts)
    else:
        off = np.array(off, dtype=bool)
        change = Intervention(heads_off=torch.from_numpy(off))
        # Layer by layer by hand: the first is unchanged, the others see its change.
        rows = replace(prompts, question=np.broadcast_to([0, 7], (9, 2)))
        keep_all = Reduction("tokens", "keep", "keep")
        with backend(gpt2):
            found = forward(gpt2, rows, intervention=change, reduction=keep_all, logits=False)
        every = found.attention.numpy()
        np.testing.assert_allclose(every[:, 0], full_attention(gpt2, prompts)[:, 0], atol=1e-5)
        assert np.abs(every[:, 2] - full_attention(gpt2, prompts)[:, 2]).max() > 1e-3
    found = flow.mean_flow(gpt2, prompts, change, batch_size=4)
    for layer in range(3):
        on = ~off[layer]
        expected = every[:, layer, on].mean(axis=(0, 1)) if on.any() else np.zeros((7, 7))
        np.testing.assert_allclose(found[layer], expected, atol=1e-5)
    assert np.isfinite(found).all()


def test_prompts_of_unequal_length_have_no_mean_flow(gpt2, batch):
    with pytest.raises(InputError, match="equally long"):
        flow.mean_flow(gpt2, batch)


# Roll-out


def test_rollout_is_the_product_of_the_layers(gpt2):
    found = flow.rollout(gpt2, PROMPTS, batch_size=16)
    np.testing.assert_allclose(found.last.sum(axis=2), 1, rtol=1e-6)
    mixed = (full_attention(gpt2, PROMPTS[:3]).mean(axis=2) + np.eye(7)) / 2
    for example in range(3):
        first, second, third = mixed[example]
        np.testing.assert_allclose(
            found.last[example, 2], (third @ second @ first)[-1], rtol=1e-4, atol=1e-6
        )
        assert found.epsilon[example] == pytest.approx(mixed[example, :, 1:, 0].min(), rel=1e-4)
    assert (found.last[:, :, 0] >= found.bound - 1e-9).all()
    np.testing.assert_allclose(found.even.sum(axis=1), 1)
    assert found.even[0].tolist() == pytest.approx([1 / 14] * 6 + [8 / 14])


def test_the_rollout_table_says_what_the_first_token_and_the_useful_ones_hold(gpt2):
    found, heights = flow.rollout(gpt2, PROMPTS), TASK.heights(LISTS)
    table = flow.rollout_table(found, heights)
    assert table.layer.tolist() == [1, 2, 3] and (table.one_token == 1 / 7).all()
    np.testing.assert_allclose(table.first_token, found.last[:, :, 0].mean(axis=0))
    expected = np.mean([found.last[i, 2, heights[i] >= 0].sum() for i in range(40)])
    assert table.useful[2] == pytest.approx(expected)


# Bad input


@pytest.mark.parametrize(
    ("places", "said"),
    [([0, 2], "position 0"), ([2, 8], "position 8 for one of 7 numbers"), ([3, 3], "one place")],
)
def test_arrangements_that_cannot_be(places, said):
    with pytest.raises(InputError, match=said):
        flow.arrange(LISTS, places)


def test_lists_with_a_number_twice_are_refused_or_left_out():
    lists = np.array([[3, 1, 2], [1, 2, 1], [5, 5, 5]])
    with pytest.raises(InputError, match="2 of 3 lists hold a number twice"):
        flow.arrange(lists, [1, 2])
    assert flow.without_repeats(lists).tolist() == [[3, 1, 2]]
    with pytest.raises(InputError, match="each of the 2 lists holds a number twice"):
        flow.without_repeats(lists[1:])
