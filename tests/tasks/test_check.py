"""What ``check`` says of a file of every format, good and bad."""

import json
from pathlib import Path

import pytest
from shared_data import shared

from mplib.errors import InputError
from mplib.tasks.check import FORMATS, check
from mplib.tasks.proofwriter.generator import generate
from mplib.tasks.proofwriter.release import DEPTH_FOLDERS, SPLITS
from mplib.tasks.science.formats import SCIENCE

OWN = {
    "statements": ["Rex is a dog.", "Dogs bark.", "Rex barks."], "question": "Does Rex bark?",
    "answer": "yes", "edges": [[0, 2], [1, 2]],
}  # fmt: skip
BANK = {
    "id": "b", "question": "What?", "answer": "heat", "hypothesis": "nails conduct heat",
    "context": "sent1: nails are metal sent2: metals conduct heat",
    "proof": "sent1 & sent2 -> hypothesis; ", "depth_of_proof": 2,
}  # fmt: skip
STREET = {
    "id": "s", "context": "nails are metal metals conduct heat", "question": "What?",
    "options": ["A) heat", "B) light"], "answer": "A) heat",
    "textual_logical_units": {
        "1": "nails are metal", "2": "metals conduct heat", "3": "nails conduct heat",
        "4": "The answer is A) heat",
    },
    "reasoning_graph_edges": [
        {"antecedents": [1, 2], "consequent": 3}, {"antecedents": [3], "consequent": 4},
    ],
}  # fmt: skip
GSM = STREET | {"options": [], "answer": "18", "question": "nails are metal; how many?"}


WRITTEN = {
    "statements": ["A is B."],
    "question": "Is A B?",
    "steps": [{"text": "Yes.", "from": [0]}],
}


def write(folder: Path, *records: object) -> str:
    path = folder / "file.jsonl"
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("record", "name", "depth"),
    [
        (OWN, "questions of one's own", ["depth 1: 1"]),
        (STREET, "STREET, ARC", ["depth 1: 1"]),
        (GSM, "STREET, without options (GSM8K)",
         ["depth 1: 1", "steps written out: 2 in 1 problems"]),
        (WRITTEN, "reasoning of one's own, written out",
         ["depth 1: 1", "steps written out: 1 in 1 problems"]),
    ],
)  # fmt: skip
def test_what_loads_is_counted_by_depth(
    tmp_path: Path, record: dict, name: str, depth: list[str]
) -> None:
    path = write(tmp_path, record)
    assert check(path) == ([f"format: {name}", "loaded 1 of 1", *depth], [], 0)
    path = write(tmp_path, '{"cut', record, "", record | {"question": 5})
    out, refused, status = check(path)
    assert out == [f"format: {name}", "loaded 1 of 3", *depth] and status == 0
    assert [line.split(": ")[0] for line in refused] == [f"{path}, line 1", f"{path}, line 4"]


def test_a_depth_by_the_file_stands_beside_the_longest_path(tmp_path: Path) -> None:
    honest = BANK | {"depth_of_proof": 1}
    out, refused, status = check(write(tmp_path, BANK, honest, honest))
    assert out == [
        "format: EntailmentBank", "loaded 3 of 3", "depth 1: 2 (by longest path 3)",
        "depth 2: 1 (by longest path 0)", "steps written out: 3 in 3 problems",
    ]  # fmt: skip
    assert (refused, status) == ([], 0)


def test_every_refused_line_is_named(tmp_path: Path) -> None:
    out, refused, status = check(write(tmp_path, *[BANK | {"context": "none"}] * 15))
    assert out == ["format: EntailmentBank", "loaded 0 of 15"]
    assert len(refused) == 15 and status == 1


# ProofWriter: the release and Logic-LLM's selection.


def test_release_file(tmp_path: Path) -> None:
    records = [*generate(4, depth=2, n_statements=8, negation=True, world="open")]
    records[1]["questions"]["Q1"]["answer"] = "neither"
    foreign = json.loads(json.dumps(records[3]).replace(" is ", " can be "))
    out, refused, status = check(write(tmp_path, *records[:3], foreign, records[0] | {"id": 1}))
    name = f"{records[1]['id']} Q1"
    assert out[:2] == ["format: ProofWriter's release", "loaded 4 of 5"]
    assert [line for line in out if "agree" in line] == ["agree 2 of 3", f"  disagrees: {name}"]
    assert out[-1].split()[:5] == ["split", "depth", "questions", "no", "NAF"]
    assert len(refused) == 1 and "line 5: field 'id'" in refused[0] and status == 0


def write_release(root: Path, world: str, folders: tuple[str, ...]) -> None:
    for number, folder in enumerate(folders):
        (root / world / folder).mkdir(parents=True)
        for split in SPLITS:
            drawn = generate(3, seed=number, depth=1, n_statements=6, answers=["True"])
            lines = "".join(json.dumps(record) + "\n" for record in drawn)
            (root / world / folder / f"meta-{split}.jsonl").write_text(lines)


def test_release_folder_is_counted_beside_table_6(tmp_path: Path) -> None:
    write_release(tmp_path, "CWA", DEPTH_FOLDERS)
    write_release(tmp_path, "OWA", ("depth-1",))
    out, refused, status = check(str(tmp_path))
    assert out[:4] == [
        "format: ProofWriter's release CWA", "loaded 45 of 45", "depth 1: 45", "agree 45 of 45",
    ]  # fmt: skip
    header, train, dev, test = (line.split() for line in out[4].splitlines())
    assert header[-1] == "paper"
    assert (train[0], train[-1], dev[-1], test[-1]) == ("train", "41718", "6101", "12044")
    assert out[5:7] == ["format: ProofWriter's release OWA", "loaded 9 of 9"]
    assert "paper" not in out[-1] and (refused, status) == ([], 0)
    (tmp_path / "CWA" / "depth-0" / "meta-dev.jsonl").unlink()
    assert not any("paper" in line for line in check(str(tmp_path))[0])


def test_a_folder_that_is_not_the_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the ProofWriter release"):
        check(str(tmp_path))


def selection(world: str, wrong: int = 0) -> list[dict]:
    """Generated questions in the form of Logic-LLM's file, some with a wrong answer."""
    letters = {"True": "A", "False": "B", "Unknown": "C"}
    options = [f"{letter}) {word}" for word, letter in letters.items()]
    items = []
    drawn = generate(45, depth=2, n_statements=12, style="relation", negation=True, world=world)
    for record in drawn:
        ask = record["questions"]["Q1"]
        answer = letters[str(ask["answer"])]
        if len(items) < wrong:
            answer = "B" if answer == "A" else "A"
        items.append({
            "id": record["id"], "context": record["theory"], "answer": answer,
            "question": f"Is the following statement true or false? {ask['question']}",
            "options": options if world == "open" else options[:2],
        })  # fmt: skip
    return items


@pytest.mark.parametrize("world", ["open", "closed"])
def test_engine_answers_from_the_text_alone(tmp_path: Path, world: str) -> None:
    head = ["format: ProofWriter as selected by Logic-LLM", "loaded 45 of 45"]
    path = write(tmp_path, json.dumps(selection(world), indent=1))
    assert check(path) == ([*head, "agree 45 of 45"], [], 0)
    out, _, status = check(write(tmp_path, selection(world, wrong=2)))
    assert out[:3] == [*head, "agree 43 of 45"] and status == 0
    assert len(out) == 5 and out[3].startswith("  disagrees: Rel")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"context": "Bob can fly."}, "'Bob can fly.'"),
        ({"question": "Red things are kind."}, "is a rule"),
        ({"answer": "D"}, "'answer': expected one of A, B, found 'D'"),
        ({"answer": None}, "'answer': expected str"),
        ({"options": "A) True"}, "'options': expected list"),
        ({"context": 5}, "'context': expected str"),
    ],
)
def test_questions_that_the_engine_cannot_read(tmp_path: Path, change: dict, words: str) -> None:
    items = selection("closed")[:2]
    path = write(tmp_path, [items[0], items[1] | change])
    out, refused, status = check(path)
    assert out[1:] == ["loaded 1 of 2", "agree 1 of 1"] and status == 0
    assert len(refused) == 1
    assert refused[0].startswith(f"{path}, record 2: ") and words in refused[0]


# What cannot be loaded.


@pytest.mark.parametrize(
    ("content", "total", "words"),
    [
        ("", 0, 1),
        ("{}", 1, 1),
        ('{"statement": ["a"]}\n' * 3, 3, 1),
        ("x\ny", 2, 3),
        ("[[]]", 1, 2),
    ],
)
def test_unknown_formats(tmp_path: Path, content: str, total: int, words: int) -> None:
    out, refused, status = check(write(tmp_path, content))
    assert out == ["format: unknown", f"loaded 0 of {total}"] and status == 1
    assert len(refused) == words
    assert all(known.name in refused[-1] for known in FORMATS)


def test_what_cannot_be_read_at_all(tmp_path: Path) -> None:
    for content in ("[" * 100_000, "[1,"):
        with pytest.raises(InputError, match=r"file\.jsonl"):
            check(write(tmp_path, content))
    with pytest.raises(InputError, match="cannot be read"):
        check(str(tmp_path / "absent"))


# Real data.


SHARED: dict[str, tuple[list[str], int]] = {
    "proofwriter/owa_depth5_questions.json": (
        ["format: ProofWriter as selected by Logic-LLM", "loaded 600 of 600", "agree 600 of 600"],
        0,
    ),
    **{
        f"entailmentbank/task_{task}-dev.jsonl": (
            [
                "format: EntailmentBank", "loaded 187 of 187", "depth 1: 51",
                "depth 2: 62 (by longest path 64)", "depth 3: 30 (by longest path 28)",
                "depth 4: 17 (by longest path 18)", "depth 5: 14 (by longest path 13)",
                "depth 6: 7", "depth 7: 6",
            ],
            0,
        )
        for task in (1, 2)
    },
    "proofwriter/official_cwa_sample.jsonl": (
        ["format: ProofWriter's release", "loaded 2 of 2", "depth 0: 3", "depth 1: 2",
         "depth 2: 2", "agree 13 of 13"], 0,
    ),
    "street/gsm8k_shared.jsonl": (
        ["format: STREET, without options (GSM8K)", "loaded 125 of 135"], 10
    ),
    "prontoqa/dev_shared.json": (
        ["format: PrOntoQA", "loaded 250 of 250", "depth 5: 250", "agree 250 of 250"], 0
    ),
    "perl/gsm8k_positives_shared.json": (["format: PERL", "loaded 25 of 25"], 0),
}  # fmt: skip


@pytest.mark.parametrize("name", SHARED)
def test_real_files(name: str) -> None:
    lines, n_refused = SHARED[name]
    out, refused, status = check(str(shared(name)))
    assert out[: len(lines)] == lines
    assert len(refused) == n_refused and status == 0


def test_our_own_questions() -> None:
    out, refused, status = check(str(SCIENCE))
    assert out == [
        "format: STREET, ARC", "loaded 64 of 64", "depth 1: 24", "depth 2: 24", "depth 3: 16",
    ]  # fmt: skip
    assert (refused, status) == ([], 0)
