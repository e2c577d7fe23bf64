"""GPUs of this machine, each lent to one notebook at a time."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mplib.errors import InputError
from mplib.files import Held, exclusive, private_folder

POLL_SECONDS = 0.5
"""How often a run that waits for a GPU looks again."""


def visible() -> list[str]:
    """The GPUs that this process may use, by the ids that no other GPU has.

    ``CUDA_VISIBLE_DEVICES`` limits them, as it does for CUDA itself.
    """
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    present: list[str] = []
    with suppress(OSError, subprocess.CalledProcessError):  # there is none, or no driver
        present = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return present
    names = [name.strip() for name in allowed.split(",") if name.strip() not in ("", "-1")]
    # A batch system may hand over numbers, ids, or parts of a GPU that the listing does not name.
    return [
        present[int(name)] if name.isdigit() and int(name) < len(present) else name
        for name in names
    ]


@contextmanager
def lent(device: str) -> Iterator[list[str]]:
    """Holds the GPUs that a notebook wants, waiting until they are free.

    The notebook sees nothing else: ``CUDA_VISIBLE_DEVICES`` names them while they are held. The
    locks belong to the machine and not to a checkout, and end with their holder, however it dies.

    Args:
        device: the notebook's parameter: ``auto`` or ``cuda`` hold the first free GPU,
            ``cuda:1`` that one, ``map`` all of them, anything else none.

    Yields:
        The ids of what is held.

    Raises:
        InputError: ``cuda:N`` names a GPU that is not there.
    """
    kind, _, number = device.partition(":")
    present = visible() if kind in ("auto", "cuda", "map") else []
    if number and present and not (number.isdigit() and int(number) < len(present)):
        raise InputError(
            f"device={device!r}: this machine shows {len(present)} GPUs, numbered from 0; name "
            "one of them, or cuda for any"
        )
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    with ExitStack() as held:
        if not present:
            yield []
        elif number or kind == "map":
            # In order, so that two runs which want several cannot wait for each other.
            chosen = [present[int(number)]] if number else sorted(present)
            for gpu in chosen:
                held.enter_context(exclusive(_lock(gpu), wait=True))
            # The number counts from what was visible, which therefore stays.
            yield chosen
        else:
            gpu = _first_free(present, held)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            try:
                yield [gpu]
            finally:
                os.environ.pop("CUDA_VISIBLE_DEVICES")
                if before is not None:
                    os.environ["CUDA_VISIBLE_DEVICES"] = before


def _first_free(present: list[str], held: ExitStack) -> str:
    """Locks any GPU, waiting until one is free."""
    while True:
        for gpu in present:
            try:
                held.enter_context(exclusive(_lock(gpu), wait=False))
            except Held:
                continue
            return gpu
        time.sleep(POLL_SECONDS)


def _lock(gpu: str) -> Path:
    """A lock's file, the same for all of this user's checkouts."""
    return private_folder("mplib-gpus") / gpu.replace("/", "-")
