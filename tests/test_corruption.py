"""Corruptions: the statement asked for, nothing else, in the text that the model reads."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mplib.errors import InputError
from mplib.models.fewshot import TEMPLATES, few_shot, write
from mplib.studies.corruption import DIFFERENCES, Outcome, effects, spread
from mplib.tasks.corruptions import CORRUPTIONS, NUMBERS, corrupt, corrupt_all, replace_number
from mplib.tasks.examples import Example
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.proofwriter import generator
from mplib.tasks.proofwriter.logic import Rule, read, read_fact, read_theory
from mplib.tasks.trees import USELESS, ReasoningTree

KINDS = [
    {"depth": 0, "n_statements": 3},
    {"depth": 1, "n_statements": 4},
    {"depth": 2, "n_statements": 8},
    {"depth": 3, "n_statements": 12, "style": "relation"},
    {"depth": 1, "n_statements": 8, "negation": True, "world": "open"},
    {"depth": 2, "n_statements": 9, "giveaway": False},
]
DRAWN = [
    (example, kind.get("world", "closed"))
    for kind in KINDS
    for example in generator.examples(12, **kind)
]
some_theory = st.sampled_from(DRAWN)
REWORDED = sorted({*CORRUPTIONS} - {"shuffled", "useful removed", "useless removed"})


def tiny(useful: int = 1, others: int = 2) -> Example:
    """A chain of useful statements, then useless ones."""
    n = useful + others
    tree = ReasoningTree.from_edges([(i, i + 1) for i in range(useful - 1)], n, root=useful - 1)
    return Example(tuple(f"Word {i}." for i in range(n)), "Word?", "yes", tree, "g", ("no", "yes"))


# Statements in words


@given(some_theory, st.sampled_from(sorted(CORRUPTIONS)), st.integers(0, 5))
def test_only_what_was_asked_for_is_hit(drawn, name, seed):
    example, _ = drawn
    found = corrupt(example, name, seed)
    if found is None:
        return
    other = found.example
    kept = ("question", "answer", "group", "choices")
    assert all(getattr(other, field) == getattr(example, field) for field in kept)
    if name == "shuffled":
        assert found.hit is None
        assert other.statements != example.statements
        assert sorted(other.statements) == sorted(example.statements)
        return
    useful = found.hit in example.tree.useful
    assert useful == ("useless" not in name) or name == "first negated"
    before, now = list(example.statements), list(other.statements)
    hit = before.pop(found.hit)
    if "removed" not in name:
        assert now.pop(found.hit) != hit
        assert (other.tree, other.kinds) == (example.tree, example.kinds)
    assert now == before


@given(some_theory, st.sampled_from(["shuffled", "useful removed", "useless removed"]))
def test_the_tree_moves_with_the_statements(drawn, name):
    example, _ = drawn
    if (found := corrupt(example, name)) is None:
        return
    # Statements of a theory differ, so a text names one.
    assert len({*example.statements}) == len(example.statements)
    height = dict(zip(example.statements, example.tree.labels().tolist(), strict=True))
    other = found.example
    assert other.tree.labels().tolist() == [height[text] for text in other.statements]
    text = dict(enumerate(example.statements))
    edges = {(text[a], text[b]) for a, b in example.tree.edges if found.hit not in (a, b)}
    assert {(other.statements[a], other.statements[b]) for a, b in other.tree.edges} == edges
    assert other.tree.depth == max(other.tree.heights.values())
    if example.tree.root != found.hit:
        assert other.statements[other.tree.root] == text[example.tree.root]
    kind = dict(zip(example.statements, example.kinds, strict=True))
    assert other.kinds == tuple(kind[text] for text in other.statements)


@given(some_theory, st.sampled_from(["useful negated", "useless negated", "first negated"]))
def test_a_negation_has_the_papers_words(drawn, name):
    example, _ = drawn
    if found := corrupt(example, name):
        said = example.statements[found.hit]
        assert found.example.statements[found.hit] == f"That {said[:-1]} is false."
        assert found.hit == 0 or name != "first negated"


@given(some_theory, st.integers(0, 5))
def test_a_paraphrase_keeps_the_meaning(drawn, seed):
    example, world = drawn
    if (found := corrupt(example, "paraphrased", seed)) is None:
        return
    told = [read_theory(" ".join(x.statements), world) for x in (example, found.example)]
    assert told[0] == told[1]
    question = read_fact(example.question)
    assert [theory.truth(question) for theory in told] == [example.answer] * 2


@given(some_theory, st.integers(0, 5))
def test_a_negated_conclusion_changes_the_head_alone(drawn, seed):
    example, _ = drawn
    if (found := corrupt(example, "conclusion negated", seed)) is None:
        assert not any(isinstance(read(example.statements[i]), Rule) for i in example.tree.useful)
        return
    before, now = (read(x.statements[found.hit]) for x in (example, found.example))
    assert now == before._replace(head=before.head.negated())
    # The words of its conditions stay too.
    first, second = (x.statements[found.hit] for x in (example, found.example))
    conditions = re.compile(".+ (?:then|things|people) ")
    assert conditions.match(first)[0] == conditions.match(second)[0]


@given(some_theory, st.sampled_from(sorted(CORRUPTIONS)))
def test_the_same_seed_gives_the_same_corruption_in_any_company(drawn, name):
    example, _ = drawn
    alone = corrupt(example, name, 3)
    assert alone == corrupt(example, name, 3)
    if alone is not None:
        found, possible = corrupt_all([DRAWN[0][0], example, DRAWN[1][0]], name, 3)
        assert found[int(possible[0])] == alone and possible[1]


def test_seeds_hit_different_statements_and_removals_the_negated_ones():
    example = tiny(useful=4, others=4)
    for kind in ("useful", "useless"):
        hits = [corrupt(example, f"{kind} negated", seed).hit for seed in range(200)]
        removed = [corrupt(example, f"{kind} removed", seed).hit for seed in range(200)]
        assert hits == removed
        counts = np.unique(hits, return_counts=True)[1]
        assert len(counts) == 4 and counts.min() > 25, "each equally often"


@given(some_theory, st.sampled_from(REWORDED), st.sampled_from(sorted(TEMPLATES)))
def test_the_text_that_the_model_reads_is_changed_there_alone(drawn, name, template):
    example, _ = drawn
    if (found := corrupt(example, name)) is None:
        return
    before, now = (write(x, template) for x in (example, found.example))
    (start, end), (_, new_end) = before.statements[found.hit], now.statements[found.hit]
    assert before.text[:start] == now.text[:start]
    assert before.text[end:] == now.text[new_end:]
    assert now.text[start:new_end] == found.example.statements[found.hit]
    assert before.text[start:end] == example.statements[found.hit]


@pytest.mark.parametrize("template", sorted(TEMPLATES))
@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_prompts_hold_the_corrupted_statement_behind_clean_demonstrations(
    word_tokenizer, template, name
):
    *shown, example = generator.examples(4, depth=2, n_statements=8)
    found = corrupt(example, name)
    other = found.example
    prompts, choices = few_shot(word_tokenizer, [other], [shown], template=template)
    tokens = prompts.whole().input_ids[0]
    words = word_tokenizer.convert_ids_to_tokens(tokens)
    before = "".join(f"{write(x, template).text} {x.answer}\n" for x in shown)
    assert words == (before + write(other, template).text).split()
    spans = prompts.whole().statements[0]
    assert [" ".join(words[a:b]) for a, b in spans] == [*other.statements]
    assert len(choices) == 2


def test_what_cannot_be_corrupted_is_none_or_said():
    assert corrupt(tiny(useful=3, others=0), "useless negated") is None
    assert corrupt(tiny(useful=3, others=0), "useless removed") is None
    assert corrupt(tiny(useful=1), "useful removed") is None, "its tree would be empty"
    assert corrupt(tiny(useful=3), "paraphrased") is None
    assert corrupt(tiny(useful=3), "conclusion negated") is None
    alone = tiny(useful=1, others=0)
    assert corrupt(alone, "shuffled") is None
    assert corrupt(alone, "useful negated").hit == 0
    found, possible = corrupt_all([alone, tiny()], "useless negated")
    assert (len(found), possible.tolist()) == (1, [False, True])
    with pytest.raises(InputError, match="'useless negated' is possible in none of the 1 examples"):
        corrupt_all([alone], "useless negated")
    with pytest.raises(InputError, match=r"'useful negatd': expected .* mean 'useful negated'"):
        corrupt(alone, "useful negatd")


# Lists of numbers


def replacements(task, numbers, place, keep_order):
    """All numbers that may stand in the place of one."""
    old = numbers[place]
    low = max((x for x in numbers if x < old), default=-1) if keep_order else -1
    high = min((x for x in numbers if x > old), default=task.pool) if keep_order else task.pool
    free = [c for c in range(low + 1, high) if task.repeats or c not in numbers]
    return {*free} - {old}


@given(
    st.integers(2, 7), st.integers(1, 7), st.integers(0, 12), st.booleans(), st.booleans(),
    st.sampled_from(NUMBERS), st.integers(0, 20),
)  # fmt: skip
def test_one_number_of_the_kind_is_replaced(m, k, spare, repeats, keep_order, name, seed):
    task = KSmallest(min(k, m), m=m, pool=m + spare, repeats=repeats)
    lists = task.draw(20, seed)
    height = {NUMBERS[0]: task.depth, NUMBERS[1]: 0 if task.k > 1 else None, NUMBERS[2]: USELESS}
    room = [
        {
            place: may
            for place in range(m)
            if labels[place] == height[name]
            and (may := replacements(task, numbers, place, keep_order))
        }
        for numbers, labels in zip(lists.tolist(), task.heights(lists).tolist(), strict=True)
    ]
    if not any(room):
        with pytest.raises(InputError, match=f"{name}' is possible in none of the 20 lists"):
            replace_number(task, lists, name, seed, keep_order=keep_order)
        return
    found = replace_number(task, lists, name, seed, keep_order=keep_order)
    assert found.possible.tolist() == [bool(places) for places in room]
    assert ((found.lists != lists).sum(axis=1) == found.possible).all()
    assert (found.clean_answers == task.answers(lists)).all()
    assert (found.answers == task.answers(found.lists)).all()
    for i in np.flatnonzero(found.possible):
        place = found.positions[i]
        assert found.lists[i, place] in room[i][place]
    if keep_order and name != NUMBERS[0]:
        assert (found.answers == found.clean_answers).all()
        assert (task.heights(found.lists) == task.heights(lists)).all()


def test_numbers_and_places_are_drawn_uniformly():
    task = KSmallest(3, m=5, pool=10)
    lists = np.tile([8, 1, 4, 9, 2], (20_000, 1))
    found = replace_number(task, lists, "leaf replaced", seed=1)
    places, counts = np.unique(found.positions, return_counts=True)
    assert places.tolist() == [1, 4] and abs(counts / 20_000 - 0.5).max() < 0.02
    new, counts = np.unique(found.lists[found.lists != lists], return_counts=True)
    assert new.tolist() == [0, 3, 5, 6, 7] and abs(counts / 20_000 - 0.2).max() < 0.02
    again = replace_number(task, lists, "leaf replaced", seed=1)
    assert (again.lists == found.lists).all()
    kept = replace_number(task, lists, "useless replaced", seed=1, keep_order=True)
    assert {*kept.lists[kept.positions == 0][:, 0].tolist()} == {5, 6, 7}
    assert (kept.positions == 0).all(), "nothing is left between 8 and 10"


@pytest.mark.parametrize(
    ("task", "name", "words"),
    [
        (KSmallest(1, m=4, pool=9), "leaf replaced", "k=1 has no leaves"),
        (KSmallest(4, m=4, pool=9), "useless replaced", "k=m nothing useless"),
        (KSmallest(2, m=4, pool=4), "root replaced", "raise pool"),
        (KSmallest(2, m=4, pool=9), "rot replaced", "Did you mean 'root replaced'"),
    ],
)
def test_numbers_that_cannot_be_replaced_are_said(task, name, words):
    with pytest.raises(InputError, match=words):
        replace_number(task, task.draw(5, 0), name)


# What corruptions do to answers


def outcome(*correct: float) -> Outcome:
    return Outcome(np.array(correct), np.log(np.array(correct) + 1))


def value(table, corruption, measure, minus="", column="value"):
    row = table[
        (table.corruption == corruption) & (table.measure == measure) & (table.minus == minus)
    ]
    return row[column].item()


def test_effects_are_paired_where_the_corruption_was_possible():
    clean = outcome(1, 1, 0, 1)
    nan = np.nan
    corrupted = {
        "useful negated": outcome(0, 1, nan, nan), "useless negated": outcome(nan, 1, 0, 1),
        "paraphrased": outcome(nan, nan, 0, 1), "never": outcome(nan, nan, nan, nan),
    }  # fmt: skip
    table = effects(clean, corrupted)
    assert value(table, "useful negated", "clean accuracy") == 1
    assert value(table, "useful negated", "accuracy") == 0.5
    assert value(table, "useful negated", "change in accuracy") == -0.5
    change = value(table, "useful negated", "change in log-probability")
    assert change == pytest.approx(-np.log(2) / 2)
    assert value(table, "useless negated", "clean accuracy") == pytest.approx(2 / 3)
    # Only the second example has both.
    pair = ("useful negated", "change in accuracy", "useless negated")
    assert value(table, *pair) == 0 and value(table, *pair, column="examples") == 1
    none = ("useful negated", "change in accuracy", "paraphrased")
    for case in (none, ("never", "accuracy")):
        assert np.isnan(value(table, *case)) and "undefined" in value(table, *case, column="note")
    assert table.value.isna().eq(table.note.notna()).all()
    assert ("useful removed", "useless removed") in DIFFERENCES
    assert not table.minus.eq("useless removed").any()


def test_the_difference_is_surer_than_its_parts_and_groups_less_sure_than_examples():
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.5  # half of the examples lose the answer by any corruption
    clean = Outcome(np.ones(400), np.zeros(400))
    harm = {"useful negated": 0.1, "useless negated": 0.0}
    corrupted = {
        name: Outcome(1.0 - (hard | (rng.random(400) < more)), -rng.random(400))
        for name, more in harm.items()
    }

    def width(table, *case):
        high, low = (value(table, *case, column=c) for c in ("high", "low"))
        return high - low

    table = effects(clean, corrupted)
    pair = ("useful negated", "change in accuracy", "useless negated")
    assert width(table, *pair) < width(table, *pair[:2])
    assert value(table, *pair, column="high") < 0
    order = np.argsort(hard)
    grouped = effects(
        *(Outcome(x.correct[order], x.log_probability[order]) for x in (clean,)),
        {n: Outcome(x.correct[order], x.log_probability[order]) for n, x in corrupted.items()},
        groups=np.repeat(np.arange(20), 20),
    )
    assert width(grouped, *pair[:2]) > 2 * width(table, *pair[:2])


def test_answers_return_to_their_places():
    possible = np.array([False, True, True])
    found = spread(np.array([True, False]), np.array([-0.1, -2.0]), possible)
    np.testing.assert_array_equal(found.correct, [np.nan, 1, 0])
    np.testing.assert_array_equal(found.log_probability, [np.nan, -0.1, -2])
    with pytest.raises(InputError, match="useful negated: 2 examples, but 3 clean ones"):
        effects(outcome(1, 1, 0), {"useful negated": outcome(1, 0)})


@pytest.fixture(scope="module")
def word_tokenizer():
    """Every word of the theories, template and answers is a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    texts = [write(x, t).text for x, _ in DRAWN for t in TEMPLATES]
    drawn = generator.examples(4, depth=2, n_statements=8)
    for name in CORRUPTIONS:
        texts += [write(found.example, "plain").text for x in drawn if (found := corrupt(x, name))]
    words = sorted({word for text in texts for word in text.split()} | {"True", "False"})
    words += ["<unk>", "<pad>"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", padding_side="left"
    )
