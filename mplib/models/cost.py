"""What work with a model will cost, before it is started, to within a factor of four.

Counts the multiplications of the model's passes, two a parameter and token and thrice that with
gradients, and divides by what this machine does in a large matrix product just now.
"""

from collections.abc import Mapping
from functools import cache
from time import perf_counter
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from mplib.files import resolve
from mplib.models.adapters import adapted
from mplib.models.loading import PACKAGED, PRESETS, packaged_file

START_SECONDS = 15.0
"""A kernel, the libraries and the figures."""


PROBE_SECONDS = 6.0
"""Neighbours and resamples of one set of examples, all layer prefixes included."""


EFFICIENCY = 0.4
"""Share of the large product's speed that a model reaches; small models less, large ones more."""


PROCESS_BYTES = 0.8e9
"""The libraries themselves."""


class Cost(NamedTuple):
    """An estimate.

    Attributes:
        seconds: of one run, with the machine to itself.
        memory: peak bytes; the GPU's where there is one.
        disk: bytes that stay.
    """

    seconds: float
    memory: float
    disk: float


def machine_speed(kind: torch.dtype | None = None) -> float:
    """Operations a second in a large matrix product, the best of three.

    Args:
        kind: of the numbers; what models are run in if None, bfloat16 on a GPU and else float32.
    """
    on_gpu = torch.cuda.is_available()
    kind = kind or (torch.bfloat16 if on_gpu else torch.float32)
    size, device = (8192, "cuda") if on_gpu else (1536, "cpu")
    factor = torch.ones(size, size, dtype=kind, device=device)
    best = 0.0
    for _ in range(3):
        began = perf_counter()
        (factor @ factor)[0, 0].item()  # waits for the GPU
        best = max(best, 2 * size**3 / (perf_counter() - began))
    return best


_speed_here = cache(machine_speed)


def estimate(
    work: Mapping[str, Any], parameters: Mapping[str, Any], speed: float | None = None
) -> Cost | None:
    """The cost of one run, or None where its model is not on this machine yet.

    Args:
        work: what a notebook says that it does with its model: ``model``, its name;
            ``vocabulary``, where that is a preset; ``longest``, tokens of one prompt; ``read``,
            tokens read in forward passes; ``read_by_layer``, the same for each layer of the model;
            ``trained``, tokens with gradients; ``sets``, sets of examples probed. Empty where it
            uses no model.
        parameters: the notebook's, for the examples of a pass and the numbers' kind.
        speed: operations a second; measured if None.
    """
    if not work:
        return Cost(START_SECONDS, PROCESS_BYTES, 1e6)
    shape = _shape(work["model"], work.get("vocabulary", 600))
    if shape is None:
        return None
    size, inner, layers, width = shape
    trained = work.get("trained", 0)
    read = work.get("read", 0) + layers * work.get("read_by_layer", 0)
    operations = 2 * inner * (read + 3 * trained)
    each = 4 if parameters.get("dtype", "float32") == "float32" else 2
    batch = parameters.get("micro_batch_size") or parameters.get("batch_size", 1)
    # Activations of a pass without gradients; with them, all layers' at once (34 numbers a token,
    # layer and channel, Korthikanti et al. 2022), and the optimiser's two moments and the gradient.
    kept, copies = (34 * layers, 4) if trained else (16, 2)
    activations = batch * work.get("longest", 0) * width * kept * each
    return Cost(
        START_SECONDS
        + PROBE_SECONDS * work.get("sets", 0)
        + operations / (speed or _speed_here()) / EFFICIENCY,
        PROCESS_BYTES + copies * size * each + activations,
        (4 * size if trained else 0) + 2e6,
    )


@cache
def _shape(name: str, vocabulary: int) -> tuple[int, int, int, int] | None:
    """A model's parameters, those that work at every token, its layers and its width."""
    config = _config(name, vocabulary)
    if config is None:
        return None
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    size = sum(parameter.numel() for parameter in model.parameters())
    # An embedding is looked up, and logits are made at the last token alone.
    inner = size - model.get_input_embeddings().weight.numel()
    text = config.get_text_config()
    return size, inner, text.num_hidden_layers, text.hidden_size


def _config(name: str, vocabulary: int) -> PretrainedConfig | None:
    """The shape of a model."""
    if name in PRESETS:
        return PRESETS[name](vocab_size=vocabulary)
    try:
        if found := adapted(name):
            return _config(found[0], vocabulary)
        place, options = resolve(name), {}
        if name in PACKAGED:
            file = packaged_file(name)
            place, options = file.parent, {"gguf_file": file.name}
        source = str(place) if place.is_dir() else name
        return AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
    except Exception:  # libraries have errors of their own, and loading it will say which
        return None
