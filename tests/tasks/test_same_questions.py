"""The same question told twice: in one group, and never its own demonstration."""

import json
from pathlib import Path

import pytest

from mplib.errors import InputError
from mplib.studies.language import Procedure, Subject, chosen_sets
from mplib.tasks.examples import Example, ExampleSet, group_names, joined, unasked
from mplib.tasks.science.task import Science
from mplib.tasks.trees import ReasoningTree


def line(i: int, **other: object) -> dict[str, object]:
    told = [f"Rex{i} is cold.", "Cold things rest.", f"Tim{i} is tall."]
    return {
        "statements": told, "question": f"Does Rex{i} rest?", "answer": "yes" if i % 2 else "no",
        "choices": ["yes", "no"], "edges": [[0, 1]],
    } | other  # fmt: skip


def turned(i: int) -> dict[str, object]:
    """The same question with its statements in another order, case and spacing."""
    told = line(i)["statements"]
    return line(i, statements=[told[2], told[0].upper(), f" {told[1]}"], edges=[[1, 2]])


def write(path: Path, lines: list[dict[str, object]]) -> str:
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return str(path)


def example(told: str, group: str = "") -> Example:
    return Example((told,), "?", "yes", ReasoningTree(1, {0: 0}, (), 0), group)


def test_groups_that_hold_the_same_question_are_one() -> None:
    told = [("a", "x"), ("b", "y"), ("c", "z"), ("b", "x"), ("C", "y"), ("d", "w"), ("e", "")]
    groups = group_names([example(*one) for one in told])
    assert len({*groups[:5]}) == 1 and groups[0] in ("x", "y", "z")
    assert groups[5:].tolist() == ["w", "example 6"]
    assert group_names([example("a"), example("b"), example("a")]).tolist() == [
        "example 0", "example 1", "example 0",
    ]  # fmt: skip


def test_what_is_asked_is_not_demonstrated_and_is_counted() -> None:
    shown = [example(letter) for letter in "abcde"]
    sets = [ExampleSet("one", shown[:2], shown, 0), ExampleSet("two", shown[2:3], shown[1:], 0)]
    left = unasked(sets)
    assert [one.train for one in left] == [shown[3:], shown[3:]]
    assert [one.left_out for one in left] == [3, 2] and joined(left, "all").left_out == 5
    assert [one.left_out for one in unasked(left)] == [3, 2]
    assert unasked([ExampleSet("one", shown[:2], shown[2:], 0)])[0].left_out == 0


@pytest.mark.parametrize("shared", [True, False])
def test_no_prompt_shows_its_own_question(tmp_path: Path, shared: bool) -> None:
    data = write(tmp_path / "q.jsonl", [line(i) for i in range(20)])
    train = [*map(turned, range(8)), *(line(i) for i in range(20, 28))]
    task = Science(data, write(tmp_path / "train.jsonl", train), (1,))
    (one,) = chosen_sets(task, "test", 100, [4, 8])
    assert (len(one.examples), len(one.train), one.left_out) == (20, 8, 8)
    drawn = Procedure("arc", shared=shared).demonstrate(Subject("8-shot", None, 8), one)
    for asked, shown in zip(one.examples, drawn, strict=True):
        assert len(shown) == 8 and asked.key not in {x.key for x in shown}
    with pytest.raises(InputError, match=r"has 8 training examples \(8 more are asked themselves"):
        chosen_sets(task, "test", 100, [9])


def test_two_files_of_the_same_questions_are_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "q.jsonl", [line(i) for i in range(20)])
    train = write(tmp_path / "train.jsonl", [turned(i) for i in range(0, 20, 3)])
    for other in (data, train):
        with pytest.raises(InputError, match=r"all questions of .* stand in .*q\.jsonl too"):
            chosen_sets(Science(data, other, (1,)), "test", 3)


def test_the_same_questions_of_a_file_stand_on_one_side(tmp_path: Path) -> None:
    lines = [line(i) for i in range(12)] + [turned(i) for i in range(12)]
    task = Science(write(tmp_path / "q.jsonl", lines), depths=(1,))
    (one,) = chosen_sets(task, "test", 100)
    assert len(one.examples) + len(one.train) == 24 and one.left_out == 0 and len(one.train) >= 4
    assert len({*one.groups}) == len(one.examples) // 2
    parts = [{x.key for x in part} for part in task.splits(100, seed=0)]
    assert len(parts[0]) == len(one.examples) // 2 - 2 and len(parts[1]) == len(parts[2]) == 1
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


@pytest.mark.parametrize(
    "lines", [[line(i, group="one story") for i in range(9)], [line(0)] * 9, [line(0), turned(0)]]
)
def test_all_of_one_group_leave_none_to_probe(tmp_path: Path, lines: list[dict]) -> None:
    task = Science(write(tmp_path / "q.jsonl", lines), depths=(1,))
    with pytest.raises(InputError, match=r"are of one group .* none is left to probe: give more"):
        chosen_sets(task, "test", 100)
    with pytest.raises(InputError, match="1 groups of questions cannot be split"):
        other = write(tmp_path / "train.jsonl", [line(50)])
        Science(write(tmp_path / "q.jsonl", lines), other, (1,)).splits(100, 0)
