"""A tiny random decoder of every family in transformers, its shape found by rules on names."""

import math
import re
from itertools import cycle, islice
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

FAMILIES = tuple(sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
"""Names of the model types that transformers has a causal decoder of."""

VOCABULARY = 61
LAYERS = 4
RULES: tuple[tuple[str, int], ...] = (
    (r"_token_(id|index)$|^(unk|mask)_index$", 3),
    (r"ngram_vocab|hash.*vocab", 97),
    (r"vocab_size", VOCABULARY),
    (r"(num_hidden|encoder|decoder|num|n)_layers?$|num_blocks$", LAYERS),
    (r"kv_shared_layers|dense_layers|first_k_dense|nextn_predict|prefix_dense", 0),
    (r"key_value_heads|kv_heads|key_heads|query_groups", 2),
    (r"mamba_(n|num)_heads|n_mamba_heads", 8),
    (r"heads$|n_head$|heads_per_layer", 4),
    (r"rotary_dim", 4),
    (r"qk_head_dim|attention_head_dim", 16),
    (r"head_dim|headdim|kv_channels|d_head|dim_head|head_size|query_pre_attn", 8),
    (r"experts_per_tok|moe_topk|moe_k$", 2),
    (r"expert_num|num_.*experts$|n_(routed|shared)_experts", 4),
    (r"intermediate_size|ff[a-z_]*_dim|ffn_hidden|dff|dim_ff|d_inner|feed_forward_size", 48),
    (r"d_ssm|attention_hidden_size", 64),
    (r"time_step_rank|dt_rank|lora_rank|o_lora|lowrank|laurel_rank", 16),
    (r"state_size|d_state", 8),
    (r"hidden_size_per_layer", 8),
    (r"hidden_size|d_model|n_embd|em?b(ed)?(ding)?_(dim|size)|_dim$|lru_width|adapter_rank", 32),
    (r"positions|max_seq|n_ctx|context_length|position_embeddings|target_pos|extent", 64),
    (r"(expert|topk)_?group$|n_groups?$|ngroups", 1),
    (r"window|local_attention$|attention_chunk", 5),
    (r"chunk_size$", 8),
    (r"attn_layer_period|layer_group_size|global_attn_every|layer_interval", 2),
    (r"attn_layer_offset", 1),
)  # fmt: skip
"""What a number becomes, by its name; the first that fits, and never more than it was."""


HEADS = ("num_attention_heads", "num_key_value_heads")
ABSENT = "head_dim|num_key_value_heads|num_experts_per_tok|n_(routed|shared)_experts"
"""What a family may leave open and then not do without."""

OWN: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1, 3]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "mamba2": {"num_heads": 8},
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 8]},
    "zamba2": {"hybrid_layer_ids": [1, 3]},
    "xmod": {"default_language": "en_XX"},
}
"""What the rules cannot know of a family."""


def _small(name: str, value: Any, layers: int) -> Any:
    """A value of a configuration made small."""
    if isinstance(value, dict):
        # What single layers have of their own counts them as they were.
        small = {k: _small(k, v, layers) for k, v in value.items() if k != "per_layer_config"}
        if "num_key_value_heads" in value and len({value.get(head) for head in HEADS}) == 1:
            small["num_key_value_heads"] = small["num_attention_heads"]
        return small
    if isinstance(value, list) and len(value) == layers:
        kinds = {str(one): one for one in value}
        return [*islice(cycle(kinds.values()), LAYERS)]
    if value is None and re.fullmatch(ABSENT, name):
        value = math.inf
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    return min(value, next((to for rule, to in RULES if re.search(rule, name)), value))


def tiny_config(kind: str) -> PretrainedConfig:
    """A family's default shape with few layers and narrow ones, every kind of layer among them."""
    full = AutoConfig.for_model(kind)
    layers = getattr(full.get_text_config(), "num_hidden_layers", 0)
    small = _small("", full.to_dict(), layers) | OWN.get(kind, {})
    if hasattr(full, "is_decoder"):
        small["is_decoder"] = True
    left_out = {"model_type", "transformers_version", "architectures"}
    return type(full)(**{k: v for k, v in small.items() if v is not None and k not in left_out})


def tiny(kind: str) -> PreTrainedModel:
    """A random decoder of a family, the same every time; its attention is far from uniform."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(tiny_config(kind)).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(std=1.5 / math.sqrt(parameter.shape[-1]))
    return model
