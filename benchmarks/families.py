"""Every family that transformers has a causal decoder of, tiny and random, and what it keeps.

A family's own default shape is made small by rules on the names of its numbers. ``python -m
benchmarks families`` writes the table that the book shows, ``results/families``.
"""

import json
import math
import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from mplib.errors import InputError
from mplib.models.attention import layer_count
from mplib.models.check import lines
from mplib.models.facts import backend

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
        kinds = {str(one): _small(name, one, 0) for one in value}
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


def check_families(kinds: Iterable[str] = FAMILIES) -> Iterator[dict[str, Any]]:
    """A row for each family: what came of it and why, and the numbers of ``check.lines``.

    What came of it is ``read``; ``refused``, with the numbers of its attention layers alone where
    these can be read; ``not built``, where no tiny model of it could be made here; or ``broken``.
    """
    for kind in kinds:
        began = perf_counter()
        row: dict[str, Any] = {"family": kind, "verdict": "read", "layers": "", "reason": ""}
        try:
            model = tiny(kind)
        except Exception as error:
            row |= {"verdict": "not built", "reason": _short(error)}
        else:
            row |= {"class": type(model).__name__} | _tried(model)
        yield row | {"seconds": round(perf_counter() - began, 1)}


def _tried(model: PreTrainedModel) -> dict[str, Any]:
    """What came of one model."""
    row: dict[str, Any] = {}
    try:
        with backend(model):
            pass
    except InputError as error:
        row |= {"verdict": "refused", "reason": _short(error)}
        model.partial_attention = True  # type: ignore[assignment]
    try:
        with backend(model) as known:
            layers = f"{', '.join(map(str, known.layers))} of {layer_count(model)}"
        found = list(lines(model))
    except InputError as error:
        return {"verdict": "refused", "reason": _short(error)} | row
    row["layers"] = layers
    if not row.get("verdict") and not all(line.holds for line in found):
        row |= {"verdict": "broken", "reason": "; ".join(str(x) for x in found if not x.holds)}
    return row | {line.what: float(f"{line.seen:.2g}") for line in found}


def _short(error: Exception) -> str:
    """One line of an error."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def write_families(folder: Path, kinds: Iterable[str] = FAMILIES) -> tuple[list[str], bool]:
    """Writes the table of families with a manifest; returns lines, and whether none is broken."""
    began = perf_counter()
    table = pd.DataFrame(check_families(kinds))
    counts = Counter(table.verdict)
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "families.csv", index=False)
    versions = {"python": platform.python_version()} | {
        package.__name__: package.__version__ for package in (torch, transformers)
    }
    about = {"verdicts": counts, "seconds": round(perf_counter() - began), **versions}
    (folder / "manifest.json").write_text(json.dumps(about, indent=2) + "\n")
    said = [f"{row.family}: {row.verdict} {row.reason}".strip() for row in table.itertuples()]
    return [*said, ", ".join(f"{n} {verdict}" for verdict, n in counts.items())], (
        "broken" not in counts
    )
