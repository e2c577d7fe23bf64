"""Reasoning written out: problems with their steps, and what each step follows from."""

from mplib.tasks.steps.chain import Chain

__all__ = ["Chain"]
