"""Chains by name: drawn theories with their proofs, the project's own questions, a file."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mplib.errors import InputError
from mplib.files import resolve
from mplib.tasks.jsonl import Record, first_record, read_jsonl
from mplib.tasks.proofwriter import generator
from mplib.tasks.science.formats import SCIENCE, STREET
from mplib.tasks.steps import formats
from mplib.tasks.steps.chain import Chain

READERS: dict[tuple[str, ...], Callable[[Record], Chain | Iterable[Chain]]] = {
    ("statements", "steps"): formats.own,
    STREET: formats.street,
    ("hypothesis", "proof"): formats.entailment_bank,
    ("triples", "questions"): formats.proofwriter,
    ("context", "explanation"): formats.prontoqa,
    ("premise_annotation", "steps"): formats.perl,
}
"""What reads a file, by the fields of its first record."""

DEPTHS, STATEMENTS = (2, 3), 8
"""Of theories that are drawn: depths in turn, statements of each."""


@dataclass(frozen=True)
class Loaded:
    """Chains, and what was refused.

    Attributes:
        chains: in the order of the file; at most as many as asked for, drawn by the seed.
        refused: what is wrong with each record that cannot be used.
    """

    chains: list[Chain]
    refused: list[str]


def load(data: str, n: int, seed: int) -> Loaded:
    """At most n chains.

    Args:
        data: ``generated`` (hidden theories with their proofs written out), ``science`` (the
            project's own questions) or a file.
        n: how many at most.
        seed: of the draw.

    Raises:
        InputError: no chain can be read.
    """
    if data == "generated":
        drawn = []
        for depth in DEPTHS:
            records = generator.generate(
                -(-n // len(DEPTHS)), seed=seed, answers=("True", "False"), depth=depth,
                n_statements=STATEMENTS, negation=True, world="open", giveaway=False,
            )  # fmt: skip
            drawn.append([chain for record in records for chain in formats.proofwriter(record)])
        mixed = [chain for pair in zip(*drawn, strict=True) for chain in pair]
        return Loaded(mixed[:n], [])
    path = SCIENCE if data == "science" else resolve(data)
    if (read := _reader(path)) is None:
        wanted = "; ".join(", ".join(fields) for fields in READERS)
        raise InputError(f"{path} has no steps written out: expected the fields of {wanted}")

    def parse(record: Record) -> list[Chain]:
        found = read(record)
        return [found] if isinstance(found, Chain) else [*found]

    chains: list[Chain] = []
    refused: list[str] = []
    for _, item in read_jsonl(path, parse):
        if isinstance(item, InputError):
            refused.append(str(item))
        else:
            chains += item
    if not chains:
        raise InputError(refused[0] if refused else f"{path} holds no chain")
    kept = sorted(random.Random(seed).sample(range(len(chains)), min(n, len(chains))))
    return Loaded([chains[i] for i in kept], refused)


def load_if_any(data: str, n: int, seed: int) -> Loaded:
    """At most n chains of a file whose records may have steps; none where they have not."""
    path = SCIENCE if data == "science" else resolve(data)
    has_steps = path.is_file() and _reader(path) is not None
    return load(data, n, seed) if has_steps else Loaded([], [])


def _reader(path: Path) -> Callable[[Record], Chain | Iterable[Chain]] | None:
    """What reads the records of a file; None where they have no steps."""
    first = first_record(path)
    return next((read for fields, read in READERS.items() if {*fields} <= first.keys()), None)
