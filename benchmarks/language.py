"""Features of a language model behind shared demonstrations: speed and peak memory.

SmolLM2-135M, four demonstrations, theories of eight statements and depth 1. The published loop runs
every prompt whole, one by one, and keeps all attention; ours computes the demonstrations once. How
memory is measured is told in ``benchmarks.memory``.
"""

import json
import sys

import numpy as np

from benchmarks import memory, published
from benchmarks.harness import Row, alternate, speed_row
from mplib.models.fewshot import demonstrate, few_shot
from mplib.models.inference import attention_features
from mplib.models.loading import LoadedModel, load_model
from mplib.models.prompts import Prompts
from mplib.tasks.proofwriter.generator import examples
from mplib.tasks.task import TEMPLATES

MODEL, SHOTS = "smollm2-135m", 4
OURS, THEIRS, BATCH, ROUNDS = 32, 8, 8, 3
"""Examples a round, examples a batch of ours, rounds: more than 8 a batch is no faster on a CPU."""


def asked(loaded: LoadedModel) -> Prompts:
    """Prompts of drawn theories behind the same demonstrations."""
    kind = {"depth": 1, "n_statements": 8}
    shown = demonstrate(examples(64, seed=1, **kind), SHOTS, OURS)
    return few_shot(
        loaded.tokenizer, examples(OURS, seed=0, **kind), shown,
        template=TEMPLATES["proofwriter"], max_tokens=loaded.positions,
    )[0]  # fmt: skip


def run() -> list[Row]:
    """Both loops on the same prompts, their features compared, and the peaks of both."""
    loaded = load_model(MODEL)
    model, prompts = loaded.model, asked(loaded)
    usual = model.config._attn_implementation

    def theirs() -> np.ndarray:
        model.set_attn_implementation("eager")
        try:
            return published.statement_features(model, prompts[:THEIRS])
        finally:
            model.set_attn_implementation(usual)

    found = attention_features(model, prompts, batch_size=BATCH)[:THEIRS]
    difference = float(np.abs(found - theirs()).max())
    if not difference < 1e-4:
        raise AssertionError(f"features differ by {difference:.1e}: nothing to compare")
    seconds = alternate({
        "published": theirs,
        "ours": lambda: attention_features(model, prompts, batch_size=BATCH),
    }, ROUNDS)  # fmt: skip
    own = int(np.median(prompts.lengths)) - len(prompts.prefix)
    rows = [speed_row(
        f"features, SmolLM2-135M, {SHOTS} shots, 8 statements", "examples/s",
        (seconds["ours"], seconds["published"]), (OURS, THEIRS), 4,
        f"batches of {BATCH}, {len(prompts.prefix)} shared tokens before {own}; "
        f"features equal to {difference:.0e}",
    )]  # fmt: skip
    whole = memory.apart("language", "published")
    for size, wanted in ((1, 10), (BATCH, None)):
        of = f"SmolLM2-135M, {SHOTS} shots, ours in batches of {size}, theirs of 1"
        rows += memory.rows(of, memory.apart("language", str(size)), whole, wanted)
    return rows


def measure(side: str) -> dict[str, float | None]:
    """Peak bytes of the published loop or of ours with batches of a size, in this process."""
    loaded = load_model(MODEL)
    model, prompts = loaded.model, asked(loaded)
    longest = prompts[np.argsort(-prompts.lengths)[:BATCH]]
    if side == "published":
        model.set_attn_implementation("eager")

    def extract(prompts: Prompts) -> None:
        if side == "published":
            published.statement_features(model, prompts[:1])
        else:
            attention_features(model, prompts[: int(side)], batch_size=int(side))

    extract(prompts)  # thread pools and other things that are made once
    return memory.peaks(lambda: extract(longest))


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
