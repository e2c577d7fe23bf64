"""Files of records: one JSON object a line, plain or gzipped. Every loader reads its lines here.

A file that is one JSON list of objects, as some publishers write them, or objects that go on over
several lines each, is read in the same way.
"""

import gzip
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from mplib.errors import InputError

T = TypeVar("T")

Record = dict[str, Any]
"""A JSON object."""


def read_jsonl(
    path: Path | str, parse: Callable[[Record], T], progress: bool = False, whole: bool = False
) -> Iterator[tuple[int, T | InputError]]:
    """Streams the records of a file, an error in place of each that cannot be used.

    Only a newline ends a line: texts may hold the other separators that ``splitlines`` knows.

    Args:
        path: a UTF-8 file.
        parse: makes something of a record, or raises InputError.
        progress: whether to show on standard error how much is read, unless the environment
            variable TQDM_DISABLE is set.
        whole: whether it is one value whatever its first line looks like.

    Yields:
        (number of the line, or of the record where they are no lines, counted from 1; what was
        parsed, or the error with file and line). Blank lines are left out.

    Raises:
        InputError: the file cannot be read at all.
    """
    shown: dict[str, Any] = {} if progress else {"disable": True}  # False would hide TQDM_DISABLE
    try:
        if not Path(path).is_file():  # a pipe would be waited for
            raise InputError("cannot be read: expected a file, found a folder, a pipe or nothing")
        with Path(path).open("rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            file = gzip.GzipFile(fileobj=raw) if packed else raw
            total = None if packed else os.fstat(raw.fileno()).st_size
            head = file.peek(4)
            if not (encoding := json.detect_encoding(head)).startswith("utf-8"):
                raise InputError(f"not UTF-8, but {encoding} by its first bytes: save it as UTF-8")
            whole = whole or bool(re.match(rb"(\xef\xbb\xbf)?\s*(\[|\{[ \t\r]*\n)", head))
            records = _decode(file.read(), whole) if whole else file
            with tqdm(total=total, desc=str(path), unit="B", unit_scale=True, **shown) as bar:
                for number, record in enumerate(records, start=1):
                    bar.update(0 if whole else len(record))
                    if whole or record.strip(b"\xef\xbb\xbf \t\r\n"):
                        where = f"{path}, {'record' if whole else 'line'} {number}"
                        yield number, _attempt(record, parse, where)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}; name a UTF-8 .jsonl file") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def load_jsonl(
    path: Path | str, parse: Callable[[Record], T], progress: bool = False, whole: bool = False
) -> Iterator[tuple[int, T]]:
    """As ``read_jsonl``, but raises the first record's error."""
    for number, item in read_jsonl(path, parse, progress, whole):
        if isinstance(item, InputError):
            raise item
        yield number, item


def first_record(path: Path | str) -> Record:
    """The first record that can be read, by which formats are told apart; empty without any."""
    read = (record for _, record in read_jsonl(path, dict))
    return next((record for record in read if not isinstance(record, InputError)), {})


def field(record: Record, key: str, *kinds: type, filled: bool = False, of: str = "") -> Any:
    """The value of a record's field, ``None`` for a missing one where ``NoneType`` is allowed.

    Args:
        record: a JSON object.
        key: name of the field.
        kinds: the types it may have, of those that JSON has; true and false are no numbers here.
        filled: whether an empty value is an error.
        of: what the record is part of, for the error.

    Raises:
        InputError: the value is not of these kinds.

    >>> field({"answer": "yes"}, "answer", str)
    'yes'
    """
    value = record.get(key)
    if type(value) not in kinds or (filled and not str(value or "").strip()):
        expected = " or ".join(kind.__name__ for kind in kinds).replace("NoneType", "null")
        where = f"field {key!r}" + (f" of {of}" if of else "")
        raise InputError(f"{where}: expected {expected}, found {value!r:.60}")
    return value


def _attempt(record: Any, parse: Callable[[Record], T], where: str) -> T | InputError:
    try:
        value = _decode(record) if isinstance(record, bytes) else record
        if not isinstance(value, dict):
            raise InputError(f"expected a JSON object {{...}}, found {value!r:.60}")
        return parse(value)
    except (InputError, RecursionError) as error:  # the second: a proof nested too deeply
        return InputError(f"{where}: {' '.join(str(error).split()):.600}")


def _decode(data: bytes, several: bool = False) -> Any:
    """The value that a text is; the list of several that stand in one, or below each other."""
    try:
        text = data.decode("utf-8-sig").strip(" \t\r\n")
        if several and text[:1] != "[":  # no string has a line's end in it
            text = "[" + re.sub(r"\}([ \t\r]*+\n\s*+\{)", r"},\1", text) + "]"
        escaped = re.search(r"\\u[dD][89a-fA-F]", text)
        return json.loads(text, object_pairs_hook=_whole if escaped else _unique)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # cut off, not UTF-8, a huge number, too deep
        raise InputError(f"not a whole JSON object in UTF-8 ({error}); mend the file") from None


def _whole(pairs: list[tuple[str, Any]]) -> Record:
    """As ``_unique``, and half a character is no text: no tokenizer takes it."""
    for key, value in pairs:
        if half := re.search("[\ud800-\udfff]", json.dumps([key, value], ensure_ascii=False)):
            code = f"\\u{ord(half[0]):04x}"
            raise InputError(f"field {key!r}: half of a surrogate pair ({code}) is no text")
    return _unique(pairs)


def _unique(pairs: list[tuple[str, Any]]) -> Record:
    """The object of its fields; twice the same field would leave open which one is meant."""
    if len(found := dict(pairs)) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise InputError(f"field {twice!r} stands twice; keep one of the two")
    return found
