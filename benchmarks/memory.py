"""Peak memory of reading attention from one long example: ours beside materialised attention.

Each side runs in a process of its own. The figure is the largest sum of tensors alive at once
during the pass, model weights aside, as torch's allocator reports it to the profiler (on a GPU:
torch's own peak counter). The rise of the process's high-water mark, where the system can reset it,
stands beside it; it also holds the buffers of the matrix library.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM

from benchmarks import published
from benchmarks.harness import Row
from mplib.files import ROOT
from mplib.models.inference import attention_features
from mplib.models.loading import PRESETS, pick_device
from mplib.models.prompts import Prompts

SHAPE, VOCABULARY, TOKENS, STATEMENTS = "gpt2-medium-shape", 512, 1024, 32
"""24 layers, 16 heads, width 1024; a small vocabulary, since logits are not the subject."""


def run() -> list[Row]:
    """Peak memory of both sides."""
    ours, theirs = (apart("memory", side) for side in ("ours", "published"))
    return rows("24 layers, 16 heads, 1,024 tokens", ours, theirs, 20)


def apart(case: str, side: str) -> dict[str, float | None]:
    """What one side of a case measures in a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{case}", side]
    # What is freed goes back to the system at once, so that the mark shows what is in use.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "KINETO_LOG_LEVEL": "99"}
    answer = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, cwd=ROOT, text=True, env=environment
    )
    return json.loads(answer.stdout.splitlines()[-1])


def rows(
    of: str, ours: dict[str, float | None], theirs: dict[str, float | None], wanted: float | None
) -> list[Row]:
    """The peaks of both sides, by the allocator and by the system where it tells."""
    found = []
    for key, name, least in (
        ("tensors", f"peak memory, {of}", wanted),
        ("resident", "the same, high-water mark of the process", None),
    ):
        mine, other = ours[key], theirs[key]
        if mine is not None and other is not None:
            found.append(Row(name, "MiB", mine / 2**20, other / 2**20, other / mine, least))
    return found


def long_prompt(tokens: int = TOKENS, statements: int = STATEMENTS) -> Prompts:
    """One random prompt of sentences and a question of the last 24 tokens."""
    rng = np.random.default_rng(0)
    starts = np.arange(statements) * 30
    return Prompts(
        rng.integers(VOCABULARY, size=(1, tokens)),
        np.ones((1, tokens), dtype=bool),
        np.stack([starts, starts + 30], axis=1)[None],
        np.array([[tokens - 24, tokens]]),
        np.zeros(1, dtype=np.int64),
    )


def measure(side: str) -> dict[str, float | None]:
    """Peak bytes of one side, in this process."""
    torch.manual_seed(0)
    config = PRESETS[SHAPE](vocab_size=VOCABULARY)
    model = AutoModelForCausalLM.from_config(config).to(pick_device()).eval()
    prompt = long_prompt()
    short = Prompts(prompt.input_ids[:, -24:], prompt.attention_mask[:, -24:],
                    np.array([[[0, 2]]]), np.array([[20, 24]]), prompt.answers)  # fmt: skip
    if side == "published":
        model.set_attn_implementation("eager")

    def extract(prompts: Prompts) -> None:
        if side == "published":
            published.attention_features(model, prompts.input_ids)
        else:
            attention_features(model, prompts)

    extract(short)  # thread pools and other things that are made once
    return peaks(lambda: extract(prompt))


def peaks(extract: Callable[[], object]) -> dict[str, float | None]:
    """Peak bytes of a call, in this process."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        extract()
        return {"tensors": torch.cuda.max_memory_allocated() - before, "resident": None}
    mark = reset_high_water_mark()
    extract()
    after = high_water_mark()
    # Once more under the profiler, whose own memory the high-water mark must not hold.
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        extract()
    resident = None if mark is None or after is None else after - mark
    return {"tensors": allocator_peak(recorded), "resident": resident}


def allocator_peak(recorded: profile) -> int:
    """Largest sum of what was allocated and not yet freed since the profile began."""
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    sizes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return int(np.cumsum(sizes).max())


def reset_high_water_mark() -> int | None:
    """Sets the process's high-water mark to its present size, which is returned; Linux only."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return high_water_mark()


def high_water_mark() -> int | None:
    """The most memory this process has held since the mark was set."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
