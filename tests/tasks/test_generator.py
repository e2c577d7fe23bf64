"""Generated theories: official format, right logic, and what can be asked for."""

import re
from collections import Counter
from collections.abc import Sequence

import pytest

from mplib.errors import InputError
from mplib.tasks.examples import Example
from mplib.tasks.proofwriter.generator import examples, generate, vocabulary
from mplib.tasks.proofwriter.logic import Literal, Rule, read_fact, read_theory
from mplib.tasks.proofwriter.release import first_proof, to_examples

STYLES = [
    {"style": style, "negation": negation, "world": world}
    for style in ("attribute", "relation")
    for negation in (False, True)
    for world in ("closed", "open")
]

HIDDEN = {"giveaway": False, "negation": True, "world": "open"}
RIVAL = HIDDEN | {"rival": True}


@pytest.mark.parametrize("style", STYLES, ids=lambda s: "-".join(map(str, s.values())))
@pytest.mark.parametrize("depth", range(6))
def test_generated_records_round_trip(depth: int, style: dict) -> None:
    """Text -> logic, proof string -> tree, against the engine; 48 times 21 theories."""
    answers, words = Counter[str](), set[str]()
    for size, hidden, n in ((depth + 1, False, 6), (12, True, 6), (14, False, 9)):
        if hidden and (depth == 0 or (style["negation"] and style["world"] == "closed")):
            hidden = False
        settings = {"depth": depth, "n_statements": size, "giveaway": not hidden} | style
        settings["rival"] = hidden and n == 9 and style["negation"]
        for record in generate(n, seed=depth, **settings):
            told = [*record["triples"].values(), *record["rules"].values()]
            names = [*record["triples"], *record["rules"]]
            assert len(told) == size
            assert record["theory"] == " ".join(x["text"] for x in told)
            theory = read_theory(record["theory"], style["world"])
            words.update(re.findall(r"\w+|[^\w\s]", record["theory"]))
            if style["world"] == "closed" or not style["negation"]:
                assert not any(" not " in x["text"] for x in record["triples"].values())
            shown = {e.question: e for e in to_examples(record, order="given")}
            for question in record["questions"].values():
                asked = read_fact(question["question"])
                assert theory.truth(asked) == str(question["answer"])
                answers[str(question["answer"])] += 1
                target = theory.target(asked)
                if target is None:
                    assert question["QLen"] == "" and question["question"] not in shown
                    continue
                proof = first_proof(question["proofs"], names)
                assert [*theory.proofs(target, max_depth=size)] == [proof]
                assert proof.depth == question["QDep"] == depth
                assert shown[question["question"]].tree == proof.tree(size)
    assert words <= {*vocabulary()}
    possible = 3 if style["world"] == "open" else 2
    assert set(answers) <= {"True", "False", "Unknown"} and len(answers) == possible
    assert max(answers.values()) - min(answers.values()) <= 3


def test_all_phrasings_and_negations_occur() -> None:
    def texts(**settings: object) -> str:
        drawn = generate(60, n_statements=12, depth=2, **settings)
        return " ".join(record["theory"] for record in drawn)

    plain = texts()
    assert all(re.search(p, plain) for p in ("If some", r"\. All ", r"\. [A-Z]\w+ people are"))
    assert " not " not in plain and " things are " in plain
    assert re.search(r"chases|eats|likes|needs|sees|visits", texts(style="relation"))
    open_world = texts(negation=True, world="open")
    assert re.search(r"\. [A-Z]\w+ is not", open_world) and re.search(
        "then .{9,12} not", open_world
    )


def test_generation_is_seeded() -> None:
    settings = {"depth": 2, "n_statements": 12, "style": "relation"}
    ten = [*generate(10, seed=1, **settings)]
    assert ten == [*generate(20, seed=1, **settings)][:10]
    assert ten != [*generate(10, seed=2, **settings)]
    assert len({record["theory"] for record in ten}) == 10


def test_renaming_and_rebuilding_draw_the_same_theories_as_ever() -> None:
    told = {"natural": generate(1, seed=3, depth=1, n_statements=4)}
    settings = {"style": "relation", "negation": True, "world": "open", "giveaway": False}
    told["hidden"] = generate(1, seed=3, depth=1, n_statements=4, **settings)
    assert {kind: next(drawn)["theory"] for kind, drawn in told.items()} == {
        "natural": "Gary is nice. Gary is blue. Nice things are white. All green things are red.",
        "hidden": "The mouse chases the lion. The rabbit does not like the squirrel. "
        "If the rabbit does not like the squirrel then the rabbit chases the lion. "
        "If the tiger chases the lion then the rabbit does not chase the lion.",
    }


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"depth": 6}, "depth from 0 to 5"),
        ({"depth": 3, "n_statements": 3}, "n_statements=3: expected 4"),
        ({"style": "birds"}, "birds"),
        ({"world": "CWA"}, "CWA"),
        ({"depth": 0, "giveaway": False}, "needs depth 1"),
        ({"depth": 2, "n_statements": 5, "giveaway": False}, "expected 6"),
        ({"negation": True, "giveaway": False}, "needs world='open'"),
        ({"rival": True}, "rival=True needs giveaway=False"),
        ({"rival": True, "giveaway": False, "world": "open"}, "negation=True"),
        (RIVAL | {"depth": 2, "n_statements": 5}, "expected 6"),
    ],
)
def test_impossible_settings_are_named(settings: dict, named: str) -> None:
    with pytest.raises(InputError, match=re.escape(named)):
        next(generate(1, **settings))


def test_facts_and_rules_are_useful_equally_often() -> None:
    shown = examples(400, depth=2, n_statements=8, giveaway=False)
    useful, told = Counter[str](), Counter[str]()
    for example in shown:
        told.update(example.kinds)
        useful.update(example.kinds[i] for i in example.tree.useful)
    shares = [useful[kind] / told[kind] for kind in ("fact", "rule")]
    assert shares == pytest.approx([3 / 8, 3 / 8], abs=0.03)
    assert Counter(example.answer for example in shown) == {"True": 200, "False": 200}


def follows(told: Sequence[Literal | Rule], wanted: Literal, rules_deep: int) -> bool:
    """Whether it is told or concluded, as a reader sees it who looks so many rules back.

    What only another rule would settle is believed.
    """
    concluding = [s for s in told if isinstance(s, Rule) and s.head == wanted]
    if not rules_deep or wanted in told:
        return wanted in told or bool(concluding)
    return any(all(follows(told, x, rules_deep - 1) for x in rule.body) for rule in concluding)


def accuracy(shown: list[Example], rules_deep: int, without: int | None = None) -> float:
    """Of such a reader, who guesses where both answers follow or none; a height is left out."""
    right = []
    for example in shown:
        heights = example.tree.heights
        kept = (s for i, s in enumerate(example.statements) if heights.get(i, -1) != without)
        told = read_theory(" ".join(kept), "open").statements
        asked = read_fact(example.question)
        yes, no = (follows(told, x, rules_deep) for x in (asked, asked.negated()))
        right.append(0.5 if yes == no else yes == (example.answer == "True"))
    return sum(right) / len(right)


def test_in_hidden_open_theories_one_rule_back_settles_any_depth() -> None:
    shown = examples(400, depth=3, n_statements=8, **HIDDEN)
    assert accuracy(shown, 0) > 0.7 and accuracy(shown, 1) == 1


@pytest.mark.parametrize("style", ["attribute", "relation"])
@pytest.mark.parametrize(("depth", "size"), [(1, 4), (1, 12), (2, 8), (2, 12), (3, 8), (3, 12)])
def test_theories_with_a_rival_want_the_whole_proof(depth: int, size: int, style: str) -> None:
    shown = examples(400, depth=depth, n_statements=size, style=style, **RIVAL)
    # The rival breaks off at every height equally often: each rule back settles one in depth.
    settled = [deep / depth for deep in range(depth + 1)]
    reached = [accuracy(shown, deep) for deep in range(depth + 1)]
    assert reached == pytest.approx([0.5 + share / 2 for share in settled], abs=0.06)
    for height in range(depth + 1):
        assert accuracy(shown, depth, without=height) == 0.5
    votes = Counter[bool]()
    for example in shown:
        told, asked = read_theory(" ".join(example.statements), "open"), read_fact(example.question)
        heads = Counter(s.head for s in told.statements if isinstance(s, Rule))
        assert heads[asked] and heads[asked.negated()]
        if heads[asked] != heads[asked.negated()]:
            votes[(heads[asked] > heads[asked.negated()]) == (example.answer == "True")] += 1
    assert abs(votes[True] - votes[False]) < 3 * (1 + votes.total()) ** 0.5
