"""Science questions with human-made trees, and questions of a user's own.

``Science`` (in ``task``) is what a study asks; ``formats`` reads STREET and EntailmentBank. This
project's own questions lie in ``mplib/data/science.jsonl``; a user's own files are read by
``mplib.tasks.custom``.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    # When asked for: the task needs corruptions, which need this room's logic.
    if name in ("Science",):
        from mplib.tasks.science import task

        return getattr(task, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
