"""Parameters: their declared types and ranges, and how what a user typed is read by them.

A parameter's comment ends in its range, which is read from there::

    twins: int = 3  # random twins, a seed each; 1 or more
    draw_sizes: list[int] = [64, 128]  # least and most examples of a draw; 2 values; 1 or more

A range is ``A or more``, ``A to B``, ``above A`` or ``one of A, B, C``, of each value where there
are several; ``N values`` and ``N value or more`` say how many a list has. A comment may have none.
"""

import math
import re
from dataclasses import dataclass
from functools import cached_property
from reprlib import Repr
from typing import Any

import yaml

from mplib.errors import InputError, suggest

TYPES: dict[str, type | tuple[type, ...]] = {
    "int": int,
    "float": (int, float),
    "bool": bool,
    "str": str,
}


MOST_BYTES = 2**20
"""Of a text in YAML: time is bounded where a text is, and a profile is far shorter."""

INTEGER = re.compile(r"[-+]?[0-9]+")
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
UNUSABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""In no name or path: control characters, and bytes that are no text."""

RANGE = re.compile(
    r"(?P<low>\S+) or more|(?P<least>\S+) to (?P<most>\S+)"
    r"|above (?P<above>\S+)|one of (?P<names>.+)"
)
COUNT = re.compile(r"(?P<count>\d+) values?(?P<more> or more)?")

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlist, _SHORT.maxlevel = 8, 2
shown = _SHORT.repr
"""A value in an error's one line, shortened where it is long."""


class Typed(str):
    """Text as it was typed, without quotes: what it is a parameter's type decides."""

    __repr__ = str.__str__


class _Reader(yaml.SafeLoader):
    """YAML whose plain scalars stay text, null aside, and whose keys are words, given once."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own attribute
        first: [pair for pair in pairs if pair[0].endswith((":null", ":merge"))]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012
        tag: make
        for tag, make in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.endswith((":null", ":str", ":seq", ":map"))
    }

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merges ``<<``, whose keys may be given again, but no key twice in one place."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":null"):
                raise yaml.MarkedYAMLError(
                    problem="a key must be a word", problem_mark=key.start_mark
                )
            if key.value in seen:
                problem = f"{shown(key.value)} is given twice: keep one of the two"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        super().flatten_mapping(node)
        # The last of equal keys counts, and without the others merges of merges stay small.
        node.value = [*{key.value: (key, value) for key, value in node.value}.values()]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Keys are words whatever they look like."""
        return {str(key): value for key, value in super().construct_mapping(node, deep).items()}

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """A plain scalar that is not null is text as typed."""
        if isinstance(node, yaml.ScalarNode) and node.style is None and node.tag.endswith(":str"):
            return Typed(node.value)
        return super().construct_object(node, deep)


def read_yaml(text: str | bytes) -> Any:
    """One YAML document, its plain scalars ``Typed``.

    Raises:
        InputError: it is none, in one line.
    """
    if len(text) > MOST_BYTES:
        raise InputError(f"{len(text)} bytes are too many: expected {MOST_BYTES} at most")
    try:
        return yaml.load(text, _Reader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        said = " ".join(filter(None, (error.context, error.problem)))
        raise InputError(f"is no YAML: {line}{said}") from None
    except yaml.YAMLError as error:
        raise InputError(f"is no YAML in UTF-8: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise InputError("is no YAML that can be read: it is nested too deeply") from None


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell.

    Attributes:
        name: the variable.
        kind: its annotation, such as ``int`` or ``list[str]``.
        default: the literal it is given.
        comment: the comment behind it, its range at the end.
    """

    name: str
    kind: str
    default: Any
    comment: str = ""

    @cached_property
    def nested(self) -> bool:
        """Whether it is a list."""
        return self.kind.startswith("list[")

    @cached_property
    def element(self) -> str:
        """The type of its values."""
        return self.kind.removeprefix("list[").removesuffix("]")

    @cached_property
    def range(self) -> re.Match[str] | None:
        """The range of its values, as its comment tells it."""
        found = (RANGE.fullmatch(part.strip()) for part in self.comment.split(";"))
        return next(filter(None, found), None)

    @cached_property
    def count(self) -> re.Match[str] | None:
        """How many values it has, as its comment tells it."""
        found = (COUNT.fullmatch(part.strip()) for part in self.comment.split(";"))
        return next(filter(None, found), None)

    def check(self, value: Any) -> Any:
        """Returns the value as its type wants it: text as typed is read, an int made a float.

        Raises:
            InputError: the value is of another type, or out of range.
        """
        if self.nested and isinstance(value, Typed):
            try:
                value = read_yaml(value)
            except InputError:
                raise self._refused(value) from None
        if self.nested != isinstance(value, list):
            raise self._refused(value)
        values = [self._read(each, value) for each in (value if self.nested else [value])]
        if self.count:
            number, few = int(self.count["count"]), len(values) < int(self.count["count"])
            if few or (len(values) > number and not self.count["more"]):
                raise InputError(
                    f"{self.name}={shown(value)}: expected {self.count[0]}{self._said}"
                )
        return values if self.nested else values[0]

    def _read(self, value: Any, whole: Any) -> Any:
        """One value, of its type and in range; ``whole`` is what it is shown in."""
        if isinstance(value, Typed):
            value = _typed(value, self.element)
        wanted: Any = TYPES[self.element]
        if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
            raise self._refused(whole)
        if isinstance(value, int) and value.bit_length() > 63:
            raise InputError(f"{self.name} is too large: expected less than 2**63{self._said}")
        if self.element == "float" and not math.isfinite(value := float(value)):
            raise InputError(f"{self.name}={value}: expected a finite number{self._said}")
        if self.element == "str" and UNUSABLE.search(value):
            raise InputError(f"{self.name}={shown(value)} has a character that no name can have")
        if self.range and not _within(value, self.range):
            hint = suggest(value, self.range["names"].split(", ")) if self.range["names"] else ""
            raise InputError(f"{self.name}={shown(value)}: expected {self.range[0]}.{hint}")
        return value

    def _refused(self, value: Any) -> InputError:
        """The error for a value of another type."""
        value = _typed(value, self.element) if isinstance(value, Typed) else value
        return InputError(
            f"{self.name}={shown(value)} is {type(value).__name__}, expected {self.kind} such as "
            f"{self.default!r}{self._said}"
        )

    @property
    def _said(self) -> str:
        """Its comment, in an error."""
        return f" ({self.comment})" if self.comment else ""


def _typed(text: str, kind: str) -> Any:
    """What a text stands for where a type is wanted, by YAML 1.2; the text itself if nothing."""
    if kind == "bool":
        return {"true": True, "false": False}.get(text.lower(), str(text))
    if kind in ("int", "float") and INTEGER.fullmatch(text) and len(text) < 400:
        return int(text)
    if kind in ("int", "float") and NUMBER.fullmatch(text):
        return float(text)
    return str(text)


def _within(value: Any, limits: re.Match[str]) -> bool:
    """Whether a value is in a range."""
    if limits["names"]:
        return value in limits["names"].split(", ")
    if limits["above"]:
        return bool(value > float(limits["above"]))
    least, most = limits["low"] or limits["least"], limits["most"] or "inf"
    return bool(float(least) <= value <= float(most))
