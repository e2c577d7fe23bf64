"""Attention between units: the same numbers as from whole matrices, for every family."""

import numpy as np
import pytest
import torch
from conftest import VOCABULARY, build

from mplib.errors import InputError
from mplib.models.attention import Intervention, Session
from mplib.models.facts import backend, one_pass
from mplib.models.loading import load_model
from mplib.models.units import Written, log_probabilities, problem, read_units, write

UNITS = ("Bob is red.", "Red people are kind.", "Is Bob kind?", "Bob is kind.", "So he is.")


def written(seed: int = 0, tokens: int = 24, first: int = 3, told: int | None = None) -> Written:
    """Random tokens in five units, of which those from ``first`` on are steps."""
    rng, same = np.random.default_rng(seed), np.random.default_rng(0 if told is None else told)
    ids = np.concatenate([same.integers(0, VOCABULARY, 12), rng.integers(0, VOCABULARY, tokens)])
    # Two tokens between the steps belong to neither.
    return Written(ids, ((1, 5), (5, 9), (9, 12), (12, 20), (22, len(ids))), first)


def by_hand(model: torch.nn.Module, one: Written, rows: str) -> np.ndarray:
    """The same from transformers' own matrices."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    whole = model(torch.tensor(one.ids)[None], output_attentions=True).attentions
    model.set_attn_implementation(before)
    found = np.zeros((len(one.spans) - one.first, len(one.spans), len(whole)))
    for layer, weights in enumerate(whole):
        mean = weights[0].mean(dim=0).detach().numpy()
        for step, (start, end) in enumerate(one.spans[one.first :]):
            own = mean[start if rows == "mean" else end - 1 : end]
            for unit, (a, b) in enumerate(one.spans):
                found[step, unit, layer] = own[:, a:b].mean()
    return found


@pytest.mark.parametrize("rows", ["mean", "last"])
def test_units_get_what_whole_matrices_say(decoder, rows, monkeypatch):
    monkeypatch.setattr("mplib.models.units.ROWS", 5)  # several parts
    one = written()
    expected = by_hand(decoder, one, rows)
    found = read_units(decoder, [one], rows)[0]
    later = np.arange(5) > np.array([3, 4])[:, None]
    np.testing.assert_allclose(found[~later], expected[~later], rtol=1e-4, atol=1e-6)
    assert (found[0, 4] == 0).all()


def test_a_shared_problem_is_read_once_and_changes_no_number(llama, monkeypatch):
    several = [written(seed, told=7) for seed in range(3)] + [written(5, told=8)]
    alone = [read_units(llama, [one])[0] for one in several]
    lengths = []

    def counted(model, session, ids, *args, **given):
        lengths.append(ids.shape[1])
        return one_pass(model, session, ids, *args, **given)

    monkeypatch.setattr("mplib.models.units.one_pass", counted)
    for found, expected in zip(read_units(llama, several), alone, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert lengths == [24, 24, 24, 36]


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "gpt-neox", "mistral"])
def test_a_cut_is_that_of_the_whole_text(family):
    model, one = build(family), written()
    cuts = np.array([[0, 0, 0, 0, 0], [1, 0, 1, 0, 0], [0, 1, 0, 1, 0]], dtype=bool)
    with backend(model):
        found = [*log_probabilities(model, one, [cuts, cuts])]
    for step, (first, end) in enumerate(one.spans[3:]):
        for case, chosen in enumerate(cuts):
            cut = torch.zeros(1, end - 1, end - 1, dtype=torch.bool)
            for unit in np.flatnonzero(chosen):
                start, stop = one.spans[unit]
                if stop <= first:
                    cut[0, first - 1 :, start:stop] = True
            ids = torch.tensor(one.ids[: end - 1])[None]
            with backend(model), torch.no_grad():
                session = Session(Intervention(cut=cut))
                logits = one_pass(model, session, ids, torch.ones_like(ids, dtype=torch.bool))
            said = logits.logits[0, first - 1 :].log_softmax(-1)
            expected = said[np.arange(end - first), one.ids[first:end]].mean()
            assert found[step][case] == pytest.approx(float(expected), abs=1e-4)


def test_units_stand_where_the_text_has_them(smollm):
    one = write(smollm.tokenizer, UNITS, 3)
    texts = [smollm.tokenizer.decode(one.ids[a:b]).strip() for a, b in one.spans]
    # The first token of all is the sink, and belongs to nobody.
    assert texts == ["is red.", *UNITS[1:]] and one.first == 3
    assert smollm.tokenizer.decode(one.ids).endswith("Bob kind?\nBob is kind.\nSo he is.")
    turn = write(smollm.tokenizer, UNITS, 3, chat=True)
    texts = [smollm.tokenizer.decode(turn.ids[a:b]).strip() for a, b in turn.spans]
    assert texts == [*UNITS]
    marks = smollm.tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert {*marks} <= {*turn.ids.tolist()}


@pytest.mark.parametrize(
    ("units", "chat", "most", "message"),
    [
        (UNITS, False, 5, r"'Bob is red.* has \d+ tokens, but the model has 5 positions"),
        (("a <|im_end|>", "b"), True, None, "ends a turn: remove it"),
    ],
)
def test_what_cannot_be_written_is_refused(smollm, units, chat, most, message):
    with pytest.raises(InputError, match=message):
        write(smollm.tokenizer, units, len(units) - 1, most, chat)


def test_a_tokenizer_without_a_template_cannot_chat():
    loaded = load_model("llama-nano")
    with pytest.raises(InputError, match="has no template: take chat=False"):
        problem(loaded.tokenizer, UNITS, chat=True)
