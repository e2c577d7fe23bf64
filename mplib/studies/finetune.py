"""One training loop for every model and task: cross-entropy at the answer's position only."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import PreTrainedModel, get_scheduler

from mplib.errors import InputError, one_of
from mplib.files import STATE, Held, discard, exclusive, settle
from mplib.models.adapters import save_adapter
from mplib.models.facts import backend
from mplib.models.fast import short_attention
from mplib.models.inference import answers
from mplib.models.loading import LoadedModel
from mplib.models.memory import halving
from mplib.models.prompts import Prompts
from mplib.models.trained import autocast, autocasts, exchanged, rounded, select
from mplib.studies.checkpoints import SEAL, TRAINABLE, claim, read_training, unfinished
from mplib.studies.training_state import TrainingState, publish, read_state
from mplib.tasks.task import Task

MEASURED = ("loss", "dev_accuracy", "learning_rate")
"""Columns of every history, beside the step."""


POOL = 32
"""Batches that are sorted by length at a time."""


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
        lora_rank: of the changes that ``trainable="lora"`` trains.
        lora_alpha: they are multiplied by alpha / rank.
        lora_targets: names, or ends of names, of the linear layers that they change; all if empty.
        precision: ``auto`` is bfloat16 autocast on a GPU that has it, and on a CPU that has it (AMX
            or AVX-512) for models of ``trained.SLOW`` parameters or more; else float32.
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
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_targets: Sequence[str] = ()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    evaluations: int = 20
    seed: int = 0

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """The training that a notebook's parameters of these names ask for."""
        return cls(**{f.name: parameters[f.name] for f in fields(cls) if f.name in parameters})

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from another training, as JSON: nothing of adapters where there is none."""
        lora = self.trainable == "lora"
        return {k: v for k, v in asdict(self).items() if lora or not k.startswith("lora_")}

    def __post_init__(self) -> None:
        """Checks the counts.

        Raises:
            InputError: a count that cannot be.
        """
        for name in ("steps", "batch_size", "evaluations", "lora_rank", "lora_alpha"):
            if (given := getattr(self, name)) < 1:
                raise InputError(f"{name}={given}: must be 1 or more")


@dataclass(frozen=True)
class Splits:
    """Prompts to train on, to choose the best state with, and to measure with.

    Attributes:
        train: training prompts.
        dev: development prompts; None where nothing can be chosen by them.
        test: test prompts, never trained on.
        choices: tokens among which the answer is looked for; None for the whole vocabulary.
    """

    train: Prompts
    dev: Prompts | None
    test: Prompts
    choices: np.ndarray | None = None


def split_prompts(
    task: Task, loaded: LoadedModel, n: int, seed: int, dealt: bool = False
) -> Splits:
    """Draws or reads n problems and puts them into prompts, without demonstrations.

    The loss looks at the answer alone.

    Args:
        task: whose problems they are.
        loaded: the model.
        n: how many problems.
        seed: of the draw.
        dealt: whether the training problems' answers are dealt anew among them: a control that
            learns the form of the task, and has nothing to reason for.
    """
    parts = [task.prompts(problems, loaded) for problems in task.splits(n, seed)]
    train, dev, test = (prompts.whole() for prompts, _ in parts)
    if dealt:
        train = replace(train, answers=np.random.default_rng(seed).permutation(train.answers))
    return Splits(train, None if dealt else dev, test, parts[-1][1])


def preview(loaded: LoadedModel, prompts: Prompts, n: int = 3) -> pd.DataFrame:
    """A few prompts as the model reads them, with the answer it should give."""
    texts = [ids[mask] for ids, mask in zip(prompts.input_ids, prompts.attention_mask, strict=True)]
    return pd.DataFrame({
        "prompt": loaded.tokenizer.batch_decode(texts[:n]),
        "answer": loaded.tokenizer.batch_decode(prompts.answers[:n, None]),
    })  # fmt: skip


class Watch(Protocol):
    """What looks at a model at each evaluation of its training, in eval mode.

    Attributes:
        identity: what tells one from another, as JSON; part of the training's identity.
    """

    identity: dict[str, Any]

    def __call__(self, model: PreTrainedModel) -> dict[str, float]:
        """Figures for the history, by name; drawing no random numbers of torch's."""


def finetune(
    start: LoadedModel,
    train: Prompts,
    dev: Prompts | None,
    training: Training,
    folder: Path,
    about: dict[str, Any],
    watch: Watch | None = None,
) -> pd.DataFrame:
    """Finetunes a model and saves the best of its states, by development accuracy.

    A killed training goes on from its last evaluation and ends with the same weights as an unbroken
    one (same seed, on a CPU). A folder that already holds the same training is left as it is; where
    another process is at the same training, it is waited for.

    Args:
        start: the model to begin with; its weights are changed in place.
        train: training prompts, drawn without replacement until all are used, then anew.
        dev: development prompts; the last state is kept if None.
        training: hyperparameters.
        folder: where the checkpoint goes; replaced in one step at the end.
        about: what identifies the training beside its hyperparameters: task, model, data.
        watch: looks at the model before the first step and at each evaluation; weights are the
            same without.

    Returns:
        The history: step, loss since the last evaluation, development accuracy, learning rate, and
        what ``watch`` found, which alone has a row for step 0.

    Raises:
        InputError: no parameter belongs to the part that should train, the loss is no number any
            more, the folder is no place for a checkpoint, or another process is at another training
            of it.
    """
    watched = {"watched": watch.identity} if watch else {}
    identity = json.loads(json.dumps({**about, "training": training.identity, **watched}))
    word = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]
    done, partial = _finished(folder, identity), unfinished(folder)
    if done is not None and not partial.is_dir():
        return done
    with ExitStack() as held:
        try:
            lock = folder.with_name(f".{folder.name}.lock")
            held.enter_context(exclusive(lock, wait=word))
        except Held as error:
            busy = f"{folder} is being trained with other parameters ({error})"
            raise InputError(f"{busy}, or name another checkpoint") from None
        claim(folder, "the finetuned model")
        settle(folder, SEAL)
        if (done := _finished(folder, identity)) is None:
            done = _finetune(start, train, dev, training, folder, identity, watch)
        else:  # a power cut came after the checkpoint, unless the state is of another training
            discard(partial, STATE if read_state(partial, "last", identity) else [])
        return done


def _finished(folder: Path, identity: dict[str, Any]) -> pd.DataFrame | None:
    """The history of this very training, or None where its checkpoint is not there whole."""
    training = read_training(folder)
    if training is None or training["identity"] != identity:
        return None
    # Earlier versions kept it in a file of its own alone.
    history = training.get("history")
    return pd.read_csv(folder / "history.csv") if history is None else pd.DataFrame(history)


def _finetune(
    start: LoadedModel, train: Prompts, dev: Prompts | None, training: Training, folder: Path,
    identity: dict[str, Any], watch: Watch | None,
) -> pd.DataFrame:  # fmt: skip
    """Finetunes, alone at its folder."""
    torch.manual_seed(training.seed)
    one_of("trainable", training.trainable, TRAINABLE)
    model, wrapped = select(start.model, asdict(training))
    weights = {n: p for n, p in wrapped.named_parameters() if p.requires_grad}
    # Fused: one pass over the weights, several times faster on a CPU as on a GPU.
    optimizer = torch.optim.AdamW(
        weights.values(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
    )
    unfinished(folder).mkdir(parents=True, exist_ok=True)
    state = TrainingState(unfinished(folder), identity, weights, optimizer)
    history = _train(model, wrapped, train, dev, training, state, watch)
    wrapped.eval()
    best = state.load_best()
    dtype = torch.bfloat16 if autocasts(model, training.precision) else torch.float32
    about = {"identity": identity, **best, "autocast": str(dtype).removeprefix("torch.")}
    if training.trainable == "lora":
        publish(partial(save_adapter, wrapped, start.name, dtype), history, about, folder)
        wrapped.merge_and_unload()
    else:
        publish(partial(_save, start), history, about, folder)
    return history


def _save(loaded: LoadedModel, folder: Path) -> None:
    """Writes a model and its tokenizer as transformers does."""
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)


def _train(
    model: PreTrainedModel, wrapped: Any, train: Prompts, dev: Prompts | None, training: Training,
    state: TrainingState, watch: Watch | None,
) -> pd.DataFrame:  # fmt: skip
    """The loop, from the last saved state on; returns the whole history."""
    optimizer, weights = state.optimizer, state.weights
    schedule = get_scheduler(training.schedule, optimizer, training.warmup_steps, training.steps)
    history, frozen = state.resume(), rounded(wrapped, training.precision)
    wrapped.eval()
    with backend(model) as known:  # found before anything is rounded, and remembered
        size = training.micro_batch_size or training.batch_size if known.pads else 1
    if watch and not history:
        with exchanged(frozen), autocast(model, training.precision):
            history.append({"step": 0, **dict.fromkeys(MEASURED, np.nan), **watch(model)})
    if state.step:
        optimizer.step()  # nothing without gradients, but the schedule warns if it comes first
    for _ in range(state.step):
        schedule.step()
    compiled = torch.compile(wrapped) if training.compile else wrapped
    every = max(1, training.steps // training.evaluations)
    losses: list[torch.Tensor] = []
    bar = tqdm(total=training.steps, initial=state.step, desc="finetuning")
    with bar as progress, short_attention():
        for step in range(state.step + 1, training.steps + 1):
            wrapped.train()
            batch = train[batch_indices(train.lengths, step, training)]
            gradients = partial(add_gradients, compiled, batch, training)
            with exchanged(frozen):
                losses.append(halving(model, gradients, size, "training"))
            torch.nn.utils.clip_grad_norm_(weights.values(), training.clip)
            optimizer.step()
            schedule.step()
            progress.update()
            if step % every == 0 or step == training.steps:
                wrapped.eval()
                loss, rate = float(torch.stack(losses).mean()), schedule.get_last_lr()[0]
                if not np.isfinite(loss):
                    raise InputError(
                        f"the loss is {loss} by step {step}: lower learning_rate="
                        f"{training.learning_rate}, or train with precision='float32'"
                    )
                # The accuracy chooses a state, and is no result: so it is rounded too.
                with exchanged(frozen), autocast(model, training.precision):
                    right = np.nan if dev is None else answers(model, dev, batch_size=size).correct
                    accuracy = float(np.mean(right))
                    seen = watch(model) if watch else {}
                found = dict(zip(MEASURED, (loss, accuracy, rate), strict=True))
                history.append({"step": step, **found, **seen})
                losses.clear()
                state.save(step, history)
                progress.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.3f}")
    return pd.DataFrame(history)


def batch_indices(lengths: np.ndarray, step: int, training: Training) -> np.ndarray:
    """Indices of one batch, known from the step alone: every epoch is a new permutation.

    Within it, ``POOL`` batches at a time are sorted by length, so that hardly anything is padding;
    they come in the order in which their first examples were drawn. Examples of one length stay as
    they were drawn, and so does a batch that lies in two epochs.

    Args:
        lengths: tokens of each training example, shape (examples,).
        step: from 1.
        training: its batches.
    """
    n, size = len(lengths), training.batch_size
    first, end = (step - 1) * size, step * size
    epoch = first // n
    whole = range(-(-epoch * n // size), (epoch + 1) * n // size)  # batches within the epoch
    if step - 1 not in whole:
        return _drawn(n, first, end, training.seed)
    pool = whole[(step - 1 - whole.start) // POOL * POOL :][:POOL]
    drawn = _drawn(n, pool.start * size, pool.stop * size, training.seed)
    by_length = np.argsort(lengths[drawn], kind="stable").reshape(-1, size)
    chosen = by_length[np.argsort(by_length.min(axis=1))[step - 1 - pool.start]]
    return drawn[chosen]


def _drawn(n: int, first: int, end: int, seed: int) -> np.ndarray:
    """Examples at some places of a sequence of permutations of them all."""
    places = np.arange(first, end)
    epochs, draw = places // n, np.random.default_rng
    orders = {e: draw((seed, e)).permutation(n) for e in np.unique(epochs)}
    return np.concatenate([order[places[epochs == e] % n] for e, order in orders.items()])


def add_gradients(model: Any, batch: Prompts, training: Training, size: int) -> torch.Tensor:
    """Adds up the gradients of one batch, ``size`` examples a pass; returns its mean loss."""
    model.zero_grad(set_to_none=True)  # also of an attempt that was broken off
    device, total = model.device, torch.zeros((), device=model.device)
    for first in range(0, len(batch), size):
        part = batch[slice(first, first + size)].whole()
        padded = not part.attention_mask.all()
        mask = torch.from_numpy(part.attention_mask.copy()).to(device)
        with autocast(model, training.precision), _kernels(device):
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


def _kernels(device: torch.device) -> AbstractContextManager[object]:
    """The attention kernels among which torch may choose."""
    if device.type == "cpu":
        return nullcontext()
    # cuDNN's gives NaN gradients now and then where prompts are padded (torch 2.11, H200).
    return sdpa_kernel([
        SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH
    ])  # fmt: skip
