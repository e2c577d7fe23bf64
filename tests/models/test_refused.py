"""Models whose weights are not what their configuration says, or that ask for more than is here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_prompts
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import ByT5Tokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from benchmarks.families import tiny
from mplib.errors import InputError
from mplib.models.fewshot import few_shot
from mplib.models.inference import attention_features, read
from mplib.models.loading import load_model, random_twin
from mplib.tasks.examples import Example
from mplib.tasks.trees import ReasoningTree

WORDS = [*"abcdefghij", "True", "False"]
UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good model and its tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "good"
    loaded = load_model("llama-nano", vocabulary=WORDS, device="cpu")
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})


def config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refused(folder: Path, said: str, **options: Any) -> None:
    with pytest.raises(InputError, match=said) as error:
        load_model(str(folder), device="cpu", **options)
    assert "\n" not in str(error.value)


def test_a_whole_model_loads(folder: Path) -> None:
    assert load_model(str(folder), device="cpu").attention_layers == (0, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("model.layers.0.self_attn.q_proj.weight"), "0.self_attn.q_proj.weight ar"),
        (lambda t: t.pop("model.embed_tokens.weight"), "model.embed_tokens.weight are missing"),
        (lambda t: t.update(extra=torch.ones(3)), "extra stand in its weights"),
        (lambda t: t[UP].fill_(torch.nan), f"NaN or infinity in {UP}"),
        (lambda t: t[UP][0].fill_(torch.inf), f"NaN or infinity in {UP}"),
        (lambda t: t[UP].resize_(3, 3), "cannot be read"),
    ],
    ids=["missing", "embedding", "extra", "nan", "inf", "shape"],
)  # fmt: skip
def test_weights_that_are_not_there_are_named(
    folder: Path, change: Callable[..., Any], said: str
) -> None:
    weights(folder, change)
    refused(folder, said)


def test_buffers_that_old_checkpoints_keep_are_no_weights(folder: Path) -> None:
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    weights(folder, lambda t: t.update({name: torch.ones(4)}))
    assert load_model(str(folder), device="cpu").layers == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 4}, r"\(llama\): model.layers.2.input_layernorm.* 15 more are miss"),
        ({"num_hidden_layers": 1}, r"model.layers.1.* belong to no layer"),
        ({"num_hidden_layers": 0}, r"model.layers.0.* belong to no layer"),
        ({"model_type": "bert"}, r"\(bert\): bert.embeddings.* would be random"),
        ({"model_type": "t5"}, "cannot be read"),
        ({"model_type": ["llama"]}, "cannot be read"),
        ({"num_attention_heads": 0}, "cannot be read"),
        ({"hidden_size": "big"}, "cannot be read .*hidden_size"),
        ({"max_position_embeddings": None}, "cannot be read"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "optimum.*: install it"),
        (
            {"quantization_config": {"quant_method": "compressed-tensors"}},
            "compressed-tensors.*: install it",
        ),
        (
            {"model_type": "own", "auto_map": {"AutoConfig": "evil.C"}},
            "code of its own, which is never run",
        ),
    ],
)  # fmt: skip
def test_configurations_that_do_not_fit(folder: Path, changes: dict[str, Any], said: str) -> None:
    (folder / "evil.py").write_text("raise SystemExit('this was run')")
    config(folder, **changes)
    refused(folder, said)


def test_code_beside_a_known_family_is_not_run(folder: Path) -> None:
    (folder / "evil.py").write_text("raise SystemExit('this was run')")
    config(folder, auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"})
    assert load_model(str(folder), device="cpu").layers == 2


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("config.json", "[1]", "cannot be read"),
        ("config.json", "[" * 100_000, "cannot be read"),
        ("tokenizer.json", "{}", "cannot be read"),
        ("tokenizer_config.json", "[]", "cannot be read"),
        ("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["evil.T", "evil.T"]}}', "code"),
        ("model.safetensors", "not weights", "cannot be read"),
    ],
)  # fmt: skip
def test_broken_files_give_one_line(folder: Path, file: str, text: str, said: str) -> None:
    (folder / "evil.py").write_text("raise SystemExit('this was run')")
    (folder / file).write_text(text)
    refused(folder, said)


def test_pickles_are_not_read(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused(folder, "no file named model.safetensors")


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    config(folder, vocab_size=5)
    name = "model.embed_tokens.weight"
    weights(folder, lambda t: t.update({name: t[name][:5].clone()}))
    refused(folder, r"no embedding for \(False, True, d and 6 more; 14 tokens, 5 embeddings\)")


def test_a_special_token_that_no_text_makes_may_lie_beyond(folder: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<picture>"]})
    tokenizer.save_pretrained(folder)
    assert len(load_model(str(folder), device="cpu").tokenizer) == 15


@pytest.mark.parametrize("has", [True, False])
def test_a_folder_without_a_fast_tokenizer_says_so(folder: Path, has: bool) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    if has:
        (folder / "tokenizer.model").write_bytes(b"\n\x0b\n\x05<unk>\x15\0\0\0\0")
    refused(folder, "has tokenizer.model but no tokenizer.json" if has else "no tokenizer.json")


def test_a_slow_tokenizer_is_refused_where_words_are_asked(tmp_path: Path) -> None:
    ByT5Tokenizer().save_pretrained(tmp_path)
    shape = GPT2Config(vocab_size=400, n_embd=16, n_layer=1, n_head=1, n_positions=64)
    GPT2LMHeadModel(shape).save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path), device="cpu")
    example = Example(
        ("Anne is red.",),
        "Is Anne red?",
        "yes",
        ReasoningTree.from_edges([], 1, root=0),
        "",
        ("yes", "no"),
    )
    with pytest.raises(InputError, match="ByT5Tokenizer has no offset mapping"):
        few_shot(loaded.tokenizer, [example], [[]], template="")


def test_numbers_too_large_for_half_precision_are_told(folder: Path) -> None:
    loaded = load_model(str(folder), device="cpu")
    prompts = make_prompts([9], [[(1, 3)]], [(7, 9)])
    ids = np.minimum(prompts.input_ids, len(WORDS))
    prompts.input_ids[:] = ids
    weights(folder, lambda t: [t[k].mul_(3e4) for k in t if "0.mlp" in k or "0.self" in k])
    large = load_model(str(folder), device="cpu", dtype="float16")
    with pytest.raises(InputError, match=r"NaN in float16.* use dtype='bfloat16' or 'float32'"):
        attention_features(large.model, prompts)
    assert np.isfinite(attention_features(loaded.model, prompts)).all()


def test_nan_that_comes_up_later_is_told_too(folder: Path) -> None:
    loaded = load_model(str(folder), device="cpu")
    prompts = make_prompts([9], [[(1, 3)]], [(7, 9)])
    prompts.input_ids[:], prompts.answers[:] = 3, 3
    read(loaded.model, prompts)  # the model is known now
    loaded.model.get_input_embeddings().weight.data[3] = torch.nan
    for answers in (True, False):
        with pytest.raises(InputError, match="gives NaN in float32"):
            read(loaded.model, prompts, answers=answers)


def test_a_part_of_a_model_is_read_on_request(tmp_path: Path) -> None:
    tiny("qwen3_next").save_pretrained(tmp_path)
    words = {f"w{n}": n for n in range(61)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="w1").save_pretrained(tmp_path)
    with pytest.raises(InputError, match="partial_attention=True"):
        _ = load_model(str(tmp_path), device="cpu").attention_layers
    loaded = load_model(str(tmp_path), device="cpu", partial_attention=True)
    assert (loaded.attention_layers, loaded.layers) == ((1, 3), 4)
    assert loaded.model.partial_attention is True
    assert random_twin(loaded.model, 0).partial_attention
