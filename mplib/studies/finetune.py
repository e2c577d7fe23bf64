"""One training loop for every model and task: cross-entropy at the answer's position only."""

import json
import os
import shutil
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import PreTrainedModel, get_scheduler

from mplib.errors import InputError
from mplib.files import write_atomically
from mplib.models.inference import predicted_tokens
from mplib.models.loading import LoadedModel
from mplib.models.memory import halving
from mplib.models.prompts import Prompts
from mplib.studies.checkpoints import (
    TRAINABLE,
    read_training,
)

PARTS = {"attention": "attention", "mlp": "mlp", "layernorm": "norm"}
"""Partial finetuning: the part's name -> what its modules' class names contain."""


@dataclass(frozen=True)
class Training:
    """How a model is finetuned.

    Attributes:
        steps: optimiser steps.
        batch_size: examples a step.
        micro_batch_size: examples a forward pass, their gradients summed; 0 for the whole batch.
        learning_rate: peak learning rate of AdamW.
        weight_decay: of AdamW.
        warmup_steps: steps of linear warm-up.
        schedule: name of a transformers schedule; the paper keeps the rate constant.
        clip: largest norm of the gradient.
        trainable: which parameters train.
        precision: ``auto`` is bfloat16 autocast on a GPU that has it, else float32.
        compile: whether the model is compiled first.
        evaluations: how often the development accuracy is measured and the state saved.
        seed: of the order of the examples and of dropout.
    """

    steps: int
    batch_size: int = 256
    micro_batch_size: int = 0
    learning_rate: float = 2e-5
    weight_decay: float = 1e-3
    warmup_steps: int = 500
    schedule: str = "constant_with_warmup"
    clip: float = 1.0
    trainable: str = "all"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    evaluations: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the counts.

        Raises:
            InputError: a count that cannot be.
        """
        for name in ("steps", "batch_size", "evaluations"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: must be 1 or more")


def finetune(
    start: LoadedModel,
    train: Prompts,
    dev: Prompts,
    how: Training,
    folder: Path,
    about: dict[str, Any],
) -> pd.DataFrame:
    """Finetunes a model and saves the best of its states, by development accuracy.

    A killed run goes on from its last evaluation and ends with the same weights as an unbroken one
    (same seed, on a CPU). A folder that already holds the same training is left as it is.

    Args:
        start: the model to begin with; its weights are changed in place.
        train: training prompts, drawn without replacement until all are used, then anew.
        dev: development prompts.
        how: hyperparameters.
        folder: where the checkpoint goes; replaced in one step at the end.
        about: what identifies the training beside ``how``: task, model, data.

    Returns:
        The history: step, loss since the last evaluation, development accuracy, learning rate.

    Raises:
        InputError: no parameter belongs to the part that should train.
    """
    identity = json.loads(json.dumps({**about, "training": asdict(how)}))
    if (done := read_training(folder)) and done["identity"] == identity:
        return pd.read_csv(folder / "history.csv")
    torch.manual_seed(how.seed)
    model, wrapped = _select(start.model, how.trainable)
    weights = {n: p for n, p in wrapped.named_parameters() if p.requires_grad}
    # Fused: one pass over the weights, several times faster on a CPU as on a GPU.
    optimizer = torch.optim.AdamW(
        weights.values(), lr=how.learning_rate, weight_decay=how.weight_decay, fused=True
    )
    schedule = get_scheduler(how.schedule, optimizer, how.warmup_steps, how.steps)
    unfinished = folder.with_name(folder.name + ".partial")
    unfinished.mkdir(parents=True, exist_ok=True)
    state = _State(unfinished, identity, weights, optimizer)
    history = state.resume()
    if state.step:
        optimizer.step()  # nothing without gradients, but the schedule warns if it comes first
    for _ in range(state.step):
        schedule.step()
    run = torch.compile(wrapped) if how.compile else wrapped
    every = max(1, how.steps // how.evaluations)
    micro_batch_size = how.micro_batch_size or how.batch_size
    losses: list[torch.Tensor] = []
    with tqdm(total=how.steps, initial=state.step, desc="finetuning", unit="step") as progress:
        for step in range(state.step + 1, how.steps + 1):
            wrapped.train()
            batch = train[_batch_indices(len(train), step, how)]
            losses.append(
                halving(model, partial(_step, run, batch, how), micro_batch_size, "training")
            )
            torch.nn.utils.clip_grad_norm_(weights.values(), how.clip)
            optimizer.step()
            schedule.step()
            progress.update()
            if step % every == 0 or step == how.steps:
                wrapped.eval()
                correct = predicted_tokens(model, dev) == dev.answers
                loss = float(torch.stack(losses).mean())
                history.append({
                    "step": step,
                    "loss": loss,
                    "dev_accuracy": float(correct.mean()),
                    "learning_rate": schedule.get_last_lr()[0],
                })  # fmt: skip
                losses.clear()
                state.save(step, history)
                progress.set_postfix(loss=f"{loss:.3f}", accuracy=f"{correct.mean():.3f}")
    wrapped.eval()
    best = state.load_best()
    final = wrapped.merge_and_unload() if how.trainable == "lora" else model
    table = pd.DataFrame(history)
    _publish(final, start, table, {"identity": identity, **best}, folder, unfinished)
    return table


def _batch_indices(n: int, step: int, how: Training) -> np.ndarray:
    """Indices of one batch: every epoch is a new permutation, known from the step alone."""
    places = np.arange((step - 1) * how.batch_size, step * how.batch_size)
    epochs = places // n
    orders = {e: np.random.default_rng((how.seed, e)).permutation(n) for e in np.unique(epochs)}
    return np.concatenate([order[places[epochs == e] % n] for e, order in orders.items()])


def _step(model: Any, batch: Prompts, how: Training, size: int) -> torch.Tensor:
    """Adds up the gradients of one batch, ``size`` examples a pass; returns its mean loss."""
    model.zero_grad(set_to_none=True)  # also of an attempt that was broken off
    device = next(model.parameters()).device
    bfloat16 = how.precision == "bfloat16" or (
        how.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    )
    total = torch.zeros((), device=device)
    for first in range(0, len(batch), size):
        part = batch[slice(first, first + size)].whole()
        padded = not part.attention_mask.all()
        mask = torch.from_numpy(part.attention_mask.copy()).to(device)
        # On a CPU the fused attention in bfloat16 is the slower one for short prompts.
        plain = bfloat16 and device.type == "cpu" and part.input_ids.shape[1] <= 128
        kernel = sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16), kernel:
            logits = model(
                input_ids=torch.from_numpy(part.input_ids).to(device),
                # Without padding the fast kernels need no mask.
                attention_mask=mask.long() if padded else None,
                position_ids=(mask.long().cumsum(1) - 1).clamp(min=0) if padded else None,
                use_cache=False,
                logits_to_keep=1,
            ).logits[:, -1]
        answers = torch.from_numpy(part.answers).to(device)
        loss = cross_entropy(logits.float(), answers, reduction="sum") / len(batch)
        loss.backward()
        total += loss.detach()
    return total


def _select(model: PreTrainedModel, trainable: str) -> tuple[PreTrainedModel, Any]:
    """Freezes all but the part that trains; returns the model and what is run (itself, or LoRA)."""
    if trainable == "lora":
        from peft import LoraConfig, get_peft_model

        lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        wrapped = get_peft_model(model, lora)
        return wrapped.get_base_model(), wrapped  # type: ignore[return-value]
    if trainable not in TRAINABLE:
        raise InputError(f"trainable={trainable!r}: use {', '.join(TRAINABLE)}")
    model.requires_grad_(trainable == "all")
    if trainable == "bias":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
    elif trainable in PARTS:
        for module in model.modules():
            if PARTS[trainable] in type(module).__name__.lower():
                module.requires_grad_(True)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(
            f"trainable={trainable!r}: {type(model).__name__} has no such parameters; use another"
        )
    return model, model


class _State:
    """The state of a running training on disk: one file each, replaced in one step."""

    def __init__(
        self,
        folder: Path,
        identity: dict[str, Any],
        weights: dict[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self.folder, self.identity, self.weights, self.optimizer = (
            folder,
            identity,
            weights,
            optimizer,
        )
        self.step = 0

    def save(self, step: int, history: list[dict[str, float]]) -> None:
        """Saves the newest state and, where it is the best so far, the weights."""
        weights = {f"model.{name}": value.detach() for name, value in self.weights.items()}
        is_best = history[-1]["dev_accuracy"] > max(
            (row["dev_accuracy"] for row in history[:-1]), default=-1.0
        )
        if is_best:
            about = {"best_step": step, "dev_accuracy": history[-1]["dev_accuracy"]}
            self._write("best", weights, about)
        moments = {
            f"optimizer.{i}.{name}": value
            for i, entry in self.optimizer.state_dict()["state"].items()
            for name, value in entry.items()
        }
        random = {"random.cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["random.cuda"] = torch.cuda.get_rng_state()
        self._write("last", weights | moments | random, {"step": step, "history": history})
        write_atomically(self.folder / "history.csv", pd.DataFrame(history).to_csv(index=False))

    def _write(self, name: str, tensors: dict[str, torch.Tensor], about: dict[str, Any]) -> None:
        temporary = self.folder / f".{name}.{os.getpid()}"
        metadata = {"json": json.dumps({"identity": self.identity, **about})}
        try:
            save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata)
            temporary.replace(self.folder / f"{name}.safetensors")
        except Exception as error:
            # safetensors reports a full disk with an error class of its own.
            temporary.unlink(missing_ok=True)
            raise InputError(
                f"cannot save the training state in {self.folder} ({error}): make room or set "
                "MPLIB_HOME to another disk; the last saved state is kept"
            ) from error

    def _read(self, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            return None
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["json"])
            if about.pop("identity") != self.identity:
                return None
            return {key: file.get_tensor(key) for key in file.keys()}, about  # noqa: SIM118

    def resume(self) -> list[dict[str, float]]:
        """Takes up the last saved state of the same training; returns its history."""
        if not (saved := self._read("last")):
            return []
        tensors, about = saved
        self._set_weights(tensors)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".")
                state.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        self.step = about["step"]
        return about["history"]

    def load_best(self) -> dict[str, Any]:
        """Puts the best weights back into the model; returns their step and accuracy."""
        saved = self._read("best")
        assert saved is not None
        self._set_weights(saved[0])
        return saved[1]

    def _set_weights(self, tensors: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, value in self.weights.items():
                value.copy_(tensors[f"model.{name}"])


def _publish(
    model: PreTrainedModel,
    start: LoadedModel,
    history: pd.DataFrame,
    about: dict[str, Any],
    folder: Path,
    partial: Path,
) -> None:
    """Writes the finished checkpoint beside the old one, then puts it in its place."""
    fresh = partial / "checkpoint"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        model.save_pretrained(fresh)
        start.tokenizer.save_pretrained(fresh)
        history.to_csv(fresh / "history.csv", index=False)
        (fresh / "training.json").write_text(json.dumps(about, indent=1))
    except Exception as error:
        # safetensors and tokenizers report a full disk with error classes of their own.
        shutil.rmtree(fresh, ignore_errors=True)
        raise InputError(
            f"cannot save the checkpoint in {partial} ({error}): make room or set MPLIB_HOME to "
            "another disk; the training itself is kept and need not be done again"
        ) from error
    if folder.exists():
        old = partial / "replaced"
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(partial)
