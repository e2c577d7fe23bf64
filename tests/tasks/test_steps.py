"""Chains: units, what follows from what, and the files that have them."""

import json

import numpy as np
import pytest
from shared_data import shared

from mplib.errors import InputError
from mplib.tasks.jsonl import read_jsonl
from mplib.tasks.proofwriter import generator
from mplib.tasks.proofwriter.logic import read_fact, read_theory
from mplib.tasks.steps import Chain, formats

GSM = {
    "id": "g1",
    "question": "Ann has 2 apples. Bob has 3. How many have both?",
    "options": [],
    "textual_logical_units": {
        "1": "Ann has 2 apples.", "2": "Bob has 3.", "3": "How many have both?",
        "4": "2 + 3 = 5.", "5": "The answer is 5",
    },
    "reasoning_graph_edges": [
        {"antecedents": [1, 2], "consequent": 4}, {"antecedents": [3, 4], "consequent": 5},
    ],
}  # fmt: skip

PERL = {
    "question": "Ann has 2 apples. Bob has 3. How many?",
    "steps": ["Ann has 2.", "2 + 3 = 5."],
    "is_correct": True,
    "premise_annotation": {"steps": [
        {"step_number": 0, "premises": []},
        {"step_number": 1, "premises": [[0, "Ann"]]},
        {"step_number": 2, "premises": [[1, "2"], [0, "Bob has 3."], [0, "How many?"]]},
    ]},
    "error_annotation": {"error_annotations": {"step_level": [
        {"step_number": 1, "has_error": False}, {"step_number": 2, "has_error": True},
    ]}},
}  # fmt: skip

OWN = {
    "statements": ["A is B.", "B is C."],
    "question": "Is A C?",
    "steps": [{"text": "A is C.", "from": [0, 1]}, {"text": "Yes.", "from": [2, 3]}],
}


def test_units_are_numbered_as_they_are_told() -> None:
    chain = formats.own(OWN)
    assert chain.units == ("A is B.", "B is C.", "Is A C?", "A is C.", "Yes.")
    assert chain.first == 3 and chain.depths == (1, 2)
    assert np.argwhere(chain.edges).tolist() == [[0, 0], [0, 1], [1, 2], [1, 3]]
    assert chain.before.sum(axis=1).tolist() == [3, 4]


def test_a_street_line_whose_units_are_the_question() -> None:
    chain = formats.street(GSM)
    assert chain.question == "" and len(chain.statements) == 3
    assert chain.steps == ("2 + 3 = 5.", "The answer is 5")
    assert chain.premises == ((0, 1), (2, 3))


def test_a_street_line_with_a_question_beside() -> None:
    units = {"1": "Dogs bark.", "2": "Rex is a dog.", "3": "Does Rex bark?", "4": "Rex barks."}
    edges = [{"antecedents": [1, 2, 3], "consequent": 4}]
    record = GSM | {"question": "Does Rex bark?", "options": ["A) yes", "B) no"]}
    chain = formats.street(
        record | {"textual_logical_units": units, "reasoning_graph_edges": edges}
    )
    assert chain.statements == ("Dogs bark.", "Rex is a dog.")
    assert chain.question == "Does Rex bark? A) yes B) no"
    assert chain.premises == ((0, 1, 2),)


def test_a_perl_record_keeps_what_annotators_said() -> None:
    chain = formats.perl(PERL)
    assert chain.premises == ((0,), (1, 0)) and chain.errs == (False, True)
    assert chain.correct is True and chain.statements == (PERL["question"],)


def without(record: dict, *path: object) -> dict:
    """A copy of a record in which one value is missing."""
    found = json.loads(json.dumps(record))
    at = found
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    return found


@pytest.mark.parametrize(
    ("parse", "record", "named"),
    [
        (formats.street, GSM | {"reasoning_graph_edges": [{"antecedents": [0], "consequent": 5}]},
         "an edge names unit 0"),
        (formats.street, GSM | {"reasoning_graph_edges": [{"antecedents": [1], "consequent": 4}]},
         "no step leads to the answer"),
        (formats.street, GSM | {"textual_logical_units": {"a": "A"}}, "numbers as keys, found 'a'"),
        (formats.street, without(GSM, "question"), "field 'question'"),
        (formats.perl, without(PERL, "premise_annotation", "steps", 2), "step 2 has no premises"),
        (formats.perl, PERL | {"steps": ["", "b"]}, "field 'steps'"),
        (formats.perl, without(PERL, "is_correct"), "field 'is_correct'"),
        (formats.own, OWN | {"steps": [{"text": "A", "from": [4]}]}, "expected units before it"),
        (formats.own, OWN | {"steps": [{"text": "A", "form": [0], "from": []}]}, "unknown field"),
        (formats.own, OWN | {"steps": [{"text": "A", "from": ["0"]}]}, "numbers of units"),
        (formats.own, OWN | {"steps": ["A"]}, "field 'steps'"),
        (formats.own, OWN | {"statements": ["A", " "]}, "unit 1 has no text"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(parse: object, record: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        parse(record)  # type: ignore[operator]


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("style", ["attribute", "relation"])
def test_a_proof_is_written_out_by_its_conclusions(style: str, hidden: bool) -> None:
    settings = {"depth": 3, "n_statements": 12, "style": style, "giveaway": not hidden}
    for record in generator.generate(15, seed=1, answers=("True", "False"), **settings):
        (chain,) = formats.proofwriter(record)
        theory = read_theory(record["theory"], "closed")
        assert [theory.truth(read_fact(step)) for step in chain.steps] == ["True"] * 3
        assert chain.depths == (1, 2, 3)
        asked, last = read_fact(chain.question), read_fact(chain.steps[-1])
        assert asked in (last, last.negated())
        rules = {own[-1] for own in chain.premises}
        assert len(rules) == 3 and min(rules) >= len(record["triples"])


def test_a_chain_needs_steps_with_text() -> None:
    with pytest.raises(InputError, match="no steps"):
        Chain("a", ("b",), (), ())
    with pytest.raises(InputError, match="premises of 2 steps, but there are 1"):
        Chain("a", ("b",), ("c",), ((), ()))


@pytest.mark.parametrize(
    ("name", "parse", "loaded", "steps"),
    [
        ("street/gsm8k_shared.jsonl", formats.street, 125, None),
        ("prontoqa/dev_shared.json", formats.prontoqa, 250, 1250),
        ("perl/gsm8k_positives_shared.json", formats.perl, 25, 111),
        ("entailmentbank/task_2-dev.jsonl", formats.entailment_bank, 187, None),
    ],
)
def test_real_files_load(name: str, parse: object, loaded: int, steps: int | None) -> None:
    items = [item for _, item in read_jsonl(shared(name), parse)]  # type: ignore[arg-type]
    good = [item for item in items if not isinstance(item, InputError)]
    assert len(good) == loaded
    assert steps is None or sum(len(chain.steps) for chain in good) == steps
    assert all(len(own) for chain in good for own in chain.premises[-1:])
