"""The one error that a user is meant to read."""

from collections.abc import Collection
from difflib import get_close_matches


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it, what was expected, the mend."""


class NotebookFailed(Exception):
    """A notebook or the book failed; the message names it and where more can be read."""


def suggest(word: str, known: list[str]) -> str:
    """Returns ``" Did you mean 'x'?"`` for the closest known word, or an empty string.

    >>> suggest("sed", ["seed", "model"])
    " Did you mean 'seed'?"
    """
    close = get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def one_of(name: str, value: str, known: Collection[str]) -> None:
    """Refuses a value that is none of those known.

    Raises:
        InputError: with the values known, and the closest of them.
    """
    if value not in known:
        raise unknown(f"{name}={value!r}", value, known)


def unknown(what: str, word: str, known: Collection[str]) -> InputError:
    """The error of a word that is none of those known, with the closest of them."""
    return InputError(f"{what}: expected one of {', '.join(known)}.{suggest(word, [*known])}")
