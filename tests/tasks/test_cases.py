"""Cases of theories and of science questions: what may be asked, and that splits share nothing."""

import json

import pytest

from mplib.errors import InputError
from mplib.studies.language import chosen_sets
from mplib.studies.language_tables import by_negation
from mplib.tasks.proofwriter.generator import generate
from mplib.tasks.proofwriter.task import SPLITS, Case, ProofWriter
from mplib.tasks.science.task import Science


@pytest.mark.parametrize(
    ("text", "case"),
    [
        ("d1 s4", Case(1, 4)),
        ("d2 s8 hidden", Case(2, 8, "hidden")),
        ("d3 s8 rival", Case(3, 8, "rival")),
        ("d0", Case(0, 0)),
    ],
)
def test_cases_are_read(text, case):
    assert Case.parse(text) == case


@pytest.mark.parametrize("text", ["d1s4", "1 4", "d1 s4 secret", "", "d12 s4"])
def test_a_case_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="'d1 s8'"):
        Case.parse(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cases": ()}, "no cases"),
        ({"cases": ("d1",)}, "n_statements=0"),
        ({"cases": ("d0 s4 hidden",)}, "giveaway=False needs depth 1"),
        ({"cases": ("d2 s4 hidden",)}, "n_statements=4"),
        ({"world": "half-open"}, "world='half-open'"),
        ({"style": "poem"}, "style='poem'"),
        ({"data": "file.jsonl", "cases": ("d1 s8 hidden",)}, "only generated data"),
    ],
)
def test_theories_that_cannot_be_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        ProofWriter(**given)


def test_splits_share_no_theory_and_keep_to_the_case():
    task = ProofWriter(cases=("d2 s8",))
    parts = {split: task.examples(task.parsed[0], split, 40) for split in SPLITS}
    for examples in parts.values():
        assert {(e.tree.depth, len(e.statements)) for e in examples} == {(2, 8)}
    told = [{frozenset(e.statements) for e in examples} for examples in parts.values()]
    assert not (told[0] & told[1] or told[0] & told[2] or told[1] & told[2])
    with pytest.raises(InputError, match="split='all'"):
        task.examples(task.parsed[0], "all", 4)


def test_training_mixes_the_cases_evenly():
    task = ProofWriter(cases=("d0 s3", "d1 s4 hidden"))
    assert [e.tree.depth for e in task.training("train", 6)] == [0, 1, 0, 1, 0, 1]


def test_a_file_of_the_release_is_divided_by_theory(tmp_path):
    path = tmp_path / "meta-all.jsonl"
    drawn = generate(40, depth=0, n_statements=4)
    path.write_text("".join(json.dumps(record) + "\n" for record in drawn))
    task = ProofWriter(data=str(path), cases=("d0",))
    parts = [task.examples(task.parsed[0], split, 1000) for split in SPLITS]
    groups = [{example.group for example in part} for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 40
    assert len(groups[0]) > 2 and len(groups[1]) > 2 and len(groups[2]) > 15
    assert {e.tree.depth for part in parts for e in part} == {0}
    with pytest.raises(InputError, match="no dev questions of depth 3"):
        task.examples(Case(3, 0), "dev", 1000)


def test_a_not_tells_the_answer_in_a_closed_world_and_not_in_hidden_open_theories():
    closed = ProofWriter(cases=("d1 s8",))
    assert by_negation(closed.examples(closed.parsed[0], "test", 60)) == 1
    for cases, least, most in ((("d1 s8 hidden",), 0.35, 0.65), (("d1 s8",), 0.55, 0.9)):
        task = ProofWriter(cases=cases, negation=True, world="open")
        examples = task.examples(task.parsed[0], "test", 100)
        assert least < by_negation(examples) < most


def test_our_science_questions_are_held_out_for_demonstrations():
    sets = chosen_sets(Science(depths=(1, 2, 3)), "test", 100)
    assert [one.name for one in sets] == ["depth 1", "depth 2", "depth 3", "all depths"]
    shown = {e.group for e in sets[0].train}
    asked = {e.group for e in sets[-1].examples}
    assert len(shown) >= 12 and len(shown) + len(asked) == 64 and not shown & asked
    assert {e.tree.depth for e in sets[0].train} == {1, 2, 3}
    with pytest.raises(InputError, match="40 demonstrations, but depth 1 has 13"):
        chosen_sets(Science(), "test", 100, [4, 40])
    assert [len(one.examples) for one in chosen_sets(Science(), "test", 3)] == [3, 3, 6]


def test_a_file_of_ones_own_can_be_asked(tmp_path):
    line = {
        "statements": ["A is red.", "Red things are big.", "B is blue."], "answer": "True",
        "edges": [[0, 1]], "choices": ["True", "False"],
    }  # fmt: skip
    path = tmp_path / "own.jsonl"
    lines = [json.dumps(line | {"question": f"Is A{i} big?", "group": f"g{i}"}) for i in range(30)]
    path.write_text("\n".join(lines))
    sets = chosen_sets(Science(str(path), depths=(1,)), "test", 100)
    assert len(sets) == 1 and len(sets[0].examples) + len(sets[0].train) == 30
    with pytest.raises(InputError, match=r"no question of depths \[2\]: it has \[1\]"):
        chosen_sets(Science(str(path), depths=(2,)), "test", 100)
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        chosen_sets(Science(str(tmp_path / "nowhere.jsonl")), "test", 100)
