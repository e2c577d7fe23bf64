"""What work with a model will cost, before it is started, to within a factor of two.

Counts the multiplications of the model's passes and divides by what this machine does in a large
matrix product just now; to that come the classifiers, by the statements that they are fitted to.
What other work is going on beside it slows a run down, and is not counted.
"""

from collections.abc import Callable, Mapping
from functools import cache
from time import perf_counter
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from mplib.files import resolve
from mplib.models.adapters import adapted
from mplib.models.loading import PACKAGED, PRESETS, packaged_file, pick_device, unpacked_folder
from mplib.models.trained import autocasts, select, weights_dtype

START_SECONDS = 15.0
"""A kernel, the libraries and the figures."""


PROBE_SECONDS = 5.0
"""Classifiers of one set of examples, however small: most of it for a hundred deals of labels."""


FIT_SECONDS = 4e-6
"""Classifiers and prefixes for each statement, model, trial and feature."""


TEXT_FEATURES = 3
"""Layers whose features cost a classifier as much as the text's that stand beside them."""


UNPACK_SECONDS = 30.0
"""Reading a packaged model the first time."""


EFFICIENCY = 0.6
"""Share of the large product's speed that a model reaches on a CPU: .4 to .8 was measured."""


ATTENTION = 5.0
"""How much slower a multiplication of attention is, where weights are looked at, than others."""


PROCESS_BYTES = 0.8e9
"""The libraries themselves."""


GAPS = 2.0
"""How much more memory a training holds where its batches are of many lengths: it is handed back in
other pieces than it is asked for. (A process that had 4 GB after two steps had 8 after an hour.)"""


class Cost(NamedTuple):
    """An estimate.

    Attributes:
        seconds: of one run, with the machine to itself.
        memory: peak bytes; the GPU's where there is one.
        disk: bytes that stay.
        once: seconds and bytes of what the first of several runs does for all, by name.
    """

    seconds: float
    memory: float
    disk: float
    once: Mapping[str, tuple[float, float]] = {}


class Shape(NamedTuple):
    """What of a model its cost goes by.

    Attributes:
        size: parameters.
        inner: those that work at every token: an embedding is looked up, and logits are made at
            the last token alone.
        trained: those that a finetuning changes, an adapter's for LoRA; 0 without one.
        layers: how many it has.
        width: channels of its hidden states.
        autocast: whether a finetuning runs in bfloat16.
    """

    size: int
    inner: int
    trained: int
    layers: int
    width: int
    autocast: bool


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
    work: Mapping[str, Any],
    parameters: Mapping[str, Any],
    speed: Callable[[torch.dtype | None], float] = _speed_here,
) -> Cost | None:
    """The cost of one run, or None where its model is not on this machine yet.

    Args:
        work: what a notebook says that it does with its model: ``model``, its name;
            ``vocabulary``, where that is a preset; ``longest``, tokens of one prompt; ``keys``, how
            many tokens each attends to; ``read``, tokens read in forward passes;
            ``read_by_layer``, the same for each layer of the model; ``trained``, tokens with
            gradients; ``sets``, sets of examples probed; ``fitted``, statements in them, as often
            as there are models and trials; ``models``, how many are in memory at once. Empty where
            it uses no model.
        parameters: the notebook's, for the examples of a pass, the numbers' kind and what trains.
        speed: operations a second by the kind of numbers; measured if left out.
    """
    if not work:
        return Cost(START_SECONDS, PROCESS_BYTES, 1e6)
    trained = work.get("trained", 0)
    names = ("trainable", "lora_rank", "lora_alpha", "precision") if trained else ()
    training = {name: parameters[name] for name in names}
    targets = tuple(parameters["lora_targets"]) if trained else ()
    shape = _shape(work["model"], work.get("vocabulary", 600), targets, **training)
    if shape is None:
        return None
    read = work.get("read", 0) + shape.layers * work.get("read_by_layer", 0)
    attended = 4 * shape.layers * shape.width * work.get("keys", 0)
    each = weights_dtype(parameters.get("dtype", "float32"), pick_device()).itemsize
    # Forward, back to the inputs, and back to the weights that train.
    passes = 2 + min(1.0, shape.trained / shape.inner)
    token = 2 * shape.inner + ATTENTION * attended
    seconds = read * token / speed(torch.bfloat16 if each == 2 else None)
    seconds += passes * trained * token / speed(torch.bfloat16 if shape.autocast else None)
    probing = FIT_SECONDS * work.get("fitted", 0) * (shape.layers + TEXT_FEATURES)
    return Cost(
        START_SECONDS + PROBE_SECONDS * work.get("sets", 0) + probing + seconds / EFFICIENCY,
        PROCESS_BYTES + _memory(shape, work, parameters, each),
        (_saved(shape, each, parameters["trainable"]) if trained else 0) + 2e6,
        _unpacking(work["model"], shape),
    )


def _memory(
    shape: Shape, work: Mapping[str, Any], parameters: Mapping[str, Any], each: int
) -> float:
    """Peak bytes of models and their passes; ``each`` number of the weights has so many."""
    batch = parameters.get("micro_batch_size") or parameters.get("batch_size", 1)
    models = work.get("models", 2) * shape.size * each
    tokens = batch * work.get("longest", 0) * shape.width
    if not work.get("trained"):
        return models + 16 * tokens * each
    # With gradients the activations of all layers at once (34 numbers a token, layer and channel,
    # Korthikanti et al. 2022); gradients and the optimiser's two moments; copies in bfloat16.
    kept, copies = (2, 2 * shape.inner) if shape.autocast else (each, 0)
    alike = work["longest"] <= 2 * work["keys"]  # a token attends to half of a prompt
    activations = 34 * shape.layers * tokens * kept * (1 if alike else GAPS)
    return models + 3 * shape.trained * each + activations + copies


def _saved(shape: Shape, each: int, trainable: str) -> float:
    """Bytes of a checkpoint: an adapter alone, in the precision of its training, or the model."""
    if trainable == "lora":
        return shape.trained * (2 if shape.autocast else 4)
    return shape.size * each


def _unpacking(name: str, shape: Shape) -> dict[str, tuple[float, float]]:
    """What unpacking a packaged model, or the packaged base of an adapter, is still to cost."""
    base = found[0] if (found := adapted(name)) else name
    if base not in PACKAGED or unpacked_folder(base).is_dir():
        return {}
    return {base: (UNPACK_SECONDS, 4.0 * shape.size)}


@cache
def _shape(
    name: str, vocabulary: int, targets: tuple[str, ...], precision: str = "", **training: Any
) -> Shape | None:
    """The shape of a model by name, with what trains of it."""
    config = _config(name, vocabulary)
    if config is None:
        return None
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        size = sum(parameter.numel() for parameter in model.parameters())
        inner = size - model.get_input_embeddings().weight.numel()
        trained, autocast = 0, bool(training) and autocasts(model, precision)
        if training:
            _, run = select(model, {**training, "lora_targets": targets})
            trained = sum(x.numel() for x in run.parameters() if x.requires_grad)
    text = config.get_text_config()
    return Shape(size, inner, trained, text.num_hidden_layers, text.hidden_size, autocast)


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
