"""The one error that a user is meant to read."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it, what was expected, the mend."""


class NotebookFailed(Exception):
    """A notebook or the book failed; the message names it and where more can be read."""


def suggest(word: str, known: list[str]) -> str:
    """Returns ``" Did you mean 'x'?"`` for the closest known word, or an empty string.

    >>> suggest("sed", ["seed", "model"])
    " Did you mean 'seed'?"
    """
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
