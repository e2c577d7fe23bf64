"""Checkpoints: the folders that notebooks' parameters name."""

import json
import re
from pathlib import Path

import pytest
import torch

from mplib.errors import InputError
from mplib.files import ROOT, home
from mplib.models.loading import load_model
from mplib.runs.notebooks import Notebook
from mplib.studies.checkpoints import checkpoint_folder, claim, finetuned_models, read_training
from mplib.studies.finetune import Training, finetune
from mplib.tasks.ksmallest import KSmallest

FINETUNE = Notebook.find("01_finetune")


def test_checkpoint_names_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLIB_HOME", str(tmp_path))
    values = {"checkpoint": "checkpoints/{model}-k{k}", "model": "org/name", "k": 3}
    folder = checkpoint_folder("ksmallest", values)
    assert folder == tmp_path / "checkpoints" / "org--name-k3"
    with pytest.raises(InputError, match="'size' is no parameter"):
        checkpoint_folder("ksmallest", values | {"checkpoint": "{size}"})


VALUES = {"model": "nano", "k": 3}


def plant(path: Path, content: str = "mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "", " ", ".", "./", "..", "../x", "runs", "runs/x", "checkpoints", "checkpoints/", "~",
        "checkpoints/../mydata", "checkpoints/.hidden", "x.partial", "/", "/tmp/..", "a\nb", "a\0b",
        str(ROOT), str(ROOT.parent), str(ROOT / ".git"), ".git/x",
    ],
)  # fmt: skip
def test_names_that_are_no_place_for_a_checkpoint(name: str) -> None:
    if name == "~":
        name = str(home())
    with pytest.raises(InputError, match=r"is no place for a finetuned model: use a name"):
        checkpoint_folder("ksmallest", {**VALUES, "checkpoint": name})


@pytest.mark.parametrize("name", ["checkpoints/{model}/k{k}", "mine", "ä b/c", "checkpoints/a..b"])
def test_names_that_are(tmp_path: Path, name: str) -> None:
    folder = checkpoint_folder("ksmallest", {**VALUES, "checkpoint": name})
    assert folder.is_relative_to(tmp_path)
    claim(folder, "checkpoint")
    folder.mkdir(parents=True)
    claim(folder, "checkpoint")


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_a_notebooks_parameters_find_a_finetuned_adapter_of_random_weights(tmp_path: Path) -> None:
    task = KSmallest(2, m=4, pool=12)
    values = {"model": "nano", "k": 2, "m": 4, "pool": 12, "trainable": "lora", "seed": 3}
    values |= {"checkpoint": "mine", "device": "cpu"}
    start = load_model("nano", vocabulary=task.vocabulary, seed=3, device="cpu")
    prompts = start.write_numbers(lists := task.draw(30, seed=0), task.answers(lists), 12)[0]
    training = Training(steps=3, batch_size=8, trainable="lora", evaluations=1, seed=3)
    about = {"task": task.identity, "model": "nano"}
    finetune(start, prompts, prompts, training, checkpoint_folder("ksmallest", values), about)
    # Another seed of the notebook's is none of the checkpoint's business.
    (part, found), *_ = finetuned_models({**values, "seed": 9}, task).items()
    assert part == "lora" and found.pretrained and found.layers == 2
    for one, other in zip(found.model.parameters(), start.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


IDENTITY = {"identity": {"task": {}, "training": {}}}


def test_what_is_no_checkpoint_is_not_replaced(tmp_path: Path) -> None:
    for path in ("mydata/thesis.txt", "deep/er/thesis.txt", "model/config.json", "a.partial/x.txt"):
        plant(tmp_path / path)
    for i, other in enumerate(('{"identity": 3}', '{"epochs": 3}', "[]")):
        plant(tmp_path / f"other{i}" / "training.json", other)
        plant(tmp_path / f"other{i}" / "thesis.txt")
    plant(tmp_path / "own" / "training.json", json.dumps(IDENTITY))
    plant(tmp_path / "file")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    names = ["mydata", "deep", "model", "a", "other0", "other1", "other2", "file", "own/inner"]
    for name in [*names, str(tmp_path / "mydata")]:
        about = FINETUNE.check({"checkpoint": name})
        with pytest.raises(InputError, match=re.escape(f"checkpoint={name!r}: ")) as error:
            FINETUNE.about(about)
        assert "\n" not in str(error.value)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("content", ["", "{", json.dumps(IDENTITY)])
def test_a_checkpoint_that_was_cut_short_may_be_made_anew(tmp_path: Path, content: str) -> None:
    plant(tmp_path / "c" / "training.json", content)
    plant(tmp_path / "c" / "model.safetensors", "")
    claim(tmp_path / "c", "checkpoint")
    assert bool(read_training(tmp_path / "c")) == (len(content) > 1)
