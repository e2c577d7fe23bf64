"""ARC questions: two formats, one tree; what is shown of it; errors; our own science questions."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import shared

from mplib.errors import InputError
from mplib.tasks.examples import Example
from mplib.tasks.jsonl import load_jsonl
from mplib.tasks.science import formats
from mplib.tasks.trees import ReasoningTree

BANK = [f"entailmentbank/task_{task}-dev.jsonl" for task in (1, 2)]

BANK_LINE = {
    "id": "q1",
    "context": "sent1: iron is a metal sent2: the moon is round sent3: a nail is made of iron "
    "sent4: metals conduct heat",
    "question": "What does a nail conduct?",
    "answer": "Heat",
    "hypothesis": "a nail conducts heat",
    "proof": "sent1 & sent3 -> int1: a nail is metal; or nearly -> so; "
    "int1 & sent4 -> hypothesis; ",
    "depth_of_proof": 2,
}
STREET_LINE = {
    "id": "q1",
    "context": "iron is a metal the moon is round a nail is made of iron metals conduct heat",
    "question": "What does a nail conduct?",
    "options": ["A) light", "B) heat", "C) a nail is made of iron", "D) water"],
    "answer": "B) heat",
    "textual_logical_units": {
        "1": "a nail is made of iron",
        "2": "the moon is round",
        "3": "metals conduct heat",
        "4": "iron is a metal",
        "5": "What does a nail conduct?",
        "6": "A) light",
        "7": "heat",
        "10": "a nail conducts heat",
        "9": "a nail is metal; or nearly -> so",
        "11": "The answer is B) heat",
    },
    "reasoning_graph_edges": [
        {"antecedents": [3, 9], "consequent": 10},
        {"antecedents": [1, 4], "consequent": 9},
        {"antecedents": [10, 5, 7], "consequent": 11},
    ],
}


def write(folder: Path, *records: object) -> Path:
    path = folder / "lines.jsonl"
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def load(
    path: Path, conclusions: bool = True, distractors: bool = True, order: str = "random", seed=0
) -> list[Example]:
    shown = (conclusions, distractors, order, seed)
    return [question.example(*shown) for _, question in load_jsonl(path, formats.parse)]


def by_text(example: Example) -> tuple[object, ...]:
    """The tree in words, free of the statements' numbers."""
    text, tree = example.statements, example.tree
    return (
        sorted((text[node], height) for node, height in tree.heights.items()),
        sorted((text[a], text[b]) for a, b in tree.edges),
        text[tree.root],
    )


def test_both_formats_give_the_same_tree(tmp_path: Path) -> None:
    bank, street = load(write(tmp_path, BANK_LINE, STREET_LINE))
    assert by_text(bank) == by_text(street)
    assert by_text(bank) == (
        [
            ("a nail conducts heat", 2),
            ("a nail is made of iron", 0),
            ("a nail is metal; or nearly -> so", 1),
            ("iron is a metal", 0),
            ("metals conduct heat", 0),
        ],
        [
            ("a nail is made of iron", "a nail is metal; or nearly -> so"),
            ("a nail is metal; or nearly -> so", "a nail conducts heat"),
            ("iron is a metal", "a nail is metal; or nearly -> so"),
            ("metals conduct heat", "a nail conducts heat"),
        ],
        "a nail conducts heat",
    )
    # The question's and the options' units are no statements; a fact that is an option's text is.
    assert sorted(bank.statements) == sorted(street.statements)
    assert bank.group == street.group == "q1"


def test_question_answer_and_choices(tmp_path: Path) -> None:
    bank, street = load(write(tmp_path, BANK_LINE, STREET_LINE), order="given")
    assert (bank.question, bank.answer, bank.choices) == ("What does a nail conduct?", "Heat", ())
    assert street.question == "What does a nail conduct? " + " ".join(STREET_LINE["options"])
    assert (street.answer, street.choices) == ("B", ("A", "B", "C", "D"))
    assert street.statements == (
        "a nail is made of iron", "the moon is round", "metals conduct heat", "iron is a metal",
        "a nail is metal; or nearly -> so", "a nail conducts heat",
    )  # fmt: skip


@pytest.mark.parametrize("line", [BANK_LINE, STREET_LINE])
def test_hidden_conclusions_are_contracted_into_the_facts_of_their_step(
    tmp_path: Path, line: dict[str, Any]
) -> None:
    (example,) = load(write(tmp_path, line), conclusions=False, distractors=False)
    assert by_text(example) == (
        [("a nail is made of iron", 0), ("iron is a metal", 0), ("metals conduct heat", 1)],
        [
            ("a nail is made of iron", "metals conduct heat"),
            ("iron is a metal", "metals conduct heat"),
        ],
        "metals conduct heat",
    )


def contracted(proof: str) -> dict[str, int]:
    facts = " ".join(f"sent{i}: s{i}" for i in range(1, 8))
    question = formats.parse(BANK_LINE | {"context": facts, "proof": proof})
    example = question.example(conclusions=False, distractors=True, order="given", seed=0)
    return {example.statements[node]: height for node, height in example.tree.heights.items()}


def test_contraction_of_shared_facts_and_of_steps_without_facts() -> None:
    # s1 stands in the first and in the last step: it belongs to the first, and no circle arises.
    shared = "sent1 & sent2 -> int1: a; int1 & sent3 -> int2: b; int2 & sent1 -> hypothesis; "
    assert contracted(shared) == {"s1": 0, "s2": 0, "s3": 1}
    # A step of two conclusions has no fact of its own: both branches end at the top.
    forked = "sent1 & sent2 -> int1: a; sent3 & sent4 -> int2: b; int1 & int2 -> hypothesis; "
    assert contracted(forked) == {"s1": 0, "s2": 0, "s3": 0, "s4": 0}
    # What passes through such a step reaches the next fact from both branches.
    passed = forked.replace("hypothesis;", "int3: c; int3 & sent5 -> hypothesis;")
    assert contracted(passed) == {"s1": 0, "s2": 0, "s3": 0, "s4": 0, "s5": 1}


def test_contracted_edges_join_neighbouring_steps_alone() -> None:
    chain = "sent1 & sent2 -> int1: a; int1 & sent3 -> int2: b; int2 & sent4 -> hypothesis; "
    question = formats.parse(BANK_LINE | {"proof": chain})
    tree = question.example(conclusions=False, distractors=True, order="given", seed=0).tree
    assert tree.edges == ((0, 2), (1, 2), (2, 3))


def test_edges_of_one_conclusion_are_joined() -> None:
    first, second, last = STREET_LINE["reasoning_graph_edges"]
    split = [{"antecedents": [premise], "consequent": 9} for premise in second["antecedents"]]
    joined = formats.parse(STREET_LINE | {"reasoning_graph_edges": [first, *split, last]})
    assert joined == formats.parse(STREET_LINE)


def test_steps_that_do_not_lead_to_the_answer_are_distractors() -> None:
    question = formats.parse(
        BANK_LINE | {"proof": "sent1 & sent3 -> hypothesis; sent2 & sent4 -> int1: idle; "}
    )
    assert question.depth == 1
    assert question.useful == {"sent1", "sent3", "hypothesis"}


def test_order_is_reproducible_and_does_not_change_the_tree(tmp_path: Path) -> None:
    path = write(tmp_path, BANK_LINE)
    drawn = {seed: load(path, seed=seed)[0] for seed in range(5)}
    assert drawn[3] == load(path, seed=3)[0]
    assert len({example.statements for example in drawn.values()}) > 1
    assert len({str(by_text(example)) for example in drawn.values()}) == 1
    with pytest.raises(InputError, match="order='sorted'"):
        load(path, order="sorted")


UNITS = STREET_LINE["textual_logical_units"]


def street(**new: object) -> dict[str, Any]:
    return STREET_LINE | new


def edges(*more: tuple[list[int], int]) -> list[dict[str, object]]:
    added = [{"antecedents": premises, "consequent": conclusion} for premises, conclusion in more]
    return [*STREET_LINE["reasoning_graph_edges"], *added]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (json.dumps(STREET_LINE)[:200], "not a whole JSON object"),
        ([STREET_LINE], "expected a JSON object"),
        ({"question": "Why?", "answer": "So."}, "unknown format"),
        (street(options=["light", "heat"]), "'options'"),
        (street(answer="E) none"), "'answer': expected one of"),
        (street(textual_logical_units=["a"]), "'textual_logical_units': expected dict"),
        (street(textual_logical_units={"one": "a"}), "'textual_logical_units': expected numbers"),
        (street(reasoning_graph_edges=[[1, 2]]), "'antecedents': expected list"),
        (street(reasoning_graph_edges=edges(([77], 9))), "names '77'"),
        (street(reasoning_graph_edges=edges(([1], 78))), "names '78'"),
        (street(reasoning_graph_edges=edges(([10], 9))), r"circle: (9 -> 10 -> 9|10 -> 9 -> 10)"),
        (street(reasoning_graph_edges=edges(([9], 9))), "circle: 9 -> 9"),
        (street(reasoning_graph_edges=edges()[:2]), "no step leads to the answer"),
        (street(textual_logical_units=UNITS | {"9": " "}), "no text"),
        (street(textual_logical_units=UNITS | {"9": None}), "'9': expected str"),
        (street(context=[1]), "'context': expected str or null"),
        (street(id=[1]), "'id': expected str or int or null"),
        (street(answer=""), "'answer': expected str"),
        (BANK_LINE | {"depth_of_proof": "two"}, "'depth_of_proof': expected int or null"),
        (BANK_LINE | {"context": "iron is a metal"}, "'context': expected 'sent1"),
        (BANK_LINE | {"question": None}, "'question': expected str"),
        (BANK_LINE | {"proof": "sent1 & sent9 -> hypothesis; "}, "names 'sent9'"),
        (BANK_LINE | {"proof": "sent1 & int4 -> hypothesis; "}, "names 'int4'"),
        (BANK_LINE | {"proof": "sent1 & sent3 -> int1: nail; "}, "no step leads to the hypothesis"),
        (BANK_LINE | {"proof": "sent1 & fact3 -> hypothesis; "}, "'proof': expected"),
        (BANK_LINE | {"proof": "sent1 & sent3 -> int1; int1 -> hypothesis;"}, "'int1' has no text"),
        (BANK_LINE | {"proof": "int2 -> int1: a; int1 -> int2: b; int2 -> hypothesis; "}, "circle"),
    ],
)  # fmt: skip
def test_error_names_file_and_line(tmp_path: Path, record: object, words: str) -> None:
    path = write(tmp_path, STREET_LINE, "", record)
    with pytest.raises(InputError, match=words) as caught:
        list(load_jsonl(path, formats.parse))
    assert str(caught.value).startswith(f"{path}, line 3: ")


@st.composite
def proofs(draw: st.DrawFn) -> tuple[list[tuple[list[str], str]], int]:
    """Random steps, each drawing on earlier conclusions and on facts, possibly shared ones."""
    n_facts, n_steps = draw(st.integers(2, 8)), draw(st.integers(1, 5))
    steps: list[tuple[list[str], str]] = []
    for step in range(1, n_steps + 1):
        known = [f"sent{i + 1}" for i in range(n_facts)] + [f"int{i}" for i in range(1, step)]
        premises = draw(st.lists(st.sampled_from(known), min_size=1, max_size=4, unique=True))
        steps.append((premises, f"int{step}" if step < n_steps else "hypothesis"))
    return steps, n_facts


@settings(max_examples=100)
@given(proofs(), st.booleans(), st.booleans())
def test_any_proof_gives_the_tree_of_its_steps(
    proof: tuple[list[tuple[list[str], str]], int], distractors: bool, renumbered: bool
) -> None:
    steps, n_facts = proof
    order = list(range(1, n_facts + 1))
    if renumbered:
        random.Random(0).shuffle(order)
    new = {f"sent{i}": f"sent{order[i - 1]}" for i in range(1, n_facts + 1)}
    # A text after "hypothesis", as after any other conclusion, is allowed.
    text = "; ".join(f"{' & '.join(new.get(p, p) for p in ps)} -> {c}: {c}" for ps, c in steps)
    facts = {new[f"sent{i}"]: f"fact {i}" for i in range(1, n_facts + 1)}
    context = " ".join(f"{name}: {facts[name]}" for name in sorted(facts))
    question = formats.parse(
        BANK_LINE | {"context": context, "proof": text + "; ", "hypothesis": "hypothesis"}
    )
    # The expected tree, straight from the steps: the ancestors of the hypothesis.
    useful, waiting = set(), ["hypothesis"]
    premises_of = {c: ps for ps, c in steps}
    while waiting:
        useful.add(name := waiting.pop())
        waiting.extend(premises_of.get(name, ()))
    words = [n.replace("sent", "fact ") for n in useful]
    numbers = {word: i for i, word in enumerate(words)}
    expected = ReasoningTree.from_edges(
        [
            (numbers[p.replace("sent", "fact ")], numbers[c])
            for ps, c in steps for p in ps if c in useful
        ],
        len(words),
    )  # fmt: skip
    shown = question.example(True, distractors, "random", 5)
    heights = {shown.statements[i]: height for i, height in shown.tree.heights.items()}
    assert heights == {words[i]: height for i, height in expected.heights.items()}
    assert shown.statements[shown.tree.root] == "hypothesis"
    assert len(shown.tree.edges) == len(expected.edges)
    assert question.depth == expected.depth
    if not distractors:
        assert len(shown.statements) == len(words)
    # Without conclusions: the same facts are useful, a way up loses at least one height, every
    # edge goes up, and numbering the statements otherwise changes nothing.
    hidden = question.example(False, distractors, "random", 5)
    tree = hidden.tree
    assert {hidden.statements[i] for i in tree.useful} == {w for w in words if w.startswith("fact")}
    assert 0 <= tree.depth == max(tree.heights.values()) <= max(0, question.depth - 1)
    assert all(tree.heights[a] < tree.heights[b] for a, b in tree.edges)
    assert by_text(hidden) == by_text(question.example(False, distractors, "given", 0))


@pytest.mark.parametrize("name", BANK)
def test_entailment_bank_loads_whole(name: str) -> None:
    questions = [q for _, q in load_jsonl(shared(name), formats.parse)]
    stated = Counter(question.stated_depth for question in questions)
    assert [stated[d] for d in range(1, 8)] == [51, 62, 30, 17, 14, 7, 6]
    # By the longest way the counts are those of the paper's table 7: 51, 64, 28, 18 and 26 above.
    depths = Counter(question.depth for question in questions)
    assert [depths[d] for d in range(1, 8)] == [51, 64, 28, 18, 13, 7, 6]


@pytest.mark.parametrize("conclusions", [True, False])
def test_tasks_1_and_2_have_the_same_trees(conclusions: bool) -> None:
    first, second = (load(shared(name), conclusions) for name in BANK)
    assert [e.group for e in first] == [e.group for e in second]
    assert [by_text(e) for e in first] == [by_text(e) for e in second]
    assert all(len(e.tree.useful) == len(e.statements) for e in first)  # no distractors there
    assert all(len(e.tree.useful) < len(e.statements) for e in second[:20])
    bare = load(shared(BANK[1]), conclusions, distractors=False)
    assert [sorted(e.statements) for e in bare] == [sorted(e.statements) for e in first]


def test_real_questions_have_the_same_trees_in_streets_format() -> None:
    for line in shared(BANK[1]).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        question = formats.parse(record)
        units = [*question.units, "asked", "right", formats.ANSWER]
        number = {name: i for i, name in enumerate(units, start=1)}
        steps = question.steps | {formats.ANSWER: ("hypothesis", "asked", "right")}
        texts = question.units | {
            "asked": record["question"],
            "right": record["answer"],
            formats.ANSWER: "The answer is A)",
        }
        rewritten = {
            "id": record["id"],
            "context": " ".join(t for n, t in question.units.items() if n.startswith("sent")),
            "question": record["question"],
            "options": [f"A) {record['answer']}", "B) something else"],
            "answer": "A",
            "textual_logical_units": {str(number[name]): text for name, text in texts.items()},
            "reasoning_graph_edges": [
                {"antecedents": [number[p] for p in premises], "consequent": number[c]}
                for c, premises in steps.items()
            ],
        }
        for conclusions in (True, False):
            one, other = (
                q.example(conclusions, True, "random", 0)
                for q in (question, formats.parse(rewritten))
            )
            assert by_text(one) == by_text(other)


def test_science_questions_are_many_and_balanced() -> None:
    questions = [q for _, q in load_jsonl(formats.SCIENCE, formats.parse)]
    records = [
        json.loads(line) for line in formats.SCIENCE.read_text(encoding="utf-8").splitlines()
    ]
    assert Counter(question.depth for question in questions) == {1: 24, 2: 24, 3: 16}
    assert Counter(question.answer for question in questions) == dict.fromkeys("ABCD", 16)
    assert len({q.name for q in questions}) == len({q.text for q in questions}) == 64
    assert len({record["topic"] for record in records}) >= 5
    for record, question in zip(records, questions, strict=True):
        facts = [name for name in question.units if name not in question.steps]
        assert record["context"] == " ".join(question.units[name] for name in facts)
        assert 1 <= len(set(facts) - question.useful) <= 3
        assert {*question.steps} - {formats.ANSWER} <= question.useful
        assert len({*question.units.values()}) == len(question.units)
        assert question.choices == ("A", "B", "C", "D")
        last = max(record["textual_logical_units"], key=int)
        assert record["textual_logical_units"][last] == f"The answer is {record['answer']}"
        assert record["answer"] in record["options"]
        lengths = [len(option) for option in record["options"]]
        assert max(lengths) <= 1.5 * min(lengths) + 2


def test_length_of_an_option_does_not_give_the_answer_away() -> None:
    records = [
        json.loads(line) for line in formats.SCIENCE.read_text(encoding="utf-8").splitlines()
    ]
    for best in (max, min):
        chance = 0.0  # of guessing right by taking the longest or the shortest option
        for record in records:
            extreme = best(map(len, record["options"]))
            hits = [option for option in record["options"] if len(option) == extreme]
            chance += (record["answer"] in hits) / len(hits)
        assert chance / len(records) < 0.35


def test_trees_of_our_science_questions() -> None:
    deep = [e for e in load(formats.SCIENCE, conclusions=False) if e.tree.depth == 2]
    # One fact or more at every height: the contracted tree is one lower than the annotated one.
    assert len(deep) == 16
    # One statement at each height above 0, as in the trees of the paper.
    for example in load(formats.SCIENCE):
        above = [height for height in example.tree.heights.values() if height]
        assert sorted(above) == list(range(1, example.tree.depth + 1))
