"""Files of chains: STREET, EntailmentBank, PrOntoQA, PERL, ProofWriter's records, one's own.

Each function makes the chains of one record; an InputError says what is wrong with it.
"""

import re
from collections.abc import Iterator

from mplib.errors import InputError
from mplib.tasks.jsonl import Record, field
from mplib.tasks.ontology import prontoqa as ontology
from mplib.tasks.proofwriter import release
from mplib.tasks.proofwriter.logic import Literal, Proof, Theory, read_theory, write
from mplib.tasks.science import formats as science
from mplib.tasks.steps.chain import Chain


def street(record: Record) -> Chain:
    """A STREET line: steps are the units that an edge leads to.

    The question is a unit of its own where the line's other units do not already tell it.
    """
    units, edges = (field(record, key, kind, filled=True)
                    for key, kind in zip(science.STREET, (dict, list), strict=True))  # fmt: skip
    if wrong := [key for key in units if not key.isdecimal() or len(key) > 9]:
        raise InputError(
            f"field {science.STREET[0]!r}: expected numbers as keys, found {wrong[0]!r}"
        )
    texts = {int(key): field(units, key, str, filled=True).strip() for key in units}
    follows: dict[int, list[int]] = {}
    for edge in edges:
        edge = edge if isinstance(edge, dict) else {}
        from_, to = field(edge, "antecedents", list), field(edge, "consequent", int)
        if lost := [unit for unit in (*from_, to) if unit not in texts]:
            raise InputError(f"an edge names unit {lost[0]!r}, which is none of the units")
        follows.setdefault(to, []).extend(from_)
    last = follows.get(max(texts), [])
    if not last or (len(follows) > 1 and not any(unit in follows for unit in last)):
        raise InputError("no step leads to the answer: add the last step's edge")
    asked = field(record, "question", str, filled=True).strip()
    options = [str(option).strip() for option in field(record, "options", list)]
    told = [number for number in sorted(texts) if number not in follows]
    steps = sorted(follows)
    within = all(texts[number] in asked for number in told)
    question = "" if within and told else " ".join([asked, *options])
    shown = [number for number in told if within or texts[number] not in question]
    place = {number: i for i, number in enumerate(shown)}
    place |= dict.fromkeys([n for n in told if n not in place], len(shown))  # the question tells it
    first = len(shown) + bool(question)
    place |= {number: first + i for i, number in enumerate(steps)}
    premises = tuple(tuple(dict.fromkeys(place[unit] for unit in follows[n])) for n in steps)
    name = str(record.get("id") or asked)
    return Chain(
        name, tuple(texts[n] for n in shown), tuple(texts[n] for n in steps), premises, question,
    )  # fmt: skip


def entailment_bank(record: Record) -> Chain:
    """An EntailmentBank line: steps are its conclusions, the hypothesis the last."""
    question = science.parse(record)
    steps = [name for name in question.units if name in question.steps]
    told = [name for name in question.units if name not in question.steps]
    place = {name: i for i, name in enumerate(told)}
    place |= {name: len(told) + 1 + i for i, name in enumerate(steps)}
    premises = tuple(tuple(place[p] for p in question.steps[name]) for name in steps)
    texts = [tuple(question.units[name] for name in names) for names in (told, steps)]
    name = question.name
    return Chain(name, texts[0], texts[1], premises, question.text)


def prontoqa(record: Record) -> Chain:
    """A PrOntoQA record: steps are the conclusions, each of a rule and of what came before it."""
    example = ontology.parse(record)
    proof, told = record["explanation"], example.statements
    steps, first = tuple(proof[2::2]), len(told) + 1
    came = [told.index(proof[0]), *range(first, first + len(steps) - 1)]
    rules = [told.index(rule) for rule in proof[1::2]]
    premises = tuple(zip(came, rules, strict=True))
    return Chain(example.group, told, steps, premises, example.question)


def perl(record: Record) -> Chain:
    """A PERL record: the problem is the one statement, and a model wrote the steps.

    Premises within the problem are told by its text alone, so an edge leads from the whole of it.
    """
    asked = field(record, "question", str, filled=True).strip()
    steps = field(record, "steps", list, filled=True)
    if not all(isinstance(step, str) and step.strip() for step in steps):
        raise InputError("field 'steps': expected a list of texts")
    annotated = field(field(record, "premise_annotation", dict), "steps", list)
    follows: dict[int, tuple[int, ...]] = {}
    for one in annotated:
        one = one if isinstance(one, dict) else {}
        number, named = field(one, "step_number", int), field(one, "premises", list)
        if not all(isinstance(x, list) and x and type(x[0]) is int for x in named):
            raise InputError(f"step {number}: expected premises such as [0, 'text']")
        follows[number] = tuple(dict.fromkeys(x[0] for x in named))
    if missing := {*range(1, len(steps) + 1)} - {*follows}:
        raise InputError(f"step {min(missing)} has no premises: annotate it")
    premises = tuple(follows[number] for number in range(1, len(steps) + 1))
    levels = field(field(field(record, "error_annotation", dict), "error_annotations", dict),
                   "step_level", list)  # fmt: skip
    faulty = {field(one, "step_number", int) for one in levels if field(one, "has_error", bool)}
    errs = tuple(number in faulty for number in range(1, len(steps) + 1))
    own = tuple(step.strip() for step in steps)
    correct = field(record, "is_correct", bool)
    return Chain(asked, (asked,), own, premises, "", errs, correct)


def proofwriter(record: Record) -> Iterator[Chain]:
    """A record of ProofWriter's release, or of our generator: a chain for each kept proof.

    Steps are what the proof's rules conclude, in the order in which they can be drawn.
    """
    told = [*release.theory(record)["triples"].values(), *record["rules"].values()]
    texts = tuple(one["text"] for one in told)
    world = "open" if "-OWA-" in record["id"] else "closed"
    theory = read_theory(" ".join(texts), world)
    for name, _, proof in release.clean(record):
        if proof is None or not proof.premises:
            continue
        written: dict[Literal, tuple[int, ...]] = {}
        _write(proof, theory, len(texts) + 1, written)
        question = record["questions"][name]["question"]
        steps = tuple(map(write, written))
        about = f"{record['id']} {name}"
        yield Chain(about, texts, steps, tuple(written.values()), question, group=record["id"])


def _write(
    proof: Proof, theory: Theory, first: int, written: dict[Literal, tuple[int, ...]]
) -> Literal:
    """Writes down what a proof concludes, its premises' conclusions before it."""
    if not proof.premises:
        fact = theory.statements[proof.statement]
        assert isinstance(fact, Literal)
        return fact
    body = tuple(_write(premise, theory, first, written) for premise in proof.premises)
    head = next(
        head for index, own, head in theory.instances if index == proof.statement and own == body
    )
    if head not in written:
        steps = [*written]
        units = [first + steps.index(literal) if literal in written else premise.statement
                 for literal, premise in zip(body, proof.premises, strict=True)]  # fmt: skip
        written[head] = (*units, proof.statement)
    return head


def own(record: Record) -> Chain:
    """A line of one's own: ``statements``, ``question`` and ``steps``, each ``{text, from}``.

    ``from`` are numbers of units: statements from 0, then the question, then the steps before.
    """
    told = field(record, "statements", list, filled=True)
    steps = field(record, "steps", list, filled=True)
    for name, texts in (("statements", told), ("steps", steps)):
        kind = str if name == "statements" else dict
        if not all(isinstance(text, kind) for text in texts):
            wanted = "a list of texts" if kind is str else "a list of {'text': ..., 'from': [...]}"
            raise InputError(f"field {name!r}: expected {wanted}")
    written, follows = [], []
    for number, step in enumerate(steps, start=1):
        if unknown := sorted(step.keys() - {"text", "from"}):
            raise InputError(
                f"step {number}: unknown field {unknown[0]!r}; it has 'text' and 'from'"
            )
        written.append(field(step, "text", str, filled=True))
        units = field(step, "from", list)
        if not all(type(unit) is int for unit in units):
            raise InputError(
                f"step {number}: field 'from': expected numbers of units, found {units}"
            )
        follows.append(tuple(dict.fromkeys(units)))
    question = field(record, "question", str)
    name = str(record.get("group") or re.sub(r"\s+", " ", " ".join([*told, question])))
    return Chain(name, tuple(told), tuple(written), tuple(follows), question)
