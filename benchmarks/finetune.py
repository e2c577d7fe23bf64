"""Finetuning: the published loop on text with logits everywhere, beside our step.

Also how much of the machine the steps use: 35 % of the matrix peak is the goal on a large GPU.
"""

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from benchmarks import published
from benchmarks.features import gpt2_small
from benchmarks.harness import Row, alternate, speed_row
from mplib.models.cost import machine_speed
from mplib.models.prompts import number_tokens
from mplib.studies.finetune import Training, add_gradients
from mplib.tasks.ksmallest import KSmallest

BATCH, ROUNDS = 32 if not torch.cuda.is_available() else 1024, 4


def run() -> list[Row]:
    """Examples a second of both, on the same lists and model."""
    task = KSmallest(2)
    tokenizer = published.gpt2_like_tokenizer()
    numbers = number_tokens(tokenizer, task.pool)
    lists = task.draw(BATCH, seed=0)
    prompts = numbers.prompts(lists, task.answers(lists))
    texts = [" ".join(map(str, numbers.values[row])) for row in lists]
    answers = [str(numbers.values[answer]) for answer in task.answers(lists)]
    if tokenizer(texts)["input_ids"] != prompts.input_ids.tolist():
        raise AssertionError("both loops must read the same tokens")
    # One model for all: its weights change from step to step, the work of a step does not.
    model = gpt2_small()
    theirs = published.TextTraining(
        model, tokenizer, torch.optim.AdamW(model.parameters(), lr=1e-6)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)  # as mplib's

    def step(precision: str, run: Any = model) -> None:
        training = Training(steps=1, batch_size=BATCH, precision=precision)
        add_gradients(run, prompts, training, BATCH)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    sides = {
        "published": lambda: theirs.step(texts, answers),
        "float32": lambda: step("float32"),
        "bfloat16": lambda: step("bfloat16"),
    }
    if torch.cuda.is_available():  # as `compile=True` trains
        compiled = torch.compile(model)
        sides["bfloat16, compiled"] = lambda: step("bfloat16", compiled)
    seconds = alternate(sides, rounds=ROUNDS, warm_ups=2)
    speeds = [
        speed_row(
            f"finetuning, GPT-2 small's shape, batch {BATCH}, m=16, {name}", "examples/s",
            (seconds[name], seconds["published"]), (BATCH, BATCH), wanted, note,
        )
        for name, wanted, note in (
            ("float32", 1.4, ""), ("bfloat16", 3, "autocast; published in float32"),
            ("bfloat16, compiled", 3, "autocast; published in float32"),
        )
        if name in seconds
    ]  # fmt: skip
    needed = operations(model, prompts.lengths)
    return speeds + utilisation_rows("the training loop", needed, speeds)


def operations(model: PreTrainedModel, lengths: np.ndarray) -> float:
    """Operations that training on an example takes by the model's arithmetic, on average.

    Two a parameter and token forward, two back to the inputs and two to what trains; the same an
    example for the logits of the last token; and the attention's own two products.

    Args:
        model: its logits are made by its embedding.
        lengths: tokens of each example, shape (examples,).
    """

    def work(one: torch.Tensor) -> int:
        return one.numel() * (6 if one.requires_grad else 4)

    config, embedded = model.config, work(model.get_input_embeddings().weight)
    layers = sum(map(work, model.parameters())) - embedded
    attention = 12 * config.num_hidden_layers * config.hidden_size * (lengths**2).mean()
    return float(layers * lengths.mean() + embedded + attention)


def utilisation_rows(of: str, needed: float, speeds: list[Row]) -> list[Row]:
    """The share of a large matrix product's speed that the steps reach, padding not counted.

    Args:
        of: what was timed.
        needed: operations that an example takes.
        speeds: rows of examples a second, in float32, in bfloat16 and, it may be, compiled.
    """
    return [
        Row(
            f"model FLOP utilisation of {of}, {name}", "of the matrix peak",
            row.ours * needed / peak, row.published * needed / peak,
            note=f"peak {peak / 1e12:.3g} TFLOP/s in the same run",
        )
        for name, row in zip(("float32", "bfloat16", "bfloat16, compiled"), speeds, strict=False)
        for peak in [machine_speed(getattr(torch, name.partition(",")[0]))]
    ]  # fmt: skip
