"""Adapters: low-rank changes of a base model's linear layers, in the format of peft.

Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models". A model is read and changed
with its adapter merged into its weights, so that nothing else need know of adapters.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel

from mplib import files
from mplib.errors import InputError
from mplib.models.fast import adapt
from mplib.models.weights import check_numbers

DATA = Path(__file__).parents[1] / "data"


CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The two files of an adapter, as peft names them."""


SHIPPED = {"smollm2-135m-theories": "smollm2-135m", "smollm2-135m-dealt": "smollm2-135m"}
"""Adapters that come with this package, in its ``data``: name -> base."""


BASE = "base"
"""Key of the weights' metadata that holds what ``_sample`` took from the base."""


def adapted(name: str, seen: Sequence[str] = ()) -> tuple[str, Path] | None:
    """The base's name and the adapter's folder that a model's name stands for.

    Args:
        name: one of ``SHIPPED``, ``base+adapter``, or the folder of an adapter, which names its
            base itself.
        seen: adapters that stand on it.

    Returns:
        None for a model without adapter.

    Raises:
        InputError: the folder is no adapter, or does not say what its base is, or stands on itself.
    """
    if base := SHIPPED.get(name):
        return base, DATA / name
    if name in seen:
        raise InputError(f"the adapter in {name} stands on itself: name its base as base+{name}")
    folder = files.resolve(name)
    if folder.is_dir():
        if (folder / "config.json").is_file() or not (folder / CONFIG).is_file():
            return None
        base = _configuration(folder).base_model_name_or_path
        if not base or not isinstance(base, str) or base == name:
            raise InputError(
                f"the adapter in {folder} does not say what its base is: name the model as "
                f"base+{name}"
            )
    else:
        base, plus, adapter = name.rpartition("+")
        if not plus:
            return None
        if not (base and adapter):
            raise InputError(f"model {name!r}: expected base+adapter, a name on each side of the +")
        folder = files.resolve(adapter)
    adapted(base, (*seen, name))  # finds circles
    return base, folder


def add_adapter(model: PreTrainedModel, rank: int, alpha: int, targets: Sequence[str]) -> Any:
    """Puts an adapter that changes nothing yet into a model, and freezes all else.

    Args:
        model: changed in place.
        rank: of each change.
        alpha: a change is multiplied by alpha / rank.
        targets: names, or ends of names, of the linear layers that it changes; all of them but
            that of the logits where there is none.

    Returns:
        peft's model around it.

    Raises:
        InputError: the model has no such layers, or its embeddings would change with them.
    """
    from peft import LoraConfig, get_peft_model  # late: it takes long, and few runs need it
    from peft.tuners.lora import Linear

    chosen = [*targets] or "all-linear"
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=chosen, task_type="CAUSAL_LM")
    try:
        wrapped = get_peft_model(model, config)
    except ValueError as error:
        raise InputError(
            f"lora_targets={[*targets]}: {type(model).__name__} has no such linear layers; name "
            "others, or none for all"
        ) from error
    if _changes_embeddings(wrapped):
        raise InputError(f"lora_targets={[*targets]}: {TIED}; name other layers, or none for all")
    adapt(layer for layer in wrapped.modules() if isinstance(layer, Linear))
    return wrapped


TIED = "the model's logits and embeddings share their weights, and merging would change both"


def _changes_embeddings(wrapped: Any) -> bool:
    """Whether one of two layers that share their weights has an adapter."""
    ends = wrapped.get_input_embeddings(), wrapped.get_output_embeddings()
    tied = all(ends) and ends[0].weight is ends[1].weight
    return tied and any(hasattr(end, "base_layer") for end in ends)


def save_adapter(wrapped: Any, base: str, dtype: torch.dtype, folder: Path) -> None:
    """Writes an adapter as peft does, and beside its weights what tells the base again.

    Args:
        wrapped: of ``add_adapter``.
        base: the base's name.
        dtype: of the file's numbers; bfloat16 loses nothing that a training in it ever used.
        folder: made if it is not there.
    """
    from peft import get_peft_model_state_dict

    config = wrapped.peft_config["default"]
    config.base_model_name_or_path, config.inference_mode = base, True
    config.target_modules = sorted(config.target_modules)  # a set has another order every time
    config.save_pretrained(folder)
    tensors = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    metadata = {BASE: json.dumps(_sample(wrapped))}  # of two, safetensors shuffles the order
    saved = {k: v.to(dtype).contiguous() for k, v in tensors.items()}
    save_file(saved, folder / WEIGHTS, metadata)


def merge_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The model with an adapter merged into its weights, which are changed in place.

    Args:
        model: the base.
        folder: of the adapter, as peft or ``save_adapter`` wrote it.

    Raises:
        InputError: the folder is no adapter, its weights are broken, they are of another base, or
            they cannot be merged.
    """
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    config = _configuration(folder)
    tensors, sample = _weights(folder)
    known = bool(sample) and _alike(sample, _sample(model))
    base, config.base_model_name_or_path = config.base_model_name_or_path, None  # peft's to set
    other = InputError(
        f"the adapter in {folder} belongs to another base ({base}): name the model that it was "
        "trained on"
    )
    if sample and not known:
        raise other
    try:
        wrapped = get_peft_model(model, config)
    except Exception as error:  # whatever peft makes of what it was given
        missing = "arget modules" in str(error)
        raise (other if missing and not known else _unreadable(folder / CONFIG, error)) from error
    wanted = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    shapes, found = ({k: [*v.shape] for k, v in x.items()} for x in (wanted, tensors))
    if wrong := [k for k in {**shapes, **found} if shapes.get(k) != found.get(k)]:
        if not known:
            raise other
        raise InputError(
            f"the adapter in {folder} is not what its {CONFIG} says: {wrong[0]} has shape "
            f"{found.get(wrong[0])}, expected {shapes.get(wrong[0])}; save it again"
        )
    try:
        if _changes_embeddings(wrapped):
            raise ValueError(TIED)
        set_peft_model_state_dict(wrapped, tensors)
        return wrapped.merge_and_unload()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"the adapter in {folder} cannot be merged ({reason}): train one without that setting"
        ) from error


def _configuration(folder: Path) -> Any:
    """What an adapter says of itself.

    Raises:
        InputError: it says nothing that can be used.
    """
    from peft import PeftConfig

    if not (folder / CONFIG).is_file():
        there = "has no " + CONFIG if folder.is_dir() else "is not there"
        raise InputError(f"{folder} is no adapter, it {there}: name the folder of a saved adapter")
    try:
        said = json.loads((folder / CONFIG).read_bytes())
        config: Any = PeftConfig.from_pretrained(str(folder))
    except Exception as error:  # peft has no error of its own for what it cannot read
        raise _unreadable(folder / CONFIG, error) from error
    if config.peft_type != "LORA":
        raise InputError(f"the adapter in {folder} is {config.peft_type}: only LoRA can be merged")
    for key in ("r", "lora_alpha"):  # untold, peft's own would be taken, of another strength
        if type(value := said.get(key)) not in (int, float) or not 0 < value < math.inf:
            wrong = ValueError(f"{key}={value}: expected a number above 0")
            raise _unreadable(folder / CONFIG, wrong)
    config.megatron_config = None  # it would have a module imported that the file names
    return config


def _weights(folder: Path) -> tuple[dict[str, torch.Tensor], list[float]]:
    """An adapter's tensors, and the sample of its base where it has one.

    Raises:
        InputError: they are not there, cut short, or not numbers.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise InputError(
            f"the adapter in {folder} has no {WEIGHTS}: save it as safetensors; pickled weights "
            "are never read"
        )
    try:
        with safe_open(path, framework="pt") as file:
            sample = json.loads((file.metadata() or {}).get(BASE, "[]"))
            if not isinstance(sample, list) or {*map(type, sample)} - {int, float}:
                raise ValueError(f"{BASE} is {sample!r:.60}: expected a list of numbers")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise _unreadable(path, error) from error
    check_numbers(str(folder), tensors.items())
    return tensors, sample


def _unreadable(path: Path, error: Exception) -> InputError:
    """What to say of a file of an adapter that cannot be read."""
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return InputError(
        f"the adapter's {path} cannot be read ({reason}): it may be truncated; save or train it "
        "again"
    )


def _sample(model: Any) -> list[float]:
    """One number of each parameter of a base, adapters aside: another training has others."""
    return [
        float(value.detach().flatten()[value.numel() // 2])
        for name, value in model.named_parameters()
        if ".lora_" not in name
    ]


def _alike(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two samples are of the same weights, which half precision may have rounded."""
    return len(one) == len(other) and np.allclose(one, other, rtol=1e-2, atol=1e-6)
