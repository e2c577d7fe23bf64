"""What a run will cost, before it is started: time, memory and disk, to within a factor of four.

Counts the multiplications of the model's passes, two a parameter and token and thrice that with
gradients, and divides by what this machine does in a large matrix product just now.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import pandas as pd
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from mplib.files import resolve
from mplib.models.loading import PACKAGED, PRESETS, packaged_file
from mplib.runs.notebooks import Notebook
from mplib.runs.profiles import Job
from mplib.tasks.science.formats import SCIENCE

START_SECONDS = 15.0
"""A kernel, the libraries and the figures."""


PROBE_SECONDS = 6.0
"""Neighbours and resamples of one set of examples, all layer prefixes included."""


EFFICIENCY = 0.4
"""Share of the large product's speed that a model reaches; small models less, large ones more."""


PROCESS_BYTES = 0.8e9
"""The libraries themselves."""


STATEMENT_TOKENS, ARC_TOKENS, UNNAMED_STATEMENTS = 9, 200, 16
"""Tokens of a statement and of a science question; statements where a case names no number."""


DEV_EXAMPLES = 5000
"""Examples of each evaluation during a finetuning, at most."""


@dataclass(frozen=True)
class Cost:
    """An estimate.

    Attributes:
        seconds: of one run, with the machine to itself.
        memory: peak bytes; the GPU's where there is one.
        disk: bytes that stay.
    """

    seconds: float
    memory: float
    disk: float

    def __str__(self) -> str:
        return (
            f"{_time(self.seconds)}, {_bytes(self.memory)} of memory, {_bytes(self.disk)} of disk"
        )


@dataclass(frozen=True)
class Work:
    """What a notebook does with its model.

    Attributes:
        tokens: read in forward passes.
        trained: tokens with gradients.
        longest: tokens of one prompt.
        sets: sets of examples probed.
    """

    tokens: float
    trained: float
    longest: float
    sets: int = 1


def machine_speed(kind: torch.dtype | None = None) -> float:
    """Operations a second in a large matrix product, the best of six.

    Args:
        kind: of the numbers; what models are run in if None, bfloat16 on a GPU and else float32.
    """
    on_gpu = torch.cuda.is_available()
    kind = kind or (torch.bfloat16 if on_gpu else torch.float32)
    size, device = (8192, "cuda") if on_gpu else (1536, "cpu")
    factor = torch.ones(size, size, dtype=kind, device=device)
    best = 0.0
    for _ in range(6):
        began = perf_counter()
        (factor @ factor)[0, 0].item()  # waits for the GPU
        best = max(best, 2 * size**3 / (perf_counter() - began))
    return best


def estimate(job: Job, speed: float) -> Cost | None:
    """The cost of one run, or None where its model is not on this machine yet.

    Args:
        job: the run.
        speed: operations a second, from ``machine_speed``.
    """
    values = job.parameters
    if "model" not in values:
        return Cost(START_SECONDS, PROCESS_BYTES, 1e6)
    config = _config(values)
    if config is None:
        return None
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    size = sum(parameter.numel() for parameter in model.parameters())
    work = _work(job.notebook.name, values, config.get_text_config())
    # An embedding is looked up, and logits are made at the last token alone.
    inner = size - model.get_input_embeddings().weight.numel()
    operations = 2 * inner * (work.tokens + 3 * work.trained)
    each = 4 if values.get("dtype", "float32") == "float32" else 2
    batch = values.get("micro_batch_size") or values.get("batch_size", 1)
    width = config.get_text_config().hidden_size
    # Activations of a pass without gradients; with them, all layers' at once (34 numbers a token,
    # layer and channel, Korthikanti et al. 2022), and the optimiser's two moments and the gradient.
    layers = config.get_text_config().num_hidden_layers
    kept = 34 * layers if job.trains else 16
    activations = batch * work.longest * width * kept * each
    copies = 4 if job.trains else 2
    return Cost(
        START_SECONDS + PROBE_SECONDS * work.sets + operations / speed / EFFICIENCY,
        PROCESS_BYTES + copies * size * each + activations,
        (4 * size if job.trains else 0) + 2e6,
    )


def _config(values: Mapping[str, Any]) -> PretrainedConfig | None:
    """The shape of a run's model."""
    name = values["model"]
    if name in PRESETS:
        words = values.get("task") == "proofwriter" or ("cases" in values and "task" not in values)
        return PRESETS[name](600 if words else values.get("pool", 600) + 2)
    try:
        if name in PACKAGED:
            file = packaged_file(name)
            return AutoConfig.from_pretrained(str(file.parent), gguf_file=file.name)
        folder = resolve(name)
        return AutoConfig.from_pretrained(str(folder) if folder.is_dir() else name)
    except (OSError, ValueError):
        return None


def _work(notebook: str, values: Mapping[str, Any], config: Any) -> Work:
    """What a notebook reads, by its parameters."""
    language = notebook.startswith(("05", "06")) or values.get("task") == "proofwriter"
    cases = values.get("cases", [""]) if notebook[:2] != "06" else values["depths"]
    lengths = [_tokens(case) for case in cases] if language else [values["m"]]
    longest, mean = max(lengths), sum(lengths) / len(lengths)
    if notebook.startswith("01"):
        evaluated = values["evaluations"] * min(DEV_EXAMPLES, values.get("lists", 1e6) / 100)
        return Work(evaluated * mean, values["steps"] * values["batch_size"] * mean, longest, 0)
    held = values["examples"] * (len(cases) if language else 1)
    if not language:
        held = min(held, values["lists"] // 100)
    if values.get("questions") == "science":
        held = min(held, len(SCIENCE.read_text().splitlines()))
    if language and not values.get("shared_shots", True):
        longest, mean = longest * (values["shots"] + 1), mean * (values["shots"] + 1)
    layers, twins = config.num_hidden_layers, values.get("twins", 0)
    # How often each example is read.
    times: Mapping[str, float] = {
        "02": 2,
        "03": 1 + twins,
        # Half a pass for each pruned model, since the layers below the first change are shared.
        "04": 4 + (2 + values.get("draws", 0)) * len(values.get("percentages", [])) / 2
              + 5 * layers * len(values.get("window_sizes", [])),
        "05": 1 + twins + 2 * len(values.get("shot_counts", [])) * _share(values),
        "06": 1 + twins + 2 * len(values.get("shot_counts", [])) * _share(values),
        "07": 8 + twins,
    }  # fmt: skip
    sets = len(cases) if language else 1
    return Work(held * mean * times.get(notebook[:2], 1 + twins), 0, longest, sets)


def _share(values: Mapping[str, Any]) -> float:
    """The share of the examples on which numbers of demonstrations are compared."""
    return min(values.get("shot_examples", 0) / max(values["examples"], 1), 1)


def _tokens(case: str | int) -> float:
    """Tokens of a theory such as ``d1 s8`` with its question, or of a science question."""
    if isinstance(case, int):
        return ARC_TOKENS
    named = re.search(r"\bs(\d+)", case)
    return STATEMENT_TOKENS * ((int(named[1]) if named else UNNAMED_STATEMENTS) + 2)


def table(jobs: Sequence[Job], due: Sequence[Job], at_once: int = 1) -> pd.DataFrame:
    """Cost of the runs that are due, by notebook, and in all.

    Args:
        jobs: all runs of a profile.
        due: those that would be started.
        at_once: how many run side by side, each as fast as alone.
    """
    speed = machine_speed() if due else 1.0
    rows, costs = [], []
    for notebook in dict.fromkeys(job.notebook.name for job in jobs):
        runs = [job for job in due if job.notebook.name == notebook]
        found = [estimate(job, speed) for job in runs]
        known = [cost for cost in found if cost is not None]
        costs += known
        rows.append(
            _row(notebook, sum(j.notebook.name == notebook for j in jobs), len(runs), known)
        )
        if len(known) < len(runs):
            rows[-1]["time"] = "unknown: the model is not on this machine"
    if at_once > 1:
        costs = [Cost(cost.seconds / at_once, cost.memory * at_once, cost.disk) for cost in costs]
    rows.append(_row(f"all, {at_once} at a time", len(jobs), len(due), costs))
    return pd.DataFrame(rows)


def _row(name: str, runs: int, due: int, costs: Sequence[Cost]) -> dict[str, Any]:
    """One line of the table; memory is the largest run's, time and disk are all runs'."""
    return {
        "notebook": name, "runs": runs, "to do": due,
        "time": _time(sum(cost.seconds for cost in costs)),
        "memory": _bytes(max((cost.memory for cost in costs), default=0)),
        "disk": _bytes(sum(cost.disk for cost in costs)),
    }  # fmt: skip


def _time(seconds: float) -> str:
    """Two digits of a time.

    >>> _time(5400)
    'about 1.5 h'
    """
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"about {seconds / size:.2g} {unit}"
    return f"about {seconds:.2g} s" if seconds else ""


def _bytes(size: float) -> str:
    """Two digits of a size."""
    return f"{size / 2**30:.2g} GiB" if size >= 2**30 else f"{size / 2**20:.3g} MiB" if size else ""


def line(notebook: Notebook, values: dict[str, Any]) -> str:
    """The cost of one run in a line."""
    found = estimate(Job(notebook, values), machine_speed())
    return f"{notebook.name}: {found or 'cost unknown, since the model is not on this machine yet'}"
