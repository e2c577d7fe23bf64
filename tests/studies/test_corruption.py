"""Corruption: clean and corrupted problems behind the same demonstrations, and what that does."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import looked_at, numbers, outcome
from shared_data import shared

from mplib.errors import InputError
from mplib.models import fewshot
from mplib.models.inference import Answers, answers
from mplib.models.loading import load_model
from mplib.studies.corruption import DIFFERENCES, ask, effects
from mplib.studies.language import Subject, joined_sets
from mplib.tasks.corruptions import CORRUPTIONS, Impossible, corrupt
from mplib.tasks.examples import Example
from mplib.tasks.ksmallest import NUMBERS, KSmallest, replace_number
from mplib.tasks.proofwriter import ProofWriter
from mplib.tasks.trees import ReasoningTree

LISTS = KSmallest(2, m=6, pool=20)
THEORIES = ProofWriter(cases=("d1 s4",))


@pytest.fixture(scope="module")
def nano():
    return Subject("finetuned", load_model("nano", vocabulary=20, device="cpu"), 0)


@pytest.fixture(scope="module")
def asker():
    loaded = load_model("llama-nano", vocabulary=THEORIES.vocabulary, device="cpu")
    return Subject("2-shot", loaded, 2)


@pytest.fixture(scope="module")
def one():
    return joined_sets(THEORIES, "test", 12)


# Problems asked clean and corrupted


def test_every_list_is_run_once_clean_and_once_for_each_corruption(nano):
    model, lists = looked_at(nano.loaded.model), LISTS.draw(20, seed=0)
    seen: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, given: seen.append(len(given["input_ids"])), with_kwargs=True
    )
    asked = ask(LISTS, lists, nano, twins=0, batch_size=7)
    hook.remove()
    assert sum(seen) == 20 * (1 + len(NUMBERS))
    assert set(asked.corrupted) == {*NUMBERS, *(f"{name}, new answer" for name in NUMBERS)}
    for name in NUMBERS:
        found = replace_number(LISTS, lists, name, 0)
        for key, asked_of in ((name, lists), (f"{name}, new answer", found.lists)):
            right = LISTS.answers(asked_of).astype(np.int64)
            alone = answers(model, replace(numbers(LISTS, found.lists), answers=right))
            np.testing.assert_array_equal(asked.corrupted[key].correct, alone.correct)
            np.testing.assert_allclose(
                asked.corrupted[key].log_probability, alone.log_probability, atol=1e-5
            )


def test_numbers_that_keep_the_order_keep_the_answer(nano):
    task, lists = replace(LISTS, pool=40), LISTS.draw(30, seed=0) * 2
    wide = Subject("finetuned", load_model("nano", vocabulary=40, device="cpu"), 0)
    asked = ask(task, lists, wide, ["leaf replaced"], corruptions=task.replacements(True), twins=0)
    old, new = asked.corrupted["leaf replaced"], asked.corrupted["leaf replaced, new answer"]
    np.testing.assert_array_equal(old.correct, new.correct)
    np.testing.assert_array_equal(old.log_probability, new.log_probability)
    free = ask(task, lists, wide, ["root replaced"], twins=0).corrupted
    assert (
        free["root replaced"].log_probability != free["root replaced, new answer"].log_probability
    ).any()


def test_without_leaves_no_leaf_is_replaced(nano):
    task = KSmallest(1, m=6, pool=20)
    asked = ask(task, task.draw(10, seed=0), nano, twins=1)
    assert not any(name.startswith("leaf") for name in asked.corrupted)
    assert len(asked.twins) == 1 and asked.twins[0].shape == asked.features.shape


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "redrawn"])
def test_corrupted_examples_stand_behind_the_demonstrations_of_the_clean_ones(asker, one, shared):
    shown = fewshot.demonstrate(one.train, 2, len(one.examples), shared=shared, seed=0)
    names = ["useless negated", "paraphrased"]
    asked = ask(THEORIES, one.examples, asker, names, shown=shown, twins=0)
    for name, found in asked.corrupted.items():
        for i, example in enumerate(one.examples):
            changed = corrupt(example, name, 0)
            if changed is None:
                assert np.isnan(found.correct[i])
                continue
            prompts, choices = fewshot.few_shot(
                asker.loaded.tokenizer, [changed.example], [shown[i]], template="True or False?"
            )
            alone = answers(asker.loaded.model, prompts, choices=choices)
            assert found.log_probability[i] == pytest.approx(alone.log_probability[0], abs=1e-4)
            assert found.correct[i] == alone.correct[0]
            change = asked.values[f"change in accuracy, {name}"][i]
            assert change == alone.correct[0] - asked.clean.correct[i]
    table = effects(asked.clean, asked.corrupted, groups=asked.groups, resamples=20)
    assert set(table.corruption) == {"useless negated", "paraphrased"}
    assert list(asked.shown.corruption) == ["none", "useless negated", "paraphrased"]


def test_what_is_possible_nowhere_is_left_out_unless_it_is_asked_for_by_name(asker):
    tree = ReasoningTree.from_edges([(0, 1)], 2)
    told = ("Bob is red.", "Red things are big.")
    tiny = [Example(told, "Bob is big.", "True", tree, choices=("True", "False"))] * 5
    asked = ask(THEORIES, tiny, asker, twins=0)
    assert set(asked.corrupted) == {*CORRUPTIONS}
    without = [name for name, found in asked.corrupted.items() if np.isnan(found.correct).all()]
    assert without == ["useless negated", "useless removed"]
    assert not {*without} & {*asked.shown.corruption}
    table = effects(asked.clean, asked.corrupted, resamples=20).set_index(["corruption", "minus"])
    assert (table.loc[("useless negated", ""), "examples"] == 0).all()
    with pytest.raises(Impossible, match="'useless removed' is possible in none"):
        ask(THEORIES, tiny, asker, ["useful negated", "useless removed"], twins=0)


def test_corruptions_of_another_task_are_refused(nano, asker, one):
    with pytest.raises(InputError, match=r"'root replaced'.*useful negated"):
        ask(THEORIES, one.examples, asker, ["root replaced"])
    with pytest.raises(InputError, match="'shuffled'"):
        ask(LISTS, LISTS.draw(5, 0), nano, ["shuffled"])


def test_more_questions_than_a_file_has():
    sample = shared("proofwriter/official_cwa_sample.jsonl")
    task = ProofWriter(data=str(sample), cases=("d0",))
    with pytest.raises(InputError, match=r"examples=1000000: there are \d+ test questions of "):
        joined_sets(task, "test", 10**6)


# What corruptions do to answers


def value(table, corruption, measure, minus="", column="value"):
    row = table[
        (table.corruption == corruption) & (table.measure == measure) & (table.minus == minus)
    ]
    return row[column].item()


def test_effects_are_paired_where_the_corruption_was_possible():
    clean = outcome([1, 1, 0, 1])
    nan = np.nan
    corrupted = {
        "useful negated": outcome([0, 1, nan, nan]), "useless negated": outcome([nan, 1, 0, 1]),
        "paraphrased": outcome([nan, nan, 0, 1]), "never": outcome([nan, nan, nan, nan]),
    }  # fmt: skip
    table = effects(clean, corrupted)
    assert value(table, "useful negated", "clean accuracy") == 1
    assert value(table, "useful negated", "accuracy") == 0.5
    assert value(table, "useful negated", "change in accuracy") == -0.5
    change = value(table, "useful negated", "change in log-probability")
    assert change == pytest.approx(-1.9 / 2)
    assert value(table, "useless negated", "clean accuracy") == pytest.approx(2 / 3)
    # Only the second example has both.
    pair = ("useful negated", "change in accuracy", "useless negated")
    assert value(table, *pair) == 0 and value(table, *pair, column="examples") == 1
    none = ("useful negated", "change in accuracy", "paraphrased")
    for case in (none, ("never", "accuracy")):
        assert np.isnan(value(table, *case)) and "undefined" in value(table, *case, column="note")
    assert ("useful removed", "useless removed") in DIFFERENCES
    assert not table.minus.eq("useless removed").any()


def test_what_never_changes_may_yet_change():
    right = outcome(np.ones(64))
    row = effects(right, {"any": right}).set_index("measure").loc["change in accuracy"]
    assert (row.value, row.low, row.high) == (0, pytest.approx(-0.042, abs=1e-3), -row.low)
    assert row.note == "0 of 64 groups differ from the rest: interval of rare events"
    # Four copies of 16 examples tell as much as 16.
    copies = effects(right, {"any": right}, groups=np.repeat(np.arange(16), 4))
    few = effects(right[:16], {"any": right[:16]})
    case = ("any", "change in accuracy", "", "high")
    assert value(copies, *case) == pytest.approx(value(few, *case)) and row.high < 0.1 < value(
        few, *case
    )
    # All wrong afterwards, and accuracies at their ends.
    table = effects(right, {"any": outcome(np.zeros(64))}).set_index("measure")
    assert (table.low[:3] < table.high[:3]).all() and table.low["change in accuracy"] == -1
    assert table.high["clean accuracy"] == 1 and table.low["accuracy"] == 0
    often = outcome(np.arange(64) % 3 > 0)
    row = effects(right, {"any": often}).set_index("measure").loc["change in accuracy"]
    assert row.low < -22 / 64 < row.high and row.isna().note


def test_resamples_without_an_example_are_counted():
    nan = np.full(18, np.nan)
    one = effects(outcome(np.ones(20)), {"any": outcome([1, 0, *nan])}, resamples=200)
    (note,) = set(one.note[one.measure == "change in log-probability"])
    without = int(note.split(" of 200 resamples hold no such example")[0])
    assert 0.05 < without / 200 < 0.25  # (18/20)^20 is 0.12
    alone = effects(outcome([1, 1]), {"any": outcome([0, np.nan])}, resamples=20)
    row = alone[alone.measure == "change in log-probability"].iloc[0]
    assert np.isnan(row.low) and row.note.startswith("no interval: there is one group")


def test_the_difference_is_surer_than_its_parts_and_groups_less_sure_than_examples():
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.5  # half of the examples lose the answer by any corruption
    clean = Answers(np.ones(400), np.zeros(400))
    harm = {"useful negated": 0.1, "useless negated": 0.0}
    corrupted = {
        name: Answers(1.0 - (hard | (rng.random(400) < more)), -rng.random(400))
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
        clean[order],
        {n: x[order] for n, x in corrupted.items()},
        groups=np.repeat(np.arange(20), 20),
    )
    assert width(grouped, *pair[:2]) > 2 * width(table, *pair[:2])


def test_answers_return_to_their_places():
    possible = np.array([False, True, True])
    found = Answers(np.array([True, False]), np.array([-0.1, -2.0])).among(possible)
    np.testing.assert_array_equal(found.correct, [np.nan, 1, 0])
    np.testing.assert_array_equal(found.log_probability, [np.nan, -0.1, -2])
    with pytest.raises(InputError, match="useful negated: 2 examples, but 3 clean ones"):
        effects(outcome([1, 1, 0]), {"useful negated": outcome([1, 0])})
