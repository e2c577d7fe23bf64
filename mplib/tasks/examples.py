"""Reasoning tasks: each module makes examples whose gold reasoning tree is known."""

from dataclasses import dataclass

from mplib.errors import InputError
from mplib.tasks.trees import ReasoningTree


@dataclass(frozen=True)
class Example:
    """One reasoning problem in words.

    Attributes:
        statements: what the model is told, in the order it is shown.
        question: what it is asked; empty where the task's question never changes.
        answer: the expected continuation, one of ``choices`` where there are any.
        tree: the gold reasoning tree over ``statements``.
        group: examples of one group (one theory, say) never stand in two folds of a probe.
        choices: the answers among which the model's is looked for; empty for any token.
        kinds: kind of each statement (``fact`` or ``rule``), where the task knows it.
    """

    statements: tuple[str, ...]
    question: str
    answer: str
    tree: ReasoningTree
    group: str = ""
    choices: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks that tree, kinds and answer fit the statements and choices."""
        if self.tree.n_statements != len(self.statements):
            raise InputError(
                f"tree over {self.tree.n_statements} statements, example with "
                f"{len(self.statements)}: they must agree"
            )
        if self.kinds and len(self.kinds) != len(self.statements):
            raise InputError(f"{len(self.kinds)} kinds for {len(self.statements)} statements")
        if self.choices and self.answer not in self.choices:
            raise InputError(f"answer {self.answer!r} is none of the choices {self.choices}")
