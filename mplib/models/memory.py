"""What to do where a GPU's memory is too small for a batch: halve it, say so once, go on."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from mplib.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")


_FITS: WeakKeyDictionary[nn.Module, dict[str, int]] = WeakKeyDictionary()
"""The largest batch known to fit, by model and by what is done with it."""


def halving(model: nn.Module, attempt: Callable[[int], T], size: int, doing: str) -> T:
    """Calls ``attempt(size)``, with half the size for as long as the GPU runs out of memory.

    The size that fits is remembered, so that the next call begins with it.

    Args:
        model: whose batches these are.
        attempt: does all of the work anew in batches of the given size.
        size: the batch to begin with.
        doing: what the batches are for, ``passes`` or ``training``: they need different memory.

    Raises:
        InputError: even one example at a time is too much.
    """
    fits = _FITS.setdefault(model, {})
    while True:
        tried = min(size, fits.get(doing, size))
        try:
            return attempt(tried)
        except torch.OutOfMemoryError:
            if tried == 1:
                raise InputError(
                    "the GPU's memory is too small for one example at a time: use a smaller model "
                    "or shorter prompts, dtype='bfloat16', or device='map' for several GPUs"
                ) from None
        # Out of the handler, which would keep the failed attempt's tensors alive.
        torch.cuda.empty_cache()
        fits[doing] = tried // 2
        print(f"{doing}: batches of {tried} do not fit the GPU's memory; on with {tried // 2}")


def fits_memory(function: Callable[P, T]) -> Callable[P, T]:
    """Decorates a function of ``model`` and ``batch_size`` that takes the longest examples first.

    Thus a batch that does not fit is met at the start, and to begin again costs next to nothing.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments

        def attempt(size: int) -> T:
            given["batch_size"] = size
            return function(*bound.args, **bound.kwargs)

        return halving(given["model"], attempt, given["batch_size"], "passes")

    return call
