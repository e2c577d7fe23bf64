"""ARC science questions with annotated reasoning, as examples with gold trees (paper, section 4.2).

    python -m mplib.tasks.arc check FILE      how many questions load, and the count for each depth

Two formats are told apart line by line: STREET (``reasoning_annotated_{train,dev,test}.jsonl``,
Ribeiro et al. 2023; the paper's source of trees) and EntailmentBank (task 1 without and task 2 with
distractors, Dalvi et al. 2021), whose questions STREET annotates. A question has the same tree in
all of them. ``science_questions`` reads a small set of this project's own, which is not ARC.
"""

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from mplib.errors import InputError
from mplib.tasks.examples import Example
from mplib.tasks.trees import ReasoningTree

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
            raise InputError(
                f"a step names {missing[0]!r}, but no unit is called that: add it or mend the step"
            )
        if empty := [name for name, text in self.units.items() if not text]:
            raise InputError(f"unit {empty[0]!r} has no text: complete it")
        if not self.steps.get(ANSWER):
            raise InputError("no step leads to the answer: add the last step's edge")
        _ = self.heights  # finds circles

    @cached_property
    def heights(self) -> dict[str, int]:
        """Longest way up from a leaf to every unit that stands in a step."""
        return _heights(self.steps)

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
        """Makes the example, its group the question's id; see ``examples`` for the parameters."""
        if order not in ("random", "given"):
            raise InputError(f"order={order!r}: expected 'random' or 'given'")
        hidden = set() if conclusions else {*self.steps}
        hidden |= set() if distractors else self.units.keys() - self.useful
        names = [name for name in self.units if name not in hidden]
        if order == "random":
            random.Random(f"{seed} {self.name}").shuffle(names)
        told = tuple(self.units[name] for name in names)
        return Example(told, self.text, self.answer, self.tree(names), self.name, self.choices)

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
        heights = _heights({name: [a for a, b in edges if b == name] for name in used})
        root = max(used, key=lambda name: (heights[name], self.units[name]))
        return ReasoningTree(
            n_statements=len(shown),
            heights={place[name]: heights[name] for name in used},
            edges=tuple(sorted((place[a], place[b]) for a, b in edges)),
            root=place[root],
        )


def _heights(premises: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Longest way up from a leaf to each name."""
    heights: dict[str, int] = {}
    try:
        for name in TopologicalSorter(premises).static_order():
            heights[name] = max((heights[p] + 1 for p in premises.get(name, ())), default=0)
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise InputError(f"the reasoning goes in a circle: {circle}; remove an edge") from None
    return heights


def parse(record: dict[str, Any]) -> Question:
    """Reads one line's object, in whichever of the two formats it is.

    Raises:
        InputError: the object has neither format, or a field of it cannot be used.
    """
    if isinstance(record, dict) and record.keys() & {*STREET}:
        return _street(record)
    if isinstance(record, dict) and record.keys() & {"hypothesis", "proof"}:
        return _entailment_bank(record)
    raise InputError(
        f"unknown format: expected a STREET line (with {' and '.join(STREET)}) or an "
        "EntailmentBank line (with hypothesis and proof)"
    )


def _field(record: dict[str, Any], key: str, kind: type) -> Any:
    value = record.get(key)
    if not isinstance(value, kind) or not (value or key in ("context", "options")):
        raise InputError(f"field {key!r}: expected a {kind.__name__}, found {value!r:.60}")
    return value


def _street(record: dict[str, Any]) -> Question:
    """Reads a STREET line; its last unit is the answer.

    A unit that repeats the question or an option is no statement, as the question shows it, unless
    it is also in the context and a step other than the last uses it.
    """
    asked, answer = (_field(record, key, str).strip() for key in ("question", "answer"))
    options = [str(option).strip() for option in _field(record, "options", list)]
    letters = tuple(match[1] for option in options if (match := _OPTION.match(option)))
    if len(letters) != len(options):
        raise InputError(f"field 'options': expected strings such as 'A) ...', found {options!r}")
    if letters and answer[:1] not in letters:
        raise InputError(f"field 'answer': expected one of {letters} first, found {answer!r}")
    texts = {key: str(text).strip() for key, text in _field(record, STREET[0], dict).items()}
    if wrong := [key for key in texts if not key.isdecimal()]:
        raise InputError(f"field {STREET[0]!r}: expected numbers as keys, found {wrong[0]!r}")
    last = max(texts, key=int)
    steps: dict[str, tuple[str, ...]] = {}
    for edge in _field(record, STREET[1], list):
        premises = edge.get("antecedents") if isinstance(edge, dict) else None
        if not isinstance(premises, list) or "consequent" not in edge:
            raise InputError(
                f"field {STREET[1]!r}: expected objects with a list 'antecedents' and a number "
                f"'consequent', found {edge!r:.60}"
            )
        *names, conclusion = (
            ANSWER if str(unit) == last else str(unit) for unit in (*premises, edge["consequent"])
        )
        steps[conclusion] = tuple(dict.fromkeys((*steps.get(conclusion, ()), *names)))
    text, context = "\n".join([asked, *options]), str(record.get("context") or "")
    inside = {p for c, premises in steps.items() if c != ANSWER for p in premises}
    facts = {key for key in inside if texts.get(key, "") in context}
    repeated = {k for k in texts if texts[k] in text and k not in {*steps, *facts}}
    return Question(
        name=str(record.get("id", asked)),
        text=text.replace("\n", " "),
        answer=answer[0] if letters else answer,
        choices=letters,
        units={
            key: texts[key]
            for key in sorted(texts, key=lambda key: (key in steps, int(key)))
            if key not in {*repeated, last}
        },
        steps={c: tuple(p for p in steps[c] if p not in repeated) for c in steps},
    )


def _entailment_bank(record: dict[str, Any]) -> Question:
    """Reads an EntailmentBank line; the hypothesis is the unit from which the answer is read.

    There are no options, so any token may follow and the answer is its text: a model's next token
    is compared with the text's first token. For accuracies that mean something, take STREET.
    """
    keys = ("question", "answer", "hypothesis", "proof", "context")
    asked, answer, hypothesis, proof, context = (_field(record, key, str).strip() for key in keys)
    before, *parts = re.split(r"(?:^|\s+)(sent\d+):\s", context)
    if before.strip() or not parts:
        raise InputError(f"field 'context': expected 'sent1: ...', found {context!r:.60}")
    units = dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))
    steps: dict[str, tuple[str, ...]] = {}
    for step in filter(None, _BETWEEN_STEPS.split(proof)):
        if not (match := _STEP.fullmatch(step.strip())):
            raise InputError(f"field 'proof': expected 'sent1 & ... -> int1: ...', found {step!r}")
        premises, conclusion, text = match.groups()
        units.setdefault(conclusion, hypothesis if conclusion == "hypothesis" else text or "")
        steps[conclusion] = (*steps.get(conclusion, ()), *re.findall(_NAME, premises))
    if "hypothesis" not in steps:
        raise InputError("field 'proof': no step leads to the hypothesis; fetch the file again")
    depth = record.get("depth_of_proof")
    steps[ANSWER] = ("hypothesis",)
    return Question(str(record.get("id", asked)), asked, answer, (), units, steps, depth)


def _read(path: Path | str) -> Iterator[Question | InputError]:
    """Reads the questions of a file, an error in place of one that cannot be used."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}; name a .jsonl file") from None
    # Only a newline ends a line: texts may hold the other separators that splitlines() knows.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield parse(json.loads(line))
            except json.JSONDecodeError as error:
                yield InputError(
                    f"{path}, line {number}: not a whole JSON object ({error}); fetch it again"
                )
            except InputError as error:
                yield InputError(f"{path}, line {number}: {error}")


def questions(path: Path | str) -> Iterator[Question]:
    """Reads the questions of a STREET or EntailmentBank file.

    Raises:
        InputError: the file or a line of it cannot be used; names file and line.
    """
    for item in _read(path):
        if isinstance(item, InputError):
            raise item
        yield item


def examples(
    path: Path | str,
    depths: Sequence[int] | None = (1, 2),
    conclusions: bool = True,
    distractors: bool = True,
    order: str = "random",
    seed: int = 0,
) -> list[Example]:
    """Loads the questions of the given depths.

    Args:
        path: a STREET or EntailmentBank file.
        depths: of the annotated tree with all its conclusions, by the longest way; None for any.
            The paper takes 1 and 2, and its table 7 counts this depth.
        conclusions: whether intermediate conclusions are statements, as in the paper.
        distractors: whether units that do not lead to the answer are statements.
        order: of the statements: ``random``, drawn from the seed and the question's id alone, or
            ``given``, facts before conclusions, which tells a height by its position.
        seed: of the order.

    Raises:
        InputError: a line cannot be used, or no question has such a depth.
    """
    read = list(questions(path))
    chosen = [q for q in read if depths is None or q.depth in depths]
    if not chosen:
        found = sorted({question.depth for question in read})
        raise InputError(f"{path} has no question of depths {depths}: it has depths {found}")
    return [q.example(conclusions, distractors, order, seed) for q in chosen]


def science_questions(**parameters: Any) -> list[Example]:
    """Loads this project's own science questions, which are not ARC; see ``examples``."""
    return examples(SCIENCE, **parameters)


def main(arguments: Sequence[str]) -> int:
    """Runs ``check FILE``; returns the exit status (0 all loaded, 1 some not, 2 bad input)."""
    if len(arguments) != 2 or arguments[0] != "check":
        sys.stderr.write("usage: python -m mplib.tasks.arc check FILE\n")
        return 2
    try:
        items = list(_read(arguments[1]))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    errors = [item for item in items if isinstance(item, InputError)]
    loaded = [item for item in items if isinstance(item, Question)]
    heights = Counter(q.depth for q in loaded)
    stated = Counter(q.depth if q.stated_depth is None else q.stated_depth for q in loaded)
    lines = [f"loaded {len(loaded)} of {len(items)}"]
    lines += [f"depth {depth}: {stated[depth]}" for depth in sorted(stated)]
    if heights != stated:
        counts = ", ".join(f"{heights[depth]} of depth {depth}" for depth in sorted(heights))
        lines.append(f"(as the file states; by the longest way through the steps: {counts})")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stderr.write("".join(f"error: {error}\n" for error in errors[:10]))
    return int(bool(errors) or not items)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
