"""What a model must be to be read: facts found by running it, tried on tiny random families."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import build, make_prompts, singles
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from benchmarks.families import FAMILIES, check_families, tiny, tiny_config, write_families
from mplib.errors import InputError
from mplib.models.attention import BACKEND, SESSION, Intervention, Session
from mplib.models.facts import backend, facts
from mplib.models.inference import all_answers, attention_features, full_attention, read
from mplib.models.loading import random_twin
from mplib.models.prompts import Prompts

SMALL = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "pad_token_id": None, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
HYBRIDS = {
    "bamba": (1, 3), "falcon_h1": (0, 1, 2, 3), "granitemoehybrid": (1, 3), "jamba": (1, 3),
    "lfm2": (1, 3), "nemotron_h": (2,), "olmo_hybrid": (1, 3), "qwen3_5_text": (1, 3),
    "qwen3_next": (1, 3), "recurrent_gemma": (2,), "zamba": (1, 3), "zamba2": (1, 3),
}  # fmt: skip
"""The layers of tiny hybrids that have attention, as the models count them."""


def made(kind: str, **own: Any) -> PreTrainedModel:
    """A random decoder of a family whose attention is far from uniform."""
    config = AutoConfig.for_model(kind, **SMALL | own)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(std=0.25)
    return model


@pytest.fixture
def shared() -> Prompts:
    """Two prompts of 14 and 8 tokens that begin alike, the shorter one padded."""
    prompts = make_prompts([14, 8], [[(3, 4), (4, 6)], [(3, 4), (4, 6)]], [(12, 14), (6, 8)])
    prompts.input_ids[1, 6:9] = prompts.input_ids[0, :3]
    return prompts


def alike(model: PreTrainedModel, prompts: Prompts) -> None:
    """Together, singly and behind a shared prefix a model gives the same."""
    together = attention_features(model, prompts)
    alone = np.concatenate([attention_features(model, one) for one in singles(prompts)])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    behind = attention_features(model, prompts.share_prefix())
    np.testing.assert_allclose(together, behind, atol=1e-4)


@pytest.mark.parametrize("kind", HYBRIDS)
def test_a_hybrid_is_refused_by_name_or_read_in_part(kind: str, shared: Prompts) -> None:
    model = tiny(kind)
    with pytest.raises(InputError, match=r"outside its attention .* partial_attention") as refused:
        attention_features(model, shared)
    assert type(model).__name__ in str(refused.value)
    model.partial_attention = True  # type: ignore[assignment]
    with backend(model):
        assert facts(model).layers == HYBRIDS[kind]
    alike(model, shared)
    assert attention_features(random_twin(model, 0), shared).shape[2] == len(HYBRIDS[kind])
    cut = Intervention(cut=torch.ones(2, 14, 14, dtype=torch.bool))
    with pytest.raises(InputError, match=f"{type(model).__name__} .* no interventions"):
        all_answers(model, shared, changes=lambda *_: [("", cut)])


@pytest.mark.parametrize(
    ("kind", "own", "said"),
    [
        ("hrm_text", {"num_key_value_heads": 4, "prefix_lm": False}, "more than once a pass"),
        ("bert", {"is_decoder": False}, "no causal decoder"),
        ("bert", {"is_decoder": True}, None),
        ("roberta", {"is_decoder": True, "pad_token_id": 1}, "positions in a way of its own"),
        ("bloom", {}, "attention interface"),
    ],
)  # fmt: skip
def test_what_is_no_plain_decoder_is_refused(
    kind: str, own: dict[str, Any], said: str | None, shared: Prompts
) -> None:
    model = made(kind, **own)
    if said is None:
        return alike(model, shared)
    with pytest.raises(InputError, match=f"{type(model).__name__} .*{said}"):
        attention_features(model, shared)
    return None


def test_shared_keys_and_values_are_read_at_every_row(shared: Prompts) -> None:
    model = made(
        "gemma4_text", head_dim=8, global_head_dim=8, sliding_window=5, num_kv_shared_layers=2,
        layer_types=["sliding_attention", "full_attention"] * 2, vocab_size_per_layer_input=61,
        hidden_size_per_layer_input=8,
    )  # fmt: skip
    assert read(model, shared).features.shape == (2, 2, 4)
    alike(model, shared)


def test_chunks_do_not_count_padding_behind_a_prefix(shared: Prompts) -> None:
    chunked = made(
        "llama4_text", head_dim=8, intermediate_size_mlp=48, num_local_experts=2,
        num_experts_per_tok=1, attention_chunk_size=5, moe_layers=[],
        layer_types=["chunked_attention"] * 3 + ["full_attention"],
    )  # fmt: skip
    alike(chunked, shared)
    with backend(chunked):
        assert not facts(chunked).prefix


def test_the_layers_of_an_encoder_are_not_counted(shared: Prompts) -> None:
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(
            "bart", vocab_size=61, d_model=32, encoder_layers=2, decoder_layers=4,
            encoder_attention_heads=2, decoder_attention_heads=4, encoder_ffn_dim=48,
            decoder_ffn_dim=48, max_position_embeddings=64,
        )
    ).eval()  # fmt: skip
    assert read(model, shared).features.shape == attention_features(model, shared).shape
    assert attention_features(model, shared).shape == (2, 2, 4)
    alike(model, shared)


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
        {
            "rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [9.0] * 4,
            "original_max_position_embeddings": 10, "rope_theta": 1e4, "factor": 6.4,
        },
    ],
    ids=["dynamic", "longrope"],
)  # fmt: skip
def test_frequencies_that_hang_on_the_longest_prompt_are_refused(
    rope: dict[str, Any], shared: Prompts
) -> None:
    limited = 10 if rope["rope_type"] == "dynamic" else 64
    model = made("llama", rope_parameters=rope, max_position_embeddings=limited)
    with pytest.raises(InputError, match="14 tokens, but beyond 10 the rotary frequencies"):
        attention_features(model, shared)
    assert attention_features(model, next(singles(shared[np.array([1])]))).shape == (1, 2, 4)


def test_a_model_is_looked_at_once_and_its_twin_not_at_all(shared: Prompts) -> None:
    model = build("llama")
    attention_features(model, shared)
    twin, ran = random_twin(model, 0), []
    for one in (model, twin):
        one.register_forward_hook(lambda module, *_: ran.append(module))
        attention_features(one, shared, batch_size=2)
    assert ran == []  # features end a pass before its hook


def test_layers_with_other_numbers_of_heads_are_told_apart_by_their_mean_alone(
    shared: Prompts,
) -> None:
    model = made(
        "laguna", head_dim=8, num_attention_heads_per_layer=[4, 2, 4, 2], num_experts=2,
        num_experts_per_tok=1, moe_intermediate_size=16, shared_expert_intermediate_size=16,
    )  # fmt: skip
    assert attention_features(model, shared).shape == (2, 2, 4)
    with pytest.raises(InputError, match="different numbers of heads"):
        full_attention(model, shared)


def test_every_family_ends_in_a_verdict(tmp_path: Any) -> None:
    kinds = ["gpt2", "gpt_oss", "doge", "jamba", "bloom", "gemma4_assistant"]
    said, ok = write_families(tmp_path, kinds)
    table = pd.read_csv(tmp_path / "families.csv", keep_default_na=False).set_index("family")
    assert ok
    assert said[-1] == "3 read, 2 refused, 1 not built"
    assert table.verdict.tolist() == ["read"] * 3 + ["refused"] * 2 + ["not built"]
    assert table.layers["jamba"] == "1, 3 of 4"
    assert all(table.reason[["jamba", "bloom", "gemma4_assistant"]])


def test_there_are_families_enough() -> None:
    assert len(FAMILIES) >= 45
    assert [row["verdict"] for row in check_families(["llama", "qwen3"])] == ["read", "read"]


@pytest.mark.parametrize("kind", ["axk2", "deepseek_v32", "glm_moe_dsa"])
def test_sparse_attention_is_read_where_it_looks(kind):
    config, seen = tiny_config(kind), Session(reduce=lambda weights, _: weights.float())
    config.index_topk = 5
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    ids = torch.arange(14)[None] * 3 % 50 + 2
    with torch.no_grad():
        expected = model(ids).logits
        model.set_attn_implementation(BACKEND)
        before = SESSION.set(seen)
        found = model(ids).logits
        SESSION.reset(before)
    torch.testing.assert_close(found, expected)
    for weights in seen.recorded.values():
        assert ((weights > 0).sum(-1) <= 5).all()
