"""What a data file holds: which format, how much of it loads, how deep its trees are.

``python -m mplib check FILE``. A format is one entry of ``FORMATS``.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mplib.errors import InputError
from mplib.tasks import custom
from mplib.tasks.jsonl import Record, field, first_record, read_jsonl
from mplib.tasks.ontology import prontoqa
from mplib.tasks.proofwriter import release
from mplib.tasks.proofwriter.logic import read_fact, read_theory
from mplib.tasks.science import formats
from mplib.tasks.steps import Chain
from mplib.tasks.steps import formats as chains


class Reading(NamedTuple):
    """What is learnt of one question.

    Attributes:
        name: of the question.
        stated: depth by the file, if it says one.
        longest: height of its tree, if it has one.
        agrees: whether an engine gives the file's answer; None where none can.
        fate: what the cleaning makes of a question of the ProofWriter release, with its depth.
        steps: how many steps of reasoning are written out.
    """

    name: str = ""
    stated: int | None = None
    longest: int | None = None
    agrees: bool | None = None
    fate: tuple[int, str] | None = None
    steps: int = 0


class Format(NamedTuple):
    """A format of data files.

    Attributes:
        name: what to call it.
        fields: what tells its records from those of the formats further down: all are there, and
            ``options`` are some.
        read: what is learnt of the questions of a record; by default it cannot be loaded.
        reason: why it cannot be loaded.
    """

    name: str
    fields: tuple[str, ...]
    read: Callable[[Record], Iterable[Reading]] | None = None
    reason: str = "no task reads this format yet"


def _custom(record: Record) -> Iterable[Reading]:
    yield Reading(longest=custom.parse(record).tree.depth)


def _science(record: Record) -> Iterable[Reading]:
    question = formats.parse(record)
    question.example(conclusions=True, distractors=True, order="given", seed=0)  # can it be shown?
    steps = 0 if question.choices else len(_chain(record).steps)
    yield Reading(question.name, question.stated_depth, question.depth, steps=steps)


def _chain(record: Record) -> Chain:
    """The reasoning of a science question without options, written out."""
    street = formats.STREET[0] in record
    return chains.street(record) if street else chains.entailment_bank(record)


def _release(record: Record) -> Iterable[Reading]:
    told = [*release.theory(record)["triples"].values(), *record["rules"].values()]
    truth = _engine(" ".join(x["text"] for x in told), "-OWA-" in record["id"])
    for name, reason, proof in release.clean(record):
        question = record["questions"][name]
        depth = question["QDep"] if proof else None
        try:
            agrees = truth(question["question"]) == str(question["answer"])
        except InputError:
            agrees = None  # not in the engine's English
        fate = (question["QDep"], reason)
        yield Reading(f"{record['id']} {name}", depth, depth, agrees, fate)


def _selection(record: Record) -> Iterable[Reading]:
    options, answer = prontoqa.choices_of(record), record["answer"]
    truth = _engine(field(record, "context", str), "Unknown" in options.values())
    agrees = truth(field(record, "question", str).split("?")[-1]) == options[answer]
    yield Reading(str(record.get("id", record["question"])), agrees=agrees)


def _engine(text: str, is_open: bool) -> Callable[[str], str]:
    """Truth of a sentence in a theory, both read when first asked for."""
    theory = cache(lambda: read_theory(text, "open" if is_open else "closed"))
    return lambda sentence: theory().truth(read_fact(sentence))


def _prontoqa(record: Record) -> Iterable[Reading]:
    example = prontoqa.parse(record)
    steps = len(chains.prontoqa(record).steps)
    # What is read has a proof whose end gives the answer.
    yield Reading(example.group, None, example.tree.depth, True, steps=steps)


def _steps(parse: Callable[[Record], Chain]) -> Callable[[Record], Iterable[Reading]]:
    """Of records that are read for their steps alone."""

    def read(record: Record) -> Iterable[Reading]:
        chain = parse(record)
        yield Reading(chain.name, None, max(chain.depths), steps=len(chain.steps))

    return read


FORMATS = (
    Format("reasoning of one's own, written out", ("statements", "steps"), _steps(chains.own)),
    Format("questions of one's own", ("statements",), _custom),
    Format("STREET, ARC", (*formats.STREET, "options"), _science),
    Format("STREET, without options (GSM8K)", formats.STREET, _science),
    Format("EntailmentBank", ("hypothesis", "proof"), _science),
    Format("ProofWriter's release", ("triples", "questions"), _release),
    Format("PrOntoQA", ("context", "explanation"), _prontoqa),
    Format("PERL", ("premise_annotation", "steps"), _steps(chains.perl)),
    Format("ProofWriter as selected by Logic-LLM", ("context", "question", "options"), _selection),
)
"""The formats, told apart by the first record that can be read."""


_KNOWN = [f"{known.name} ({', '.join(known.fields)})" for known in FORMATS]
UNKNOWN = Format("unknown", (), reason=f"expected the fields of {'; '.join(_KNOWN)}")


def check(path: str) -> tuple[list[str], list[str], int]:
    """Tells what a file, or the folder of the ProofWriter release, holds.

    Returns:
        Lines for the standard output, a line for each record refused, and the exit status: 1 where
        nothing can be loaded, otherwise 0.

    Raises:
        InputError: it cannot be read at all.
    """
    refused: list[str] = []
    if Path(path).is_dir():
        worlds = [world for world in ("CWA", "OWA") if (Path(path) / world).is_dir()] or ["CWA"]
        parts = [_check(release.files(path, world), world, refused) for world in worlds]
    else:
        parts = [_check([Path(path)], "", refused)]
    lines = [line for _, part in parts for line in part]
    return lines, refused, int(not any(loaded for loaded, _ in parts))


def _check(files: Sequence[Path], world: str, refused: list[str]) -> tuple[int, list[str]]:
    """How many records load, and what is to be said; lengthens ``refused``."""
    first = first_record(files[0])
    there = {key for key in first if key != "options" or first[key]}
    known = next(x for x in (*FORMATS, UNKNOWN) if {*x.fields} <= there)
    read = known.read or (lambda record: ())
    items = [
        (file.stem.removeprefix("meta-"), item)
        for file in files
        for _, item in read_jsonl(file, lambda r: [*read(r)], progress=read is _release)
    ]
    good = [(split, item) for split, item in items if not isinstance(item, InputError)]
    refused += [str(item) for _, item in items if isinstance(item, InputError)]
    readings = [reading for _, item in good for reading in item]
    fates = Counter((split, *r.fate) for split, item in good for r in item if r.fate)
    loaded = len(good) if known.read else 0
    if known.read is None:
        refused.append(f"{files[0]}: {known.reason}")
    lines = [f"format: {known.name} {world}".strip(), f"loaded {loaded} of {len(items)}"]
    lines += [*_depths(readings), *_agreement(readings)]
    if written := [reading.steps for reading in readings if reading.steps]:
        lines.append(f"steps written out: {sum(written)} in {len(written)} problems")
    if fates:
        whole = world == "CWA" and len(files) == len(release.DEPTH_FOLDERS) * len(release.SPLITS)
        lines.append(release.table(fates, whole).to_string(index=False))
    return loaded, lines


def _depths(readings: Sequence[Reading]) -> Iterable[str]:
    trees = [(r.stated, r.longest) for r in readings if r.longest is not None]
    longest = Counter(path for _, path in trees)
    stated = Counter(path if own is None else own for own, path in trees)
    for depth in sorted({*stated, *longest}):
        other = f" (by longest path {longest[depth]})" if longest[depth] != stated[depth] else ""
        yield f"depth {depth}: {stated[depth]}{other}"


def _agreement(readings: Sequence[Reading]) -> Iterable[str]:
    judged = [reading for reading in readings if reading.agrees is not None]
    if judged:
        yield f"agree {sum(bool(reading.agrees) for reading in judged)} of {len(judged)}"
    yield from (f"  disagrees: {reading.name}" for reading in judged if not reading.agrees)
