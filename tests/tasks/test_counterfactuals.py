"""One fact replaced: the engine says what the answer is then; by hand, and over drawn theories."""

from dataclasses import replace
from itertools import islice

import pytest

from mplib.tasks.examples import Example
from mplib.tasks.proofwriter.counterfactuals import OPPOSITE, replacements
from mplib.tasks.proofwriter.logic import Literal, Theory, read, read_fact
from mplib.tasks.proofwriter.task import ProofWriter
from mplib.tasks.trees import ReasoningTree

TOLD = (
    "If Bob is red then Anne is big.", "If Bob is cold then Anne is not big.", "Bob is red.",
    "If Dave is kind then Erin is young.", "Dave is rough.",
)  # fmt: skip
EXAMPLE = Example(
    TOLD, "Anne is big.", "True", ReasoningTree.from_edges([(2, 0)], 5),
    choices=("True", "False", "Unknown"),
)  # fmt: skip


def changed(clean: Example, other: Example) -> list[int]:
    return [i for i, text in enumerate(clean.statements) if other.statements[i] != text]


def test_a_useful_fact_becomes_what_the_other_rule_asks_for():
    (found,) = replacements(EXAMPLE, useful=True, world="open")
    assert changed(EXAMPLE, found) == [2] and found.statements[2] == "Bob is cold."
    assert found.answer == "False"
    told = {other.statements[4] for other in replacements(EXAMPLE, useful=False, world="open")}
    # Not "Bob is cold.", which contradicts, nor "Anne is not big.", which is about the question.
    assert told == {
        "Bob is not cold.", "Dave is kind.", "Dave is not kind.", "Erin is young.",
        "Erin is not young.",
    }  # fmt: skip
    assert {x.answer for x in replacements(EXAMPLE, useful=False, world="open")} == {"True"}
    # In the closed world any other fact leaves the question unproven, and nothing is denied.
    closed = {other.statements[2] for other in replacements(EXAMPLE, useful=True)}
    assert closed == {"Bob is cold.", "Dave is kind.", "Erin is young."}


def test_a_control_that_brings_another_proof_is_none():
    second = (*TOLD[:3], "If Dave is kind then Anne is big.", TOLD[4])
    told = replace(EXAMPLE, statements=second)
    rest = {other.statements[4] for other in replacements(told, useful=False, world="open")}
    assert rest == {"Bob is not cold.", "Dave is not kind."}


def test_where_nothing_can_be_replaced():
    other = replace(EXAMPLE, statements=("Bob owns a boat.", *TOLD[1:]))
    unknown = replace(EXAMPLE, question="Erin is young.", answer="Unknown")
    for example in (other, unknown):
        assert not [*replacements(example, useful=True, world="open")]


@pytest.mark.parametrize(
    ("world", "style", "negation"),
    [("open", "attribute", True), ("open", "relation", True), ("closed", "attribute", False)],
)
@pytest.mark.parametrize("useful", [True, False])
def test_the_engine_agrees_with_every_replacement(world, style, negation, useful):
    task = ProofWriter(
        cases=("d1 s8 hidden", "d2 s8 hidden"), style=style, negation=negation, world=world
    )
    have = 0
    for one in task.sets("test", 20):
        for example in one.examples:
            found = [*islice(replacements(example, useful, world, seed=3), 4)]
            have += bool(found)
            for other in found:
                (place,) = changed(example, other)
                assert (place in example.tree.useful) == useful
                theory = Theory(tuple(map(read, other.statements)), world)
                assert isinstance(theory.statements[place], Literal) and not theory.contradicts
                question = read_fact(example.question)
                assert theory.statements[place][:3] != question[:3]
                assert theory.truth(question) == other.answer
                assert other.answer == (OPPOSITE[example.answer] if useful else example.answer)
                if not useful:  # and the proof that is the tree's is the only one still
                    (proof,) = theory.proofs(theory.target(question))
                    assert proof.tree(8).heights == example.tree.heights
            again = [*islice(replacements(example, useful, world, seed=3), 4)]
            assert again == found
    assert have >= (15 if useful else 30)


def test_another_seed_takes_another_order():
    firsts = {next(replacements(EXAMPLE, False, "open", seed)).statements for seed in range(12)}
    assert len(firsts) > 1
