"""Which heads the answer needs: their entropies, and accuracy without them (paper, section 5)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy.stats import entropy
from torch import Tensor
from transformers import PreTrainedModel

from mplib.errors import InputError, one_of
from mplib.models.attention import Intervention
from mplib.models.inference import all_answers, order_statements
from mplib.models.memory import fits_memory
from mplib.models.passes import LayersKept, head_shape, passes
from mplib.models.prompts import Prompts
from mplib.stats import accuracy


def tidy_maps(maps: Mapping[str, np.ndarray], row: str) -> pd.DataFrame:
    """Attention maps as a tidy table: model, row, layer, attention; rows and layers from 1."""
    parts = []
    for name, values in maps.items():
        rows, layers = np.indices(values.shape) + 1
        columns = {row: rows.ravel(), "layer": layers.ravel(), "attention": values.ravel()}
        parts.append(pd.DataFrame({"model": name, **columns}))
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class Entropies:
    """How evenly each head's mean attention is spread, from 0 to 1; both of shape (layers, heads).

    Attributes:
        position: over the places of the list; small for a head that looks at certain places.
        size: over the numbers in order of size; small for a head that looks at certain ranks.
    """

    position: np.ndarray
    size: np.ndarray

    @property
    def maps(self) -> dict[str, np.ndarray]:
        """Both by name."""
        return {"position entropy": self.position, "size entropy": self.size}

    def table(self) -> pd.DataFrame:
        """A row for each head; layers and heads from 1."""
        layers, heads = (index.ravel() + 1 for index in np.indices(self.size.shape))
        maps = {"position_entropy": self.position.ravel(), "size_entropy": self.size.ravel()}
        return pd.DataFrame({"layer": layers, "head": heads, **maps})


def head_entropies(attention: np.ndarray, order: np.ndarray) -> Entropies:
    """Position and size entropy of every head (section 5, Fig 14).

    The mean of the last token's attention over the lists is taken as a distribution; its entropy
    is divided by that of the even one.

    Args:
        attention: of the last token, shape (examples, m, layers, heads).
        order: places from the smallest number to the largest, shape (examples, m).
    """
    position, size = (
        entropy(values.mean(axis=0, dtype=np.float64)) / np.log(order.shape[1])
        for values in (attention, order_statements(attention, order))
    )
    return Entropies(position, size)


def heads_removed(percentage: float, heads: int, *, published: bool = False) -> int:
    """How many of all heads are switched off at a percentage of them.

    Args:
        percentage: from 0 to 100.
        heads: of all layers together.
        published: whether to count as the paper's source does, which rounds down and switches off
            one more, except at 0 where the whole model is meant.

    Raises:
        InputError: the percentage is outside 0 to 100.

    >>> heads_removed(10, 144), heads_removed(10, 144, published=True)
    (14, 15)
    """
    if not 0 <= percentage <= 100:
        raise InputError(f"{percentage} % of the heads: percentages must be from 0 to 100")
    if published:
        return min(heads, int(percentage * heads / 100) + 1) if percentage else 0
    return round(percentage * heads / 100)


def heads_off(order: np.ndarray, removed: int, shape: tuple[int, int]) -> np.ndarray:
    """True for the first heads of an order, so that masks of one order are nested.

    Args:
        order: flat indices of all heads in the order in which they go.
        removed: how many are off.
        shape: layers and heads, the shape of the result.
    """
    off = np.zeros(shape, dtype=bool)
    off.flat[order[:removed]] = True
    return off


def without_heads(off: np.ndarray, change: Intervention) -> Intervention:
    """The intervention with these heads off, True in shape (layers, heads); see ``ablation``."""
    return replace(change, heads_off=torch.from_numpy(off))


def pruning_orders(found: Entropies, draws: int = 10, seed: int = 0) -> dict[str, np.ndarray]:
    """Orders in which heads are switched off: by ascending entropy and at random.

    Returns:
        Flat head indices by the name of the order, each of shape (draws, heads); the entropies
        have one draw.
    """
    rng = np.random.default_rng(seed)
    return {
        "position entropy": np.argsort(found.position, axis=None, kind="stable")[None],
        "size entropy": np.argsort(found.size, axis=None, kind="stable")[None],
        "random": np.stack([rng.permutation(found.size.size) for _ in range(draws)]),
    }


@fits_memory
def mean_outputs(model: PreTrainedModel, prompts: Prompts, batch_size: int = 256) -> Tensor:
    """Mean output of every head over the examples, shape (layers, tokens, heads, head size).

    A mean for each token, counted from the prompt's end: what a head gives at the first number of
    a list says nothing of what it gives at the last.
    """
    total: Tensor | None = None
    prompts = prompts.whole()
    with passes(model, prompts, batch_size) as batches:
        for _, _, ask in batches:
            found = ask(outputs=True).outputs
            if found is None:
                raise InputError(f"{type(model).__name__} has no attention heads to switch off")
            # Batches come longest first, so the first one has room for all.
            total = torch.zeros_like(found) if total is None else total
            total[:, -found.shape[1] :] += found
    assert total is not None
    counts = torch.from_numpy(prompts.attention_mask.sum(axis=0)[-total.shape[1] :])
    return total / counts.to(total)[:, None, None]


def ablation(
    model: PreTrainedModel, prompts: Prompts, kind: str, batch_size: int = 256
) -> Intervention:
    """What stands in for a head that is off: ``zero``, or the ``mean`` of its outputs.

    Raises:
        InputError: another kind.
    """
    one_of("ablation", kind, ("zero", "mean"))
    means = mean_outputs(model, prompts, batch_size) if kind == "mean" else None
    return Intervention(replacement=means)


def prune(
    model: PreTrainedModel,
    prompts: Prompts,
    orders: Mapping[str, np.ndarray],
    percentages: Sequence[float],
    *,
    change: Intervention | None = None,
    published: bool = False,
    choices: np.ndarray | None = None,
    batch_size: int = 256,
) -> pd.DataFrame:
    """Accuracy while more and more heads are switched off (Fig 9).

    Equal sets of heads are evaluated once, and sets that are equal up to some layer share the
    computation up to it.

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: the examples.
        orders: flat head indices in the order in which they go, shape (draws, heads), by name.
        percentages: shares of all heads, 0 to 100.
        change: what stands in for a head that is off; see ``ablation``.
        published: whether heads are counted as the paper's source does.
        choices: token ids among which the answer is looked for; the whole vocabulary if None.
        batch_size: examples a forward pass.

    Returns:
        A row for each order, draw and percentage: accuracy with its Wilson interval.
    """
    shape = head_shape(model)
    removed = {p: heads_removed(p, shape[0] * shape[1], published=published) for p in percentages}
    cases = [
        (name, draw, percentage, heads_off(order, n, shape))
        for name, draws in orders.items()
        for draw, order in enumerate(draws)
        for percentage, n in removed.items()
    ]
    masks = {off.tobytes(): off for *_, off in cases}
    change = change or Intervention()
    with LayersKept(model) as kept:

        def changes(chosen: np.ndarray, batch: Prompts) -> Iterator[tuple[bytes, Intervention]]:
            kept.last.clear()
            # In order, so that sets which are equal up to some layer stand side by side.
            for key in sorted(masks):
                kept.off = masks[key]
                yield key, without_heads(masks[key], change)

        given = all_answers(model, prompts, changes=changes, choices=choices, batch_size=batch_size)
    found = {key: accuracy(answers.correct) for key, answers in given.items()}
    rows = [
        {
            "order": name, "draw": draw, "percentage": percentage, "heads_removed": int(off.sum()),
            **found[off.tobytes()].columns("accuracy"), "examples": len(prompts),
        }
        for name, draw, percentage, off in cases
    ]  # fmt: skip
    return pd.DataFrame(rows)


def average_draws(pruned: pd.DataFrame) -> pd.DataFrame:
    """The mean over an order's draws at each percentage.

    With several draws the band is where 95 % of them lie; with one it is that draw's interval.
    """
    grouped = pruned.groupby(["order", "percentage", "heads_removed"], sort=False)
    found = grouped[["accuracy", "low", "high"]].agg(lambda values: values.mean())
    several = grouped.size() > 1
    for name, share in {"low": 0.025, "high": 0.975}.items():
        found[name] = found[name].mask(several, grouped.accuracy.quantile(share))
    return found.reset_index()
