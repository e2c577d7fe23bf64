"""A user's JSONL: what is read, and the one clear error for what cannot be."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mplib.errors import InputError
from mplib.tasks import custom
from mplib.tasks.trees import USELESS

GOOD = {
    "statements": ["Rex is a dog.", "Dogs bark.", "Tom is a cat.", "Rex barks."],
    "question": "Does Rex bark?",
    "answer": "yes",
    "edges": [[0, 3], [1, 3]],
}


def write(folder: Path, *records: object) -> Path:
    path = folder / "mine.jsonl"
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def without(*keys: str, **new: object) -> dict[str, object]:
    return {key: value for key, value in GOOD.items() if key not in keys} | new


def test_edges_and_heights_tell_the_same_tree(tmp_path: Path) -> None:
    by_heights = without(
        "edges", useful=[3, 0, 1], heights=[1, 0, 0], group="g", choices=["no", "yes"]
    )
    first, second = custom.examples(write(tmp_path, GOOD, "", by_heights))
    assert first.tree.labels().tolist() == second.tree.labels().tolist() == [0, 0, USELESS, 1]
    assert first.tree.root == second.tree.root == 3
    assert first.tree.edges == ((0, 3), (1, 3))
    assert (first.statements, first.question, first.answer) == (
        tuple(GOOD["statements"]), "Does Rex bark?", "yes",
    )  # fmt: skip
    assert (second.group, second.choices) == ("g", ("no", "yes"))


def test_every_line_is_its_own_group_by_default(tmp_path: Path) -> None:
    groups = [e.group for e in custom.examples(write(tmp_path, GOOD, GOOD, "", GOOD))]
    assert len({*groups, ""}) == 4


def test_single_statement_tree_needs_its_root(tmp_path: Path) -> None:
    (example,) = custom.examples(write(tmp_path, without("edges", edges=[], root=1)))
    assert example.tree.labels().tolist() == [USELESS, 0, USELESS, USELESS]
    with pytest.raises(InputError, match=r"'edges'.*add field 'root'"):
        custom.examples(write(tmp_path, without("edges", edges=[])))


def test_tie_at_the_top_needs_a_root(tmp_path: Path) -> None:
    tie = without("edges", useful=[0, 1], heights=[0, 0])
    with pytest.raises(InputError, match="'root'"):
        custom.examples(write(tmp_path, tie))
    (example,) = custom.examples(write(tmp_path, tie | {"root": 1}))
    assert example.tree.root == 1


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ('{"statements": ["a"', "whole JSON object"),
        ([1, 2], "expected a JSON object"),
        (without("statements"), "'statements' is missing"),
        (without("question"), "'question' is missing"),
        (without("answer"), "'answer' is missing"),
        (without(statements="Rex is a dog."), "'statements': expected a list"),
        (without(statements=[]), "'statements': expected a list"),
        (without(statements=["a", " "]), "'statements': expected a list"),
        (without(question=None), "'question': expected a string"),
        (without(answer=1), "'answer': expected a non-empty string"),
        (without(edges=[[0, 1, 2]]), r"'edges': expected a list of \[premise, conclusion\]"),
        (without(edges=[["0", "3"]]), "'edges': expected"),
        (without(edges=[[False, True]]), "'edges': expected"),
        (without(edges=[[0, 4]]), "'edges': tree names statement 4"),
        (without(edges=[[-1, 3]]), "'edges': tree names statement -1"),
        (without(edges=[[0, 3], [3, 0]]), "'edges': the reasoning goes in a circle"),
        (without(edges=[[0, 2], [1, 3]]), "'edges': expected one root"),
        (without(root=0), "'edges': expected statement 0 as the only root"),
        (without(root="3"), "'root': expected the number"),
        (without("edges"), "found none of them"),
        (without(useful=[0], heights=[0]), "found 'edges' and 'useful' and 'heights'"),
        (without("edges", useful=[0]), "found 'useful'"),
        (without("edges", useful=[0, 1], heights=[0]), "'useful' and 'heights': expected as many"),
        (without("edges", useful=[0, 0], heights=[0, 1]), "'useful': expected a list of different"),
        (without("edges", useful=[0, 9], heights=[0, 1]), "tree names statement 9"),
        (without("edges", useful=[0, 1], heights=[0, -1]), "'heights': statement 1 has height -1"),
        (without("edges", useful=[0, 1], heights=[0, 127]), "statement 1 has height 127"),
        (
            without("edges", useful=[0, 1], heights=[0, 1.0]),
            "'heights': expected a list of numbers",
        ),
        (without("edges", useful=[0, 1], heights=[0, 1], root=0), "'root': expected one of"),
        (without(group=7), "'group': expected a non-empty string"),
        (without(choices=["no", "no"]), "'choices': expected a list of different"),
        (without(choices=["no", "maybe"]), "answer 'yes' is none of the choices"),
        (without(choises=["no", "yes"]), "unknown field 'choises'.*'choices'"),
    ],
)
def test_error_names_file_line_and_field(tmp_path: Path, record: object, words: str) -> None:
    path = write(tmp_path, GOOD, "", record)
    with pytest.raises(InputError, match=words) as caught:
        custom.examples(path)
    assert str(caught.value).startswith(f"{path}, line 3: ")


def test_chain_higher_than_labels_can_say_is_refused(tmp_path: Path) -> None:
    chain = {"statements": ["s"] * 200, "edges": [[i, i + 1] for i in range(199)]}
    with pytest.raises(InputError, match="has height 127"):
        custom.examples(write(tmp_path, without(**chain)))


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        custom.examples(tmp_path / "absent.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "caf\xe9"}')
    with pytest.raises(InputError, match=r"latin\.jsonl, line 1: .*UTF-8"):
        custom.examples(tmp_path / "latin.jsonl")
    with pytest.raises(InputError, match="no example"):
        custom.examples(write(tmp_path, ""))


def test_unknown_fields_and_odd_separators_are_left_alone(tmp_path: Path) -> None:
    odd = json.dumps(without(identifier="x", question="a\u2028b\x85c"), ensure_ascii=False)
    (example,) = custom.examples(write(tmp_path, odd))
    assert example.question == "a\u2028b\x85c"


@st.composite
def chains(draw: st.DrawFn) -> tuple[int, list[list[int]], dict[int, int]]:
    """A tree as the paper has them (leaves, one node at each height above) and its heights."""
    depth = draw(st.integers(1, 5))
    n = draw(st.integers(2 * depth, 20))
    order = draw(st.permutations(range(n)))
    spine, leaves = order[: depth + 1], order[depth + 1 :]
    heights = {node: height for height, node in enumerate(spine)}
    edges = [[a, b] for a, b in pairwise(spine)]
    for leaf in leaves[: draw(st.integers(0, len(leaves)))]:
        edges.append([leaf, spine[draw(st.integers(1, depth))]])
        heights[leaf] = 0
    return n, draw(st.permutations(edges)), heights


@given(chains())
def test_both_forms_of_any_tree_agree(chain: tuple[int, list[list[int]], dict[int, int]]) -> None:
    n, edges, heights = chain
    base = {"statements": [f"s{i}" for i in range(n)], "question": "", "answer": "s"}
    other = base | {"useful": [*heights], "heights": [*heights.values()]}
    first, second = custom.parse(base | {"edges": edges}), custom.parse(other)
    assert first.tree.heights == second.tree.heights == heights
    assert first.tree.root == second.tree.root
