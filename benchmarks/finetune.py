"""Finetuning: the published loop on text with logits everywhere, beside our step."""

import torch

from benchmarks import published
from benchmarks.features import gpt2_small
from benchmarks.harness import Row, alternate, speed_row
from mplib import finetune as ours
from mplib.finetune import Training
from mplib.prompts import number_tokens
from mplib.tasks.ksmallest import KSmallest

BATCH, ROUNDS = 32, 4


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
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)  # as mplib.finetune

    def step(precision: str) -> None:
        ours._step(model, prompts, Training(steps=1, batch_size=BATCH, precision=precision), BATCH)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = alternate(
        {
            "published": lambda: theirs.step(texts, answers),
            "float32": lambda: step("float32"),
            "bfloat16": lambda: step("bfloat16"),
        },
        rounds=ROUNDS,
    )
    return [
        speed_row(
            f"finetuning, GPT-2 small's shape, batch {BATCH}, m=16, {name}", "examples/s",
            (seconds[name], seconds["published"]), (BATCH, BATCH), wanted, note,
        )
        for name, wanted, note in (
            ("float32", 1.4, ""), ("bfloat16", 3, "autocast; published in float32"),
        )
    ]  # fmt: skip
