"""Models from names, folders and packages; twins; what happens when there is no model."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from conftest import FAMILIES, build

from mplib.errors import InputError
from mplib.files import home
from mplib.machine import has_bfloat16
from mplib.models.loading import PACKAGED, PRESETS, load_model, number_tokenizer, random_twin


@pytest.fixture
def saved(tmp_path):
    """A folder with a small trained-looking model and its tokenizer."""
    loaded = load_model("nano", vocabulary=30, seed=7)
    loaded.model.save_pretrained(tmp_path / "model")
    loaded.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model", loaded


def weights(model):
    return dict(model.named_parameters())


@pytest.mark.parametrize("name", ["nano", "tiny"])
def test_a_preset_starts_from_its_seed(name):
    first, same, other = (load_model(name, vocabulary=40, seed=seed) for seed in (3, 3, 4))
    assert not first.pretrained and not first.model.training
    assert first.model.config.vocab_size == len(first.tokenizer) == 42
    for parameter, value in weights(first.model).items():
        assert (value == weights(same.model)[parameter]).all()
    assert (first.model.lm_head.weight != other.model.lm_head.weight).any()
    assert first.positions >= 64


def test_loading_leaves_the_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    random_twin(load_model("nano", vocabulary=30).model, seed=2)
    assert (torch.rand(3) == expected).all()


def test_presets_have_the_shapes_they_are_named_for():
    small = PRESETS["gpt2-small-shape"](vocab_size=50257)
    assert (small.n_layer, small.n_head, small.n_embd, small.n_positions) == (12, 12, 768, 1024)
    medium = PRESETS["gpt2-medium-shape"](vocab_size=50257)
    assert (medium.n_layer, medium.n_head, medium.n_embd) == (24, 16, 1024)


def test_a_folder_gives_back_the_model_that_was_saved(saved):
    folder, loaded = saved
    again = load_model(str(folder))
    assert again.pretrained and not again.model.training
    for name, value in weights(loaded.model).items():
        assert (weights(again.model)[name] == value).all()
    assert again.tokenizer("3 29")["input_ids"] == [3, 29]
    assert again.tokenizer.padding_side == "left" and again.tokenizer.pad_token_id is not None


def test_relative_folders_count_from_home(saved):
    assert load_model("model").model.config.n_layer == 2


def test_the_dtype_is_the_one_asked_for(saved):
    assert load_model(str(saved[0]), dtype="bfloat16").model.dtype == torch.bfloat16
    assert load_model("nano", dtype="bfloat16").model.dtype == torch.bfloat16
    native = has_bfloat16(torch.device("cpu"))
    loaded = load_model("nano", dtype="auto", device="cpu")
    assert loaded.model.dtype == (torch.bfloat16 if native else torch.float32)
    with pytest.raises(InputError, match="dtype='nn'"):
        load_model("nano", dtype="nn")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        load_model(str(tmp_path))
    with pytest.raises(InputError, match=r"there is no .*folder"):
        load_model(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("keep", [0, 5, 0.5, 0.99])
def test_a_truncated_weights_file_is_refused(saved, keep):
    file = saved[0] / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: keep if keep >= 1 else int(len(content) * keep)])
    with pytest.raises(InputError, match=r"cannot be read.*may be truncated"):
        load_model(str(saved[0]))


def test_weights_that_do_not_fit_the_config_are_refused(saved):
    file = saved[0] / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"n_embd": 16}))
    with pytest.raises(InputError, match="cannot be read"):
        load_model(str(saved[0]))


@pytest.mark.parametrize("content", ["", "{", '{"model_type": "no such"}'])
def test_a_broken_config_is_refused(saved, content):
    (saved[0] / "config.json").write_text(content)
    with pytest.raises(InputError, match="cannot be read"):
        load_model(str(saved[0]))


def test_pickled_weights_are_not_read(saved):
    folder, loaded = saved
    (folder / "model.safetensors").unlink()
    torch.save(loaded.model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be read"):
        load_model(str(folder))


@pytest.mark.parametrize("name", ["tinny", "nobody/no-such-model"])
def test_an_unknown_name_is_one_error(name):
    with pytest.raises(InputError, match=f"unknown model '{name}'") as refused:
        load_model(name)
    assert ("Did you mean 'tiny'?" in str(refused.value)) == (name == "tinny")


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="device='tpu9'"):
        load_model("nano", device="tpu9")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(InputError, match=r"device='cuda'.*use 'auto', 'cpu'"):
        load_model("nano", device="cuda")


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_twin_has_the_shapes_and_none_of_the_weights(family):
    model = build(family).train()
    twin, same, other = (random_twin(model, seed) for seed in (5, 5, 6))
    assert type(twin) is type(model) and not twin.training
    # Transformers notes the dtype where it was left open.
    assert twin.config.to_dict() | {"dtype": None} == model.config.to_dict() | {"dtype": None}
    mine, theirs = weights(model), weights(twin)
    assert {n: v.shape for n, v in mine.items()} == {n: v.shape for n, v in theirs.items()}
    for name, value in theirs.items():
        assert (value == weights(same)[name]).all(), "the same seed gives the same twin"
        if value.std() > 0:  # not the biases and norms, which start alike
            assert (value != mine[name]).any() and (value != weights(other)[name]).any()


def test_a_twin_of_a_twin_owns_its_weights(gpt2):
    twin = random_twin(gpt2, 0)
    before = gpt2.lm_head.weight.clone()
    with torch.no_grad():
        twin.lm_head.weight.zero_()
    assert (gpt2.lm_head.weight == before).all()


def test_the_number_tokenizer_pads_on_the_left():
    tokenizer = number_tokenizer(12)
    found = tokenizer(["3 11", "4"], padding=True)
    assert found["input_ids"] == [[3, 11], [13, 4]]
    assert tokenizer("99")["input_ids"] == [tokenizer.unk_token_id]
    assert tokenizer.decode([7, 0]) == "7 0"


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PACKAGED))
def test_a_packaged_model_loads(name):
    if not find_spec(PACKAGED[name][0]):
        pytest.skip(f"the package {PACKAGED[name][0]} is not installed: make env does it")
    loaded = load_model(name)
    assert loaded.pretrained and not loaded.model.training
    prompt = loaded.tokenizer("The capital of France is", return_tensors="pt")
    with torch.no_grad():
        best = loaded.model(**prompt).logits[0, -1].argmax()
    assert loaded.tokenizer.decode(best).strip() == "Paris"
    (unpacked,) = (home() / "checkpoints").iterdir()
    again = load_model(str(unpacked))
    for key, value in loaded.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key])
    before = (unpacked / "model.safetensors").stat().st_mtime_ns
    load_model(name)
    assert (unpacked / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", list(PACKAGED))
def test_a_package_that_is_not_there_is_refused(name):
    if find_spec(PACKAGED[name][0]):
        pytest.skip(f"{PACKAGED[name][0]} is installed")
    with pytest.raises(InputError, match=f"needs the package {PACKAGED[name][0]}.*make env"):
        load_model(name)


def test_a_model_of_the_hub_is_told_with_its_commit(saved, tmp_path):
    """Out of a cache as the Hub's client leaves it, without any network."""
    folder, _ = saved
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--owner--name"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    code = (
        "from mplib import load_model\n"
        "from mplib.runs.record import provenance\n"
        "assert 'revisions' not in provenance()\n"
        "load_model('owner/name', device='cpu')\n"
        "print(provenance()['revisions'])"
    )
    offline = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | offline)
    assert done.stdout == f"{{'owner/name': '{commit}'}}\n", done.stderr
