"""Examples as the paper's source has them: statements, order, labels, and what it pools."""

import json

import pytest

from mplib.errors import InputError
from mplib.tasks.examples import Example
from mplib.tasks.published import theory
from mplib.tasks.science import Science
from mplib.tasks.science.published import question
from mplib.tasks.trees import ReasoningTree

RECORD = {
    "id": "q1", "context": "Wool keeps warm. Sheep have wool.", "question": "What keeps warm?",
    "options": ["A) wool", "B) ice"], "answer": "A) wool",
    "textual_logical_units": {
        "1": "What keeps warm?", "2": "A) wool", "3": "B) ice", "4": "Wool keeps warm.",
        "5": "Sheep have wool.", "6": "Sheep keep warm.", "7": "Sheep keep warm in winter.",
        "8": "Winter is cold.", "9": "The answer is A) wool",
    },
    "reasoning_graph_edges": [
        {"antecedents": [4, 5], "consequent": 6}, {"antecedents": [2, 6], "consequent": 7},
        {"antecedents": [7, 8], "consequent": 9},
    ],
}  # fmt: skip


def test_only_the_first_premise_of_the_first_step_is_a_leaf():
    tree = ReasoningTree.from_edges([(2, 3), (0, 3), (3, 4), (1, 4)], n_statements=6)
    found = theory(Example(tuple("abcdef"), "q", "True", tree))
    assert found.tree.labels().tolist() == [1, 1, 0, 1, 1, -1]
    assert found.context == "a b c d e f"
    alone = ReasoningTree.from_edges([], n_statements=2, root=1)
    assert theory(Example(("a", "b"), "q", "True", alone)).tree.labels().tolist() == [-1, 0]


def test_a_question_with_units_for_the_question_and_its_options():
    depth, found = question(RECORD)
    assert depth == 2
    assert found.statements == tuple(RECORD["textual_logical_units"].values())[:-1]
    assert found.question == "What keeps warm?A) wool B) ice" and found.answer == "A"
    # The longest way is 4, 6, 7; of 5 and 2 beside it the last is the leaf. Unit 8 leads to the
    # answer alone, so the source takes it for useless.
    assert found.tree.labels().tolist() == [-1, 0, -1, 1, 1, 1, 1, -1]
    shorter = {**RECORD, "reasoning_graph_edges": RECORD["reasoning_graph_edges"][:1]}
    depth, found = question(
        {**shorter, "reasoning_graph_edges": [*shorter["reasoning_graph_edges"],
                                              {"antecedents": [6], "consequent": 9}]}
    )  # fmt: skip
    assert depth == 1 and {*found.tree.labels().tolist()} == {0, -1}
    last = {**RECORD, "reasoning_graph_edges": RECORD["reasoning_graph_edges"][2:]}
    assert question(last) is None
    with pytest.raises(InputError, match="STREET"):
        question({"hypothesis": "x", "proof": "y"})


def test_a_folder_is_asked_by_split_and_pooled_as_published(tmp_path):
    for split, number in (("train", 1), ("dev", 2), ("test", 3)):
        record = {**RECORD, "id": f"q{number}", "question": f"What keeps {number} warm?"}
        path = tmp_path / f"reasoning_annotated_{split}.jsonl"
        path.write_text(json.dumps(record) + "\n")
    task = Science(str(tmp_path), depths=(2,))
    (one,) = task.sets("test", 9)
    assert [x.group for x in one.examples] == ["q3"] and [x.group for x in one.train] == ["q1"]
    (one,) = task.published_sets(9)
    assert {x.group for x in one.examples} == {"q1", "q2", "q3"}
    assert [x.group for x in one.train] == ["q1"]
    with pytest.raises(InputError, match="no question of depth 1"):
        Science(str(tmp_path), depths=(1,)).published_sets(9)
