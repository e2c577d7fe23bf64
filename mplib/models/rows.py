"""Rows that a model is trained on: a prompt each, or several that differ in their question alone.

A theory of a hundred tokens with eight questions of a dozen is a row of two hundred tokens, not
eight of a hundred and more. Every question sees what is told and itself, at its own positions, so
it is answered as if it were asked alone.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mplib.models.prompts import Prompts


class Rows(NamedTuple):
    """What a forward pass takes, and where answers are read.

    Attributes:
        input_ids: shape (rows, columns).
        attention_mask: what a model wants: None without padding; True where there is a token, shape
            (rows, columns); or what is added to scores, shape (rows, 1, columns, columns).
        position_ids: shape (rows, columns); None without padding.
        ends: columns after which answers come, shape (questions,).
        asked: which row has how many of them, shape (rows, questions).
    """

    input_ids: Tensor
    attention_mask: Tensor | None
    position_ids: Tensor | None
    ends: Tensor
    asked: Tensor


def problems(prompts: Prompts, together: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where each problem's prompts begin, and how many tokens a problem has.

    Args:
        prompts: with the prefix written out.
        together: whether those side by side that are told the same are one problem.

    Returns:
        Index of the first prompt of each problem, and at last how many prompts there are, shape
        (problems + 1,); tokens of each problem, what its prompts share counted once, shape
        (problems,).
    """
    n, lengths = len(prompts), prompts.lengths
    if not together:
        return np.arange(n + 1), lengths
    pads = prompts.input_ids.shape[1] - lengths
    told = prompts.question[:, 0] - pads
    spans = zip(prompts.input_ids, pads, prompts.question[:, 0], strict=True)
    texts = [ids[begin:end].tobytes() for ids, begin, end in spans]
    first = np.flatnonzero([True, *(a != b for a, b in pairwise(texts)), True])
    return first, told[first[:-1]] + np.add.reduceat(lengths - told, first[:-1])


def plain_rows(prompts: Prompts) -> Rows:
    """A row for each prompt."""
    mask, (n, columns) = torch.from_numpy(prompts.attention_mask.copy()), prompts.input_ids.shape
    padded = not prompts.attention_mask.all()
    return Rows(
        torch.from_numpy(prompts.input_ids),
        # Without padding the fast kernels need no mask.
        mask.long() if padded else None,
        (mask.long().cumsum(1) - 1).clamp(min=0) if padded else None,
        torch.tensor([columns - 1]),
        torch.ones(n, 1, dtype=torch.bool),
    )


def shared_rows(prompts: Prompts, dtype: torch.dtype) -> Rows:
    """A row for each problem: what its prompts are told, then their questions, all ends aligned.

    Args:
        prompts: with the prefix written out; those of a problem side by side.
        dtype: of the model's numbers.
    """
    first, _ = problems(prompts, together=True)
    pads = prompts.input_ids.shape[1] - prompts.lengths
    starts = prompts.question[:, 0]
    # Each problem's parts: what it is told, and what each of its prompts adds.
    parts = [
        [prompts.input_ids[a, pads[a] : starts[a]], *(prompts.input_ids[i, starts[i] :]
         for i in range(a, b))] for a, b in pairwise(first)
    ]  # fmt: skip
    slots = max(map(len, parts))
    widths = [max(len(own[i]) for own in parts if i < len(own)) for i in range(slots)]
    ends = np.cumsum(widths)
    shape = len(parts), int(ends[-1])
    ids, places = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    slot = np.full(shape, -1)
    for row, own in enumerate(parts):
        for i, (part, end) in enumerate(zip(own, ends, strict=False)):
            columns = slice(end - len(part), end)
            ids[row, columns], slot[row, columns] = part, i
            places[row, columns] = np.arange(len(part)) + (len(own[0]) if i else 0)
    seen, seeing = slot[:, None, :], slot[:, :, None]
    sees = (seen == seeing) | ((seen == 0) & (seeing > 0))
    # Padding sees padding, so that no row of weights is empty.
    mask = torch.zeros(sees.shape, dtype=dtype)
    mask.masked_fill_(~torch.from_numpy(sees & np.tri(shape[1], dtype=bool)), -torch.inf)
    asked = np.array([[i < len(own) for i in range(1, slots)] for own in parts])
    return Rows(
        torch.from_numpy(ids),
        mask[:, None],
        torch.from_numpy(places),
        torch.from_numpy(ends[1:] - 1),
        torch.from_numpy(asked),
    )
