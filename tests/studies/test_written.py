"""Written reasoning: tables by hand, and two models whose attention is known because we made it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from mplib.errors import InputError
from mplib.models.loading import LoadedModel, load_model
from mplib.probe.knn import ProbeSettings
from mplib.report.columns import gained
from mplib.report.sentences import steps_sentences
from mplib.studies import step_tables as tables
from mplib.studies.language import Subject
from mplib.studies.steps import (
    Read,
    edge_prefixes,
    pair_text,
    probe_edges,
    read_chains,
    write_on,
)
from mplib.tasks.steps import Chain
from mplib.tasks.steps.load import load, load_if_any
from mplib.tasks.trees import PADDING, USELESS

NAMES = 20
A, B = ([x + y + z for x in "bdfg" for y in "aeiou"] for z in ("k", "n"))
"""Pairs of words, bak and ban to guk and gun, that mean the same to one who knows it."""

FILLERS = ["so", "then", "thus", "hence", "and", "or"]


def linked(n: int, seed: int = 0) -> list[Chain]:
    """Chains whose steps name what they follow from by other words: ban for the unit with bak.

    The text alone, its shared words, places and lengths, does not tell which goes with which.
    """
    rng, chains = np.random.default_rng(seed), []
    for number in range(n):
        names = rng.permutation(NAMES)
        units: list[list[str]] = [[A[names[i]]] for i in range(6)]
        premises, steps = [], []
        for step in range(3):
            own = sorted(rng.choice(6 + step, 2, replace=False).tolist())
            words = [B[names[unit]] for unit in own]
            steps.append([*words, A[names[6 + step]]])
            premises.append(tuple(own))
            units.append(steps[-1])
        told = [[*rng.choice(FILLERS, 2), *unit] for unit in units[:6]]
        chains.append(Chain(str(number), tuple(map(" ".join, told)), tuple(map(" ".join, steps)),
                            tuple(premises)))  # fmt: skip
    return chains


def tokenizer() -> PreTrainedTokenizerFast:
    """A word, a token."""
    vocabulary = {word: i for i, word in enumerate([*A, *B, *FILLERS, "<unk>"])}
    raw = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", pad_token="<unk>")


def loaded(model: torch.nn.Module) -> LoadedModel:
    known = load_model("llama-nano")
    return LoadedModel(**{**vars(known), "model": model.eval(), "tokenizer": tokenizer()})


def planted_edges() -> LoadedModel:
    """A model that looks from ban to bak and nowhere else, whatever the distance."""
    words = 2 * NAMES + len(FILLERS) + 1
    size = 64
    model = GPT2LMHeadModel(GPT2Config(vocab_size=words, n_positions=64, n_embd=size, n_layer=1,
                                       n_head=1, bos_token_id=None, eos_token_id=None))  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        block, embedding = model.transformer.h[0], torch.eye(words, size)
        model.transformer.wte.weight.copy_(embedding)
        block.ln_1.weight.fill_(1)
        query, key = torch.zeros(size, size), torch.zeros(size, size)
        for i in range(NAMES):
            query[NAMES + i, i] = key[i, i] = 3.0
        block.attn.c_attn.weight.copy_(torch.cat([query, key, torch.zeros(size, size)], dim=1))
    return loaded(model)


def planted_recency() -> LoadedModel:
    """A model whose attention depends on the distance alone: constant queries and keys, turned."""
    torch.manual_seed(0)
    words = 2 * NAMES + len(FILLERS) + 1
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=words, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64,
        pad_token_id=None, bos_token_id=None, eos_token_id=None,
    ))  # fmt: skip
    with torch.no_grad():
        for layer in model.model.layers:
            for part in (layer.self_attn.q_proj, layer.self_attn.k_proj):
                part.weight.zero_()
                part.bias.fill_(0.8)
    return loaded(model)


SETTINGS = ProbeSettings(8, 1, 5, halves=10)


def test_a_model_that_looks_by_distance_alone_adds_nothing():
    read = read_chains(planted_recency(), linked(40))
    there = np.isfinite(read.stacked(read.model)[..., 0])
    by_distance = pd.DataFrame({
        "distance": read.text[there][:, 1], "length": read.text[there][:, 3],
        "attention": read.stacked(read.model)[there][:, 0], "tokens": there.nonzero()[0] % 3,
    })  # fmt: skip
    # By construction: one value for each distance, length and place of the step.
    spread = by_distance.groupby(["distance", "length", "tokens"]).attention.std().dropna()
    assert (spread < 1e-3).all()
    gains = gained(probe_edges(read, SETTINGS).gains)
    assert ((gains.low <= 0) & (gains.high >= 0)).all()
    graphs = tables.graph_table(read, tables.read_edges(read, SETTINGS), 500, 0)
    beyond = graphs[(graphs.measure == "edge F1") & (graphs["minus"] == "text and twin")].iloc[0]
    assert beyond.low <= 0 <= beyond.high


def test_a_model_that_looks_at_the_premises_is_seen():
    model = planted_edges()
    read = read_chains(model, linked(40), name="planted")
    precision = tables.precision_table(read, 200, 0).set_index(["source", "layer"]).precision
    assert precision["model", 0] > 0.95 and precision["shared words", 0] < 0.6
    found = probe_edges(read, SETTINGS)
    own = found.f1[(found.f1.source == "planted") & (found.f1.target == "V")]
    assert (own.f1 > 0.95).all()
    *_, last = edge_prefixes(read, SETTINGS).to_dict("records")
    assert last["f1"] > 0.95 > last["twin_f1"] and last["low"] > 0.5
    gains = gained(found.gains)
    assert (gains.low > 0.2).all()
    graphs = tables.graph_table(read, tables.read_edges(read, SETTINGS), 200, 0)
    whole = graphs[graphs["minus"] == ""].set_index(["measure", "source"]).value
    assert whole["edge F1", "model"] > 0.95 and whole["edge F1", "text"] < 0.7
    assert whole["S_P2", "model"] > 0.9


def read_by_hand(values: list[np.ndarray], chains: list[Chain]) -> Read:
    model = loaded(planted_edges().model)
    read = read_chains(model, chains, twins=1)
    return Read("by hand", chains, read.written, values, [values], (1,))


def test_average_precision_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    gold = rng.choice([0, USELESS, PADDING], (50, 9), p=[0.3, 0.5, 0.2]).astype(np.int8)
    values = rng.integers(0, 5, (50, 9)).astype(float)  # with ties
    found = tables.average_precision(gold, values)
    for step in range(50):
        before = gold[step] != PADDING
        if (gold[step] == 0).any() and (gold[step] == USELESS).any():
            expected = average_precision_score(gold[step, before] == 0, values[step, before])
            assert found[step] == pytest.approx(expected)
        else:
            assert np.isnan(found[step])


def test_perfect_attention_finds_every_edge_at_any_distance():
    chains = linked(8)
    perfect = [chain.edges[..., None].astype(float) for chain in chains]
    table = tables.found_table(read_by_hand(perfect, chains), 100, 0)
    assert (table[table.source == "model"].value == 1).all()
    assert (table[(table.source == "recency") & (table.by == "distance")].value < 1).any()
    assert table[table.by == "distance"].groupby("source").edges.sum().eq(48).all()


def test_graphs_are_measured_against_the_gold_ones():
    chains = linked(10)
    read = read_by_hand([chain.edges[..., None].astype(float) for chain in chains], chains)
    gold = np.where(read.gold == PADDING, np.nan, read.gold == 0).astype(float)
    none = np.where(np.isnan(gold), np.nan, 0.0)
    names = ("model", "twin", "text", "text and model", "text and twin")
    chances = dict.fromkeys(names, none) | {"model": gold}
    table = tables.graph_table(read, chances, 100, 0)
    whole = table[table["minus"] == ""].set_index(["measure", "source"]).value
    assert whole["edge F1", "model"] == whole["exact match", "model"] == 1
    assert whole["edge F1", "text"] == whole["exact match", "text"] == whole["depth", "text"] == 0
    assert whole["S_P2", "model"] == 1


def test_steps_need_what_they_look_at():
    """The planted model's attention writes nothing, so no cut changes what it says."""
    model = planted_edges()
    read = read_chains(model, linked(6), twins=1)
    losses = tables.needs_of(read, model.model)
    assert len(losses) == 18 and losses.sound.isna().all()
    assert np.allclose(losses[[tables.FOLLOWS, *tables.CUTS]], 0, atol=1e-5)
    with torch.no_grad():  # now what is looked at is handed on: the word that it means
        attention = model.model.transformer.h[0].attn
        attention.c_attn.weight[:, 128:].copy_(torch.eye(64))
        attention.c_proj.weight.copy_(3 * torch.eye(64))
        model.model.transformer.ln_f.weight.fill_(4)
    losses = tables.needs_of(read, model.model)
    table = tables.needs_table(losses, 200, 0).set_index(["cut", "minus"])
    assert abs(table.value[tables.FOLLOWS, ""]) > 5 * abs(table.value[tables.CUTS[0], ""])


def test_layers_that_are_asked_for_keep_their_numbers(smollm):
    chains = linked(3)
    both = [read_chains(smollm, chains, twins=1, layers=layers) for layers in ("all", "2")]
    np.testing.assert_array_equal(both[1].model[0], both[0].model[0][..., 1:2])
    assert {layer for _, layer in tables.rankings(both[1])} == {0, 2}
    for layers in ("selected", "99"):
        with pytest.raises(InputError, match="layers="):
            read_chains(smollm, chains, twins=1, layers=layers)


def test_others_are_as_near_and_as_much():
    gold = np.array([0, 1, 0, 0, 1, 0], dtype=bool)
    before = np.array([1, 1, 1, 1, 1, 0], dtype=bool)
    assert np.flatnonzero(tables._as_far(gold, before)).tolist() == [0, 3]
    mass = np.array([0.3, 0.1, 0.05, 0.2, 0.2, 9.0])
    assert np.flatnonzero(tables._as_much(gold, before, mass)).tolist() == [0]


def test_faulty_steps_stand_beside_sound_ones():
    chains = [
        Chain(str(i), ("bak", "bek", "bik"), ("ban", "ben"), ((0,), (1,)), errs=(False, True),
              correct=i < 10)
        for i in range(12)
    ]  # fmt: skip
    right = np.zeros((2, 5, 1))
    right[0, 0] = right[1, 2] = 1  # the sound step looks where it should, the faulty one beside
    model = planted_edges().model

    def table_of(chains):
        read = read_by_hand([right] * len(chains), chains)
        return tables.fault_table(tables.needs_of(read, model), 100, 0)

    table = table_of(chains).set_index(["quantity", "steps of"])
    assert table.value["average precision", "sound"] == 1
    assert table.value["average precision", "faulty"] < 0.6
    assert table.low["average precision", "sound less faulty"] > 0.4
    assert table.steps["average precision", "faulty"] == 12
    # Right answers there are enough of, wrong ones not.
    of = table.loc["average precision"]
    assert of.value["of right answers"] == pytest.approx(of.value[["sound", "faulty"]].mean())
    assert np.isnan(of.value["of wrong answers"]) and of.problems["of wrong answers"] == 2
    assert np.isnan(of.value["of right answers less of wrong answers"])
    few = table_of(chains[:6])
    assert few.value.isna().all()
    assert table_of([replace(chain, errs=(), correct=None) for chain in chains]).empty


def test_text_knows_distance_words_and_numbers():
    chain = Chain("c", ("Ann has 12 apples.", "Bob has 3."), ("12 + 3 = 15.",), ((0, 1),), "How?")
    read = read_chains(planted_edges(), [chain], twins=1)
    found = pair_text([chain], read.written)[0]
    distance, tokens, place, length, _, numbers = found[0, :3, :6].T
    assert distance.tolist() == [3, 2, 1] and place.tolist() == [0, 1, 2]
    assert (np.diff(tokens) < 0).all() and length.tolist() == [4, 3, 1]
    assert numbers.tolist() == [1, 1, 0]
    assert found[0, :3, 7:].tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert np.isnan(found[0, 3]).all()


def test_a_model_writes_its_own_steps(smollm):
    model = smollm
    chain = load("generated", 1, 0).chains[0]
    own, written = write_on(model, chain, 24, chat=True)
    assert own.units[: own.first] == chain.units[: chain.first] and own.steps
    assert own.premises == ((),) * len(own.steps) and len(written.spans) == len(own.units)
    for text, (start, end) in zip(own.units, written.spans, strict=True):
        assert model.tokenizer.decode(written.ids[start:end]).strip() == text.strip()
    read = read_chains(model, [chain], twins=1, generate=24)
    looked = tables.looked_at(read)
    assert len(looked) == len(read.chains[0].steps) and (looked.distance >= 1).all()
    losses = tables.needs_of(read, model.model, tables.most_attended(read))
    assert tables.LOOKS in losses and np.isfinite(losses[tables.LOOKS]).all()
    traces = tables.traces(read, model.model, {})
    assert [*traces[0].edges] == ["needed"]


def test_a_model_that_writes_nothing_is_named():
    model = planted_edges()  # always the unknown word, which is no step
    model.model.lm_head = torch.nn.Linear(64, model.model.config.vocab_size)
    torch.nn.init.zeros_(model.model.lm_head.weight)
    torch.nn.init.zeros_(model.model.lm_head.bias)
    with torch.no_grad():
        model.model.lm_head.bias[-1] = 9
    with pytest.raises(InputError, match="planted writes no step in 4 tokens"):
        read_chains(model, linked(1), name="planted", generate=4)


def test_models_stand_side_by_side_in_sentences():
    models = {"edges": planted_edges(), "recency": planted_recency()}
    subjects = [Subject(name, model, 0) for name, model in models.items()]
    written = tables.side_by_side(subjects, linked(12), ProbeSettings(8, 1, 5, halves=3))
    assert {name: table.subject.nunique() for name, table in written.items()} == dict.fromkeys(
        ("precision", "gains", "graphs", "needs"), 2
    )
    first, second = steps_sentences(**written)
    assert "edges**: beside the text" in first and "is better at telling" in first
    assert "recency**" in second and "not measurably better at" in second
    assert "does not measurably need" in first  # its attention hands nothing on
    assert tables.side_by_side(subjects, linked(1), ProbeSettings()) == {}
    plain = [Chain(str(i), ("bak", "bek"), ("ban",), ((0, 1),)) for i in range(6)]
    assert tables.side_by_side(subjects, plain, ProbeSettings()) == {}
    assert steps_sentences() == []


def test_a_file_without_steps_has_no_chains(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"statements": ["a", "b"], "question": "c", "answer": "d", "edges": [[0, 1]]}')
    assert load_if_any(str(path), 5, 0).chains == []
    with pytest.raises(InputError, match="has no steps written out"):
        load(str(path), 5, 0)
    path.write_text('{"statements": ["a"], "steps": [{"text": "b", "from": [0]}], "question": ""}')
    assert load_if_any(str(path), 5, 0).chains[0].steps == ("b",)
