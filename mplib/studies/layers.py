"""Which layers are probed: the pruning of layers the answers do not need, heights layer by layer.

Paper, section 3.2 and appendix C.2, and Fig 7f.
"""

import re
from dataclasses import dataclass, replace
from math import isqrt

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from mplib.errors import InputError
from mplib.models.attention import Intervention
from mplib.models.inference import all_answers
from mplib.models.loading import LoadedModel
from mplib.models.passes import LayersKept, head_shape
from mplib.models.prompts import Prompts
from mplib.probe.knn import DEFAULT, ProbeSettings, same_shape
from mplib.probe.scores import Plan, prefix_lengths
from mplib.stats import Estimate, accuracy, band, constant_guess, group_numbers
from mplib.tasks.trees import PADDING, USELESS


@dataclass(frozen=True)
class LayerSelection:
    """The layers whose attention the answers need, and how they were found.

    Attributes:
        kept: these layers, counted from 1, ascending; empty if no attention is needed at all.
        table: a row for each layer in the order in which they were tried: ``layer``, from 1;
            ``layers_off``, how many layers were off in this trial; ``accuracy`` with its interval
            ``low``, ``high``; ``removed``, whether the layer stays off; ``examples``.
        clean: accuracy of the whole model.
        guess: accuracy of always giving the most frequent answer.
        tolerance: accuracy that all removed layers together may cost.
    """

    kept: tuple[int, ...]
    table: pd.DataFrame
    clean: Estimate
    guess: float
    tolerance: float

    @property
    def after(self) -> Estimate:
        """Accuracy with the kept layers' attention alone."""
        removed = self.table.loc[self.table.removed, ["accuracy", "low", "high"]]
        return self.clean if removed.empty else Estimate(*removed.iloc[-1].tolist())

    @property
    def meaningful(self) -> bool:
        """Whether the whole model answers better than chance, so that accuracy can be lost."""
        return self.clean.low > self.guess


def select_layers(
    model: PreTrainedModel,
    prompts: Prompts,
    *,
    choices: np.ndarray | None = None,
    tolerance: float = 0.05,
    batch_size: int = 256,
) -> LayerSelection:
    """Switches off the attention of each layer that the answers do not need, from the top down.

    A layer without attention is its MLP alone. It stays so if the accuracy without it and without
    all that went before is no more than the tolerance below that of the whole model.

    Every layer is one more evaluation of all prompts. One layer's output is kept for all of them
    (examples x tokens x width, where the model is), so that the trials above it begin there: about
    two thirds of the computation is left at 30 layers, three quarters at 6.

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: development examples, none of those that will be probed.
        choices: token ids among which the answer is looked for; the whole vocabulary if None.
        tolerance: accuracy that all removed layers together may cost, from 0 to 1.
        batch_size: examples a forward pass.

    Raises:
        InputError: the tolerance is outside 0 to 1, or the model has no attention heads.
    """
    if not 0 <= tolerance <= 1:
        raise InputError(f"tolerance={tolerance}: give a share of accuracy from 0 to 1, as 0.05")
    layers, _ = head_shape(model)
    prompts = prompts.whole()
    rows: list[dict[str, object]] = []
    memory: dict[bytes, dict] = {}
    with LayersKept(model) as kept, tqdm(total=layers + 1, desc="layers", unit="trial") as progress:

        def changes(chosen: np.ndarray, batch: Prompts) -> list[tuple[str, Intervention]]:
            # What is kept of a batch goes with its examples, however batches are cut.
            kept.last = memory.setdefault(chosen.tobytes(), {})
            return [("", Intervention(heads_off=torch.from_numpy(kept.off)))]

        def right() -> np.ndarray:
            progress.update()
            size = batch_size
            given = all_answers(model, prompts, changes=changes, choices=choices, batch_size=size)
            return given[""].correct

        kept.wanted = _kept_below(layers)
        clean = right()
        for layer in reversed(range(layers)):
            if layer in kept.wanted:  # from here on it is of no more use
                memory.clear()
                kept.wanted = _kept_below(layer)
            kept.off[layer] = True
            off = int(kept.off[:, 0].sum())
            found = right()
            # Counted in examples, but for rounding: 0.9 - 0.05 is not quite 0.85.
            removed = bool(clean.sum() - found.sum() <= tolerance * len(prompts) + 1e-6)
            kept.off[layer] = removed
            rows.append({
                "layer": layer + 1, "layers_off": off, **accuracy(found).columns("accuracy"),
                "removed": removed, "examples": len(prompts),
            })  # fmt: skip
    left = tuple(int(layer) + 1 for layer in np.flatnonzero(~kept.off[:, 0]))
    guess = constant_guess(prompts.answers)
    return LayerSelection(left, pd.DataFrame(rows), accuracy(clean), guess, tolerance)


def _kept_below(layer: int) -> frozenset[int]:
    """The layer whose output is kept for the trials below: not far down, but for some of them."""
    return frozenset({layer - isqrt(2 * layer)})


LEFT_OUT = {
    "proofwriter": "18,19,21-28,30-32", "arc": "18-32", "finetuned": "9,13,17-32",
}  # fmt: skip
"""Layers of LLaMA-7B that the paper does not probe, counted from 1.

By the template of the 4-shot model, as its source has them (on theories it keeps layers 20 and 29,
though the text speaks of the top 13), and of the finetuned one, by its text (appendix C.2).
"""


def published_layers(name: str, total: int) -> tuple[int, ...]:
    """Layers that the paper probes, as far as a model of ``total`` layers has them.

    Raises:
        InputError: it has no such list.

    >>> write_layers(published_layers("proofwriter", 32))
    '1-17,20,29'
    """
    if name not in LEFT_OUT:
        known = f"the paper leaves out layers for {', '.join(LEFT_OUT)}"
        raise InputError(f"layers='published' for {name!r}: {known}; write 'all'")
    left_out = {*(parse_layers(LEFT_OUT[name], 32) or ())}
    return tuple(n for n in range(1, total + 1) if n not in left_out)


def parse_layers(text: str, total: int) -> tuple[int, ...] | None:
    """The layers that a notebook's parameter ``layers`` names, counted from 1, ascending.

    Args:
        text: ``all``; ``selected``; or numbers and ranges such as ``1-10,12``.
        total: how many layers the model has.

    Returns:
        The layers; None for ``selected``, which is for ``select_layers`` to find.

    Raises:
        InputError: anything else, or a layer that the model does not have.

    >>> parse_layers("1-3,5", 6), parse_layers("selected", 6)
    ((1, 2, 3, 5), None)
    """
    if text == "selected":
        return None
    found: set[int] = set()
    for part in [f"1-{total}"] if text == "all" else text.split(","):
        match = re.fullmatch(r"\s*([0-9]+)(?:\s*-\s*([0-9]+))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= total:
            no = f"layers={text!r}: {part.strip()!r} is no layer or rising range from 1 to {total}"
            raise InputError(f"{no}; write 'all', 'selected', or such as '1-10,12'")
        found |= {*range(first, last + 1)}
    return tuple(sorted(found))


def named_layers(loaded: LoadedModel, text: str) -> tuple[int, ...] | None:
    """The layers that ``parse_layers`` reads, all of which have attention that is read.

    Args:
        loaded: the model.
        text: as for ``parse_layers``.

    Raises:
        InputError: the text names no layer of it, or one without attention (a hybrid's).
    """
    readable = tuple(number + 1 for number in loaded.attention_layers)
    chosen = readable if text == "all" else parse_layers(text, loaded.layers)
    if others := {*(chosen or ())} - {*readable}:
        layer = f"layers={text!r}: layer {min(others)} of {loaded.name}"
        known = write_layers(readable)
        raise InputError(f"{layer} has no attention that is read; choose among {known}")
    return chosen


def write_layers(layers: tuple[int, ...]) -> str:
    """Layers as ``parse_layers`` reads them; ``none`` if there is none.

    >>> write_layers((1, 2, 3, 5))
    '1-3,5'
    """
    starts = [n for n in layers if n - 1 not in layers]
    ends = [n for n in layers if n + 1 not in layers]
    runs = (f"{a}-{b}" if a < b else f"{a}" for a, b in zip(starts, ends, strict=True))
    return ",".join(runs) or "none"


def height_prefixes(
    features: np.ndarray,
    heights: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    settings: ProbeSettings = DEFAULT,
) -> pd.DataFrame:
    """How well the first l layers tell the useful statements of one height from the useless ones.

    The first classifier for every l and height, the useful statements of other heights left out
    (Fig 7f): are the statements that come first in the reasoning found in lower layers?

    Args:
        features: shape (examples, statements, layers).
        heights: gold heights with ``USELESS`` and ``PADDING``, shape (examples, statements).
        groups: group of each example, shape (examples,); each its own if None.
        settings: of the classifier and its intervals.

    Returns:
        A row for each prefix and height: ``layers``, ``height``, and macro-F1 ``f1`` with its 95 %
        interval ``low``, ``high``, which hold for all layers of a height at once. No row where no
        statement is useless: there is nothing to tell.
    """
    same_shape(features, heights)
    known = np.unique(heights[heights > USELESS]) if (heights == USELESS).any() else ()
    members, counts = group_numbers(len(heights), groups), prefix_lengths(features.shape[-1])
    rows = []
    for height in known:
        others = (heights > USELESS) & (heights != height)
        # One height: there is no second classifier to fit.
        left = np.where(others, PADDING, np.minimum(heights, 0))
        plan = Plan.of(left, members, replace(settings, fold_seeds=1))
        values = [plan.run(features[..., :n], "kNN")[:, 0] for n in counts]
        found = zip(counts, band(np.array(values), plan.groups), strict=True)
        rows += [{"layers": n, "height": int(height), **one.columns("f1")} for n, one in found]
    return pd.DataFrame(rows, columns=["layers", "height", "f1", "low", "high"])
