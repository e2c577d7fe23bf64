"""What of a model a finetuning trains, and the precision of models that are read or trained."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from mplib.errors import InputError
from mplib.machine import has_bfloat16
from mplib.models.adapters import add_adapter

PARTS = {"attention": "attention", "mlp": "mlp", "layernorm": "norm"}
"""Partial finetuning: the part's name -> what its modules' class names contain."""


SLOW = 32_000_000
"""Parameters from which on bfloat16 is taken on a CPU too: half the time of a language model's
training is worth its rounding; a small model's weights come out alike on every machine instead."""


def autocasts(model: PreTrainedModel, precision: str) -> bool:
    """Whether a model is trained in bfloat16: see ``Training.precision``."""
    if precision != "auto":
        return precision == "bfloat16"
    large = sum(each.numel() for each in model.parameters()) >= SLOW
    return has_bfloat16(model.device) and (large or model.device.type == "cuda")


def autocast(model: PreTrainedModel, precision: str) -> torch.autocast:
    """Autocast to bfloat16 where a model is trained in it, see ``autocasts``."""
    enabled = autocasts(model, precision)
    return torch.autocast(model.device.type, torch.bfloat16, enabled=enabled)


def rounded(model: Any, precision: str) -> dict[nn.Linear, torch.Tensor]:
    """Weights of frozen linear layers as autocast would round them in every pass; else none.

    Packed weights (quantised) and those that lie elsewhere (offloaded) are left alone.
    """
    core = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not autocasts(core, precision):
        return {}
    layers = {each: each.weight for each in model.modules() if isinstance(each, nn.Linear)}
    return {
        layer: weight.bfloat16() for layer, weight in layers.items()
        if weight.dtype == torch.float32 and not weight.is_meta and not weight.requires_grad
    }  # fmt: skip


@contextmanager
def exchanged(weights: Mapping[nn.Linear, torch.Tensor]) -> Iterator[None]:
    """Runs with these weights in the place of the layers' own; embeddings tied to one keep it."""
    own = {layer: layer.weight for layer in weights}
    try:
        for layer, values in weights.items():
            layer.weight = nn.Parameter(values, requires_grad=False)
        yield
    finally:
        for layer, parameter in own.items():
            layer.weight = parameter


def weights_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The precision that a parameter ``dtype`` names.

    Args:
        dtype: ``float32``, ``bfloat16``, ``float16``; ``auto`` is bfloat16 where the device
            computes in it, else float32.
        device: that the model runs on.

    Raises:
        InputError: any other name.

    >>> weights_dtype("float32", torch.device("cpu"))
    torch.float32
    """
    if dtype == "auto":
        dtype = "bfloat16" if has_bfloat16(device) else "float32"
    if not isinstance(found := getattr(torch, dtype, None), torch.dtype):
        raise InputError(f"dtype={dtype!r}: use auto, float32, bfloat16 or float16")
    return found


def select(model: PreTrainedModel, training: Mapping[str, Any]) -> tuple[PreTrainedModel, Any]:
    """Freezes all but the part that trains.

    Args:
        model: changed in place.
        training: ``trainable``, the part; for ``lora`` also ``lora_rank``, ``lora_alpha`` and
            ``lora_targets``, see ``add_adapter``.

    Returns:
        The model and what is run: the model itself, or the adapter around it.

    Raises:
        InputError: no parameter belongs to the part.
    """
    trainable = training["trainable"]
    if trainable == "lora":
        rank, alpha, targets = (training[f"lora_{key}"] for key in ("rank", "alpha", "targets"))
        wrapped = add_adapter(model, rank, alpha, targets)
        return wrapped.get_base_model(), wrapped
    model.requires_grad_(trainable == "all")
    if trainable == "bias":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
    elif trainable in PARTS:
        for module in model.modules():
            if PARTS[trainable] in type(module).__name__.lower():
                module.requires_grad_(True)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        kind = type(model).__name__
        raise InputError(f"trainable={trainable!r}: {kind} has no such parameters; use another")
    return model, model
