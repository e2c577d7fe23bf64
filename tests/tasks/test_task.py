"""What all tasks share: made from parameters, registered by name, asked by a template."""

from dataclasses import dataclass

import pytest

from mplib.errors import InputError
from mplib.tasks.proofwriter import ProofWriter
from mplib.tasks.task import WordTask, task_of, template_text


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
