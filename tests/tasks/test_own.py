"""A file of questions as one set: how much of it is probed, and what is held out of it."""

import json
from pathlib import Path

import pytest
from shared_data import shared

from mplib.errors import InputError
from mplib.tasks.science import Own

LINE = {
    "statements": ["Rex is a dog.", "All dogs bark.", "Tom is a cat."],
    "question": "Does Rex bark?", "answer": "yes", "edges": [[0, 1]],
}  # fmt: skip


def write(folder: Path, n: int, **more: object) -> str:
    lines = [{**LINE, "question": f"Does dog {i} bark?", **more} for i in range(n)]
    path = folder / "my.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


def sizes(task: Own, most: int = 100) -> tuple[int, int]:
    (one,) = task.sets("test", most)
    assert not {x.key for x in one.examples} & {x.key for x in one.train}
    assert not {*one.groups} & {x.group for x in one.train}
    return len(one.examples), len(one.train)


def test_nothing_is_held_out_but_what_demonstrations_take(tmp_path: Path) -> None:
    path = write(tmp_path, 5)
    assert sizes(Own(path)) == (5, 0)
    assert sizes(Own(path, shots=1)) == (4, 1)
    assert sizes(Own(path, shots=3)) == (2, 3)
    assert sizes(Own(write(tmp_path, 20), shots=1)) == (16, 4), "one in five"
    assert sizes(Own(write(tmp_path, 2))) == (2, 0)


def test_more_demonstrations_than_the_file_gives_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, 5)
    with pytest.raises(InputError, match=r"shots=4: .* 5 questions in 5 groups; .* 3 demonstr"):
        Own(path, shots=4).sets("test", 100)
    one_group = write(tmp_path, 5, group="a story")
    with pytest.raises(InputError, match=r"shots=1: .* 5 questions in 1 groups; .* 0 demonstr"):
        Own(one_group, shots=1).sets("test", 100)


@pytest.mark.parametrize(("n", "more"), [(1, {}), (5, {"group": "a story"}), (5, {"question": ""})])
def test_questions_of_one_group_cannot_be_probed(tmp_path: Path, n: int, more: dict) -> None:
    with pytest.raises(
        InputError, match=rf"my.jsonl that are probed \({n}\) are of one group, .*: add"
    ):
        Own(write(tmp_path, n, **more)).sets("test", 100)


def test_a_large_file_is_drawn_from_by_the_seed_in_its_order(tmp_path: Path) -> None:
    path = write(tmp_path, 50)
    asked = [[x.question for x in Own(path, seed=s).sets("test", 9)[0].examples] for s in (0, 0, 1)]
    assert asked[0] == asked[1] != asked[2]
    whole = [x.question for x in Own(path).sets("test", 50)[0].examples]
    assert [x for x in whole if x in asked[0]] == asked[0]
    assert len(asked[0]) == 9


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, 2)
    Path(path).write_text(Path(path).read_text() + '\n{"statements": ["Rex is a dog."]}\n')
    with pytest.raises(InputError, match=r"my\.jsonl, line 3: field 'question' is missing: add"):
        Own(path).sets("test", 100)


def test_entailment_bank_itself_is_one_set_of_all_depths() -> None:
    own = Own(str(shared("entailmentbank/task_2-dev.jsonl")), shots=2)
    assert sizes(own, 64) == (64, 38)
    (one,) = own.sets("test", 1000)
    assert len(one.examples) == 187 - 38
    assert one.depth == max(x.tree.depth for x in one.examples) > 3
