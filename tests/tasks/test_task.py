"""What all tasks share: made from parameters, registered by name, asked by a template."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
from shared_data import shared

from mplib.errors import InputError
from mplib.tasks.ontology import Ontology
from mplib.tasks.ontology.generator import WORLDS
from mplib.tasks.proofwriter import ProofWriter
from mplib.tasks.science import Science
from mplib.tasks.task import WordTask, task_of, template_text
from mplib.tasks.words import tokens


def test_a_task_is_made_of_its_own_parameters():
    given = {
        "task": "proofwriter", "data": "generated", "cases": ["d1 s4"], "style": "relation",
        "negation": False, "world": "closed", "order": "given", "seed": 3, "k": 2,
    }  # fmt: skip
    assert task_of(given) == ProofWriter(cases=("d1 s4",), style="relation", order="given", seed=3)
    with pytest.raises(InputError, match=r"task='kssmallest'.*Did you mean 'ksmallest'"):
        task_of(given | {"task": "kssmallest"})


def test_an_unknown_template_is_refused():
    assert template_text("arc") == "The answer is:"
    with pytest.raises(InputError, match=r"template='proofwriters'.*Did you mean 'proofwriter'"):
        template_text("proofwriters")


def test_a_task_in_words_that_lacks_its_sets_is_refused_when_made():
    @dataclass(frozen=True)
    class Half(WordTask):
        def splits(self, n, seed):
            return [], [], []

    with pytest.raises(TypeError, match="sets"):
        Half()


NEGATED = {"negation": True, "world": "open"}


@pytest.mark.parametrize(
    ("task", "parameters"),
    [
        (ProofWriter, {"cases": ["d0 s4", "d1 s4", "d1 s16", "d2 s8 hidden"]}),
        (ProofWriter, {"cases": ["d1 s4", "d1 s12 hidden", "d3 s12 hidden"], **NEGATED}),
        (ProofWriter, {"cases": ["d0 s4", "d1 s16", "d2 s8 hidden"], "style": "relation"}),
        (Ontology, {"depths": [1, 3, 5]}),
        (Ontology, {"depths": [1, 2], "chains": 6, "worlds": ["true", "invented"]}),
        (Ontology, {"data": "prontoqa/dev_shared.json", "depths": [5]}),
        (Science, {"questions": "science", "depths": [1, 2, 3]}),
        (Science, {"questions": "science", "depths": [1], "distractors": False}),
        (Science, {"questions": "entailmentbank/task_1-dev.jsonl", "depths": [1, 3]}),
        (Science, {"questions": "entailmentbank/task_2-dev.jsonl", "depths": [2]}),
    ],
)
def test_typical_problems_are_as_long_as_those_drawn(
    task: type[WordTask], parameters: dict[str, Any]
) -> None:
    """SmolLM2 has a token for each word and mark; of PrOntoQA's nouns, a word has 1.6 of them."""
    given = {"data": "generated", "worlds": [*WORLDS], **parameters, "examples": 16}
    for file in {"data", "questions"} & {*given}:
        if "/" in given[file]:
            given[file] = str(shared(given[file]))
    worth = 1.6 if "prontoqa" in given["data"] else 1
    own = given | {"data": given.get("questions", given["data"])}
    names = {x.name for x in fields(task)} & {*parameters, "data"}
    chosen = {k: tuple(v) if isinstance(v := own[k], list) else v for k in names}
    sets, typical = task(**chosen).sets("test", 16), task.typical(given)
    assert len(typical.lengths) == len(sets)
    for one, length in zip(sets, typical.lengths, strict=True):
        counts = [len(tokens(" ".join((*x.statements, x.question)))) for x in one.examples]
        assert 1 / 1.5 < length / (worth * np.mean(counts)) < 1.5, one.name
    sizes = [len(x.statements) for one in sets for x in one.examples]
    assert 1 / 1.2 < typical.statements * typical.problems / sum(sizes) < 1.2


def test_typical_problems_of_what_cannot_be_read() -> None:
    found = Science.typical({"questions": "no/such.jsonl", "depths": [1, 2], "examples": 10})
    assert found[:3] == ("questions", [200, 200], 20)
    release = ProofWriter.typical({"data": "no/folder", "cases": ["d1", "d2"], "examples": 10})
    # 600 questions of the release of depth 5: 18.7 statements, 166 tokens.
    assert release.statements == 18
    assert all(1 / 1.2 < length / 166 < 1.2 for length in release.lengths)
