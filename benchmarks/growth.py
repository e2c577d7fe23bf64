"""How time and memory grow with the work: exponents of ours and of the published algorithm.

An exponent is the slope of the logarithm of a figure on that of a size, by least squares over sizes
that double: 1 grows in proportion, 2 with the square. The published algorithm has smaller sizes
where it is slow. Time is taken on one thread: small models are far less steady on several.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks import corruption, memory, published
from benchmarks.features import number_prompts
from benchmarks.harness import Row, alternate
from mplib.models.inference import attention_features
from mplib.models.loading import PRESETS, pick_device
from mplib.models.prompts import Prompts
from mplib.probe.draws import draws
from mplib.probe.knn import predict, useful_heights, usefulness
from mplib.tasks.ksmallest import KSmallest

TASK = KSmallest(2, m=16, pool=memory.VOCABULARY)
LISTS, PUBLISHED_LISTS = (64, 128, 256, 512, 1024), (16, 32, 64, 128)
TOKENS, STATEMENTS = (256, 512, 1024, 2048), 7
LAYERS = (2, 4, 8, 16)
DRAWS, PUBLISHED_DRAWS = (256, 512, 1024, 2048), (2, 4, 8, 16)
PROBED = (128, 256, 512, 1024)

Side = Mapping[int, Callable[[], object]]
"""What is called at each size."""


def exponent(figures: Mapping[int, float]) -> float:
    """Slope of the logarithm of figures on the logarithm of their sizes, by least squares.

    >>> round(exponent({1: 3.0, 2: 12.0, 4: 48.0}), 6)
    2.0
    """
    return float(np.polyfit(np.log([*figures]), np.log([*figures.values()]), deg=1)[0])


def growth_row(
    name: str, unit: str, ours: Mapping[int, float], theirs: Mapping[int, float],
    at_most: float | None = None, note: str = "",
) -> Row:  # fmt: skip
    """The exponents of both, with the figures at the ends of their sizes."""
    ends = [
        f"{who} {figures[least]:.3g} to {figures[most]:.3g} {unit} for {least:,} to {most:,}"
        for who, figures in (("ours", ours), ("published", theirs))
        for least, most in [(min(figures), max(figures))]
    ]
    return Row(
        f"exponent: {name}", "exponent", exponent(ours), exponent(theirs), at_most=at_most,
        note="; ".join(filter(None, [*ends, note])),
    )  # fmt: skip


def time_row(
    name: str, ours: Side, theirs: Side, note: str = "", rounds: int = 3, warm_ups: int = 1
) -> Row:
    """The exponents of time, from medians over rounds in which every size takes its turn."""
    sides = {"ours": ours, "published": theirs}
    calls = {f"{who} {n}": call for who, side in sides.items() for n, call in side.items()}
    seconds = alternate(calls, rounds, warm_ups)
    found = [{n: median(seconds[f"{who} {n}"]) for n in side} for who, side in sides.items()]
    return growth_row(name, "s", *found, note=note)


def decoder(layers: int = 4) -> PreTrainedModel:
    """GPT-2 with random weights; many heads for its width, so that attention weighs."""
    torch.manual_seed(0)
    config = PRESETS["tiny"](vocab_size=memory.VOCABULARY)
    config.update({"n_layer": layers, "n_head": 16, "n_embd": 256, "n_positions": TOKENS[-1]})
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return model.to(pick_device()).eval()


def their_features(model: PreTrainedModel, prompts: Prompts) -> np.ndarray:
    """Features by the published loop."""
    return published.attention_features(model, prompts.input_ids)


def long_reads(side: str) -> Side:
    """Features of one example at every number of tokens."""
    read = {"ours": attention_features, "published": their_features}[side]
    model = decoder()
    return {n: partial(read, model, memory.long_prompt(n, STATEMENTS)) for n in TOKENS}


def run() -> list[Row]:
    """All rows."""
    sides = ("ours", "published")
    ours, theirs = (
        {int(n): peak / 2**20 for n, peak in memory.apart("growth", side).items()} for side in sides
    )
    # What shows at the largest sizes alone would hide in a slope over all.
    last = exponent(dict([*ours.items()][-2:]))
    of_memory = growth_row(
        "peak memory of features in tokens", "MiB", ours, theirs, 1.2,
        f"ours over the last doubling {last:.2f}",
    )  # fmt: skip
    with threadpool_limits(1):
        of_tokens = time_row("time of features in tokens", *map(long_reads, sides))
        return [*example_rows(), of_memory, of_tokens, layer_row(), draw_row()]


def example_rows() -> list[Row]:
    """Time of features, and of the probe on them, in the number of lists."""
    model, lists = decoder(), TASK.draw(max(*LISTS, *PROBED), seed=0)
    prompts, heights = number_prompts(TASK, lists), TASK.heights(lists)
    found, settings = attention_features(model, prompts), corruption.SETTINGS

    def their_probe(n: int) -> None:
        for labels in (usefulness(heights[:n]), useful_heights(heights[:n])):
            corruption.cross_validated_f1(found[:n], labels, settings.seed)

    return [
        time_row(
            "time of features in examples",
            {n: partial(attention_features, model, prompts[:n]) for n in LISTS},
            {n: partial(their_features, model, prompts[:n]) for n in PUBLISHED_LISTS},
        ),
        time_row(
            "time of the probe in examples",
            {n: partial(predict, found[:n], heights[:n], settings=settings) for n in PROBED},
            {n: partial(their_probe, n) for n in PROBED},
        ),
    ]


def layer_row() -> Row:
    """Time of features in layers."""
    models = {n: decoder(layers=n) for n in LAYERS}
    prompts = number_prompts(TASK, TASK.draw(LISTS[0], seed=0))
    few = prompts[: PUBLISHED_LISTS[0]]
    return time_row(
        "time of features in layers",
        {n: partial(attention_features, model, prompts) for n, model in models.items()},
        {n: partial(their_features, model, few) for n, model in models.items()},
        "ours ends at the last layer's attention",
    )


def draw_row() -> Row:
    """Time of the corruption study in draws; ours, after it has asked the model."""
    model, twin, *rest = case = corruption.study()
    ours = partial(draws, **corruption.asked(*case), settings=corruption.SETTINGS)
    baseline = corruption.read_baseline(twin, rest[0])
    found = ours(count=DRAWS[0])  # for its draws; the libraries are warm after it

    def theirs(count: int) -> np.ndarray:
        first = replace(found, table=found.table[:count], members=found.members[:count])
        return corruption.published(model, baseline, *rest, first)

    return time_row(
        "time of the corruption study in draws",
        {n: partial(ours, count=n) for n in DRAWS},
        {n: partial(theirs, n) for n in PUBLISHED_DRAWS},
        "one round; before it, ours has asked the model and published read the random baseline",
        rounds=1, warm_ups=0,
    )  # fmt: skip


def measure(side: str) -> dict[int, float | None]:
    """Peak bytes of one side at every number of tokens, in this process."""
    reads = long_reads(side)
    reads[TOKENS[0]]()  # thread pools and other things that are made once
    return {n: memory.peaks(read)["tensors"] for n, read in reads.items()}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
