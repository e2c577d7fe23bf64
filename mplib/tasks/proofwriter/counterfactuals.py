"""Theories with one fact replaced: a useful one, which turns the answer round, or a useless one."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from mplib.errors import InputError
from mplib.tasks.examples import Example
from mplib.tasks.proofwriter.logic import Literal, Proof, Theory, read, read_fact, write

OPPOSITE = {"True": "False", "False": "True"}


def replacements(
    example: Example, useful: bool, world: str = "closed", seed: int = 0
) -> Iterator[Example]:
    """The example with one fact replaced by what some rule speaks of, or by the opposite of that.

    The engine judges every candidate. Nothing is said about the question itself, which would give
    the answer without a rule, and no theory is given that contradicts itself.

    Args:
        example: a question in ProofWriter's English, with its tree.
        useful: whether a useful fact is replaced, so that the answer is the opposite one (True and
            False), or a useless one, so that it stays and so does its proof.
        world: ``closed`` or ``open``.
        seed: with the example's text it says in which order they come.

    Yields:
        The examples with their own answers, and the clean one's tree; none where there is no such
        fact, or where the text is in another English.
    """
    try:
        told, question = [*map(read, example.statements)], read_fact(example.question)
    except InputError:
        return
    theory, wanted = Theory((*told,), world), example.answer
    if useful:
        wanted = OPPOSITE.get(example.answer, "")
    facts = [i for i, x in enumerate(told) if isinstance(x, Literal)]
    places = [i for i in facts if (i in example.tree.useful) == useful]
    tried = [(i, fact) for i in places for fact in _candidates(theory, question)]
    random.Random(f"{seed} {useful} {example.statements} {example.question}").shuffle(tried)
    for i, fact in tried:
        other = Theory((*told[:i], fact, *told[i + 1 :]), world)
        try:
            fits = not other.contradicts and other.truth(question) == wanted
            fits = fits and (useful or _proofs(other, question) == _proofs(theory, question))
        except InputError:  # negation in a circle
            continue
        if fits:
            told_now = (*example.statements[:i], write(fact), *example.statements[i + 1 :])
            yield replace(example, statements=told_now, answer=wanted)


def _proofs(theory: Theory, question: Literal) -> list[Proof]:
    """The first proofs of the answer: enough to see whether another has come."""
    target = theory.target(question)
    return [*islice(theory.proofs(target), 2)] if target else []


def _candidates(theory: Theory, question: Literal) -> list[Literal]:
    """What rules speak of, and its opposites, as far as it can be told as a new fact."""
    said = {x for _, body, head in theory.instances for x in (*body, head)}
    return sorted(
        x
        for x in (said | {x.negated() for x in said}) - theory.facts.keys()
        if x[:3] != question[:3]
        and x.subject != x.object
        # In the closed world what is false is left untold.
        and (theory.world == "open" or x.polarity == "+")
    )
