"""ProofWriter's release: proof strings, cleaning, files and folders."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_data import shared

from mplib.errors import InputError
from mplib.tasks.proofwriter import release
from mplib.tasks.proofwriter.generator import generate
from mplib.tasks.proofwriter.logic import NAF, Proof, read, read_fact, read_theory
from mplib.tasks.proofwriter.release import clean, first_proof, to_examples

NAMES = ("triple1", "triple2", "triple3", "rule1", "rule2")


# Proof strings.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[(triple3)]", Proof(2)),
        ("[(((triple1) -> rule1))]", Proof(3, (Proof(0),))),
        (
            "[(((((triple1) -> rule1) triple3) -> rule2))]",
            Proof(4, (Proof(3, (Proof(0),)), Proof(2))),
        ),
        ("((((triple1) -> rule1)) -> rule2)", Proof(4, (Proof(3, (Proof(0),)),))),
        ("[(((triple1 NAF) -> rule1))]", Proof(3, (Proof(0), NAF))),
        ("[(((triple1) -> rule1) OR ((triple2 triple3) -> rule2))]", Proof(3, (Proof(0),))),
        (
            "[((((triple1 OR ((triple2) -> rule1)) triple3) -> rule2))]",
            Proof(4, (Proof(0), Proof(2))),
        ),
        # Written out, its alternatives would fill the memory.
        (
            f"[((({'((triple1) OR (triple2)) ' * 400}) -> rule1))]",
            Proof(3, (Proof(0),) * 400),
        ),
    ],
)
def test_proof_strings(text: str, expected: Proof) -> None:
    assert first_proof(text, NAMES) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[(triple9)]", "'triple9'"),
        ("[(((triple1) -> rule7))]", "'rule7'"),
        ("[(((triple1) => rule1))]", "'=>'"),
        ("[(((triple1) -> rule1)]", "closing bracket"),
        ("[((triple1) -> rule1)) triple2]", "expected e.g."),
        ("[(triple1 triple2)]", "expected e.g."),
        ("[()]", "expected e.g."),
        ("[((() -> rule1))]", "'->'"),
        ("", "expected e.g."),
    ],
)
def test_unreadable_proofs_are_named(text: str, named: str) -> None:
    with pytest.raises(InputError, match=re.escape(named)) as caught:
        first_proof(text, NAMES)
    assert repr(text) in str(caught.value)


PROOFS = st.recursive(
    st.sampled_from([Proof(0), Proof(1), Proof(2), NAF]),
    lambda below: st.tuples(
        st.sampled_from([3, 4]), st.lists(below, min_size=1, max_size=3).map(tuple)
    ).map(lambda parts: Proof(*parts)),
    max_leaves=8,
)


@given(st.lists(PROOFS, min_size=1, max_size=3))
def test_written_proofs_read_back(proofs: list[Proof]) -> None:
    assert first_proof(written(proofs, NAMES), NAMES) == proofs[0]


def test_every_premise_of_a_step_is_kept() -> None:
    proof = first_proof("[(((((triple1 triple2) -> rule1) triple3) -> rule2))]", NAMES)
    tree = proof.tree(5)
    assert {*tree.edges} == {(0, 3), (1, 3), (3, 4), (2, 4)}
    assert (tree.root, tree.heights) == (4, {0: 0, 1: 0, 2: 0, 3: 1, 4: 2})


# The official sample.


def written(proofs: Iterable[Proof], names: Sequence[str]) -> str:
    """Alternative proofs as the release writes them."""
    return "[(" + " OR ".join(proof.text(names) for proof in proofs) + ")]"


def test_official_trees_are_those_of_the_engine() -> None:
    lines = shared("proofwriter/official_cwa_sample.jsonl").read_text().splitlines()
    seen: Counter[str] = Counter()
    for record in map(json.loads, lines):
        names = [*record["triples"], *record["rules"]]
        theory = read_theory(record["theory"])
        for question in record["questions"].values():
            asked = read_fact(question["question"])
            assert theory.truth(asked) == str(question["answer"])
            target = theory.target(asked)
            assert (target is None) == (question["QLen"] == "")
            if target is None:
                seen["no proof"] += 1
                continue
            derived = [*theory.proofs(target)]
            assert question["proofs"] == written(derived, names)
            assert {proof.depth for proof in derived} == {question["QDep"]}
            assert derived[0].size == question["QLen"]
            seen["NAF" if "NAF" in question["proofs"] else len(derived)] += 1
            if "NAF" not in question["proofs"]:
                official = first_proof(question["proofs"], names)
                assert official.tree(len(names)) == derived[0].tree(len(names))
    assert seen == {"no proof": 4, "NAF": 1, 1: 7, 2: 1}


def test_everything_that_follows_officially_follows_here() -> None:
    """``allProofs`` lists every provable statement at its depth, with all of its proofs."""
    lines = shared("proofwriter/official_cwa_sample.jsonl").read_text().splitlines()
    for record in map(json.loads, lines):
        names = [*record["triples"], *record["rules"]]
        theory = read_theory(record["theory"])
        official = {
            read_fact(sentence): (int(depth), proofs)
            for depth, part in re.findall(r"@(\d+): ([^@]*)", record["allProofs"])
            for sentence, proofs in re.findall(r"([A-Z][^\[]*)(\[.*?\])", part)
        }
        assert len(official) == (6 if "Att" in record["id"] else 17)
        derived = {
            x: (depth, written(theory.proofs(x, 99), names)) for x, depth in theory.depths.items()
        }
        assert derived == official


def test_official_sample_is_cleaned_as_documented() -> None:
    path = shared("proofwriter/official_cwa_sample.jsonl")
    lines = path.read_text().splitlines()
    reasons = [{name: why for name, why, _ in clean(json.loads(line))} for line in lines]
    assert reasons[1] == {
        "Q1": "kept", "Q3": "OR", "Q4": "NAF", "Q5": "kept", "Q7": "no proof", "Q11": "no proof",
    }  # fmt: skip
    assert Counter(reasons[0].values()) == {"kept": 5, "no proof": 2}
    assert len([*release.examples([path])]) == 7


# Files and folders.


def write_release(root: Path, world: str = "CWA", folders: tuple[str, ...] = ("depth-1",)) -> int:
    """A release of generated theories; returns how many questions it holds."""
    total = 0
    for number, folder in enumerate(folders):
        (root / world / folder).mkdir(parents=True)
        for split in release.SPLITS:
            drawn = generate(3, seed=number, depth=1, n_statements=6)
            lines = [json.dumps(record) for record in drawn]
            (root / world / folder / f"meta-{split}.jsonl").write_text("\n".join(lines) + "\n")
            total += 3
    return total


def test_reads_a_release_split_by_split(tmp_path: Path) -> None:
    total = write_release(tmp_path, folders=("depth-1", "depth-3"))
    (tmp_path / "CWA" / "depth-3ext").mkdir()  # repeats others and is not read
    (tmp_path / "CWA" / "depth-3ext" / "meta-dev.jsonl").write_text("{")
    assert len([*release.examples(release.files(tmp_path))]) == total == 18
    assert len([*release.examples(release.files(tmp_path, splits=("dev",)))]) == 6
    one = tmp_path / "CWA" / "depth-1" / "meta-test.jsonl"
    shown = [*release.examples(release.files(one))]
    assert len(shown) == 3 and len({e.group for e in shown}) == 3
    assert {e.choices for e in shown} == {("True", "False")}
    stream = release.examples(release.files(tmp_path))
    one.write_text("{")  # read later than the first example: the reader does not read ahead
    next(stream)


def test_open_world_has_a_third_choice() -> None:
    (record,) = generate(1, world="open", answers=("False",))
    (example,) = to_examples(record)
    assert (example.choices, example.answer) == (("True", "False", "Unknown"), "False")


def test_statement_order_is_seeded_and_the_tree_follows() -> None:
    record = next(generate(1, depth=3, n_statements=12))
    (given_order,) = to_examples(record, order="given")
    orders = set()
    for seed in range(10):
        (example,) = to_examples(record, seed=seed)
        assert [example] == [*to_examples(record, seed=seed)]
        orders.add(example.statements)
        assert Counter(example.statements) == Counter(given_order.statements)
        for side in (example, given_order):
            assert all((k == "fact") == isinstance(read(s)[0], str)
                       for s, k in zip(side.statements, side.kinds, strict=True))  # fmt: skip
        named = [{(e.statements[a], e.statements[b]) for a, b in e.tree.edges}
                 for e in (example, given_order)]  # fmt: skip
        assert named[0] == named[1] and example.tree.depth == 3
    assert len(orders) == 10
    kinds = ("fact",) * len(record["triples"]) + ("rule",) * len(record["rules"])
    assert given_order.kinds == kinds


def odd_record() -> dict:
    """One question for each thing that the cleaning drops, and one that it keeps."""
    record = next(generate(1, depth=1, n_statements=6))
    question = record["questions"]["Q1"]
    variants = {
        "Q1": {},
        "Q2": {"QLen": "", "proofs": "[@0: x[CWA. Example of deepest failure = (FAIL)]]"},
        "Q3": {"proofs": "[(((NAF) -> rule1))]"},
        "Q4": {"proofs": "[(((triple1) -> rule1) OR ((NAF) -> rule2))]"},
        "Q5": {"proofs": "[(((triple1) -> rule1) OR (triple2))]"},
        "Q6": {"QDep": 2, "proofs": "[(((((triple1) -> rule1)) -> rule1))]"},
        "Q7": {"QDep": 3, "proofs": "[(((triple1) -> rule1))]"},
    }
    record["questions"] = {name: question | change for name, change in variants.items()}
    return record


def test_cleaning_and_counts(tmp_path: Path) -> None:
    record = odd_record()
    reasons = ["kept", "no proof", "NAF", "NAF", "OR", "loop", "wrong depth"]
    assert [why for _, why, _ in clean(record)] == reasons
    number = Counter(
        ("dev", record["questions"][name]["QDep"], why) for name, why, _ in [*clean(record)] * 2
    )
    table = release.table(number).set_index(["split", "depth"])
    assert table.loc[("dev", 1)].to_dict() == {
        "questions": 10, "no NAF": 4, "OR": 2, "loop": 0, "wrong depth": 0, "kept": 2,
    }  # fmt: skip
    assert table.loc[("dev", 2), "loop"] == table.loc[("dev", 3), "wrong depth"] == 2
    with pytest.raises(InputError, match="sorted"):
        next(to_examples(record, order="sorted"))


def test_table_stands_in_order_beside_table_6() -> None:
    number = {(split, 1, "kept"): 2 for split in ("x", "test", "dev", "train")}
    table = release.table(number | {("dev", 0, "NAF"): 1})
    assert [*table["split"]] == ["train", "dev", "dev", "test", "x"]
    assert [*table["depth"]] == [1, 0, 1, 1, 1]
    number.pop(("x", 1, "kept"))
    table = release.table(number | {("test", 6, "kept"): 1}, whole=True)
    assert [*table["paper"][:3]] == [41_718, 6_101, 12_044]
    # the paper's source counts before it drops alternatives and loops
    assert sum(sum(release.TABLE_6[s]) for s in release.SPLITS) == 177_425 + 25_884 + 51_182


def test_broken_files_are_named_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the ProofWriter release"):
        release.files(tmp_path)
    with pytest.raises(InputError, match="nowhere is not the ProofWriter release"):
        release.files(tmp_path / "nowhere")
    good = next(generate(1, depth=1, n_statements=6))
    no_text = good | {"triples": {"triple1": {}}}
    no_proof = good | {"questions": {"Q1": {"question": "Bob is red."}}}
    ghost = json.dumps(good).replace("-> rule", "-> ghost")
    for line, named in [
        (json.dumps(good)[:200], "not a whole JSON object"),
        ("[1, 2]", "expected a JSON object"),
        ("{}", "field 'id': expected str"),
        (json.dumps({**good, "rules": []}), "field 'rules': expected dict"),
        (json.dumps(no_text), "field 'text' of triple1: expected str"),
        (json.dumps(no_proof), "field 'answer' of Q1: expected bool or str"),
        (json.dumps(good | {"questions": {"Q1": "x"}}), "field 'Q1': expected dict"),
        (json.dumps(good).replace('"QDep": 1', '"QDep": "1"'), "field 'QDep' of Q1: expected int"),
        (json.dumps(good).replace("[(", "[" + "(" * 9_999), "recursion"),
        (ghost, "unknown token 'ghost"),
    ]:
        file = tmp_path / "meta-train.jsonl"
        file.write_text(json.dumps(good) + "\n" + line + "\n")
        stream = release.examples([file])
        next(stream)
        with pytest.raises(InputError, match=re.escape(f"{file}, line 2")) as caught:
            next(stream)
        assert named in str(caught.value)
