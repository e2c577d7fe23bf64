"""A user's own task: one JSON object a line, each a problem with its gold reasoning tree.

Fields of a line, statements counted from 0:

- ``statements`` (list of strings), ``question`` (string, may be empty), ``answer`` (string);
- the tree, either ``edges`` (list of ``[premise, conclusion]`` pairs), or ``useful`` (list of
  statement numbers) with ``heights`` (their heights, in the same order);
- optional ``root`` (number of the statement that gives the answer; needed where the tree leaves it
  open), ``group`` (string: lines of one group never stand in two folds of a probe; by default each
  line is its own; the same question twice is always of one) and ``choices`` (list of strings, the
  answer among them).

Other fields, such as an id, are left alone.
"""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from mplib.errors import InputError, suggest
from mplib.tasks.examples import Example
from mplib.tasks.jsonl import Record, load_jsonl
from mplib.tasks.trees import ReasoningTree

Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return type(value) is int  # true and false are numbers to Python, but not to a reader of JSON


def _list_of(check: Check, least: int = 0, most: float = inf) -> Check:
    return lambda x: isinstance(x, list) and least <= len(x) <= most and all(map(check, x))


def _different(check: Check) -> Check:
    return lambda x: _list_of(check, 1)(x) and len({str(each).strip() for each in x}) == len(x)


SCHEMA: dict[str, tuple[Check, str]] = {
    "statements": (_list_of(_is_text, 1), 'a list of non-empty strings, e.g. ["Rex is a dog."]'),
    "question": (lambda v: isinstance(v, str), 'a string, e.g. "Does Rex bark?", or ""'),
    "answer": (_is_text, 'a non-empty string, e.g. "yes"'),
    "edges": (
        _list_of(_list_of(_is_number, 2, 2)),
        "a list of [premise, conclusion] pairs, e.g. [[0, 1]]",
    ),
    "root": (_is_number, "the number of a statement, e.g. 1"),
    "useful": (_different(_is_number), "a list of different statement numbers, e.g. [0, 1]"),
    "heights": (_list_of(_is_number), "a list of numbers, one for each of 'useful', e.g. [0, 1]"),
    "group": (_is_text, 'a non-empty string, e.g. "story 1"'),
    "choices": (_different(_is_text), 'a list of different non-empty strings, e.g. ["a", "b"]'),
}
"""Check and description of each field."""

REQUIRED = ("statements", "question", "answer")
"""Fields that every line has."""


def examples(path: Path | str) -> list[Example]:
    """Reads a user's file; the module's text tells its fields.

    Raises:
        InputError: the file or a line of it cannot be used; names file, line, field and mend.
    """
    named = ((f"{Path(path).name}, line {i}", example) for i, example in load_jsonl(path, parse))
    if not (found := [replace(example, group=example.group or name) for name, example in named]):
        raise InputError(f"{path} holds no example: write one JSON object a line")
    return found


def parse(record: Record) -> Example:
    """Makes an example of a line's object; its group is empty where the line names none."""
    for key in record.keys() - SCHEMA.keys():
        if hint := suggest(key, [*SCHEMA]):
            raise InputError(f"unknown field {key!r}.{hint} Rename or remove it")
    for key, (check, expected) in SCHEMA.items():
        if key in record and not check(record[key]):
            raise InputError(f"field {key!r}: expected {expected}, found {record[key]!r:.60}")
        if key not in record and key in REQUIRED:
            raise InputError(f"field {key!r} is missing: add {expected}")
    told, question, answer = (record[key] for key in REQUIRED)
    group, choices = record.get("group", ""), tuple(record.get("choices", ()))
    return Example(tuple(told), question, answer, _tree(record), group, choices)


def _tree(record: Record) -> ReasoningTree:
    given = [key for key in ("edges", "useful", "heights") if key in record]
    if given not in (["edges"], ["useful", "heights"]):
        found = " and ".join(map(repr, given)) or "none of them"
        raise InputError(f"the tree: expected 'edges', or 'useful' and 'heights', found {found}")
    n, root = len(record["statements"]), record.get("root")
    try:
        if "edges" in record:
            if not record["edges"] and root is None:
                raise InputError("no edges: add field 'root', the one statement that is useful")
            return ReasoningTree.from_edges(record["edges"], n, root)
        if len(record["useful"]) != len(record["heights"]):
            raise InputError("expected as many numbers in the one as in the other: mend them")
        heights = dict(zip(record["useful"], record["heights"], strict=True))
        tops = [node for node in heights if heights[node] == max(heights.values())]
        if root not in tops and (root is not None or len(tops) > 1):
            raise InputError(f"field 'root': expected one of the highest, {tops}, found {root}")
        return ReasoningTree(n, heights, (), tops[0] if root is None else root)
    except InputError as error:
        raise InputError(f"fields {' and '.join(map(repr, given))}: {error}") from None
