"""The lexicon: what is what in the world that a model knows, and words for one that nobody knows.

A JSON object of four fields, words parted by spaces: ``kinds`` (a noun -> the nouns that are kinds
of it), ``properties`` (an adjective -> which nouns it is true of, ``has``, and which never,
``lacks``; what is below them is meant too), ``invented`` (nouns that mean nothing), ``names``. The
packaged one, ``mplib/data/ontology.json``, was written for this project.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unicodedata import normalize

from mplib.errors import InputError
from mplib.files import resolve
from mplib.tasks.jsonl import Record, field, load_jsonl
from mplib.tasks.trees import heights
from mplib.tasks.words import same, words

OURS = Path(__file__).parents[2] / "data" / "ontology.json"
"""This project's own lexicon."""


FRAME = "Every No is a not . True False"
"""The words and marks beside nouns, names and properties."""


SILENT = ("hour", "heir", "honor", "honour", "honest")
"""Beginnings of words that take "an" although no vowel is written."""


@dataclass(frozen=True)
class Lexicon:
    """Nouns with the noun that each is a kind of, and what has which property.

    All nouns take the article "a" and are one word, or sentences about them would differ in more
    than the nouns.

    Attributes:
        above: the noun that each noun is a kind of; those at the top are left out.
        properties: of each adjective, whether a noun (and all below it) has it.
        invented: nouns that mean nothing.
        names: of single things.
    """

    above: Mapping[str, str]
    properties: Mapping[str, Mapping[str, bool]]
    invented: tuple[str, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Checks that every sentence made of it is well-formed and, where it should be, true."""
        heights({noun: [above] for noun, above in self.above.items()})  # finds circles
        every = (*self.nouns, *self.properties, *self.invented, *self.names)
        if wrong := [word for word in every if words(word) != [same(word)]]:
            how = "part words by spaces alone, or use a hyphen"
            raise InputError(f"{wrong[0]!r}: expected one word and no marks; {how}")
        times = Counter(map(same, every))
        if twice := [word for word in every if times[same(word)] > 1]:
            raise InputError(f"{twice[0]!r} stands for two things, case aside: keep one of them")
        if wrong := [word for word in every if same(word) in same(FRAME).split()]:
            raise InputError(f"{wrong[0]!r} is a word of the sentences themselves: rename it")
        if wrong := [word for word in (*self.nouns, *self.invented) if _takes_an(word)]:
            raise InputError(f"noun {wrong[0]!r}: expected one that takes 'a', not 'an'; rename it")
        for name, marked in self.properties.items():
            if lost := sorted({*marked} - {*self.nouns}):
                raise InputError(f"property {name!r} is of {lost[0]!r}, which is no noun: add it")
            for noun, has in marked.items():
                if (other := self.has(self.above.get(noun, ""), name)) not in (None, has):
                    said = f"property {name!r}: {noun!r} is said to be has={has}"
                    raise InputError(f"{said}, and what it is a kind of has={other}; drop one")

    @property
    def nouns(self) -> list[str]:
        """All real nouns."""
        return sorted({*self.above, *self.above.values()})

    def line(self, noun: str) -> list[str]:
        """A noun and all that it is a kind of, the nearest first."""
        return [noun, *self.line(self.above[noun])] if noun in self.above else [noun]

    def has(self, noun: str, name: str) -> bool | None:
        """Whether a property is true of all that a noun names, or of none; None if neither."""
        marked = self.properties[name]
        return next((marked[above] for above in self.line(noun) if above in marked), None)

    def chains(self, name: str, has: bool, length: int) -> list[tuple[str, ...]]:
        """Chains of nouns, each a kind of the next, of which all have, or lack, a property."""
        lines = (tuple(self.line(noun)[:length]) for noun in self.nouns)
        return [x for x in lines if len(x) == length and self.has(x[-1], name) is has]


def _takes_an(noun: str) -> bool:
    """Whether its letters say that its article is "an"."""
    return normalize("NFD", same(noun))[0] in "aeiou" or same(noun).startswith(SILENT)


@cache
def read_lexicon(path: str) -> Lexicon:
    """Reads a lexicon; ``ontology`` names the packaged one.

    Raises:
        InputError: the file or something in it cannot be used.
    """
    file = OURS if path == "ontology" else resolve(path)
    found = [lexicon for _, lexicon in load_jsonl(file, parse, whole=True)]
    if len(found) != 1:
        raise InputError(f"{path}: expected one lexicon, a JSON object, found {len(found)}")
    return found[0]


def parse(record: Record) -> Lexicon:
    """Makes a lexicon of the object of a file.

    Raises:
        InputError: a field is missing or of another kind, or what it says cannot be.
    """
    kinds, properties = (field(record, key, dict) for key in ("kinds", "properties"))
    pairs = [(one, above) for above in kinds for one in field(kinds, above, str).split()]
    if twice := [one for one, times in Counter(one for one, _ in pairs).items() if times > 1]:
        raise InputError(f"noun {twice[0]!r} is a kind of two others: keep one of them")
    marks: dict[str, dict[str, bool]] = {}
    for name in properties:
        of = field(properties, name, dict)
        both = [(key, field(of, key, str, of=name).split()) for key in ("has", "lacks")]
        if double := sorted({*both[0][1]} & {*both[1][1]}):
            raise InputError(f"property {name!r} is both had and lacked by {double[0]!r}: drop one")
        marks[name] = {noun: key == "has" for key, nouns in both for noun in nouns}
    invented, names = (tuple(field(record, key, str).split()) for key in ("invented", "names"))
    return Lexicon(dict(pairs), marks, invented, names)
