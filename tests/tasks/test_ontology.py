"""Trees of kinds: alike in all worlds but for what knowledge says; the lexicon; PrOntoQA."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from shared_data import shared
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from mplib.errors import InputError
from mplib.tasks.examples import Example, ExampleSet
from mplib.tasks.ontology import Ontology, prontoqa
from mplib.tasks.ontology.lexicon import OURS, parse, read_lexicon
from mplib.tasks.task import task_of
from mplib.tasks.textbaseline import text_features
from mplib.tasks.words import tokens, words

LEXICON = read_lexicon("ontology")
SHAPES = [(1, 2), (2, 2), (3, 4), (5, 2), (5, 4)]


def worlds(depth: int, chains: int = 2, n: int = 64) -> dict[str, ExampleSet]:
    """The same trees in every world."""
    sets = Ontology(depths=(depth,), chains=chains).sets("test", n)
    return {one.name.split(", ")[1]: one for one in sets}


def chain(example: Example, name: str) -> tuple[list[str], str, bool]:
    """Nouns of a thing's chain upwards, then what they are said to have, or not."""
    told = [text.rstrip(".").split() for text in example.statements]
    (nouns,) = [[x[-1]] for x in told if x[0] == name]
    while True:
        (rule,) = [x for x in told if x[0] in ("Every", "No") and x[1] == nouns[-1]]
        if rule[-2] != "a":
            return nouns, rule[-1], rule[0] == "Every"
        nouns.append(rule[-1])


@pytest.mark.parametrize(("depth", "chains"), SHAPES)
def test_the_text_shows_the_same_in_every_world(depth: int, chains: int) -> None:
    arms = worlds(depth, chains)
    true, *others = arms.values()
    assert [*arms] == ["true", "invented", "false"] and true.size == chains * (depth + 1)
    for other in others:
        np.testing.assert_array_equal(*map(text_features, (true.examples, other.examples)))
        np.testing.assert_array_equal(true.heights, other.heights)
        for one, same in zip(true.examples, other.examples, strict=True):
            assert (one.question, one.answer, one.group) == (same.question, same.answer, same.group)
            nouns = [{*words(" ".join(x.statements))} & {*LEXICON.nouns} for x in (one, same)]
            assert nouns[1] == (nouns[0] if other is arms["false"] else set())
            assert len({*words(" ".join(same.statements))} & {*LEXICON.invented}) == (
                0 if other is arms["false"] else chains * depth
            )


@pytest.mark.parametrize(("depth", "chains"), SHAPES)
def test_knowledge_gives_the_answer_in_the_true_world_alone(depth: int, chains: int) -> None:
    for world, one in worlds(depth, chains).items():
        for example in one.examples:
            subject, *between, about = example.question.rstrip(".").split()
            rules = [x[:-1].split() for x in example.statements if x.startswith(("Every ", "No "))]
            kinds = {x[1]: x[4] for x in rules if x[3] == "a"}
            nouns, said_of, has = chain(example, subject)
            # What is told gives the answer, by a tree of the chain alone.
            assert (said_of, len(nouns)) == (about, depth)
            assert example.answer == str(has == (between == ["is"]))
            assert example.tree.depth == depth and len(example.tree.useful) == depth + 1
            useful = " ".join(example.statements[i] for i in example.tree.useful)
            assert {*nouns, subject} <= {*tokens(useful)}
            if world == "invented":
                assert not {*kinds, *kinds.values(), *nouns} & {*LEXICON.nouns}
                continue
            # All rules are true, or none is; knowledge of every thing says what is told, or not.
            so = [above in LEXICON.line(below) for below, above in kinds.items()]
            so += [LEXICON.has(x[1], about) is (x[0] == "Every") for x in rules if x[3] != "a"]
            assert {*so} == {world == "true"}
            assert LEXICON.has(nouns[0], about) is (has == (world == "true"))


@pytest.mark.parametrize("depth", [1, 4])
def test_answers_and_polarities_come_equally_often(depth: int) -> None:
    for one in worlds(depth).values():
        pairs = Counter((x.answer, "not" in x.question) for x in one.examples)
        assert [*pairs.values()] == [16] * 4
        for x in one.examples:  # neither do the rules about the property tell
            assert Counter(text.split()[0] for text in x.statements)["No"] == 1


@pytest.mark.parametrize(("depth", "chains"), [(1, 2), (2, 4), (4, 2)])
def test_among_rules_the_text_does_not_tell_what_is_useful(depth: int, chains: int) -> None:
    one = worlds(depth, chains, 256)["true"]
    rows = one.rules >= -1
    x, y = text_features(one.examples)[rows], one.rules[rows] >= 0
    groups = np.broadcast_to(np.arange(256)[:, None], rows.shape)[rows]

    def f1(labels: np.ndarray) -> float:
        model = KNeighborsClassifier(8, weights="distance", p=1)
        folds = GroupKFold(5)
        return cross_val_score(model, x, labels, groups=groups, cv=folds, scoring="f1_macro").mean()

    dealt = np.random.default_rng(0).permutation(y)
    assert abs(f1(y) - f1(dealt)) < 0.06
    # By value: shared words, length, recurrence of useful rules are those of the others.
    for shape in np.unique(x[:, [0, 1, 3]], axis=0):
        of = (x[:, [0, 1, 3]] == shape).all(axis=1)
        assert abs(y[of].mean() - 1 / chains) < 3.5 * np.sqrt(0.25 / of.sum())


def test_a_tree_hangs_on_its_number_alone_and_splits_share_none() -> None:
    task = Ontology(depths=(2,), worlds=("false",))
    (few,), (many,) = task.sets("test", 3), task.sets("test", 9)
    assert few.examples == many.examples[:3]
    assert few.train == many.train and "invented" not in few.name
    # Demonstrations are told in words that no world of those asked has.
    text = {*words(" ".join(t for x in few.train for t in x.statements))}
    assert not text & {*LEXICON.nouns}
    (asked,) = Ontology(depths=(2,), worlds=("invented",)).sets("test", 64)
    told = {*words(" ".join(t for x in asked.examples for t in x.statements))}
    assert not told & text & {*LEXICON.invented}
    train, dev, test = Ontology().splits(400, 0)
    assert [len(train), len(dev), len(test)] == [384, 8, 8]
    assert len({x.key for x in (*train, *dev, *test)}) == 400
    assert {x.tree.depth for x in train} == {1, 2}
    assert {*tokens(" ".join(t for x in train for t in (*x.statements, x.question)))} <= {
        *Ontology().vocabulary
    }


def test_the_lexicon_is_rich_and_its_words_are_unlike_prontoqas() -> None:
    assert len(LEXICON.nouns) >= 150 and len(LEXICON.properties) >= 15
    tops = {LEXICON.line(noun)[-1] for noun in LEXICON.nouns}
    assert len(tops) >= 5
    assert not any(word.endswith("pus") for word in LEXICON.invented)
    for depth in range(1, 6):
        able = [p for p in LEXICON.properties if all(
            LEXICON.chains(p, has, depth) for has in (True, False)
        )]  # fmt: skip
        assert len(able) >= 3, depth


SMALL = {
    "kinds": {"pet": "cat dog", "cat": "tabby"},
    "properties": {"furry": {"has": "cat", "lacks": "dog"}},
    "invented": "blip blop gnip gnop", "names": "Max Sam",
}  # fmt: skip


def lexicon(folder: Path, record: object) -> str:
    path = folder / "lexicon.json"
    path.write_text(record if isinstance(record, str) else json.dumps(record, indent=1))
    return str(path)


def test_a_lexicon_of_ones_own(tmp_path: Path) -> None:
    task = Ontology(depths=(1,), lexicon=lexicon(tmp_path, SMALL))
    true, _, false = task.sets("test", 40)
    assert len(true.examples) == 40
    told = {" ".join(sorted(x.statements)) for x in true.examples}
    assert "Every tabby is furry. Max is a tabby. No dog is furry. Sam is a dog." in told
    assert all("No dog is furry." not in x.statements for x in false.examples)
    train, dev, test = task.splits(400, 0)  # so few words make the same tree again and again
    assert len(train) < 384 and not {x.key for x in train} & {x.key for x in (*dev, *test)}
    deeper = Ontology(depths=(2,), lexicon=task.lexicon)
    with pytest.raises(InputError, match=r"too few words for depth 2 with 2 chains.*add some"):
        deeper.sets("test", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kinds": None}, r"field 'kinds': expected dict, found None"),
        ({"kinds": {"pet": ["cat"]}}, r"field 'pet': expected str"),
        ({"kinds": {"pet": "cat", "beast": "cat"}}, r"'cat' is a kind of two others: keep one"),
        ({"kinds": {"pet": "cat", "cat": "pet"}}, r"in a circle"),
        ({"kinds": {"pet": "cat dog animal"}}, r"noun 'animal': expected one that takes 'a'"),
        ({"kinds": {"pet": "cat dog furry"}}, r"'furry' stands for two things"),
        ({"kinds": {"pet": "cat dog ca/t"}}, r"'ca/t': expected one word"),
        ({"kinds": {"pet": "cat, dog"}}, r"'cat,': expected one word and no marks; part words by"),
        ({"invented": "blip, blop"}, r"'blip,': expected one word and no marks"),
        ({"names": "Max. Sam"}, r"'Max\.': expected one word and no marks"),
        ({"names": "Max Tabby"}, r"'tabby' stands for two things, case aside"),
        ({"kinds": {"pet": "cat dog Cat"}}, r"'Cat' stands for two things, case aside"),
        ({"invented": "blip not"}, r"'not' is a word of the sentences themselves: rename it"),
        ({"names": "Max EVERY"}, r"'EVERY' is a word of the sentences"),
        ({"kinds": {"pet": "cat dog Owl"}}, r"noun 'Owl': expected one that takes 'a'"),
        ({"kinds": {"pet": "cat dog \u00e9meu"}}, r"expected one that takes 'a'"),
        ({"invented": "blip heirloom"}, r"noun 'heirloom': expected one that takes 'a'"),
        ({"properties": {"furry": {"has": "cat"}}}, r"field 'lacks' of furry: expected str"),
        ({"properties": {"furry": {"has": "cow", "lacks": "dog"}}}, r"'cow', which is no noun"),
        ({"properties": {"furry": {"has": "cat", "lacks": "cat"}}}, r"had and lacked by 'cat'"),
        ({"properties": {"furry": {"has": "pet", "lacks": "dog"}}}, r"'furry': 'dog'.*drop one"),
        ({"invented": "blip"}, r"too few words for depth 1 with 2 chains"),
        ({"names": "Max"}, r"too few words for depth 1 with 2 chains"),
    ],
)  # fmt: skip
def test_a_bad_lexicon_is_one_clear_error(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Ontology(depths=(1,), lexicon=lexicon(tmp_path, SMALL | change)).sets("test", 1)


def test_a_lexicon_that_cannot_be_read(tmp_path: Path) -> None:
    for content in ("", "{", "[]", json.dumps([SMALL, SMALL])):
        with pytest.raises(InputError, match=r"lexicon\.json"):
            read_lexicon.__wrapped__(lexicon(tmp_path, content))
    with pytest.raises(InputError, match="cannot be read"):
        read_lexicon(str(tmp_path / "absent.json"))
    assert parse(json.loads(OURS.read_text())) == LEXICON
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in SMALL.items())
    for content in ("{" + lines + "}", json.dumps(SMALL)):
        assert read_lexicon.__wrapped__(lexicon(tmp_path, content)) == parse(SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"worlds": ["ture"]}, "Did you mean 'true'"),
        ({"worlds": []}, "one world or more"),
        ({"depths": [0]}, "depths from 1 to 5"),
        ({"depths": [6]}, "depths from 1 to 5"),
        ({"chains": 3}, "expected 2, 4 or 6"),
        ({"order": "sorted"}, "order='sorted'"),
    ],
)
def test_what_cannot_be_chosen(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        task_of({"task": "ontology"} | change).sets("test", 1)
    with pytest.raises(InputError, match="split='tset'"):
        Ontology().sets("tset", 1)


# PrOntoQA.

RECORD = {
    "id": "ProntoQA_0", "answer": "B", "options": ["A) True", "B) False"],
    "context": "Every blip is a blop. No gnip is shy. Blops are not shy. Max is a blip.",
    "question": "Is the following statement true or false? Max is shy.",
    "explanation": ["Max is a blip.", "Every blip is a blop.", "Max is a blop.",
                    "Blops are not shy.", "Max is not shy."],
}  # fmt: skip


def test_a_question_by_hand() -> None:
    example = prontoqa.parse(RECORD)
    assert example.statements[1:3] == ("No gnip is shy.", "Blops are not shy.")
    assert example.tree.labels().tolist() == [1, -1, 2, 0] and example.tree.root == 2
    assert (example.question, example.answer) == ("Max is shy.", "False")
    assert example.kinds == ("rule", "rule", "rule", "fact")
    other = prontoqa.parse(RECORD, "random", 3)
    assert other.statements != example.statements and {*other.statements} == {*example.statements}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "C"}, "'answer': expected one of A, B, found 'C'"),
        ({"options": "A"}, "'options': expected list"),
        ({"id": 5}, "'id': expected str"),
        ({"question": " "}, "'question'"),
        ({"context": "Max is a blip."}, "found 'Every blip is a blop.'"),
        ({"context": RECORD["context"] + " Max is a blip."}, "'Max is a blip.' told 2 times"),
        ({"answer": "A"}, "'Max is not shy.' does not make 'Max is shy.' True"),
        ({"question": "True or false? Max is not shy."}, "does not make 'Max is not shy.' False"),
        ({"question": "True or false? Max is keen."}, "does not make 'Max is keen.' False"),
        ({"question": "True or false: Max is shy."}, "'question': expected '.*Max is ...', found"),
        ({"question": "True or false? "}, "'question': expected"),
        ({"options": ["A) True", "A) False"]}, "'options': expected two or more that differ"),
        ({"options": ["A) True", "B) True"]}, "'options': expected two or more that differ"),
        ({"options": ["B) False"]}, "'options': expected two or more that differ"),
        ({"explanation": RECORD["explanation"][:3]}, "'Max is a blop.' does not make"),
        ({"explanation": RECORD["explanation"][:4]}, "found 4 sentences"),
        ({"explanation": [*RECORD["explanation"][:4], 5]}, "found 5 sentences, the last 5"),
        (
            {"explanation": RECORD["explanation"][:1] + RECORD["explanation"][3:]},
            "'Max is not shy.' does not follow by 'Blops are not shy.'",
        ),
        ({"explanation": []}, "premises that the context tells, found 0"),
        ({"explanation": ["Max is a blip."]}, "found 1"),
        ({"explanation": [5, 6]}, "found 5"),
        ({"explanation": ["Max is a blip.", "Max is a blip."]}, "circle"),
    ],
)
def test_a_bad_question_is_one_clear_error(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps([RECORD, RECORD | change]))
    with pytest.raises(InputError, match=message) as error:
        Ontology(data=str(path), depths=(2,)).sets("test", 1)
    assert "questions.json, record 2: " in str(error.value)


def test_prontoqas_own_file() -> None:
    path = shared("prontoqa/dev_shared.json")
    task = Ontology(data=str(path), depths=(5,))
    (test,), (train,) = task.sets("test", 1000), task.sets("train", 1000)
    (dev,) = task.sets("dev", 1000)
    parts = [{x.group for x in one.examples} for one in (train, dev, test)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 250
    assert {x.group for x in test.train} == parts[0]
    for x in test.examples:
        premises = sorted(x.tree.heights, key=x.tree.heights.__getitem__)
        told = [x.statements[i] for i in premises]
        assert len(told) == 6 and x.kinds[premises[0]] == "fact"
        for low, high in pairwise(told):  # a rule is about what the one below concludes
            noun = low.rstrip(".").split()[-1].removesuffix("es").removesuffix("s")
            assert noun in high.lower()
    assert [len(part) for part in task.splits(40, 0)] == [24, 8, 8]
    with pytest.raises(InputError, match=r"no test question of depth 1: it has \[5\]"):
        Ontology(data=str(path)).sets("test", 1)
    assert {*tokens(" ".join(x.question for x in test.examples))} <= {*task.vocabulary}
