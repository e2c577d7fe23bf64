"""The theory engine: English to logic and back, truth, depths and proofs."""

import json
import re
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from shared_data import shared

from mplib.errors import InputError
from mplib.tasks.proofwriter.generator import ANIMALS, ATTRIBUTES, NAMES, RELATIONS, generate
from mplib.tasks.proofwriter.logic import (
    NAF,
    SOMETHING,
    Literal,
    Proof,
    Rule,
    Statement,
    Theory,
    read,
    read_fact,
    read_theory,
    write,
)

SENTENCES = {
    "Bob is blue.": ("Bob is blue +",),
    "Bob is not blue.": ("Bob is blue -",),
    "The cat chases the dog.": ("cat chases dog +",),
    "The bald eagle does not chase the bald eagle.": ("bald_eagle chases bald_eagle -",),
    "The dog watches Anne.": ("dog watches Anne +",),
    "If someone is kind and they like the cat then they see the dog.": (
        "something is kind +", "something likes cat +", "something sees dog +"),
    "If something likes the cat and it does not see the dog then it is round.": (
        "something likes cat +", "something sees dog -", "something is round +"),
    "If someone is young and not blue and red then they are not round.": (
        "something is young +", "something is blue -", "something is red +",
        "something is round -"),
    "If someone likes the cat then they do not carry Bob.": (
        "something likes cat +", "something carries Bob -"),
    "If the cat is kind and something likes the cat then it needs the cat.": (
        "cat is kind +", "something likes cat +", "something needs cat +"),
    "If something eats the bald eagle then the bald eagle is cold.": (
        "something eats bald_eagle +", "bald_eagle is cold +"),
    "If the dog is red and it likes the cat then it is big.": (
        "dog is red +", "dog likes cat +", "dog is big +"),
    "If Anne is blue and Anne is not red then Anne is smart.": (
        "Anne is blue +", "Anne is red -", "Anne is smart +"),
    "Nice, young people are quiet.": (
        "something is nice +", "something is young +", "something is quiet +"),
    "Red things are not round.": ("something is red +", "something is round -"),
    "All red things are round.": ("something is red +", "something is round +"),
    "All rough, red and big people do not chase the lion.": (
        "something is rough +", "something is red +", "something is big +",
        "something chases lion -"),
    "Furry things like it.": ("something is furry +", "something likes something +"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", SENTENCES)
def test_reads_proofwriters_sentences(sentence: str) -> None:
    literals = [
        Literal(*(word.replace("_", " ") for word in text.split())) for text in SENTENCES[sentence]
    ]
    expected = Rule(tuple(literals[:-1]), literals[-1]) if literals[1:] else literals[0]
    assert read(sentence) == expected


@pytest.mark.parametrize(
    "sentence",
    ["", "Bob.", "Bob is a cat.", "Someone is red.", "It is red.", "Everyone is kind.",
     "Some people are kind.", "If it is red then it is blue.", "Bob and Erin are red.",
     "If Bob is red then", "If someone is red then they are blue and kind.", "Bob can fly.",
     "red people are kind.", "The dog is not.", "Is Bob red?"],
)  # fmt: skip
def test_refuses_other_sentences_by_name(sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(repr(sentence))):
        read(sentence)


def test_a_rule_is_no_question() -> None:
    assert read_fact("The cat is red.") == ("cat", "is", "red", "+")
    with pytest.raises(InputError, match="is a rule"):
        read_fact("Red things are kind.")


@st.composite
def literals(draw: st.DrawFn, free: bool) -> Literal:
    things = [*NAMES, *ANIMALS, "old fox", *([SOMETHING] * 12 if free else [])]
    relation = draw(st.sampled_from(["is", "is", *RELATIONS, "carries", "watches", "goes"]))
    other = st.sampled_from(ATTRIBUTES if relation == "is" else things)
    polarity = draw(st.sampled_from("++-"))
    return Literal(draw(st.sampled_from(things)), relation, draw(other), polarity)


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    if draw(st.integers(0, 3)) == 0:
        return draw(literals(free=False))
    body = draw(st.lists(literals(free=True), min_size=1, max_size=4))
    return Rule(tuple(body), draw(literals(free=True)))


@given(statements(), st.sampled_from(["if", "all", "plain"]), st.booleans())
def test_written_logic_reads_back(statement: Statement, form: str, people: bool) -> None:
    assert read(write(statement, form, people)) == statement


def instances(theory: Theory) -> Iterator[tuple[int, tuple[Literal, ...], Literal]]:
    """Every rule with every thing in place of its variable, counted out anew."""
    parts = [s for s in theory.statements if isinstance(s, Literal)]
    parts += [x for s in theory.statements if isinstance(s, Rule) for x in (*s.body, s.head)]
    things = {x.subject for x in parts} | {x.object for x in parts if x.relation != "is"}
    for index, rule in enumerate(theory.statements):
        if isinstance(rule, Rule):
            for thing in things - {SOMETHING}:
                yield index, tuple(x.about(thing) for x in rule.body), rule.head.about(thing)


def judge(theory: Theory, literal: Literal) -> bool:
    if theory.world == "closed" and literal.polarity == "-":
        return literal.negated() not in theory.depths
    return literal in theory.depths


def conclusions(theory: Theory, proof: Proof) -> set[Literal]:
    """What a proof proves, checked step by step; empty if a step does not hold."""
    statement = theory.statements[proof.statement]
    if isinstance(statement, Literal):
        return {statement} if not proof.premises else set()
    below = [None if p == NAF else conclusions(theory, p) for p in proof.premises]
    return {
        head
        for index, body, head in instances(theory)
        if index == proof.statement
        and len(body) == len(below)
        and all(judge(theory, x) if b is None else x in b for x, b in zip(body, below, strict=True))
    }


SETTINGS = [
    {"depth": depth, "n_statements": n, "style": style, "negation": negation, "world": world}
    for depth, n in ((0, 4), (1, 2), (1, 8), (2, 12), (3, 8), (4, 16), (5, 12))
    for style in ("attribute", "relation")
    for negation in (False, True)
    for world in ("closed", "open")
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_closure_depths_and_proofs_are_right(settings: dict) -> None:
    for record in generate(6, seed=3, **settings):
        theory = read_theory(record["theory"], settings["world"])
        depths = theory.depths
        reach = {}
        for _, body, head in instances(theory):
            if all(judge(theory, x) for x in body):
                # closed under its rules ...
                assert head in depths
                height = 1 + max(depths.get(x, 0) for x in body)
                reach[head] = min(height, reach.get(head, 99))
        for literal, depth in depths.items():
            # ... and every depth is the least that a fact or a rule gives: nothing is unfounded
            assert depth == (0 if literal in theory.statements else reach[literal])
            for proof in islice(theory.proofs(literal), 3):
                assert proof.depth == depth
                assert literal in conclusions(theory, proof)


def test_all_proofs_of_minimal_depth_and_no_loops() -> None:
    theory = read_theory(
        "Bob is red. Bob is big. Bob is kind. Red things are young. Big things are young. "
        "Young, kind things are quiet. Quiet things are young. If Bob is young then Bob is red."
    )
    quiet, young = read_fact("Bob is quiet."), read_fact("Bob is young.")
    kind = Proof(2)
    by_red, by_big = Proof(3, (Proof(0),)), Proof(4, (Proof(1),))
    assert theory.depths[quiet] == 2
    assert {*theory.proofs(quiet)} == {Proof(5, (by_red, kind)), Proof(5, (by_big, kind))}
    # without a bound: red also follows from young (by way of big), young never from quiet
    roundabout = Proof(3, (Proof(7, (by_big,)),))
    assert {*theory.proofs(young, max_depth=9)} == {by_red, by_big}
    assert {*theory.proofs(read_fact("Bob is red."), 9)} == {Proof(0), Proof(7, (by_big,))}
    assert roundabout not in {*theory.proofs(young, 9)}  # it proves young by way of young


def test_closed_world_fails_what_it_cannot_prove() -> None:
    theory = read_theory(
        "The cat is red. If something is red and it is not kind then it is young. "
        "If something is young and it does not like the dog then it sees the dog. "
        "The dog is red. The dog is kind."
    )
    truth = {
        "The cat is young.": "True", "The cat is not young.": "False",
        "The dog is young.": "False", "The dog is not young.": "True",
        "The cat sees the dog.": "True", "The cow is red.": "False",
    }  # fmt: skip
    assert {q: theory.truth(read_fact(q)) for q in truth} == truth
    (proof,) = theory.proofs(read_fact("The cat sees the dog."))
    assert proof == Proof(2, (Proof(1, (Proof(0), NAF)), NAF))
    assert proof.text(["triple1", "rule1", "rule2", "triple2", "triple3"]) == (
        "((((triple1 NAF) -> rule1) NAF) -> rule2)"
    )
    with pytest.raises(InputError):
        proof.tree(5)


def test_a_told_not_adds_nothing_to_the_closed_world() -> None:
    theory = read_theory("Bob is not kind. Bob is red. Red people are kind. Erin is not red.")
    kind, red = read_fact("Bob is not kind."), read_fact("Erin is not red.")
    assert (theory.truth(kind), theory.target(kind)) == ("False", kind.negated())
    assert (theory.truth(red), theory.target(red)) == ("True", None)


def test_strata_are_judged_in_order() -> None:
    """Kind fails only because red holds, so that young holds: two failures above each other."""
    theory = read_theory(
        "Bob is big. If Bob is not red then Bob is kind. If Bob is not kind then Bob is young. "
        "Big people are red."
    )
    assert theory.truth(read_fact("Bob is young.")) == "True"
    assert theory.truth(read_fact("Bob is kind.")) == "False"


def test_circular_failure_is_refused_in_the_closed_world_only() -> None:
    text = "Bob is red. If Bob is not kind then Bob is kind."
    with pytest.raises(InputError, match="Bob is kind"):
        read_theory(text).truth(read_fact("Bob is red."))
    assert read_theory(text, "open").truth(read_fact("Bob is kind.")) == "Unknown"


def test_open_world_needs_a_proof_of_not() -> None:
    theory = read_theory(
        "Bob is red. Erin is not kind. If someone is not kind then they are not young. "
        "If someone is red and not kind then they are big.",
        "open",
    )
    truth = {
        "Erin is not young.": "True", "Erin is young.": "False", "Bob is not young.": "Unknown",
        "Bob is big.": "Unknown", "Erin is not big.": "Unknown", "Bob is not red.": "False",
    }  # fmt: skip
    assert {q: theory.truth(read_fact(q)) for q in truth} == truth
    with pytest.raises(InputError, match="half-open"):
        Theory((), "half-open")


@given(st.integers(0, 10_000))
def test_order_of_statements_does_not_matter(seed: int) -> None:
    record = next(generate(1, seed=seed, depth=2, n_statements=10, style="relation"))
    statements = read_theory(record["theory"]).statements
    assume(len(statements) == 10)
    assert Theory(statements).depths == Theory(statements[::-1]).depths


def test_real_sentences_are_written_as_they_were_read() -> None:
    questions = json.loads(shared("proofwriter/owa_depth5_questions.json").read_text())
    sentences = {s for q in questions for s in re.split(r"(?<=\.) ", q["context"])}
    assert len(sentences) > 5_000
    for sentence in sentences:
        logic = read(sentence)
        phrasings = {write(logic, f, p) for f in ("if", "all", "plain") for p in (False, True)}
        assert sentence in phrasings
        assert {read(text) for text in phrasings} == {logic}


def represent(statement: Statement) -> str:
    """The release's notation, ``("Bob" "is" "blue" "+")``; a condition is negated with ``~``."""
    if isinstance(statement, Literal):
        return "(" + " ".join(f'"{part}"' for part in statement) + ")"
    body = (x._replace(polarity=x.polarity.replace("-", "~")) for x in statement.body)
    return f"(({' '.join(map(represent, body))}) -> {represent(statement.head)})"


def test_official_representations_are_what_the_text_says() -> None:
    records = map(
        json.loads, shared("proofwriter/official_cwa_sample.jsonl").read_text().splitlines()
    )
    told = [x for r in records for x in (*r["triples"].values(), *r["rules"].values())]
    assert len(told) == 24
    assert [represent(read(x["text"])) for x in told] == [x["representation"] for x in told]
