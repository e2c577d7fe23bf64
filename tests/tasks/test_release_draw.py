"""Questions of the official release: drawn by seed over all folders and theories."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mplib.errors import InputError
from mplib.tasks.examples import Example
from mplib.tasks.proofwriter.generator import generate
from mplib.tasks.proofwriter.release import DEPTH_FOLDERS, SPLITS
from mplib.tasks.proofwriter.task import Case, ProofWriter
from mplib.tasks.task import DEMONSTRATIONS
from mplib.tasks.words import tokens

THEORIES = 12


def theories(folder: str, split: str, number: int) -> Iterator[dict]:
    """As in the release: easy questions in all folders, each folder's own depth last."""
    most = int(folder[-1])
    for depth in range(most + 1):
        size = 5 + depth + 2 * number
        seed = 100 * SPLITS.index(split) + 10 * number + depth
        for i, record in enumerate(
            generate(THEORIES, seed=seed, depth=depth, n_statements=max(size, 2 * depth + 2))
        ):
            yield record | {"id": f"AttNoneg-CWA-D{most}-{split}-{depth}-{i}"}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("release")
    for number, folder in enumerate(DEPTH_FOLDERS[:4]):
        (root / "CWA" / folder).mkdir(parents=True)
        for split in SPLITS:
            lines = map(json.dumps, theories(folder, split, number))
            (root / "CWA" / folder / f"meta-{split}.jsonl").write_text("\n".join(lines))
    return root


def folders(examples: list[Example]) -> Counter[str]:
    return Counter(example.group.split("-")[2] for example in examples)


def test_questions_come_from_all_folders_and_demonstrations_of_all_depths(release: Path) -> None:
    task = ProofWriter(str(release), ("d1", "d2"))
    first, second = task.sets("test", 24)
    assert [len(one.examples) for one in (first, second)] == [24, 24]
    assert folders(first.examples).keys() == {"D1", "D2", "D3"}
    assert folders(second.examples).keys() == {"D2", "D3"}
    assert {example.tree.depth for example in first.examples} == {1}
    assert first.train == second.train
    shown = first.train[:40]
    assert {x.tree.depth for x in shown} == {0, 1, 2, 3} and len(folders(shown)) == 4
    assert all("-train-" in x.group for x in first.train) and len(first.train) == 10 * THEORIES
    assert len(first.train) < DEMONSTRATIONS


def test_the_seed_alone_draws_and_fewer_are_the_first_of_more(release: Path) -> None:
    case, other = Case.parse("d1"), Case.parse("d2")
    task = ProofWriter(str(release), ("d1",))
    drawn = task.examples(case, "test", 30)
    for n in (0, 1, 7, 29):
        assert task.examples(case, "test", n) == drawn[:n]
    every = task.examples(case, "test", 1000)
    assert every[:30] == drawn and len(every) == 3 * THEORIES
    beside = ProofWriter(str(release), ("d2", "d1"))
    assert beside.sets("test", 30)[1].examples == drawn
    assert beside.examples(other, "test", 4)[0].tree.depth == 2
    seeded = ProofWriter(str(release), ("d1",), seed=1)
    assert [x.group for x in seeded.examples(case, "test", 30)] != [x.group for x in drawn]
    assert [x.tree.depth for x in beside.training("train", 6)] == [2, 1, 2, 1, 2, 1]


def test_one_file_is_drawn_too_and_still_divided_by_theory(release: Path) -> None:
    path = release / "CWA" / "depth-3" / "meta-test.jsonl"
    task = ProofWriter(str(path), ("d1",))
    parts = [task._draw([None], split, 1000)[0] for split in SPLITS]
    groups = [{x.group for x in part} for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 4 * THEORIES
    (one,) = task.sets("test", 5)
    assert one.examples == task.examples(task.parsed[0], "test", 100)[:5]
    in_file = [json.loads(line)["id"] for line in path.read_text().splitlines()]
    places = [in_file.index(x.group) for x in one.train]
    assert places != sorted(places)


@pytest.mark.parametrize(
    ("case", "there"),
    [
        ("d5", r"it has d0 \(s5, s7, s9, s11\), d1 \(s8, s10, s12\), d2 \(s11, s13\), d3 \(s14\)"),
        ("d1 s9", r"questions of depth 1, \|S\| = 9: it has d0 .*; choose another case"),
    ],
)
def test_a_case_that_is_not_there_says_what_is(release: Path, case: str, there: str) -> None:
    with pytest.raises(InputError, match=there):
        ProofWriter(str(release), ("d1", case)).sets("test", 4)


def test_nothing_there_is_said_too(tmp_path: Path) -> None:
    (tmp_path / "meta.jsonl").write_text("\n")
    with pytest.raises(InputError, match="no test questions of depth 1: it has none at all"):
        ProofWriter(str(tmp_path / "meta.jsonl"), ("d1",)).sets("test", 4)


def test_a_releases_own_lengths_are_what_a_run_is_estimated_by(
    release: Path, tmp_path: Path
) -> None:
    cases = ("d0", "d1", "d3 s14", "d2 s40")
    given = {"data": str(release), "cases": [*cases], "examples": 30}
    typical = ProofWriter.typical(given)
    for case, length in zip(cases[:3], typical.lengths, strict=False):
        (one,) = ProofWriter(str(release), (case,)).sets("test", 30)
        counts = [len(tokens(" ".join((*x.statements, x.question)))) for x in one.examples]
        assert 1 / 1.5 < length / (sum(counts) / len(counts)) < 1.5, case
    assert typical.lengths[3] > 40 * 6, "there are none: a guess"
    assert typical.problems == 120
    # What the run itself will call an error is none here.
    (bad := tmp_path / "bad.jsonl").write_text("{")
    broken = given | {"data": str(bad)}
    assert ProofWriter.typical(given | {"world": "opn"}) == ProofWriter.typical(broken)
    assert ProofWriter.typical(broken).statements == (18 + 18 + 14 + 40) / 4


@pytest.mark.parametrize(("told", "asked"), [("open", "closed"), ("closed", "open")])
def test_a_file_of_the_other_world_is_refused(tmp_path: Path, told: str, asked: str) -> None:
    drawn = generate(40, depth=1, n_statements=6, negation=True, world=told)
    path = tmp_path / "theories.jsonl"
    path.write_text("\n".join(map(json.dumps, drawn)))
    assert ProofWriter(str(path), ("d1",), world=told).sets("test", 4)[0].examples
    with pytest.raises(InputError, match=rf"is a theory of the {told} world; set world='{told}'"):
        ProofWriter(str(path), ("d1",), world=asked).sets("test", 4)
