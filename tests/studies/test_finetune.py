"""Finetuning: what trains, what a step computes, and what a kill or a full disk leaves behind."""

import copy
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import time
from dataclasses import replace
from functools import cache, partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import VOCABULARY, build, make_prompts, numbers, predicted_tokens
from safetensors import safe_open
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from mplib.errors import InputError
from mplib.models.adapters import add_adapter
from mplib.models.loading import LoadedModel, load_model, number_tokenizer
from mplib.models.prompts import Prompts
from mplib.models.trained import exchanged, rounded
from mplib.studies.checkpoints import checkpoint_folder, read_training, require_checkpoint
from mplib.studies.film import Film
from mplib.studies.finetune import (
    Training,
    add_gradients,
    autocasts,
    batch_indices,
    finetune,
    split_prompts,
)
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.proofwriter import ProofWriter

TASK = KSmallest(2, m=4, pool=12)
ABOUT = {"task": TASK.identity, "model": "nano"}
QUICK = Training(
    steps=12, batch_size=8, learning_rate=1e-3, warmup_steps=2, evaluations=3, precision="float32"
)


@cache
def data(n: int = 300) -> tuple[Prompts, Prompts]:
    """Training and development prompts."""
    train, dev, _ = TASK.splits(n, seed=0)
    return numbers(TASK, train), numbers(TASK, dev)


def train(
    folder: Path, training: Training = QUICK, start: LoadedModel | None = None,
    watch: Film | None = None,
) -> pd.DataFrame:  # fmt: skip
    start = start or load_model("nano", vocabulary=TASK.vocabulary, device="cpu")
    return finetune(start, *data(), training, folder, ABOUT, watch)


def wrap(model) -> LoadedModel:
    """A random decoder of the tests as a loaded model."""
    return LoadedModel("random", model, number_tokenizer(VOCABULARY - 2), False)


def tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


# What a run gives


def test_training_learns_and_publishes_its_best_state(tmp_path):
    training = replace(QUICK, steps=120, batch_size=64, learning_rate=3e-3, evaluations=6)
    start = load_model("nano", vocabulary=TASK.vocabulary, device="cpu")
    history = train(tmp_path / "checkpoint", training, start)
    assert history.step.tolist() == [20, 40, 60, 80, 100, 120]
    assert history.loss.iloc[-1] < history.loss.iloc[0] < np.log(14) + 0.2
    about = read_training(tmp_path / "checkpoint")
    best = history.loc[history.dev_accuracy.idxmax()]
    assert (about["best_step"], about["dev_accuracy"]) == (best.step, best.dev_accuracy)
    again = load_model(str(tmp_path / "checkpoint"))
    dev = data()[1]
    assert (predicted_tokens(again.model, dev) == dev.answers).mean() == best.dev_accuracy
    assert not list(tmp_path.glob("*.partial"))


def test_dealt_answers_teach_the_form_alone_and_the_last_state_is_kept(tmp_path):
    start = load_model("nano", vocabulary=TASK.vocabulary, device="cpu")
    whole, dealt = (split_prompts(TASK, start, 300, 0, dealt=deal) for deal in (False, True))
    np.testing.assert_array_equal(dealt.train.input_ids, whole.train.input_ids)
    assert sorted(dealt.train.answers) == sorted(whole.train.answers)
    kept = (dealt.train.answers == whole.train.answers).mean()
    assert kept < 0.2  # of twelve numbers
    np.testing.assert_array_equal(dealt.test.answers, whole.test.answers)
    assert dealt.dev is None and whole.dev is not None
    history = finetune(start, dealt.train, None, QUICK, tmp_path / "c", ABOUT | {"dealt": True})
    assert history.dev_accuracy.isna().all() and len(history) == 3
    about = read_training(tmp_path / "c")
    assert about["best_step"] == 12
    again = finetune(start, dealt.train, None, QUICK, tmp_path / "c", ABOUT | {"dealt": True})
    pd.testing.assert_frame_equal(again, history)
    names = [
        checkpoint_folder("ksmallest", {
            "model": "nano", "k": 2, "m": 4, "pool": 12, "repeats": False, "trainable": "all",
            "seed": 0, "checkpoint": "auto", "dealt": deal,
        }).name
        for deal in (False, True)
    ]  # fmt: skip
    assert names[1] == f"{names[0]}_dealt"


def test_a_training_that_runs_away_says_so_and_leaves_no_checkpoint(tmp_path):
    with pytest.raises(
        InputError, match=r"the loss is nan by step \d+: lower learning_rate=1e\+30"
    ):
        train(tmp_path / "nano", replace(QUICK, learning_rate=1e30, clip=float("inf")))
    assert not (tmp_path / "nano").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="cuDNN needs a GPU")
def test_padded_prompts_give_finite_gradients_on_a_gpu():
    task = ProofWriter(cases=("d0 s8", "d1 s12 hidden", "d3 s12 hidden"), negation=True)
    loaded = load_model("llama-tiny", vocabulary=task.vocabulary)
    prompts = task.prompts(task.splits(2000, seed=0)[0], loaded)[0].whole()
    for start in range(0, len(prompts) - 16, 16):
        batch = prompts[np.arange(start, start + 16)]
        add_gradients(loaded.model, batch, replace(QUICK, precision="bfloat16"), 16)
        assert all(p.grad is None or p.grad.isfinite().all() for p in loaded.model.parameters())


def test_a_finished_training_is_not_done_again(tmp_path):
    first = train(tmp_path / "c")
    stamp = (tmp_path / "c" / "model.safetensors").stat().st_mtime_ns
    pd.testing.assert_frame_equal(train(tmp_path / "c"), first)
    assert (tmp_path / "c" / "model.safetensors").stat().st_mtime_ns == stamp
    train(tmp_path / "c", replace(QUICK, learning_rate=2e-3))
    assert read_training(tmp_path / "c")["identity"]["training"]["learning_rate"] == 2e-3
    assert (tmp_path / "c" / "model.safetensors").stat().st_mtime_ns != stamp


LENGTHS = {"alike": np.full(1000, 9), "mixed": np.random.default_rng(0).integers(20, 200, 1000)}


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("size", [7, 8, 250, 2300])
def test_every_epoch_shows_each_example_once(lengths, size):
    tokens, training = LENGTHS[lengths], replace(QUICK, batch_size=size)
    steps = range(1, 3000 // size + 1)
    order = np.concatenate([batch_indices(tokens, step, training) for step in steps])
    for epoch in range(len(order) // 1000):
        # A batch that lies in two epochs has both their examples.
        first, end = -(-epoch * 1000 // size) * size, (epoch + 1) * 1000 // size * size
        assert len({*order[first:end]}) == max(end - first, 0)
    counts = np.bincount(order, minlength=1000)
    assert (counts.min(), counts.max()) == (len(order) // 1000, -(-len(order) // 1000))


def test_batches_of_one_length_are_a_plain_permutation():
    training = replace(QUICK, batch_size=7, seed=4)
    order = np.concatenate([batch_indices(LENGTHS["alike"], s, training) for s in range(1, 144)])
    first, second = (np.random.default_rng((4, epoch)).permutation(1000) for epoch in (0, 1))
    assert (order == np.concatenate([first, second])[: len(order)]).all()


def test_batches_hold_hardly_any_padding_and_come_in_no_order_of_length():
    tokens, training = LENGTHS["mixed"], replace(QUICK, batch_size=8)
    batches = [tokens[batch_indices(tokens, step, training)] for step in range(1, 126)]
    padded = sum(len(one) * one.max() for one in batches)
    assert padded < 1.05 * tokens.sum() < 1.5 * tokens.sum() < tokens.size * tokens.max()
    means = np.array([one.mean() for one in batches])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3


# What one step computes


@pytest.mark.parametrize("micro", [1, 3, 8])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_micro_batches_add_up_to_the_whole_batch(family, micro):
    lengths = [5, 9, 7, 7, 4, 8, 6, 9]
    prompts = make_prompts(lengths, [[(0, 1)]] * 8, [(n - 1, n) for n in lengths])
    model = build(family)
    whole, parts = copy.deepcopy(model), copy.deepcopy(model)
    loss = add_gradients(whole, prompts, QUICK, len(prompts))
    other = add_gradients(parts, prompts, QUICK, micro)
    torch.testing.assert_close(other, loss, rtol=1e-6, atol=1e-6)
    gradients = {name: p.grad for name, p in parts.named_parameters()}
    for name, parameter in whole.named_parameters():
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(
            gradients[name], parameter.grad, rtol=1e-6, atol=1e-6 * max(1, scale)
        )


def test_the_loss_is_cross_entropy_at_the_answer_only(llama):
    lengths = [5, 9, 7]
    prompts = make_prompts(lengths, [[(0, 1)]] * 3, [(n - 1, n) for n in lengths])
    expected = []
    for i in range(3):
        single = prompts[i : i + 1]
        with torch.no_grad():
            logits = llama(torch.from_numpy(single.input_ids)).logits[:, -1]
        expected.append(cross_entropy(logits, torch.from_numpy(single.answers)))
    loss = add_gradients(copy.deepcopy(llama), prompts, QUICK, len(prompts))
    torch.testing.assert_close(loss, torch.stack(expected).mean(), rtol=1e-5, atol=1e-5)


# Which parameters train

PARTS = {
    ("gpt2", "attention"): lambda name: ".attn." in name,
    ("gpt2", "mlp"): lambda name: ".mlp." in name,
    ("gpt2", "layernorm"): lambda name: ".ln_" in name,
    ("gpt2", "bias"): lambda name: name.endswith(".bias"),
    ("gpt2", "all"): lambda name: True,
    ("llama", "attention"): lambda name: ".self_attn." in name,
    ("llama", "mlp"): lambda name: ".mlp." in name,
    ("llama", "layernorm"): lambda name: "norm." in name,
    ("llama", "all"): lambda name: True,
}


@pytest.mark.parametrize(("family", "part"), list(PARTS))
def test_only_the_named_part_changes(tmp_path, family, part):
    model = build(family)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    training = replace(
        QUICK, steps=2, trainable=part, learning_rate=1e-2, warmup_steps=0, evaluations=1
    )
    train(tmp_path / "c", training, wrap(model))
    after = dict(AutoModelForCausalLM.from_pretrained(tmp_path / "c").named_parameters())
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    # Tied and unused parameters aside, all of the part must move: a padding row or so would not.
    assert changed == {name for name in before if PARTS[family, part](name)}


LORA = replace(QUICK, steps=4, trainable="lora", learning_rate=1e-2, evaluations=1)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_lora_ends_as_an_adapter(tmp_path, family):
    build(family).save_pretrained(tmp_path / "base")
    number_tokenizer(VOCABULARY - 2).save_pretrained(tmp_path / "base")
    start = load_model("base")
    before = {name: p.detach().clone() for name, p in start.model.named_parameters()}
    history = train(tmp_path / "c", replace(LORA, lora_rank=8), start)
    written = {path.name for path in (tmp_path / "c").iterdir()}
    assert written == {
        "adapter_config.json", "adapter_model.safetensors", "history.csv", "training.json"
    }  # fmt: skip
    config = json.loads((tmp_path / "c" / "adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (8, "base")
    again = load_model(f"base+{tmp_path / 'c'}").model
    after = dict(again.named_parameters())
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    matrices = {name for name, value in before.items() if value.ndim == 2}
    assert changed == {
        name for name in matrices if not re.search("wte|wpe|embed|lm_head", name)
    }  # fmt: skip
    for name in changed:
        # Rank 8 of 32: the merged change must have the rank of the adapter.
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) <= 8
        # What was trained in memory is the model that it was begun with, changed.
        torch.testing.assert_close(after[name], dict(start.model.named_parameters())[name])
    dev = data()[1]
    assert (predicted_tokens(again, dev) == dev.answers).mean() == history.dev_accuracy.iloc[-1]


def test_an_adapter_changes_the_layers_that_are_named(tmp_path):
    training = replace(LORA, lora_rank=2, lora_alpha=6, lora_targets=("q_proj", "down_proj"))
    start = wrap(build("llama"))
    before = {name: p.detach().clone() for name, p in start.model.named_parameters()}
    train(tmp_path / "c", training, start)
    after = dict(start.model.named_parameters())
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert changed == {name for name in before if re.search("q_proj|down_proj", name)}
    config = json.loads((tmp_path / "c" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (2, 6)
    with pytest.raises(InputError, match=r"lora_targets=\['nothing'\]: Llama.* has no such linear"):
        train(tmp_path / "d", replace(training, lora_targets=("nothing",)), wrap(build("llama")))


def test_earlier_trainings_without_adapter_stay_what_they_are():
    assert not [key for key in QUICK.identity if key.startswith("lora")]
    assert LORA.identity != replace(LORA, lora_rank=4).identity


def test_bfloat16_is_for_large_models_on_a_cpu_that_has_it(monkeypatch):
    small = load_model("nano", vocabulary=TASK.vocabulary, device="cpu").model
    for capability, native in (("avx512_bf16", True), ("amx_bf16", True), ("avx512_f", False)):
        has = {capability: True}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: has, raising=False)
        assert not autocasts(small, "auto") and autocasts(small, "bfloat16")
        with monkeypatch.context() as patched:
            patched.setattr("mplib.models.trained.SLOW", small.num_parameters())
            assert autocasts(small, "auto") is native and not autocasts(small, "float32")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_in_words_has_the_gradients_of_its_precision(precision):
    lengths = [5, 9, 7, 7]
    prompts = make_prompts(lengths, [[(0, 1)]] * 4, [(n - 1, n) for n in lengths])
    model = build("llama")
    exact, rounded = copy.deepcopy(model), copy.deepcopy(model)
    add_gradients(exact, prompts, QUICK, 4)
    add_gradients(rounded, prompts, replace(QUICK, precision=precision), 4)
    one, other = (
        torch.cat([p.grad.flatten() for p in each.parameters()]) for each in (exact, rounded)
    )
    away = float((one - other).norm() / one.norm())
    assert away == 0 if precision == "float32" else 1e-4 < away < 0.1


@pytest.mark.parametrize("family", ["llama", "gemma2"])  # the second shares its head
def test_weights_rounded_once_give_the_gradients_of_those_rounded_in_every_pass(family):
    model = build(family)
    adapter = add_adapter(model, rank=2, alpha=4, targets=())
    for name, values in adapter.named_parameters():
        if "lora_B" in name:  # at zero, nothing would reach the other half
            torch.nn.init.normal_(values)
    prompts = make_prompts([5, 9], [[(0, 1)]] * 2, [(4, 5), (8, 9)])
    training, before = replace(QUICK, precision="bfloat16"), copy.deepcopy(model.state_dict())
    frozen, found = rounded(adapter, "bfloat16"), []
    assert frozen and not rounded(adapter, "float32")
    for weights in ({}, frozen):
        with exchanged(weights):
            add_gradients(adapter, prompts, training, 2)
        found.append([each.grad for each in adapter.parameters() if each.requires_grad])
    assert all(map(torch.equal, *found)) and any(each.any() for each in found[0])
    with pytest.raises(KeyboardInterrupt), exchanged(frozen):
        raise KeyboardInterrupt
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert {each.dtype for each in model.parameters()} == {torch.float32}


def test_a_part_that_is_not_there_is_refused(tmp_path):
    training = replace(QUICK, trainable="everything")
    with pytest.raises(InputError, match="trainable='everything': expected one of all, attention"):
        train(tmp_path / "c", training)
    with pytest.raises(InputError, match="trainable='bias': LlamaForCausalLM has no such"):
        train(tmp_path / "c", replace(QUICK, trainable="bias"), wrap(build("llama")))
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("count", ["steps", "batch_size", "evaluations"])
def test_counts_that_cannot_be_are_refused(count):
    with pytest.raises(InputError, match=f"{count}=0"):
        replace(QUICK, **{count: 0})


# A checkpoint of something else


def test_a_checkpoint_for_another_k_is_refused(tmp_path):
    train(tmp_path / "c", replace(QUICK, steps=1, evaluations=1))
    assert require_checkpoint(tmp_path / "c", TASK)["identity"]["task"]["k"] == 2
    with pytest.raises(InputError, match="was trained for k=2, not k=3"):
        require_checkpoint(tmp_path / "c", replace(TASK, k=3))
    with pytest.raises(InputError, match="no finetuned model"):
        require_checkpoint(tmp_path / "nothing", TASK)


def test_the_state_of_another_training_is_not_taken_up(tmp_path):
    unbroken = tmp_path / "unbroken"
    train(unbroken)
    folder = tmp_path / "c"
    other = load_model("nano", vocabulary=TASK.vocabulary, device="cpu")
    _interrupted(folder, other, replace(QUICK, seed=5), stop_after=8)
    assert (tmp_path / "c.partial" / "last.safetensors").exists()
    train(folder)
    assert _same_weights(folder, unbroken)


def _interrupted(
    folder: Path, start: LoadedModel, training: Training, stop_after: int,
    watch: Film | None = None, prompts: tuple[Prompts, Prompts] | None = None,
) -> None:  # fmt: skip
    """Runs a training until it has used a number of batches, then stops it as Ctrl-C would."""

    class Stops:
        """Training prompts that end the run when they are asked for once too often."""

        def __init__(self, prompts):
            self.prompts, self.asked = prompts, 0

        def __len__(self):
            return len(self.prompts)

        @property
        def lengths(self):
            return self.prompts.lengths

        def __getitem__(self, index):
            self.asked += 1
            if self.asked > stop_after:
                raise KeyboardInterrupt
            return self.prompts[index]

    shown, dev = prompts or data()
    with pytest.raises(KeyboardInterrupt):
        finetune(start, Stops(shown), dev, training, folder, ABOUT, watch)


def _same_weights(one: Path, other: Path) -> bool:
    weights = [[path.read_bytes() for path in each.glob("*.safetensors")] for each in (one, other)]
    return len(weights[0]) == 1 and weights[0] == weights[1]


def dropping() -> LoadedModel:
    """A model with dropout, so that the random numbers must go on where they stopped."""
    loaded = load_model("nano", vocabulary=TASK.vocabulary, device="cpu")
    config = copy.deepcopy(loaded.model.config)
    config.resid_pdrop = config.embd_pdrop = 0.2
    torch.manual_seed(1)
    return wrap(AutoModelForCausalLM.from_config(config).eval())


@cache
def filming() -> Film:
    """Probes forty lists that are not trained on."""
    loaded = load_model("nano", vocabulary=TASK.vocabulary, device="cpu")
    return Film(TASK, loaded, TASK.draw(40, seed=9), twins=2)


@pytest.mark.parametrize(
    ("stop_after", "film"), [(3, False), (4, False), (7, False), (11, False), (3, True), (7, True)]
)
def test_an_interrupted_run_ends_like_an_unbroken_one(tmp_path, stop_after, film):
    watch = filming() if film else None
    history = train(tmp_path / "unbroken", start=dropping(), watch=watch)
    _interrupted(tmp_path / "broken", dropping(), QUICK, stop_after, watch)
    assert not (tmp_path / "broken").exists()
    # The model that is handed in again may be any: its state comes from the disk.
    torch.rand(3)
    resumed = train(tmp_path / "broken", start=dropping(), watch=filming() if film else None)
    pd.testing.assert_frame_equal(resumed, history, check_exact=True)
    assert _same_weights(tmp_path / "broken", tmp_path / "unbroken")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_interrupted_training_in_words_ends_like_an_unbroken_one(tmp_path, precision):
    """An adapter, trained on prompts of many lengths, in batches that lie across epochs."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, 20, 50).tolist()
    words = make_prompts(lengths, [[(0, 1)]] * 50, [(n - 1, n) for n in lengths])
    training = replace(QUICK, trainable="lora", batch_size=7, precision=precision)

    def begin() -> LoadedModel:
        return wrap(build("llama"))

    history = finetune(begin(), words, words, training, tmp_path / "unbroken", ABOUT)
    _interrupted(tmp_path / "c", begin(), training, 10, prompts=(words, words))
    assert not (tmp_path / "c").exists()
    torch.rand(3)
    resumed = finetune(begin(), words, words, training, tmp_path / "c", ABOUT)
    pd.testing.assert_frame_equal(resumed, history, check_exact=True)
    assert _same_weights(tmp_path / "c", tmp_path / "unbroken")
    about = (tmp_path / name / "adapter_config.json" for name in ("c", "unbroken"))
    assert len({path.read_bytes() for path in about}) == 1
    # A power cut that cuts the adapter short is seen, and it is made anew.
    (tmp_path / "c" / "adapter_model.safetensors").write_bytes(CUT)
    assert read_training(tmp_path / "c") is None
    finetune(begin(), words, words, training, tmp_path / "c", ABOUT)
    assert _same_weights(tmp_path / "c", tmp_path / "unbroken")


def test_a_film_changes_nothing_but_the_history(tmp_path):
    plain = train(tmp_path / "plain", start=dropping())
    filmed = train(tmp_path / "filmed", start=dropping(), watch=filming())
    assert _same_weights(tmp_path / "plain", tmp_path / "filmed")
    assert filmed.step.tolist() == [0, 4, 8, 12]
    later = filmed[1:].reset_index(drop=True)[plain.columns]
    pd.testing.assert_frame_equal(later, plain, check_exact=True)
    assert filmed.loc[0, plain.columns[1:]].isna().all() and filmed.S_P1.notna().all()
    one, other = (read_training(tmp_path / name) for name in ("plain", "filmed"))
    assert one["identity"].keys() == {*ABOUT, "training"}, "earlier checkpoints stay valid"
    assert (one["best_step"], one["dev_accuracy"]) == (other["best_step"], other["dev_accuracy"])
    again = train(tmp_path / "filmed", watch=filming())
    pd.testing.assert_frame_equal(again, filmed, check_exact=True)
    # A training without film has none to give.
    assert "S_P1" in train(tmp_path / "plain", start=dropping(), watch=filming())


# Files that a power cut left short

CUT = b"\0" * 20


@pytest.mark.parametrize("name", ["training.json", "model.safetensors", "history.csv"])
@pytest.mark.parametrize("content", [b"", CUT])
def test_a_checkpoint_with_a_file_that_was_cut_is_made_anew(tmp_path, name, content):
    short = replace(QUICK, steps=2, evaluations=1)
    folder, mine = tmp_path / "c", tmp_path / "c" / "notes.txt"
    first = train(folder, short)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / name).write_bytes(content)
    if name != "training.json":  # where it is lost, nothing tells whose the notes are
        mine.write_text("mine")
    assert read_training(folder) is None
    pd.testing.assert_frame_equal(train(folder, short), first, check_exact=True)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p != mine} == whole
    assert name == "training.json" or mine.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("name", ["last", "best", "history"])
@pytest.mark.parametrize("content", [b"", CUT])
def test_a_state_that_was_cut_is_begun_anew(tmp_path, name, content):
    begun = load_model("nano", vocabulary=TASK.vocabulary, device="cpu")
    _interrupted(tmp_path / "c", begun, QUICK, stop_after=6)
    suffix = "csv" if name == "history" else "safetensors"
    (tmp_path / "c.partial" / f"{name}.{suffix}").write_bytes(content)
    pd.testing.assert_frame_equal(train(tmp_path / "c"), train(tmp_path / "unbroken"))
    assert _same_weights(tmp_path / "c", tmp_path / "unbroken")


def test_earlier_checkpoints_without_a_list_are_finished_too(tmp_path):
    first = train(tmp_path / "c")
    about = json.loads((tmp_path / "c" / "training.json").read_text())
    kept = {name: about[name] for name in about if name not in ("history", "files")}
    (tmp_path / "c" / "training.json").write_text(json.dumps(kept))
    stamp = (tmp_path / "c" / "model.safetensors").stat().st_mtime_ns
    pd.testing.assert_frame_equal(train(tmp_path / "c"), first)
    assert (tmp_path / "c" / "model.safetensors").stat().st_mtime_ns == stamp


def test_somebody_elses_folder_is_not_trained_into(tmp_path):
    for name in ("c", "d.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("mine")
    for name in ("c", "d"):
        with pytest.raises(InputError, match=r"holds thesis\.txt"):
            train(tmp_path / name)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2


# Processes that die, and processes that meet


class Power:
    """Ends the process when it is about to put the n-th file or folder in its place."""

    def __init__(self, left: int) -> None:
        self.left = left
        for name in ("rename", "replace", "rmdir", "unlink"):
            setattr(os, name, partial(self.cut, getattr(os, name)))

    def cut(self, real, *given, **options):
        self.left -= 1
        if self.left < 0:
            os._exit(77)
        return real(*given, **options)


def train_and_say(said: Connection, limit: int, *given: object, cut: int | None = None) -> None:
    """Trains in a process of its own, in which no file may be longer, and says what was refused.

    With ``cut``, the power fails once so many files have been put in place or removed.
    """
    torch.set_num_threads(1)
    if cut is not None:
        Power(cut)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        train(*given)
    except InputError as error:
        said.send(str(error))


def start(
    folder: Path, training: Training, limit: int = 0, **options: object
) -> tuple[BaseProcess, Connection]:
    """Starts a process that trains."""
    # Processes come from one that has the libraries: to import them takes longer than the training.
    several = multiprocessing.get_context("forkserver")
    several.set_forkserver_preload(["mplib.studies.finetune", "hypothesis", "pytest"])
    heard, said = several.Pipe(duplex=False)
    process = several.Process(
        target=train_and_say, args=(said, limit, folder, training), kwargs=options
    )
    process.start()
    said.close()
    return process, heard


def refused(folder: Path, training: Training, limit: int) -> str:
    """Trains where no file may be longer than the limit; what was said of it, in one error."""
    process, heard = start(folder, training, limit)
    process.join(120)
    assert process.exitcode == 0, "anything but an InputError"
    return heard.recv()


@pytest.mark.slow
def test_a_killed_process_is_taken_up_bit_for_bit(tmp_path):
    seed = int(os.environ.get("MPLIB_SEED", time.time_ns()))
    print(f"MPLIB_SEED={seed} repeats this")
    training = replace(QUICK, steps=200, evaluations=100)
    folder, last = tmp_path / "killed", tmp_path / "killed.partial" / "last.safetensors"
    process, _ = start(folder, training)
    while not last.exists() and process.is_alive():
        time.sleep(0.01)
    time.sleep(random.Random(seed).uniform(0, 0.3))
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with safe_open(last, framework="pt") as file:
        step = json.loads(file.metadata()["json"])["step"]
    assert 0 < step < training.steps and not folder.exists(), "the kill must come in the middle"
    resumed, unbroken = train(folder, training), train(tmp_path / "unbroken", training)
    pd.testing.assert_frame_equal(resumed, unbroken)
    assert _same_weights(folder, tmp_path / "unbroken")


@pytest.mark.slow
def test_a_power_cut_at_any_moment_loses_nothing(tmp_path):
    """Another training's checkpoint with a user's notes in it is there, and is being replaced."""
    training, earlier = replace(QUICK, steps=2, evaluations=1), replace(QUICK, steps=1, seed=3)
    unbroken, before = tmp_path / "unbroken", tmp_path / "before"
    expected = train(unbroken, training)
    train(before, earlier)
    (before / "notes.txt").write_text("mine")
    for moment in range(100):
        folder = tmp_path / str(moment) / "c"
        shutil.copytree(before, folder)
        process, _ = start(folder, training, cut=moment)
        process.join(120)
        kept = [*folder.parent.rglob("notes.txt")]
        assert [path.read_text() for path in kept] == ["mine"], moment
        pd.testing.assert_frame_equal(train(folder, training), expected)
        assert _same_weights(folder, unbroken)
        assert (folder / "notes.txt").read_text() == "mine"
        # The lock of a dead process holds nobody up.
        assert {path.name for path in folder.parent.iterdir()} <= {"c", ".c.lock"}, moment
        if process.exitcode == 0:
            break
        assert process.exitcode == 77, moment
    assert moment >= 16


@pytest.mark.slow
def test_two_trainings_of_one_checkpoint(tmp_path):
    folder, training = tmp_path / "c", replace(QUICK, steps=100, evaluations=100)
    first, _ = start(folder, training)
    last = tmp_path / "c.partial" / "last.safetensors"
    while not last.exists() and first.is_alive():
        time.sleep(0.01)
    with pytest.raises(InputError, match="is being trained with other parameters"):
        train(folder, replace(training, steps=101))
    assert first.is_alive()
    history = train(folder, training)  # waits, and finds it done
    first.join(120)
    assert first.exitcode == 0
    pd.testing.assert_frame_equal(history, train(tmp_path / "unbroken", training))
    assert _same_weights(folder, tmp_path / "unbroken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "unbroken"]


@pytest.mark.slow
def test_a_full_disk_is_one_error_and_keeps_the_last_state(tmp_path):
    folder, partial = tmp_path / "c", tmp_path / "c.partial"
    begun = load_model("nano", vocabulary=TASK.vocabulary, device="cpu")
    _interrupted(folder, begun, QUICK, stop_after=6)
    before = {file.name: file.read_bytes() for file in partial.iterdir()}
    size = (partial / "last.safetensors").stat().st_size
    # The file system has room for half of a state.
    said = refused(folder, QUICK, limit=size // 2)
    assert said.startswith("cannot save the training state") and str(partial) in said
    assert (partial / "last.safetensors").read_bytes() == before["last.safetensors"]
    assert not [file for file in partial.iterdir() if file.name.startswith(".")]
    train(folder)
    train(tmp_path / "unbroken")
    assert _same_weights(folder, tmp_path / "unbroken")


@pytest.mark.slow
def test_a_disk_that_is_full_at_the_end_keeps_the_training(tmp_path):
    folder, training = tmp_path / "c", replace(QUICK, trainable="layernorm")
    # The state of the norms alone fits, the checkpoint of the whole model does not.
    assert refused(folder, training, limit=40_000).startswith("cannot save the checkpoint")
    assert not folder.exists()
    with safe_open(tmp_path / "c.partial" / "last.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["json"])["step"] == QUICK.steps
    pd.testing.assert_frame_equal(train(folder, training), train(tmp_path / "unbroken", training))
    assert _same_weights(folder, tmp_path / "unbroken")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="make"):
            train(tmp_path / "c")
    finally:
        tmp_path.chmod(0o700)
