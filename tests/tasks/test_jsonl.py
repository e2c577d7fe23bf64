"""The reader of records: odd files and lines, each a result or one clear error with its place."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from types import NoneType

import pytest

from mplib.errors import InputError
from mplib.tasks.jsonl import field, first_record, load_jsonl, read_jsonl

LINE = '{"text": "caf\u00e9"}'


def read(path: Path, content: bytes | str) -> list[tuple[int, object]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [(n, str(x) if isinstance(x, InputError) else x) for n, x in read_jsonl(path, dict)]


GOOD = (1, json.loads(LINE))


@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        ("", []),
        ("\n \r\n\t\n", []),
        ("\ufeff", []),
        (LINE, [1]),
        (f"\n{LINE}\n\n{LINE}\n", [2, 4]),
        (f"\ufeff{LINE}\r\n{LINE}\r\n", [1, 2]),
        (f"[{LINE},\n{LINE}]", [1, 2]),
        (f"\ufeff \n[{LINE}]", [1]),
        ("[]", []),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_read(tmp_path: Path, content: str, numbers: list[int], packed: bool) -> None:
    data = gzip.compress(content.encode()) if packed else content
    found = read(tmp_path / "a.jsonl", data)
    assert found == [(number, GOOD[1]) for number in numbers]


def test_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    text = "a\u2028b\x85c\x0bd"
    line = json.dumps({"text": text}, ensure_ascii=False)
    assert read(tmp_path / "a.jsonl", line) == [(1, {"text": text})]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (LINE[:9], "not a whole JSON object"),
        ("x", "not a whole JSON object"),
        (b'{"text": "caf\xe9"}', "can't decode byte 0xe9"),
        (LINE.encode("utf-16"), "not a whole JSON object in UTF-8"),
        ("[1, 2]", "expected a JSON object {...}, found [1, 2]"),
        ("null", "expected a JSON object {...}, found None"),
        ('{"a": %s}' % ("[" * 100_000), "recursion"),
        ('{"a": %s}' % ("9" * 5_000), "4300 digits"),
        (r'{"a": ["\uD83D alone"]}', r"field 'a': half of a surrogate pair (\ud83d) is no text"),
        (r'{"b": {"\udc00": 1}}', r"field '\udc00': half of a surrogate pair (\udc00)"),
        ('{"a": 1, "b": 2, "a": 3}', "field 'a' stands twice"),
    ],
)  # fmt: skip
def test_error_names_file_and_line(tmp_path: Path, line: str | bytes, words: str) -> None:
    path = tmp_path / "a.jsonl"
    data = b"\n".join([LINE.encode(), line.encode() if isinstance(line, str) else line])
    assert read(path, data)[0] == GOOD
    number, error = read(path, data)[1]
    assert number == 2 and str(error).startswith(f"{path}, line 2: ") and words in str(error)
    with pytest.raises(InputError, match="line 2"):
        list(load_jsonl(path, dict))


def test_half_pairs_of_a_character_are_told_from_whole_ones(tmp_path: Path) -> None:
    assert read(tmp_path / "a", r'{"a": "\ud83d\ude00"}') == [(1, {"a": "\U0001f600"})]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    cut = gzip.compress(LINE.encode() * 99)[:-12]
    for content, words in [
        (cut, "cannot be read"),
        (b"\x1f\x8b nothing more", "cannot be read"),
        ("[" * 100_000, "recursion"),
        (f"[{LINE}, ", "not a whole JSON"),
        (f"[{LINE}]\n[{LINE}]", "Extra data"),
    ]:
        with pytest.raises(InputError, match=words) as caught:
            read(path, content)
        assert str(path) in str(caught.value)
    for absent in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="cannot be read"):
            list(read_jsonl(absent, dict))


def test_lines_are_read_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{LINE}\n" * 100_000 + "{")
    seen = []
    stream = read_jsonl(path, seen.append)
    next(stream)
    assert len(seen) == 1


def test_what_parsing_refuses_has_its_place_too(tmp_path: Path) -> None:
    def refuse(record: dict) -> None:
        raise InputError("too sweet")

    path = tmp_path / "a.jsonl"
    path.write_text(LINE)
    assert [str(error) for _, error in read_jsonl(path, refuse)] == [f"{path}, line 1: too sweet"]
    path.write_text(f"[{LINE}]")
    assert [str(error) for _, error in read_jsonl(path, refuse)] == [f"{path}, record 1: too sweet"]


@pytest.mark.parametrize(
    ("disabled", "progress", "shown"), [("", True, True), ("1", True, False), ("", False, False)]
)
def test_progress_is_shown_on_demand_and_unless_disabled(
    tmp_path: Path, disabled: str, progress: bool, shown: bool
) -> None:
    path = tmp_path / "meta-train.jsonl"
    path.write_text(LINE)
    # In a process of its own: the variable is looked at once, when the bar is imported.
    code = f"from mplib.tasks.jsonl import *; print(*read_jsonl({str(path)!r}, dict, {progress}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TQDM_DISABLE": disabled},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("meta-train.jsonl" in done.stderr) is shown and bool(done.stderr) is shown
    assert "text" in done.stdout


def test_the_first_record_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"cut\nnull\n{LINE}\n{{"b": 1}}\n')
    assert first_record(path) == GOOD[1]
    path.write_text("\n")
    assert first_record(path) == {}


def test_fields_are_of_their_kind() -> None:
    record = {"text": " ", "n": 0, "yes": True, "none": None}
    assert field(record, "text", str) == " " and field(record, "n", int, str) == 0
    assert field(record, "none", str, NoneType) is field(record, "gone", NoneType) is None
    for key, kinds, words in [
        ("yes", (int,), "field 'yes' of Q1: expected int, found True"),
        ("gone", (str, int), "field 'gone' of Q1: expected str or int, found None"),
        ("n", (str, NoneType), "expected str or null, found 0"),
        ("text", (str,), "expected str, found ' '"),
    ]:
        with pytest.raises(InputError, match=words):
            field(record, key, *kinds, filled=True, of="Q1")
