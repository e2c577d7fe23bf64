"""Finetuning in words: the usual loop beside ours, both training the same adapter.

SmolLM2-135M on theories of four to twelve statements. The usual loop pads every batch to the
longest prompt of all, makes logits at every position and runs in float32; ours sorts batches by
length, makes logits where the answer belongs and runs in bfloat16.
"""

from typing import Any

import numpy as np
import torch

from benchmarks import published
from benchmarks.finetune import operations, utilisation_rows
from benchmarks.harness import Row, alternate, speed_row
from mplib.models.adapters import add_adapter
from mplib.models.fast import short_attention
from mplib.models.loading import load_model
from mplib.models.prompts import Prompts
from mplib.models.trained import exchanged, rounded
from mplib.studies.finetune import Training, add_gradients, batch_indices
from mplib.tasks.proofwriter import ProofWriter

CASES = ("d0 s4", "d1 s4 hidden", "d1 s8 hidden", "d2 s8 hidden", "d2 s12 hidden")
BATCH, BATCHES, ROUNDS = 16 if not torch.cuda.is_available() else 128, 4, 2
"""Examples a step, steps a round, rounds: each round trains on all examples once."""


def run() -> list[Row]:
    """Examples a second of both loops on the same theories, and their share of the machine."""
    task = ProofWriter(cases=CASES, negation=True, world="open")
    loaded = load_model("smollm2-135m")
    count = BATCH * BATCHES
    prompts = task.prompts(task.splits(2 * count, seed=0)[0][:count], loaded)[0].whole()
    wrapped = add_adapter(loaded.model, rank=16, alpha=32, targets=())
    return compare(wrapped, prompts, BATCH, ROUNDS, "SmolLM2-135M with LoRA")


def compare(wrapped: Any, prompts: Prompts, batch: int, rounds: int, of: str) -> list[Row]:
    """Both loops on all prompts, a whole number of batches, after a look at their gradients."""
    weights = [each for each in wrapped.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-6, fused=True)
    drawn = np.random.default_rng(0).permutation(len(prompts)).reshape(-1, batch)

    def theirs() -> None:
        for chosen in drawn:
            published.padded_gradients(wrapped, prompts, chosen)
            optimizer.step()

    def ours(precision: Any) -> None:
        training, frozen = Training(1, batch, precision=precision), rounded(wrapped, precision)
        for step in range(1, len(drawn) + 1):
            chosen = batch_indices(prompts.lengths, step, training)
            with exchanged(frozen), short_attention():
                add_gradients(wrapped, prompts[chosen], training, batch)
            optimizer.step()

    _check(wrapped, weights, prompts, drawn[0])
    seconds = alternate({
        "published": theirs, "float32": lambda: ours("float32"),
        "bfloat16": lambda: ours("bfloat16"),
    }, rounds)  # fmt: skip
    lengths = prompts.lengths
    about = f"{lengths.mean():.0f} tokens on average, {lengths.max()} at most"
    speeds = [
        speed_row(
            f"finetuning in words, {of}, batch {batch}, {name}", "examples/s",
            (seconds[name], seconds["published"]), (len(prompts), len(prompts)), wanted, note,
        )
        for name, wanted, note in (
            ("float32", None, about), ("bfloat16", 3, f"{about}; published in float32"),
        )
    ]  # fmt: skip
    needed = operations(wrapped, lengths)
    return speeds + utilisation_rows(f"finetuning in words, {of}", needed, speeds)


def _check(wrapped: Any, weights: list[torch.Tensor], prompts: Prompts, chosen: np.ndarray) -> None:
    """Makes sure that both loops find the same gradients, in float32."""
    found = []
    for own in (True, False):
        if own:
            training = Training(steps=1, batch_size=len(chosen), precision="float32")
            add_gradients(wrapped, prompts[chosen], training, len(chosen))
        else:
            published.padded_gradients(wrapped, prompts, chosen)
        found.append(torch.cat([each.grad.flatten() for each in weights if each.grad is not None]))
    difference = float((found[0] - found[1]).abs().max() / found[1].abs().max())
    if not difference < 1e-3:
        raise AssertionError(f"gradients differ by {difference:.1e}: nothing to compare")
