"""Damaged and odd files, through ``check`` and the tasks: a result, or one clear line."""

import gzip
import json
import os
from pathlib import Path

import pytest
from conftest import FUZZ
from hypothesis import given, settings
from hypothesis import strategies as st

from mplib.errors import InputError
from mplib.tasks.check import check
from mplib.tasks.proofwriter.task import ProofWriter
from mplib.tasks.science.task import Science

OWN = {
    "statements": ["Rex is cold.", "Cold things rest.", "Tim is tall."],
    "question": "Does Rex rest?", "answer": "yes", "choices": ["yes", "no"], "edges": [[0, 1]],
}  # fmt: skip
STREET = {
    "id": "s", "context": "", "question": "What?", "options": ["A) x", "B) y"], "answer": "A) x",
    "textual_logical_units": {"1": "one", "2": "two", "3": "three", "4": "The answer is A"},
    "reasoning_graph_edges": [
        {"antecedents": ["1", "2"], "consequent": "3"}, {"antecedents": [3], "consequent": 4},
    ],
}  # fmt: skip
BANK = {
    "id": "b", "question": "What?", "answer": "ice", "hypothesis": "ice melts",
    "context": "sent1: ice is frozen sent2: frozen water melts",
    "proof": "sent1 & sent2 -> hypothesis; ", "depth_of_proof": 1,
}  # fmt: skip
RELEASE = {
    "id": "AttNoneg-CWA-D1-0", "triples": {"triple1": {"text": "Rex is big."}},
    "rules": {"rule1": {"text": "Big things are kind."}},
    "questions": {"Q1": {"question": "Rex is kind.", "answer": True, "QDep": 1, "QLen": 2,
                         "proofs": "[(((triple1) -> rule1))]"}},
}  # fmt: skip
SELECTION = {
    "id": "p", "context": "Rex is big.", "question": "True or false? Rex is big.", "answer": "A",
    "options": ["A) True", "B) False"],
}  # fmt: skip
VALID = {"own": OWN, "street": STREET, "bank": BANK, "release": RELEASE, "selection": SELECTION}


def different(record: dict, n: int = 12) -> list[dict]:
    """The record as n different questions of as many groups."""
    asked = str(record.get("question"))
    return [record | {"question": f"{i} {asked}", "id": f"D1-CWA-{i}"} for i in range(n)]


def lines(records: list[object]) -> str:
    return "\n".join(map(json.dumps, records)) + "\n"


def loaded(path: Path) -> int:
    """How many questions Science reads of a file."""
    task = Science(str(path), depths=(0, 1, 2, 100))
    return sum(len(task.examples(split)) for split in ("train", "test"))


def refusal(path: Path) -> str:
    """The one line by which every way of reading a file refuses it."""
    said = []
    for read in (Science(str(path), depths=(1,)), ProofWriter(str(path), ("d1",))):
        with pytest.raises(InputError) as caught:
            read.sets("test", 9)
        said.append(str(caught.value))
        assert said[-1].startswith(str(path)) and "\n" not in said[-1] and len(said[-1]) < 900
    try:
        out, refused, status = check(str(path))
        assert refused and (refused[0] == said[0] or (status, out[1][:8]) == (1, "loaded 0"))
    except InputError as error:
        assert str(error) in said
    return said[0]


GOOD = lines(different(OWN))
READ: dict[str, bytes | str] = {
    "as it is": GOOD,
    "a byte order mark": "\ufeff" + GOOD,
    "a blank first line": "\n \n" + GOOD,
    "a byte order mark alone on its line": "\ufeff\n" + GOOD,
    "Windows line ends": GOOD.replace("\n", "\r\n"),
    "gzip": gzip.compress(GOOD.encode()),
    "a list": json.dumps(different(OWN)),
    "a pretty list": "\ufeff" + json.dumps(different(OWN), indent=2),
    "pretty objects": "\n\n".join(json.dumps(x, indent=1) for x in different(OWN)) + "\n",
    "pretty gzip": gzip.compress("\r\n".join(json.dumps(x, indent=1).replace("\n", "\r\n")
                                             for x in different(OWN)).encode()),
    "no newline at the end": GOOD.rstrip(),
    "other fields": lines(different(OWN | {"note": None, "more": {"a": [1]}})),
    "Infinity where nobody looks": GOOD.replace('"id"', '"n": [NaN, -Infinity], "id"'),
    "astral letters as pairs": lines(different(OWN | {"answer": "yes", "note": "\U0001f600"})),
    "the same statements": lines(different(OWN | {"statements": ["Dogs bark."] * 3})),
    "emoji alone": lines(different(OWN | {"statements": ["\U0001f600", "\u202e", "\ufeff"]})),
    "10,000 words": lines(different(OWN | {"statements": ["dog " * 10_000, "cat", "rat"]}, 3)),
    "a hundred statements": lines(different(OWN | {"statements": ["dog"] * 100})),
    "a height far up": lines(different({k: v for k, v in OWN.items() if k != "edges"}
                                       | {"useful": [0, 1], "heights": [0, 100]})),
    "choices that begin alike": lines(different(OWN | {"choices": ["yes", "yes sir"]})),
    "braces in texts": "\n".join(json.dumps(x | {"note": "} { }\n{"}, indent=0)
                                 for x in different(OWN)),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_is_odd_but_whole_is_read(tmp_path: Path, name: str) -> None:
    path, content = tmp_path / "q.jsonl", READ[name]
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    (_, count, _), refused, status = check(str(path))
    n = loaded(path)
    assert n in (3, 12) and count == f"loaded {n} of {n}" and (refused, status) == ([], 0)


BAD: dict[str, tuple[bytes | str, str]] = {
    "empty": ("", "holds no question"),
    "blank": (" \n\r\n", "holds no question"),
    "utf-16": (GOOD.encode("utf-16"), "not UTF-8, but utf-16 by its first bytes: save it as UTF-8"),
    "utf-16 without a mark": (GOOD.encode("utf-16-be"), "not UTF-8, but utf-16-be"),
    "utf-32": (GOOD.encode("utf-32"), "not UTF-8, but utf-32"),
    "latin-1": (b'{"question": "caf\xe9"}', "line 1: not a whole JSON object in UTF-8"),
    "noise": (bytes(range(128, 256)) * 9, "line 1: not a whole JSON object in UTF-8"),
    "half a list": (json.dumps(different(OWN))[:-9], "not a whole JSON"),
    "half an object": (json.dumps(OWN, indent=1)[:-9], "not a whole JSON"),
    "a number": ("5", "line 1: expected a JSON object"),
    "a string": ('"statements"', "line 1: expected a JSON object"),
    "null": ("null\n", "line 1: expected a JSON object"),
    "deep": ("[" * 40_000, "recursion"),
    "deep in a field": ('{"statements": %s' % ("[" * 40_000), "recursion"),
    "a huge number": ('{"id": %s}' % ("9" * 5_000), "line 1: not a whole JSON"),
    "half a letter": (GOOD.replace("cold", r"\ud83d", 1),
                      r"line 1: field 'statements': half of a surrogate pair (\ud83d) is no text"),
    "half a letter the other way": (GOOD.replace("Does", r"\uDE00 \uD83D", 1),
                                    r"field 'question': half of a surrogate pair (\ude00)"),
    "another format": (lines([{"statement": ["a"]}]), "or 'statements'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path, (content, words) = tmp_path / "q.jsonl", BAD[name]
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert words in refusal(path)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    (loop := tmp_path / "loop").symlink_to(loop)
    for path in (pipe, loop, tmp_path, Path("/dev/zero"), tmp_path / "none", tmp_path / "a\0b"):
        with pytest.raises(InputError, match="cannot be read: expected a file"):
            Science(str(path), depths=(1,)).sets("test", 9)
        with pytest.raises(InputError, match=r"cannot be read|is not the ProofWriter release"):
            check(str(path))
        with pytest.raises(InputError, match="is not the ProofWriter release"):
            ProofWriter(str(path), ("d1",)).sets("test", 9)


LONG = {"1": "x"} | {str(i): "x" for i in range(2, 300)}
FIELDS: list[tuple[dict, dict, str]] = [
    (OWN, {"statements": None}, "field 'statements'"),
    (OWN, {"statements": {"a": 1}}, "field 'statements'"),
    (OWN, {"question": ["a"]}, "field 'question'"),
    (OWN, {"answer": "maybe"}, "answer 'maybe' is none of the choices"),
    (OWN, {"answer": True}, "field 'answer'"),
    (OWN, {"choices": ["yes", "yes "]}, "field 'choices': expected a list of different"),
    (OWN, {"choices": "yes"}, "field 'choices'"),
    (OWN, {"group": 3}, "field 'group'"),
    (OWN, {"root": float("inf")}, "field 'root'"),
    (OWN, {"edges": [[0, float("nan")]]}, "field 'edges'"),
    (OWN, {"edges": [[0, 10**40]]}, "fields 'edges': tree names statement 1000"),
    (OWN, {"edges": None}, "field 'edges'"),
    (STREET, {"id": [1]}, "field 'id'"),
    (STREET, {"context": [1]}, "field 'context'"),
    (STREET, {"options": {"A": "x"}}, "field 'options'"),
    (STREET, {"options": ["A) x", "A) y"]}, "each letter once, found ['A) x'"),
    (STREET, {"answer": ""}, "field 'answer'"),
    (STREET, {"reasoning_graph_edges": []}, "no step leads to the answer"),
    (STREET, {"reasoning_graph_edges": [5]}, "field 'antecedents'"),
    (STREET, {"textual_logical_units": {"9" * 5_000: "x"}}, "expected numbers as keys"),
    (STREET, {"textual_logical_units": {"\u00b2": "x"}}, "expected numbers as keys"),
    (STREET, {"textual_logical_units": LONG, "reasoning_graph_edges": [
        {"antecedents": [i], "consequent": i + 1} for i in range(1, 299)]}, "expected 0 to 126"),
    (BANK, {"proof": ""}, "task 3 of EntailmentBank has none; take 1 or 2"),
    (BANK, {"proof": None}, "task 3 of EntailmentBank has none; take 1 or 2"),
    (BANK, {"proof": "sent1 & sent2"}, "field 'proof': expected 'sent1 & ..."),
    (BANK, {"proof": "sent1 -> int1: x"}, "no step leads to the hypothesis"),
    (BANK, {"context": "sent1: a sent1: b"}, "number stands twice"),
    (BANK, {"depth_of_proof": "two"}, "field 'depth_of_proof'"),
]  # fmt: skip


@pytest.mark.parametrize(("record", "change", "words"), FIELDS)
def test_a_wrong_field_is_named_with_its_line(
    tmp_path: Path, record: dict, change: dict, words: str
) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(lines([*different(record, 2), record | change]))
    with pytest.raises(InputError) as caught:
        Science(str(path), depths=(1,)).sets("test", 9)
    said = str(caught.value)
    assert said.startswith(f"{path}, line 3: ") and words in said and len(said) < 900
    # The same where it is the first line, by which the format is told.
    for number, there in (3, path.read_text()), (1, lines([record | change, record])):
        path.write_text(there)
        (refused,) = check(str(path))[1]
        assert refused.startswith(f"{path}, line {number}: ") and words in refused


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"triples": {"triple1": {"text": 5}}}, "field 'text' of triple1"),
        ({"triples": []}, "field 'triples'"),
        ({"questions": {"Q\n1": RELEASE["questions"]["Q1"] | {"proofs": "x"}}}, "question Q 1: "),
        *[
            ({"questions": {"Q1": RELEASE["questions"]["Q1"] | {field: value}}}, f"field '{field}'")
            for field, value in [("question", 5), ("answer", None), ("QDep", "1"), ("proofs", None),
                                 ("QLen", 1.5)]
        ],
        ({"questions": {"Q1": RELEASE["questions"]["Q1"] | {"proofs": "[" + "(" * 9_999}}},
         "recursion"),
    ],
)  # fmt: skip
def test_a_wrong_field_of_the_release_is_named(tmp_path: Path, change: dict, words: str) -> None:
    path = tmp_path / "meta-test.jsonl"
    path.write_text(lines([*different(RELEASE, 9), RELEASE | change]))
    with pytest.raises(InputError) as caught:
        ProofWriter(str(path), ("d1",)).sets("test", 9)
    said = str(caught.value)
    assert said.startswith(f"{path}, line 10: ") and words in said and "\n" not in said
    assert check(str(path))[1] == [said]


def test_hidden_conclusions_that_share_premises_are_not_gone_through_again(tmp_path: Path) -> None:
    # Each of two conclusions a level leads to both of the next: 2 to the 40th ways.
    units = {str(i): f"unit {i}" for i in range(1, 84)}
    steps = [{"antecedents": [1], "consequent": 2}, {"antecedents": [1], "consequent": 3}]
    steps += [{"antecedents": [i - i % 2, i - i % 2 + 1], "consequent": j}
              for i in range(2, 82, 2) for j in (i + 2, i + 3) if j < 83]  # fmt: skip
    steps += [{"antecedents": [82], "consequent": 83}]
    change = {"textual_logical_units": units, "reasoning_graph_edges": steps}
    path = tmp_path / "q.jsonl"
    path.write_text(lines(different(STREET | change)))
    (one,) = Science(str(path), depths=(41,), conclusions=False).sets("test", 9)
    assert {x.tree.n_statements for x in one.examples} == {1}


# Any file at all.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**30, 10**40) | st.floats()
    | st.text(max_size=8) | st.sampled_from(["1", "sent1", "int1 ", "A) x", "True", "\ud800", ""]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["text", "1", "Q1", "rule1"]) | st.text(max_size=3), inner,
                      max_size=3),
    max_leaves=8,
)  # fmt: skip
PROOFS = st.lists(
    st.sampled_from(["(", ")", "->", "OR", "NAF", "triple1", "rule1", "[", "]", "&", ";",
                     "sent1", "sent2", "int1: x", "hypothesis"]), max_size=12,
).map(" ".join)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, record: dict) -> dict:
    """A valid record in which one value, at any depth, is another, is gone, or has another name."""
    record = json.loads(json.dumps(record))
    place, key = record, draw(st.sampled_from([*record]))
    while isinstance(place[key], dict | list) and place[key] and draw(st.integers(0, 3)):
        place = place[key]
        keys = [*place] if isinstance(place, dict) else [*range(len(place))]
        key = draw(st.sampled_from(keys))
    what = draw(st.sampled_from(["other", "proof", "gone", "renamed"]))
    if what in ("other", "proof"):
        place[key] = draw(VALUES if what == "other" else PROOFS)
    else:
        value = place.pop(key)
        if what == "renamed" and isinstance(place, dict):
            place[draw(st.text(max_size=3) | st.just(f"{key}s"))] = value
    return record


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """A file: noise, or records of one format, some mutated, a byte lost, changed or put in."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=60))
    record = draw(st.sampled_from([*VALID.values()]))
    records: list[object] = [*different(record, draw(st.integers(0, 9)))]
    records += draw(st.lists(mutated(record), max_size=2))
    records += draw(st.lists(VALUES, max_size=1)) if draw(st.integers(0, 5)) == 0 else []
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\n\n", " "]))
    indent = draw(st.sampled_from([None, None, None, 1]))
    whole = [json.dumps(records, indent=indent)] if draw(st.integers(0, 5)) == 0 else []
    text = end.join(whole or [json.dumps(x, indent=indent) for x in records])
    data = text.encode(draw(st.sampled_from(["utf-8"] * 8 + ["utf-8-sig", "utf-16"])))
    if data and draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + draw(st.binary(max_size=2)) + data[place + draw(st.integers(0, 2)) :]
    return gzip.compress(data, mtime=0) if draw(st.integers(0, 9)) == 0 else data


def anything_is_read_or_refused(folder: Path, content: bytes) -> None:
    path = folder / "any.jsonl"
    path.write_bytes(content)
    tasks = [Science(str(path), depths=(0, 1, 2), conclusions=shown) for shown in (True, False)]
    tasks += [ProofWriter(str(path), ("d1",))]
    for read in (
        lambda: check(str(path)),
        *(lambda task=task: [task.text_baseline(x.examples) for x in task.sets("test", 3)]
          for task in tasks),
        lambda: tasks[0].vocabulary,
        lambda: tasks[0].splits(9, 0),
    ):  # fmt: skip
        try:
            read()
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 1_500


@given(contents())
@settings(max_examples=FUZZ, derandomize=FUZZ < 1000)
def test_any_file_is_read_or_refused_in_one_line(folder: Path, content: bytes) -> None:
    anything_is_read_or_refused(folder, content)
