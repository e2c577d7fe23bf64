"""Full attention from layer to layer: mean flow over arranged lists, and roll-out.

Figures 12 and 13 of the paper, and its appendix A measured.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedModel

from mplib.errors import InputError
from mplib.models.attention import Intervention, Reduction
from mplib.models.memory import fits_memory
from mplib.models.passes import passes
from mplib.models.prompts import Prompts
from mplib.tasks.trees import USELESS


def without_repeats(lists: np.ndarray) -> np.ndarray:
    """The lists in which no number stands twice, in their order; shape (n, m).

    Raises:
        InputError: there is none.
    """
    if not len(distinct := lists[_is_distinct(lists)]):
        twice = f"each of the {len(lists)} lists holds a number twice"
        raise InputError(f"{twice}: take more lists, a larger pool or repeats=False")
    return distinct


def _is_distinct(lists: np.ndarray) -> np.ndarray:
    """Whether all numbers of a list differ, shape (n,)."""
    return np.diff(np.sort(lists, axis=1), axis=1).min(axis=1) > 0


def arrange(lists: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Swaps the smallest numbers of each list to fixed places (the arrangement of Fig 12).

    One swap a number, each looking for its number anew, so that it also holds where one of them
    stands in the place of another.

    Args:
        lists: shape (n, m), no number twice in a list.
        places: where the smallest, the second smallest, ... shall stand, counted from 1.

    Raises:
        InputError: a place outside the list, a place named twice, or a list with a number twice.

    >>> arrange(np.array([[7, 2, 5, 1]]), [2, 1]).tolist()
    [[2, 1, 5, 7]]
    """
    m = lists.shape[1]
    if wrong := [place for place in places if not 1 <= place <= m]:
        raise InputError(f"position {wrong[0]} for one of {m} numbers: it must be from 1 to {m}")
    if len({*places}) < len(places):
        named = ", ".join(map(str, places))
        raise InputError(f"positions {named}: two numbers cannot stand in one place")
    if repeated := int((~_is_distinct(lists)).sum()):
        twice = f"{repeated} of {len(lists)} lists hold a number twice"
        raise InputError(f"{twice}, so their smallest have no one place: leave those lists out")
    arranged, rows = lists.copy(), np.arange(len(lists))
    for rank, place in enumerate(places):
        now, then = (rows, arranged.argsort(axis=1)[:, rank]), (rows, place - 1)
        arranged[now], arranged[then] = arranged[then], arranged[now]
    return arranged


def _full(
    model: PreTrainedModel, prompts: Prompts, change: Intervention | None, batch_size: int
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Pairs of indices and all attention, shape (batch, layers, heads, tokens, tokens).

    Raises:
        InputError: the prompts are not equally long.
    """
    prompts = prompts.whole()
    if not prompts.attention_mask.all():
        raise InputError("attention can be averaged only over prompts that are equally long")
    everything = np.broadcast_to([0, prompts.input_ids.shape[1]], (len(prompts), 2))
    everything_kept = Reduction("tokens", "keep", "keep")
    with passes(model, replace(prompts, question=everything), batch_size) as batches:
        for chosen, _, ask in batches:
            found = ask(reduction=everything_kept, intervention=change, logits=False)
            assert found.attention is not None
            yield chosen, found.attention


@fits_memory
def mean_flow(
    model: PreTrainedModel,
    prompts: Prompts,
    change: Intervention | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """Mean attention from every token to every token, shape (layers, tokens, tokens).

    The mean is over the examples and over the heads that are on; a layer without any gives zeros.

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: examples of equal length.
        change: heads that are off, if any.
        batch_size: examples a forward pass.
    """
    total = torch.zeros(())
    for _, attention in _full(model, prompts, change, batch_size):
        on = torch.ones_like(attention[0, :, :, 0, 0])
        if change is not None and change.heads_off is not None:
            on = (~change.heads_off).to(on)
        share = on / on.sum(dim=1, keepdim=True).clamp(min=1)
        total = total + torch.einsum("blhqk,lh->lqk", attention.double(), share.double())
    return (total / len(prompts)).cpu().numpy()


@dataclass(frozen=True)
class Rollout:
    """Attention roll-out, read at the last token (appendix A).

    Attributes:
        last: share of each token in the last one, after each layer, shape (examples, layers,
            tokens); sums to one over the tokens.
        even: the same for attention that is spread evenly over all tokens up to each one, shape
            (layers, tokens): what the shape of the roll-out gives without any model.
        epsilon: smallest share that any token behind the first takes from the first in any layer,
            residual stream included, shape (examples,).
    """

    last: np.ndarray
    even: np.ndarray
    epsilon: np.ndarray

    @property
    def bound(self) -> np.ndarray:
        """Least share of the first token by appendix A, shape (examples, layers)."""
        layers = np.arange(1, self.last.shape[1] + 1)
        return 1 - (1 - self.epsilon[:, None]) ** layers


@fits_memory
def rollout(model: PreTrainedModel, prompts: Prompts, batch_size: int = 64) -> Rollout:
    """Multiplies head-averaged attention, half of it the residual stream, from layer to layer.

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: examples of equal length.
        batch_size: examples a forward pass.
    """
    last: list[np.ndarray] = [np.empty(0)] * len(prompts)
    epsilon = np.empty(len(prompts))
    for chosen, attention in _full(model, prompts, None, batch_size):
        tokens = attention.shape[-1]
        mixed = (attention.mean(dim=2).double() + torch.eye(tokens).to(attention.device)) / 2
        epsilon[chosen] = mixed[:, :, 1:, 0].amin(dim=(1, 2)).cpu()
        for index, rolled in zip(chosen, _roll(mixed).cpu().numpy(), strict=True):
            last[index] = rolled
    causal = torch.ones(tokens, tokens, dtype=torch.float64).tril()
    spread = (causal / causal.sum(dim=1, keepdim=True) + torch.eye(tokens)) / 2
    even = _roll(spread.expand(1, mixed.shape[1], -1, -1))[0].numpy()
    return Rollout(np.stack(last), even, epsilon)


def _roll(mixed: Tensor) -> Tensor:
    """Last rows of the products of the first 1, 2, ... layers, shape (batch, layers, tokens)."""
    products = accumulate(mixed.unbind(1), lambda below, above: above @ below)
    return torch.stack([joint[:, -1] for joint in products], dim=1)


def rollout_table(found: Rollout, heights: np.ndarray) -> pd.DataFrame:
    """Mean share of the first token and of the useful ones by layer, beside what to compare with.

    Args:
        found: the roll-out of prompts in which every token is a statement.
        heights: gold heights, shape (examples, tokens).
    """
    useful = heights > USELESS
    return pd.DataFrame({
        "layer": np.arange(1, found.last.shape[1] + 1),
        "first_token": found.last[:, :, 0].mean(axis=0),
        "first_token_if_even": found.even[:, 0],
        "bound": found.bound.mean(axis=0),
        "one_token": 1 / heights.shape[1],
        "useful": (found.last * useful[:, None]).sum(axis=2).mean(axis=0),
        "useful_if_even": (found.even * useful[:, None]).sum(axis=2).mean(axis=0),
    })  # fmt: skip
