"""Reading attention between units of a long text: ours beside whole matrices, reduced afterwards.

A model of SmolLM2's shape with random weights reads random tokens, half of them told and half of
them steps, in units of 32 tokens. The other side is what one would write by hand:
``output_attentions=True``, the mean over heads, then over the tokens of steps and of units. As in
the other benchmarks it calls the whole model; a note has the ratio without its logits. Memory is
measured in processes apart, as in ``memory``; the last row is ours alone on 8,000 tokens.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from benchmarks import memory
from benchmarks.harness import Row, alternate, speed_row
from mplib.models.loading import pick_device
from mplib.models.units import Written, read_units

TOKENS, UNIT, LONG = (1024, 4096), 32, 8000
ROUNDS = {1024: (9, 1), 4096: (1, 0)}
"""Rounds that count, and rounds before them."""
BYTES = 30 * 9 * 4
"""Of an attention matrix of all layers and heads, for each pair of tokens."""


def model() -> PreTrainedModel:
    """A random model of SmolLM2-135M's shape."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192,
        tie_word_embeddings=True,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config).to(pick_device()).eval()


def text(tokens: int) -> Written:
    """Random tokens in units, the second half of which are steps."""
    ids = np.random.default_rng(0).integers(49152, size=tokens)
    spans = tuple((start, start + UNIT) for start in range(0, tokens, UNIT))
    return Written(ids, spans, len(spans) // 2)


@torch.no_grad()
def whole_matrices(decoder: PreTrainedModel, one: Written, logits: bool = True) -> np.ndarray:
    """The same from all matrices at once; ``decoder`` has the eager attention."""
    ids = torch.from_numpy(one.ids)[None].to(decoder.device)
    found = (decoder if logits else decoder.model)(ids, output_attentions=True).attentions
    n = len(one.spans)
    layers = [layer[0].mean(dim=0).reshape(n, UNIT, n, UNIT).mean(dim=(1, 3)) for layer in found]
    return torch.stack(layers, dim=-1)[one.first :].cpu().numpy()


def run() -> list[Row]:
    """Speed and memory of both sides at each length, and ours on a long text."""
    ours, theirs = model(), model()
    theirs.set_attn_implementation("eager")
    rows = []
    for tokens in TOKENS:
        name, one = f"units of {tokens:,} tokens, SmolLM2's shape", text(tokens)
        if (needed := 1.12 * BYTES * tokens**2) > (free := _free()):
            short = f"whole matrices need {needed / 2**30:.0f} GiB, {free / 2**30:.0f} are free"
            print(f"{name}: left out, {short}", file=sys.stderr)
            continue
        off = np.abs(read_units(ours, [one])[0] - whole_matrices(theirs, one)).max()
        seconds = alternate(
            {"ours": lambda one=one: read_units(ours, [one]),
             "theirs": lambda one=one: whole_matrices(theirs, one),
             "no logits": lambda one=one: whole_matrices(theirs, one, logits=False)},
            *ROUNDS[tokens],
        )  # fmt: skip
        both = seconds["ours"], seconds["theirs"]
        bare = np.median(np.divide(seconds["no logits"], seconds["ours"]))
        about = f"{bare:.2f} without their logits; largest difference {off:.1e}"
        rows.append(speed_row(name, "tokens/s", both, (tokens, tokens), 2, about))
        mine, other = (memory.apart("units", f"{side} {tokens}") for side in ("ours", "theirs"))
        wanted = 50 if tokens == max(TOKENS) else None
        rows += memory.rows(f"{tokens:,} tokens, SmolLM2's shape", mine, other, wanted)
    peak = memory.apart("units", f"ours {LONG}")["process"]
    if peak is not None:
        name = f"the whole process on {LONG:,} tokens"
        rows.append(Row(name, "MiB", peak / 2**20, float("nan"), at_most=2048))
    return rows


def _free() -> float:
    """Bytes of memory that are free; plenty where the system does not tell."""
    info = Path("/proc/meminfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((1024 * int(x.split()[1]) for x in lines if "MemAvailable" in x), float("inf"))


def measure(side: str, tokens: int) -> dict[str, float | None]:
    """Peak bytes of one side, in this process; of a ``LONG`` text the mark of the process."""
    decoder = model()
    if side == "theirs":
        decoder.set_attn_implementation("eager")
    read = whole_matrices if side == "theirs" else lambda model, one: read_units(model, [one])
    read(decoder, text(128))  # what is made once
    if tokens == LONG:
        read(decoder, text(tokens))
        return {"process": memory.high_water_mark()}
    return memory.peaks(lambda: read(decoder, text(tokens)))


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1].split()[0], int(sys.argv[1].split()[1]))))
