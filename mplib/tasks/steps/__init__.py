"""Reasoning written out: problems with their steps, and what each step follows from.

``chain`` has the one language of all of them, ``formats`` makes chains of the records of files
(STREET, EntailmentBank, PrOntoQA, PERL, ProofWriter, one's own), ``load`` finds them by name. A new
format is a function in ``formats`` and a line in ``load.READERS``.
"""

from mplib.tasks.steps.chain import Chain, Trace

__all__ = ["Chain", "Trace"]
