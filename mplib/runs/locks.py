"""Locks that end with their holder, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mplib.errors import InputError
from mplib.files import home, unwritable


class Held(InputError):
    """Somebody else holds a lock that was not to be waited for."""


@contextmanager
def exclusive(lock: Path, *, wait: bool) -> Iterator[int]:
    """Holds a lock that the system itself lets go when its last holder dies, however it dies.

    Args:
        lock: the lock's file.
        wait: whether to wait for another holder, or to refuse.

    Yields:
        The lock's file descriptor, to be passed on to processes that should hold it too.

    Raises:
        Held: somebody else holds it.
        InputError: the folder cannot be written.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a+")
    except OSError as error:
        raise unwritable(lock, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            raise Held(
                f"process {holder} is at work in {home()} (lock {lock}): wait until it is done, "
                "or stop it"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()
