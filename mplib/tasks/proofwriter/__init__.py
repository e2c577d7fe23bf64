"""ProofWriter: theories in words, their logic, the official release and a generator.

``ProofWriter`` (in ``task``) is what a study asks; ``release`` reads the official files, ``logic``
is the engine that reads, proves and writes theories, ``generator`` draws new ones in the release's
format, natural or hidden.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "ProofWriter":  # when asked for: it needs corruptions, which need this room's logic
        from mplib.tasks.proofwriter.task import ProofWriter

        return ProofWriter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
