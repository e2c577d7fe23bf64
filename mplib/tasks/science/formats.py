"""ARC science questions with annotated reasoning, as examples with gold trees (paper, section 4.2).

Two formats are told apart line by line: STREET (``reasoning_annotated_{train,dev,test}.jsonl``,
Ribeiro et al. 2023; the paper's source of trees) and EntailmentBank (task 1 without and task 2 with
distractors, Dalvi et al. 2021), whose questions STREET annotates. A question has the same tree in
all of them. ``SCIENCE`` is a small set of this project's own, which is not ARC.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import NoneType

from mplib.errors import InputError
from mplib.tasks.examples import Example, ordered
from mplib.tasks.jsonl import Record, field
from mplib.tasks.trees import ReasoningTree, heights

ANSWER = "answer"
"""Name of the last step's conclusion, "The answer is ...", which is never shown."""


SCIENCE = Path(__file__).parents[2] / "data" / "science.jsonl"
"""This project's own questions, in STREET's format."""


STREET = ("textual_logical_units", "reasoning_graph_edges")
"""Fields that only STREET's lines have."""


_NAME = r"(?:sent|int)\d+"


_PREMISES = rf"{_NAME}(?:\s*&\s*{_NAME})*"


# A step ends at a semicolon before the next step or the end: a conclusion's text may hold others.
_BETWEEN_STEPS = re.compile(rf";\s*(?={_PREMISES}\s*->|$)")


_STEP = re.compile(rf"({_PREMISES})\s*->\s*(hypothesis|int\d+)\s*(?::\s*(.*))?", re.DOTALL)


_OPTION = re.compile(r"\(?(\w)[).:]")


@dataclass(frozen=True)
class Question:
    """A science question with its annotated reasoning.

    Attributes:
        name: id of the question.
        text: the question, followed by its options if it has any.
        answer: letter of the right option; without options, the answer's text.
        choices: letters of the options; empty without options.
        units: text of every fact and conclusion by its name, facts first.
        steps: premises of every conclusion, ``ANSWER`` among them.
        stated_depth: depth that the file states, if it states one.
    """

    name: str
    text: str
    answer: str
    choices: tuple[str, ...]
    units: dict[str, str]
    steps: dict[str, tuple[str, ...]]
    stated_depth: int | None = None

    def __post_init__(self) -> None:
        """Checks that the steps lead from units that exist, without a circle, to the answer."""
        named = {name for c, premises in self.steps.items() for name in (c, *premises)}
        if missing := sorted(named - {*self.units, ANSWER}):
            raise InputError(f"a step names {missing[0]!r}, which is no unit: add it or mend it")
        if empty := [name for name, text in self.units.items() if not text]:
            raise InputError(f"unit {empty[0]!r} has no text: complete it")
        if not self.steps.get(ANSWER):
            raise InputError("no step leads to the answer: add the last step's edge")
        _ = self.heights  # finds circles

    @cached_property
    def heights(self) -> dict[str, int]:
        """Longest way up from a leaf to every unit that stands in a step."""
        return heights(self.steps)

    @property
    def depth(self) -> int:
        """Height of the highest unit from which the answer is read off, 1 for a single step."""
        return self.heights[ANSWER] - 1

    @cached_property
    def useful(self) -> frozenset[str]:
        """Names of the units that lead to the answer; the others are distractors."""
        found = {ANSWER}
        for name in sorted(self.steps, key=self.heights.__getitem__, reverse=True):
            found.update(self.steps[name] if name in found else ())
        return frozenset(found - {ANSWER})

    def example(self, conclusions: bool, distractors: bool, order: str, seed: int) -> Example:
        """Makes the example, its group the question's id.

        Args:
            conclusions: whether intermediate conclusions are statements, as in the paper.
            distractors: whether units that do not lead to the answer are statements.
            order: of the statements: ``random``, drawn from the seed and the question's id alone,
                or ``given``, facts before conclusions, which tells a height by its position.
            seed: of the order.
        """
        hidden = set() if conclusions else {*self.steps}
        hidden |= set() if distractors else self.units.keys() - self.useful
        shown = [name for name in self.units if name not in hidden]
        names = [shown[i] for i in ordered(len(shown), order, f"{seed} {self.name}")]
        told = tuple(self.units[name] for name in names)
        tree, about = self.tree(names), (self.name, self.choices)
        return Example(told, self.text, self.answer, tree, *about, first=names.index(shown[0]))

    def tree(self, shown: Sequence[str]) -> ReasoningTree:
        """The reasoning over the shown units alone, heights by the longest way up from a leaf.

        A hidden conclusion is contracted into the facts of its own step (without any, into those
        of the steps below), as a rule of ProofWriter stands for what it concludes: what was a
        premise of a hidden step becomes a premise of its facts. A fact of several steps belongs to
        the lowest, so no circle arises. Without conclusions a tree of depth d has heights 0 to d-1
        (less where a step draws on no fact), and several statements may share the top; the root
        is one of them. The answer is always hidden.

        Args:
            shown: names of the statements, in the order in which the tree is to number them.
        """
        place = {name: i for i, name in enumerate(shown)}
        used = [name for name in shown if name in self.useful]
        if not used:
            raise InputError("no statement that leads to the answer is left: show conclusions")
        chain = {c: ps for c, ps in self.steps.items() if c == ANSWER or c in self.useful}
        level = {n: min(self.heights[c] for c in chain if n in chain[c]) for n in used}

        @cache
        def standing(name: str) -> set[str]:
            premises = chain.get(name, ())
            own = {name} & place.keys() or {p for p in premises if p in place}
            return own or {s for premise in premises for s in standing(premise)}

        edges: set[tuple[str, str]] = set()
        for conclusion, premises in chain.items():
            ends = place.keys() & ({conclusion} if conclusion in place else premises)
            for premise in premises if conclusion in place else set(premises) - place.keys():
                starts = standing(premise)
                edges |= {(a, b) for a in starts for b in ends if level[a] < level[b]}
        ways = heights({name: [a for a, b in edges if b == name] for name in used})
        root = max(used, key=lambda name: (ways[name], self.units[name]))
        pairs = tuple(sorted((place[a], place[b]) for a, b in edges))
        return ReasoningTree(len(shown), {place[n]: ways[n] for n in used}, pairs, place[root])


def parse(record: Record) -> Question:
    """Reads one line's object, in whichever of the two formats it is.

    Raises:
        InputError: the object has neither format, or a field of it cannot be used.
    """
    if record.keys() & {*STREET}:
        return _street(record)
    if record.keys() & {"hypothesis", "proof"}:
        return _entailment_bank(record)
    known = f"{STREET}, or 'hypothesis' and 'proof', or 'statements' from the first line on"
    raise InputError(f"unknown format: expected the fields {known}")


def _street(record: Record) -> Question:
    """Reads a STREET line; its last unit is the answer.

    A unit that repeats the question or an option is no statement, as the question shows it, unless
    it is also in the context and a step other than the last uses it.
    """
    asked, answer = (field(record, k, str, filled=True).strip() for k in ("question", "answer"))
    options = [str(option).strip() for option in field(record, "options", list)]
    letters = tuple(match[1] for option in options if (match := _OPTION.match(option)))
    if len({*letters}) < len(options):
        wanted = "strings such as 'A) ...', each letter once"
        raise InputError(f"field 'options': expected {wanted}, found {options!r:.60}")
    if letters and answer[:1] not in letters:
        raise InputError(f"field 'answer': expected one of {letters} first, found {answer!r}")
    units = field(record, STREET[0], dict, filled=True)
    texts = {key: field(units, key, str).strip() for key in units}
    if wrong := [key for key in texts if not key.isdecimal() or len(key) > 9]:
        raise InputError(f"field {STREET[0]!r}: expected numbers as keys, found {wrong[0]!r:.60}")
    last = max(texts, key=int)
    steps: dict[str, tuple[str, ...]] = {}
    for edge in field(record, STREET[1], list):
        edge = edge if isinstance(edge, dict) else {}
        ends = (*field(edge, "antecedents", list), field(edge, "consequent", int, str))
        *names, conclusion = (ANSWER if str(unit) == last else str(unit) for unit in ends)
        steps[conclusion] = tuple(dict.fromkeys((*steps.get(conclusion, ()), *names)))
    text, context = "\n".join([asked, *options]), field(record, "context", str, NoneType) or ""
    inside = {p for c, premises in steps.items() if c != ANSWER for p in premises}
    facts = {key for key in inside if texts.get(key, "") in context}
    repeated = {k for k in texts if texts[k] in text and k not in {*steps, *facts}}
    steps = {c: tuple(p for p in premises if p not in repeated) for c, premises in steps.items()}
    in_order = sorted(texts, key=lambda key: (key in steps, int(key)))
    units = {key: texts[key] for key in in_order if key not in {*repeated, last}}
    text, answer = text.replace("\n", " "), answer[0] if letters else answer
    return Question(_name(record, asked), text, answer, letters, units, steps)


def _entailment_bank(record: Record) -> Question:
    """Reads an EntailmentBank line; the hypothesis is the unit from which the answer is read.

    There are no options, so any token may follow and the answer is its text: a model's next token
    is compared with the text's first token. For accuracies that mean something, take STREET.
    """
    if not record.get("proof"):
        raise InputError("field 'proof' is empty: task 3 of EntailmentBank has none; take 1 or 2")
    keys = ("question", "answer", "hypothesis", "proof", "context")
    texts = (field(record, key, str, filled=True).strip() for key in keys)
    asked, answer, hypothesis, proof, context = texts
    before, *parts = re.split(r"(?:^|\s+)(sent\d+):\s", context)
    if before.strip() or not parts:
        raise InputError(f"field 'context': expected 'sent1: ...', found {context!r:.60}")
    units = dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))
    if 2 * len(units) < len(parts):
        raise InputError("field 'context': a sentence's number stands twice; keep one of the two")
    steps: dict[str, tuple[str, ...]] = {}
    for step in filter(None, _BETWEEN_STEPS.split(proof)):
        if not (match := _STEP.fullmatch(step.strip())):
            raise InputError(f"field 'proof': expected 'sent1 & ... -> int1: ...', found {step!r}")
        premises, conclusion, text = match.groups()
        units.setdefault(conclusion, hypothesis if conclusion == "hypothesis" else text or "")
        steps[conclusion] = (*steps.get(conclusion, ()), *re.findall(_NAME, premises))
    if "hypothesis" not in steps:
        raise InputError("field 'proof': no step leads to the hypothesis; fetch the file again")
    depth = field(record, "depth_of_proof", int, NoneType)
    steps[ANSWER] = ("hypothesis",)
    return Question(_name(record, asked), asked, answer, (), units, steps, depth)


def _name(record: Record, asked: str) -> str:
    name = field(record, "id", str, int, NoneType)
    return asked if name is None else str(name)
