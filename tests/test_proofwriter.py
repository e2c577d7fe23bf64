"""ProofWriter's files and the generator of theories in their format; the text baseline."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from mplib.errors import InputError
from mplib.tasks.examples import Example
from mplib.tasks.proofwriter import release
from mplib.tasks.proofwriter.generator import examples, generate, represent
from mplib.tasks.proofwriter.logic import NAF, Proof, read, read_fact, read_theory
from mplib.tasks.proofwriter.release import clean, parse_proofs, to_examples
from mplib.tasks.textbaseline import feature_names, text_features
from mplib.tasks.trees import ReasoningTree, stack_labels

NAMES = ("triple1", "triple2", "triple3", "rule1", "rule2")


def shared(name: str) -> Path:
    """A file of the shared development data; skips the test where it is absent."""
    root = Path(os.environ.get("MPLIB_SHARED", Path(__file__).parents[1] / "../shared"))
    path = root / "data" / "proofwriter" / name
    if not path.is_file():
        pytest.skip(f"no {path}: set MPLIB_SHARED to the folder that holds data/")
    return path


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {key: value for key, value in os.environ.items() if key != "TQDM_DISABLE"}
    return subprocess.run(
        [sys.executable, "-m", "mplib.tasks.proofwriter", *map(str, arguments)],
        env=variables | environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )


# Proof strings.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[(triple3)]", [Proof(2)]),
        ("[(((triple1) -> rule1))]", [Proof(3, (Proof(0),))]),
        (
            "[(((((triple1) -> rule1) triple3) -> rule2))]",
            [Proof(4, (Proof(3, (Proof(0),)), Proof(2)))],
        ),
        ("((((triple1) -> rule1)) -> rule2)", [Proof(4, (Proof(3, (Proof(0),)),))]),
        ("[(((triple1 NAF) -> rule1))]", [Proof(3, (Proof(0), NAF))]),
        (
            "[(((triple1) -> rule1) OR ((triple2 triple3) -> rule2))]",
            [Proof(3, (Proof(0),)), Proof(4, (Proof(1), Proof(2)))],
        ),
        (
            "[((((triple1 OR ((triple2) -> rule1)) triple3) -> rule2))]",
            [
                Proof(4, (Proof(0), Proof(2))),
                Proof(4, (Proof(3, (Proof(1),)), Proof(2))),
            ],
        ),
    ],
)
def test_proof_strings(text: str, expected: list[Proof]) -> None:
    assert parse_proofs(text, NAMES) == expected
    assert parse_proofs(text, NAMES, first=True) == expected[:1]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[(triple9)]", "'triple9'"),
        ("[(((triple1) -> rule7))]", "'rule7'"),
        ("[(((triple1) => rule1))]", "'=>'"),
        ("[(((triple1) -> rule1)]", "closing bracket"),
        ("[((triple1) -> rule1)) triple2]", "expected e.g."),
        ("[(triple1 triple2)]", "expected e.g."),
        ("[()]", "expected e.g."),
        ("", "expected e.g."),
    ],
)
def test_unreadable_proofs_are_named(text: str, named: str) -> None:
    with pytest.raises(InputError, match=re.escape(named)) as caught:
        parse_proofs(text, NAMES)
    assert repr(text) in str(caught.value)


PROOFS = st.recursive(
    st.sampled_from([Proof(0), Proof(1), Proof(2), NAF]),
    lambda below: st.tuples(
        st.sampled_from([3, 4]), st.lists(below, min_size=1, max_size=3).map(tuple)
    ).map(lambda parts: Proof(*parts)),
    max_leaves=8,
)


@given(st.lists(PROOFS, min_size=1, max_size=3))
def test_written_proofs_read_back(proofs: list[Proof]) -> None:
    text = "[(" + " OR ".join(proof.text(NAMES) for proof in proofs) + ")]"
    assert parse_proofs(text, NAMES) == proofs


def test_every_premise_of_a_step_is_kept() -> None:
    (proof,) = parse_proofs("[(((((triple1 triple2) -> rule1) triple3) -> rule2))]", NAMES)
    tree = proof.tree(5)
    assert {*tree.edges} == {(0, 3), (1, 3), (3, 4), (2, 4)}
    assert (tree.root, tree.heights) == (4, {0: 0, 1: 0, 2: 0, 3: 1, 4: 2})


# The official sample.


def test_official_trees_are_those_of_the_engine() -> None:
    lines = shared("official_cwa_sample.jsonl").read_text().splitlines()
    seen: Counter[str] = Counter()
    for record in map(json.loads, lines):
        names = [*record["triples"], *record["rules"]]
        theory = read_theory(record["theory"])
        for question in record["questions"].values():
            asked = read_fact(question["question"])
            assert theory.truth(asked) == str(question["answer"])
            target = theory.target(asked)
            assert (target is None) == (question["QLen"] == "")
            if target is None:
                seen["no proof"] += 1
                continue
            derived = [*theory.proofs(target)]
            assert parse_proofs(question["proofs"], names) == derived
            assert {proof.depth for proof in derived} == {question["QDep"]}
            assert derived[0].size == question["QLen"]
            seen["NAF" if "NAF" in question["proofs"] else len(derived)] += 1
            if "NAF" not in question["proofs"]:
                official = parse_proofs(question["proofs"], names, first=True)[0]
                assert official.tree(len(names)) == derived[0].tree(len(names))
    assert seen == {"no proof": 4, "NAF": 1, 1: 7, 2: 1}


def test_everything_that_follows_officially_follows_here() -> None:
    """``allProofs`` lists every provable statement at its depth, with all of its proofs."""
    lines = shared("official_cwa_sample.jsonl").read_text().splitlines()
    for record in map(json.loads, lines):
        names = [*record["triples"], *record["rules"]]
        theory = read_theory(record["theory"])
        official = {
            read_fact(sentence): (int(depth), parse_proofs(proofs, names))
            for depth, part in re.findall(r"@(\d+): ([^@]*)", record["allProofs"])
            for sentence, proofs in re.findall(r"([A-Z][^\[]*)(\[.*?\])", part)
        }
        assert len(official) == (6 if "Att" in record["id"] else 17)
        derived = {x: (depth, [*theory.proofs(x, 99)]) for x, depth in theory.depths.items()}
        assert derived == official


def test_official_sample_is_cleaned_as_documented() -> None:
    path = shared("official_cwa_sample.jsonl")
    lines = path.read_text().splitlines()
    reasons = [{name: why for name, why, _ in clean(json.loads(line))} for line in lines]
    assert reasons[1] == {
        "Q1": "kept", "Q3": "OR", "Q4": "NAF", "Q5": "kept", "Q7": "no proof", "Q11": "no proof",
    }  # fmt: skip
    assert Counter(reasons[0].values()) == {"kept": 5, "no proof": 2}
    assert len([*release.examples(path)]) == 7
    both = [*release.examples(path, alternatives="first", order="given")]
    assert len(both) == 8
    (tiger,) = (e for e in both if e.question == "The tiger visits the dog.")
    assert {tiger.statements[i] for i in tiger.tree.useful} == {
        "The mouse likes the tiger.",
        "If something likes the tiger then the tiger visits the dog.",
    }


# The generator: official format, right logic.

STYLES = [
    {"style": style, "negation": negation, "world": world}
    for style in ("attribute", "relation")
    for negation in (False, True)
    for world in ("closed", "open")
]


@pytest.mark.parametrize("style", STYLES, ids=lambda s: "-".join(map(str, s.values())))
@pytest.mark.parametrize("depth", range(6))
def test_generated_records_round_trip(depth: int, style: dict) -> None:
    """Text -> logic, proof string -> tree, against the engine; 48 times 70 theories."""
    answers: Counter[str] = Counter()
    for size, hidden, n in ((depth + 1, False, 20), (12, True, 20), (14, False, 30)):
        if hidden and (depth == 0 or (style["negation"] and style["world"] == "closed")):
            hidden = False
        many = {} if hidden or size < 12 else {"questions": 3}
        settings = {"depth": depth, "n_statements": size, "giveaway": not hidden} | style | many
        for record in generate(n, seed=depth, **settings):
            told = [*record["triples"].values(), *record["rules"].values()]
            names = [*record["triples"], *record["rules"]]
            assert len(told) == size == record["NFact"] + record["NRule"]
            assert record["theory"] == " ".join(x["text"] for x in told)
            theory = read_theory(record["theory"], style["world"])
            assert [represent(s) for s in theory.statements] == [x["representation"] for x in told]
            if style["world"] == "closed" or not style["negation"]:
                assert not any(" not " in x["text"] for x in record["triples"].values())
            shown = {e.question: e for e in to_examples(record, order="given")}
            for name, question in record["questions"].items():
                asked = read_fact(question["question"])
                assert represent(asked) == question["representation"]
                assert theory.truth(asked) == str(question["answer"])
                answers[str(question["answer"])] += 1
                target = theory.target(asked)
                if target is None:
                    assert question["QLen"] == "" and question["question"] not in shown
                    continue
                (proof,) = parse_proofs(question["proofs"], names)
                assert [*theory.proofs(target, max_depth=size)] == [proof]
                assert proof.depth == question["QDep"] <= depth
                assert name != "Q1" or proof.depth == depth
                assert shown[question["question"]].tree == proof.tree(size)
    possible = 3 if style["world"] == "open" else 2
    assert set(answers) <= {"True", "False", "Unknown"} and len(answers) == possible
    assert max(answers.values()) - min(answers.values()) <= 6


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
    assert not re.search(r"\. If \w+ is not", texts(forms=("if",)))
    assert "All " not in texts(forms=("if",))


def test_generation_is_seeded() -> None:
    settings = {"depth": 2, "n_statements": 12, "style": "relation"}
    ten = [*generate(10, seed=1, **settings)]
    assert ten == [*generate(20, seed=1, **settings)][:10]
    assert ten != [*generate(10, seed=2, **settings)]
    assert len({record["theory"] for record in ten}) == 10


def test_questions_without_unique_proof_on_demand() -> None:
    drawn = generate(200, depth=1, n_statements=24, unique=False, style="attribute")
    reasons = Counter(why for record in drawn for _, why, _ in clean(record))
    assert reasons["OR"] > 5 and reasons["kept"] > 100


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"depth": 6}, "depth from 0 to 5"),
        ({"depth": 3, "n_statements": 3}, "n_statements=3: expected 4"),
        ({"style": "birds"}, "birds"),
        ({"world": "CWA"}, "CWA"),
        ({"forms": ("if", "when")}, "when"),
        ({"depth": 0, "giveaway": False}, "needs depth 1"),
        ({"depth": 2, "n_statements": 5, "giveaway": False}, "expected 6"),
        ({"negation": True, "giveaway": False}, "needs world='open'"),
        ({"questions": 2, "giveaway": False}, "questions=1"),
    ],
)
def test_impossible_settings_are_named(settings: dict, named: str) -> None:
    with pytest.raises(InputError, match=re.escape(named)):
        next(generate(1, **settings))


# Theories whose text gives nothing away.


def knn(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    model = KNeighborsClassifier(8, weights="distance", p=1)
    folds = GroupKFold(5)
    scores = cross_val_score(model, features, labels, groups=groups, cv=folds, scoring="f1_macro")
    return float(scores.mean())


def over_permuted(shown: list[Example], rules_only: bool) -> float:
    """F1 of the text baseline less its F1 on permuted labels; V, or heights among useful rules."""
    features, heights = text_features(shown), stack_labels([e.tree for e in shown])
    rows = (heights >= 0) & (features[..., -1] == 1) if rules_only else heights >= -1
    labels = heights if rules_only else (heights >= 0).astype(int)
    groups = np.broadcast_to(np.arange(len(shown))[:, None], heights.shape)
    x, y, g = features[rows], labels[rows], groups[rows]
    rng = np.random.default_rng(0)
    permuted = np.mean([knn(x, rng.permutation(y), g) for _ in range(2)])
    return knn(x, y, g) - float(permuted)


@pytest.mark.parametrize("style", ["attribute", "relation"])
@pytest.mark.parametrize(("depth", "size"), [(1, 8), (1, 16), (2, 8), (2, 16)])
def test_hidden_theories_give_nothing_away(depth: int, size: int, style: str) -> None:
    shown = examples(512, depth=depth, n_statements=size, style=style, giveaway=False)
    for rows in text_features(shown):
        words = rows[rows[:, -1] == 1][
            :, :2
        ]  # of the rules: words shared with the question, length
        assert (words == words[0]).all()
    assert abs(over_permuted(shown, rules_only=False)) < 0.1
    if depth > 1:
        assert abs(over_permuted(shown, rules_only=True)) < 0.1


def test_usual_theories_do_give_themselves_away() -> None:
    shown = examples(512, depth=2, n_statements=8)
    assert over_permuted(shown, rules_only=False) > 0.2
    assert over_permuted(shown, rules_only=True) > 0.2


def test_facts_and_rules_are_useful_equally_often() -> None:
    shown = examples(600, depth=2, n_statements=8, giveaway=False)
    useful, told = Counter[str](), Counter[str]()
    for example in shown:
        told.update(example.kinds)
        useful.update(example.kinds[i] for i in example.tree.useful)
    shares = [useful[kind] / told[kind] for kind in ("fact", "rule")]
    assert shares == pytest.approx([3 / 8, 3 / 8], abs=0.03)
    assert Counter(example.answer for example in shown) == {"True": 300, "False": 300}


def test_text_features_by_hand() -> None:
    tree = ReasoningTree.from_edges([(1, 0)], 3)
    three = Example(
        statements=("Red people are nice.", "Bob is red.", "Erin is big."),
        question="Bob is not nice.",
        answer="False",
        tree=tree,
        kinds=("rule", "fact", "fact"),
    )
    one = Example(
        ("Bob is nice.",), "Bob is nice.", "True", ReasoningTree(1, {0: 0}, (), 0), kinds=("fact",)
    )
    assert feature_names([three, one]) == ("shared words", "length", "position", "fact", "rule")
    nan = [np.nan] * 5
    expected = [
        [[1, 4, 0, 0, 1], [2, 3, 0.5, 1, 0], [1, 3, 1, 1, 0]],
        [[3, 3, 0, 1, 0], nan, nan],
    ]
    np.testing.assert_array_equal(text_features([three, one]), expected)
    other = replace(three, tree=ReasoningTree(3, {0: 0}, (), 0))
    np.testing.assert_array_equal(text_features([three]), text_features([other]))
    assert text_features([replace(three, kinds=())]).shape == (1, 3, 3)


# Files and folders.


def write_release(root: Path, world: str = "CWA", folders: tuple[str, ...] = ("depth-1",)) -> int:
    """A release of generated theories; returns how many questions it holds."""
    total = 0
    for number, folder in enumerate(folders):
        (root / world / folder).mkdir(parents=True)
        for split in release.SPLITS:
            drawn = generate(3, seed=number, depth=1, n_statements=6, questions=2)
            lines = [json.dumps(record) for record in drawn]
            (root / world / folder / f"meta-{split}.jsonl").write_text("\n".join(lines) + "\n")
            total += 6
    return total


def test_reads_a_release_split_by_split(tmp_path: Path) -> None:
    total = write_release(tmp_path, folders=("depth-1", "depth-3"))
    (tmp_path / "CWA" / "depth-3ext").mkdir()  # repeats others and is not read
    (tmp_path / "CWA" / "depth-3ext" / "meta-dev.jsonl").write_text("{")
    assert len([*release.examples(tmp_path)]) == total == 36
    assert len([*release.examples(tmp_path, splits=("dev",))]) == 12
    one = tmp_path / "CWA" / "depth-1" / "meta-test.jsonl"
    shown = [*release.examples(one)]
    assert len(shown) == 6 and len({e.group for e in shown}) == 3
    assert {e.choices for e in shown} == {("True", "False")}
    stream = release.examples(tmp_path)
    one.write_text("{")  # read later than the first example: the reader does not read ahead
    next(stream)


def test_open_world_has_a_third_choice() -> None:
    (record,) = generate(1, world="open", answers=("False",))
    (example,) = to_examples(record)
    assert (example.choices, example.answer) == (("True", "False", "Unknown"), "False")


def test_statement_order_is_seeded_and_the_tree_follows() -> None:
    record = next(generate(1, depth=3, n_statements=12))
    (given_order,) = to_examples(record, order="given")
    orders = set()
    for seed in range(10):
        (example,) = to_examples(record, seed=seed)
        assert [example] == [*to_examples(record, seed=seed)]
        orders.add(example.statements)
        assert Counter(example.statements) == Counter(given_order.statements)
        for side in (example, given_order):
            assert all((k == "fact") == isinstance(read(s)[0], str)
                       for s, k in zip(side.statements, side.kinds, strict=True))  # fmt: skip
        named = [{(e.statements[a], e.statements[b]) for a, b in e.tree.edges}
                 for e in (example, given_order)]  # fmt: skip
        assert named[0] == named[1] and example.tree.depth == 3
    assert len(orders) == 10
    assert given_order.kinds == ("fact",) * record["NFact"] + ("rule",) * record["NRule"]


def odd_record() -> dict:
    """One question for each thing that the cleaning drops, and one that it keeps."""
    record = next(generate(1, depth=1, n_statements=6))
    question = record["questions"]["Q1"]
    variants = {
        "Q1": {},
        "Q2": {"QLen": "", "proofs": "[@0: x[CWA. Example of deepest failure = (FAIL)]]"},
        "Q3": {"proofs": "[(((NAF) -> rule1))]"},
        "Q4": {"proofs": "[(((triple1) -> rule1) OR ((NAF) -> rule2))]"},
        "Q5": {"proofs": "[(((triple1) -> rule1) OR (triple2))]"},
        "Q6": {"QDep": 2, "proofs": "[(((((triple1) -> rule1)) -> rule1))]"},
        "Q7": {"QDep": 3, "proofs": "[(((triple1) -> rule1))]"},
    }
    record["questions"] = {name: question | change for name, change in variants.items()}
    return record


def test_cleaning_and_counts(tmp_path: Path) -> None:
    record = odd_record()
    reasons = ["kept", "no proof", "NAF", "NAF", "OR", "loop", "wrong depth"]
    assert [why for _, why, _ in clean(record)] == reasons
    reasons[4] = "kept"
    assert [why for _, why, _ in clean(record, "first")] == reasons
    file = tmp_path / "meta-dev.jsonl"
    file.write_text(json.dumps(record) + "\n\n" + json.dumps(record) + "\n")
    table = release.counts(file).set_index(["split", "depth"])
    assert table.loc[("dev", 1)].to_dict() == {
        "questions": 10, "no NAF": 4, "OR": 2, "loop": 0, "wrong depth": 0, "kept": 2,
    }  # fmt: skip
    assert table.loc[("dev", 2), "loop"] == table.loc[("dev", 3), "wrong depth"] == 2
    with pytest.raises(InputError, match="all"):
        next(clean(record, "all"))
    with pytest.raises(InputError, match="sorted"):
        next(to_examples(record, order="sorted"))


def test_whole_release_is_counted_beside_table_6(tmp_path: Path) -> None:
    write_release(tmp_path, folders=release.DEPTH_FOLDERS)
    table = release.counts(tmp_path)
    assert [*table["split"].unique()] == ["train", "dev", "test"]
    assert table["questions"].sum() == table["kept"].sum() == 90
    assert [*table[table["depth"] == 1]["paper"]] == [41_718, 6_101, 12_044]
    # the paper's source counts before it drops alternatives and loops
    assert sum(sum(release.TABLE_6[s]) for s in release.SPLITS) == 177_425 + 25_884 + 51_182
    (tmp_path / "CWA" / "depth-0" / "meta-dev.jsonl").unlink()
    assert "paper" not in release.counts(tmp_path)


def test_broken_files_are_named_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the ProofWriter release"):
        next(release.examples(tmp_path))
    with pytest.raises(InputError, match="nowhere is not the ProofWriter release"):
        next(release.examples(tmp_path / "nowhere"))
    good = next(generate(1, depth=1, n_statements=6))
    no_text = good | {"triples": {"triple1": {}}}
    no_proof = good | {"questions": {"Q1": {"question": "Bob is red."}}}
    ghost = json.dumps(good).replace("-> rule", "-> ghost")
    for line, named in [
        (json.dumps(good)[:200], "not a whole JSON object"),
        ("[1, 2]", "no 'id'"),
        (json.dumps({**good, "rules": []}), "no 'rules'"),
        (json.dumps(no_text), "without 'text'"),
        (json.dumps(no_proof), "Q1 has no 'answer'"),
        (ghost, "unknown token 'ghost"),
    ]:
        file = tmp_path / "meta-train.jsonl"
        file.write_text(json.dumps(good) + "\n" + line + "\n")
        stream = release.examples(file)
        next(stream)
        with pytest.raises(InputError, match=re.escape(f"{file}, line 2")) as caught:
            next(stream)
        assert named in str(caught.value)


# The command.


def questions_file(path: Path, world: str, wrong: int = 0) -> int:
    """Generated questions in the form of Logic-LLM's file, some with a wrong answer."""
    letters = {"True": "A", "False": "B", "Unknown": "C"}
    items = []
    drawn = generate(45, depth=2, n_statements=12, style="relation", negation=True, world=world)
    for record in drawn:
        ask = record["questions"]["Q1"]
        answer = letters[str(ask["answer"])]
        if len(items) < wrong:
            answer = "B" if answer == "A" else "A"
        options = [f"{letter}) {word}" for word, letter in letters.items()]
        items.append({
            "id": record["id"], "context": record["theory"], "answer": answer,
            "question": f"Is the following statement true or false? {ask['question']}",
            "options": options if world == "open" else options[:2],
        })  # fmt: skip
    path.write_text(json.dumps(items))
    return len(items)


def test_check_answers_from_the_text_alone(tmp_path: Path) -> None:
    file = tmp_path / "questions.json"
    for world in ("open", "closed"):
        assert release.check(file) == (45, []) if questions_file(file, world) else False
    questions_file(file, "open", wrong=2)
    done = command("check", file)
    assert done.stdout.splitlines()[0] == "agree 43 of 45"
    assert done.stdout.count("disagrees: Rel") == 2 and done.returncode == 1


def test_check_agrees_with_proofwriter() -> None:
    done = command("check", shared("owa_depth5_questions.json"))
    assert (done.stdout, done.returncode) == ("agree 600 of 600\n", 0)


def test_check_names_what_it_cannot_read(tmp_path: Path) -> None:
    file = tmp_path / "questions.json"
    for content, named in [
        ("{", "is not a JSON file"),
        ('[{"id": 1}]', "question 1: expected an object"),
        ('["a"]', "question 1: expected an object"),
        (
            '[{"context": "Bob can fly.", "question": "Bob is red.", "options": ["A) True"], '
            '"answer": "A"}]',
            "'Bob can fly.'",
        ),
    ]:
        file.write_text(content)
        with pytest.raises(InputError) as caught:
            release.check(file)
        assert named in str(caught.value) and str(file) in str(caught.value)
    done = command("check", tmp_path / "none.json")
    assert done.returncode == 2 and done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert command("chekc").returncode == 2


def test_progress_is_shown_unless_disabled(tmp_path: Path) -> None:
    write_release(tmp_path)
    loud, quiet = command("count", tmp_path), command("count", tmp_path, TQDM_DISABLE="1")
    assert "meta-train.jsonl" in loud.stderr
    assert quiet.stderr == "" and quiet.stdout == loud.stdout
    assert "no NAF" in quiet.stdout
