"""Adapters: saved as peft saves them, merged for reading, refused on another base."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import VOCABULARY, build, make_prompts
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mplib.errors import InputError
from mplib.models.adapters import CONFIG, WEIGHTS, adapted, add_adapter, save_adapter
from mplib.models.cost import estimate
from mplib.models.inference import attention_features
from mplib.models.loading import load_model, number_tokenizer, random_twin
from mplib.studies.about import files_of

FAMILY = {"gpt2": "llama", "llama": "gpt2"}

pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out")


def make(
    folder: Path, family: str, base: str = "base", rank: int = 4, seed: int = 0
) -> torch.nn.Module:
    """A base and an adapter of it that changes something; returns the changed model."""
    if base == "base":
        build(family).save_pretrained(folder / base)
        number_tokenizer(VOCABULARY - 2).save_pretrained(folder / base)
    wrapped = add_adapter(load_model(base).model, rank, 2 * rank, ())
    torch.manual_seed(seed)
    for name, value in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.05)
    save_adapter(wrapped, base, torch.float32, folder / "adapter")
    return wrapped.eval()


@pytest.fixture(params=FAMILY)
def family(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    make(tmp_path, request.param)
    return request.param


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(9)[None]).logits


@pytest.mark.parametrize("name", ["base+adapter", "adapter", "./base+./adapter"])
def test_a_base_and_its_adapter_are_one_model(tmp_path, family, name):
    wrapped = make(tmp_path, family)
    loaded = load_model(name)
    assert loaded.name == name and loaded.pretrained and not loaded.model.training
    assert type(loaded.model) is type(load_model("base").model)
    torch.testing.assert_close(logits(loaded.model), logits(wrapped), rtol=1e-5, atol=1e-5)
    assert (logits(loaded.model) - logits(load_model("base").model)).abs().max() > 0.01


def test_attention_is_that_of_the_merged_weights(tmp_path, family):
    lengths = [6, 9]
    prompts = make_prompts(lengths, [[(0, 2), (3, 4)]] * 2, [(n - 1, n) for n in lengths])
    make(tmp_path, family).merge_and_unload().save_pretrained(tmp_path / "merged")
    number_tokenizer(VOCABULARY - 2).save_pretrained(tmp_path / "merged")
    found, merged, base = (
        attention_features(load_model(name).model, prompts)
        for name in ("base+adapter", "merged", "base")
    )
    np.testing.assert_allclose(found, merged, rtol=1e-5, atol=1e-5)
    assert np.nanmax(np.abs(found - base)) > 1e-3


def test_twins_are_those_of_the_base(family):
    one, other = (random_twin(load_model(n).model, 5) for n in ("base", "base+adapter"))
    assert one.config.to_dict() == other.config.to_dict()
    mine, theirs = (dict(twin.named_parameters()) for twin in (one, other))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


def test_peft_reads_what_is_saved_and_what_it_saves_is_read(tmp_path, family):
    wrapped = make(tmp_path, family)
    again = PeftModel.from_pretrained(load_model("base").model, tmp_path / "adapter")
    torch.testing.assert_close(logits(again), logits(wrapped), rtol=1e-5, atol=1e-5)
    again.save_pretrained(tmp_path / "theirs")
    loaded = load_model(f"base+{tmp_path / 'theirs'}")
    torch.testing.assert_close(logits(loaded.model), logits(wrapped), rtol=1e-5, atol=1e-5)


def test_adapters_stand_on_each_other(tmp_path, family):
    make(tmp_path, family)
    (tmp_path / "adapter").rename(tmp_path / "first")
    wrapped = make(tmp_path, family, "base+first", seed=1)
    assert adapted("adapter") == ("base+first", tmp_path / "adapter")
    for name in ("adapter", "base+first+adapter"):
        torch.testing.assert_close(
            logits(load_model(name).model), logits(wrapped), rtol=1e-5, atol=1e-4
        )
    with pytest.raises(InputError, match="another base"):
        load_model("base+adapter")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_base_is_known_again_in_half_precision(family, dtype):
    assert load_model("base+adapter", dtype=dtype).model.dtype == getattr(torch, dtype)


def test_an_adapter_of_random_weights_needs_their_seed(tmp_path):
    kind = {"vocabulary": 30, "device": "cpu"}
    wrapped = add_adapter(load_model("nano", seed=3, **kind).model, 2, 4, ("c_attn",))
    save_adapter(wrapped, "nano", torch.float32, tmp_path / "adapter")
    assert load_model("adapter", seed=3, **kind).model.config.vocab_size == 32
    for other in ({"seed": 4, **kind}, {"seed": 3, **kind, "vocabulary": 31}):
        with pytest.raises(InputError, match=r"belongs to another base \(nano\)"):
            load_model("nano+adapter", **other)


# What is refused


def refused(name: str = "base+adapter") -> str:
    with pytest.raises(InputError) as error:
        load_model(name)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_another_base_is_refused(tmp_path, family):
    other = build(FAMILY[family])
    near = copy.deepcopy(build(family))
    torch.manual_seed(0)
    with torch.no_grad():
        for value in near.parameters():
            value.mul_(1 + 0.1 * torch.randn_like(value))
    for name, model in {"other": other, "near": near}.items():
        model.save_pretrained(tmp_path / name)
        number_tokenizer(VOCABULARY - 2).save_pretrained(tmp_path / name)
        assert "belongs to another base (base): name the model" in refused(f"{name}+adapter")
    # What peft itself saves has no sample of its base, but names and shapes of its layers.
    tensors = load_file(tmp_path / "adapter" / WEIGHTS)
    save_file(tensors, tmp_path / "adapter" / WEIGHTS, {"format": "pt"})
    load_model("near+adapter")
    assert "belongs to another base" in refused("other+adapter")
    first = next(iter(tensors))
    save_file(
        {**tensors, first: tensors[first][:, :-1].contiguous()}, tmp_path / "adapter" / WEIGHTS
    )
    assert "belongs to another base" in refused()
    del tensors[first]
    save_file(tensors, tmp_path / "adapter" / WEIGHTS)
    assert "belongs to another base" in refused()


@pytest.mark.parametrize("keep", [0, 5, 0.5, 0.99])
@pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
def test_a_truncated_adapter_is_refused(tmp_path, family, file, keep):
    path = tmp_path / "adapter" / file
    content = path.read_bytes()
    path.write_bytes(content[: keep if keep >= 1 else int(len(content) * keep)])
    assert f"{file} cannot be read" in refused() and "may be truncated" in refused()


def test_an_adapter_of_no_numbers_is_refused(tmp_path, family):
    path = tmp_path / "adapter" / WEIGHTS
    tensors = load_file(path)
    next(iter(tensors.values()))[0, 0] = torch.nan
    save_file(tensors, path)
    assert "has NaN or infinity in base_model" in refused()


def test_missing_parts_of_an_adapter_are_named(tmp_path, family):
    adapter = tmp_path / "adapter"
    said = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps(said | {"base_model_name_or_path": None}))
    assert f"does not say what its base is: name the model as base+{adapter}" in refused(
        str(adapter)
    )
    (adapter / CONFIG).write_text(json.dumps(said | {"peft_type": "LOHA"}))
    assert "only LoRA can be merged" in refused()
    (adapter / CONFIG).write_text(json.dumps(said))
    torch.save(load_file(adapter / WEIGHTS), adapter / "adapter_model.bin")
    (adapter / WEIGHTS).unlink()
    assert f"has no {WEIGHTS}: save it as safetensors; pickled" in refused()
    (adapter / CONFIG).unlink()
    assert f"is no adapter, it has no {CONFIG}" in refused()
    assert "is no adapter, it is not there" in refused("base+nothing")
    assert "unknown model 'nobody'" in refused("nobody+base")


@pytest.mark.parametrize(
    "value",
    [
        {"r": 0}, {"r": "x"}, {"target_modules": 3}, {"lora_alpha": None}, {"lora_alpha": 0},
        {"lora_alpha": float("nan")}, {"lora_alpha": -8},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(tmp_path, family, value):
    path = tmp_path / "adapter" / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | value))
    assert f"{CONFIG} cannot be read" in refused()


@pytest.mark.parametrize("key", ["r", "lora_alpha"])
def test_settings_that_are_not_told_are_not_guessed(tmp_path, family, key):
    path = tmp_path / "adapter" / CONFIG
    said = json.loads(path.read_text())
    del said[key]
    path.write_text(json.dumps(said))
    assert f"{key}=None: expected a number above 0" in refused()


def test_weights_that_the_settings_do_not_tell_are_named(tmp_path, family):
    path = tmp_path / "adapter" / WEIGHTS
    with safe_open(path, "pt") as file:
        sample = file.metadata()
    tensors = load_file(path)
    first, value = next(iter(tensors.items()))
    cut = value[:, :-1].contiguous()
    for changed, name, shape in (
        ({key: tensors[key] for key in tensors if key != first}, first, None),
        ({**tensors, first: cut}, first, [*cut.shape]),
        ({**tensors, "more": cut}, "more", [*cut.shape]),
    ):
        save_file(changed, path, sample)
        assert f"is not what its {CONFIG} says: {name} has shape {shape}, expected" in refused()
    save_file(tensors, path, {"base": "5"})
    assert "base is 5: expected a list of numbers" in refused()


def test_what_cannot_be_merged_is_refused(tmp_path, family):
    path = tmp_path / "adapter" / CONFIG
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"alora_invocation_tokens": [1, 2]}))
    assert "cannot be merged (aLoRA does not support merging.)" in refused()


def test_no_adapter_changes_the_logits_of_shared_weights(tmp_path):
    make(tmp_path, "gpt2")
    with pytest.raises(InputError, match=r"lora_targets=\['lm_head'\]: the model's logits and"):
        add_adapter(load_model("base").model, 4, 8, ["lm_head"])
    for target in ("lm_head", "wte"):
        config = LoraConfig(r=4, lora_alpha=8, target_modules=[target])
        theirs = get_peft_model(load_model("base").model, config)
        theirs.save_pretrained(tmp_path / "theirs", save_embedding_layers=False)
        assert "cannot be merged (the model's logits and embeddings" in refused("base+theirs")


def test_adapters_that_stand_on_themselves_are_refused(tmp_path, family):
    shutil.copytree(tmp_path / "adapter", tmp_path / "other")
    for name, base in (("adapter", "other"), ("other", "adapter")):
        path = tmp_path / name / CONFIG
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": base})
        )
    assert "the adapter in adapter stands on itself" in refused("adapter")
    for base in (5, ["base"]):
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": base})
        )
        assert "does not say what its base is" in refused("other")
    for name in ("+adapter", "base+"):
        assert f"model '{name}': expected base+adapter, a name on each side" in refused(name)


def test_no_module_that_an_adapter_names_is_imported(tmp_path, family):
    path = tmp_path / "adapter" / CONFIG
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"megatron_config": {"a": 1}, "megatron_core": "no.such"}))
    load_model("base+adapter")


# What else asks for a model's name


def test_a_run_with_an_adapter_knows_its_files_and_its_cost(tmp_path, family):
    found = files_of({"model": "base+adapter"})
    assert found == {"model": tmp_path / "base", "model+": tmp_path / "adapter"}
    both = files_of({"model": "nano", "beside": ["nano", "base", "base+adapter"]})
    assert both == {"beside1": tmp_path / "base", "beside2": tmp_path / "base",
                    "beside2+": tmp_path / "adapter"}  # fmt: skip
    assert files_of({"model": "base"}) == {"model": tmp_path / "base"}
    work = {"read": 1000, "longest": 10}
    names = ("base", "adapter", "base+adapter")
    first, *others = [estimate({"model": n, **work}, {}, lambda kind: 1e9) for n in names]
    assert first and others == [first, first]
    (tmp_path / "a+b").mkdir()
    assert files_of({"model": "a+b"}) == {"model": tmp_path / "a+b"}


def test_an_adapter_of_a_base_in_half_precision_runs(tmp_path):
    make(tmp_path, "llama")
    wrapped = add_adapter(load_model("base", dtype="bfloat16").model, 4, 8, ())
    assert torch.isfinite(logits(wrapped)).all()
