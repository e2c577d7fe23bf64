"""Runs over clean and corrupted examples: each once, behind the same demonstrations."""

from pathlib import Path

import numpy as np
import pytest

from mplib.errors import InputError
from mplib.models import fewshot
from mplib.models.inference import read
from mplib.models.loading import load_model
from mplib.models.prompts import number_prompts
from mplib.probe.knn import ProbeSettings
from mplib.studies import corruption, language, training_data
from mplib.studies.corruption import ask_examples, ask_numbers
from mplib.studies.language import Procedure, Subject
from mplib.tasks.corruptions import CORRUPTIONS, NUMBERS, corrupt, replace_number
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.proofwriter.task import ProofWriter

SAMPLE = Path(__file__).parents[2] / "shared/data/proofwriter/official_cwa_sample.jsonl"
NUMBERS_TASK = KSmallest(2, m=6, pool=20)
THEORIES = ProofWriter(cases=("d1 s4",))


@pytest.fixture(scope="module")
def nano():
    return load_model("nano", numbers=20, device="cpu")


@pytest.fixture(scope="module")
def asker():
    return Subject("2-shot", training_data.start_model(THEORIES, "llama-nano", device="cpu"), 2)


@pytest.fixture(scope="module")
def one():
    return language.theory_sets(THEORIES, "test", 12)[0]


def count_examples(model):
    """Examples that went through the model, one element a batch."""
    seen: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, given: seen.append(len(given["input_ids"])), with_kwargs=True
    )
    return seen, hook


def test_every_list_is_run_once_clean_and_once_for_each_corruption(nano):
    lists = NUMBERS_TASK.draw(20, seed=0)
    seen, hook = count_examples(nano.model)
    asked = ask_numbers(nano, NUMBERS_TASK, lists, twins=0, batch_size=7)
    hook.remove()
    assert sum(seen) == 20 * (1 + len(NUMBERS))
    assert set(asked.corrupted) == {*NUMBERS, *(f"{name}, new answer" for name in NUMBERS)}
    for name in NUMBERS:
        found = replace_number(NUMBERS_TASK, lists, name, 0)
        for key, answers in ((name, found.clean_answers), (f"{name}, new answer", found.answers)):
            prompts = number_prompts(nano.tokenizer, 64, 20, found.lists, answers)
            alone = read(nano.model, prompts)
            np.testing.assert_array_equal(asked.corrupted[key].correct, alone.correct)
            np.testing.assert_allclose(
                asked.corrupted[key].log_probability, alone.log_probability, atol=1e-5
            )


def test_without_leaves_no_leaf_is_replaced(nano):
    task = KSmallest(1, m=6, pool=20)
    asked = ask_numbers(nano, task, task.draw(10, seed=0), twins=1)
    assert not any(name.startswith("leaf") for name in asked.corrupted)
    assert len(asked.twins) == 1 and asked.twins[0].shape == asked.features.shape


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "redrawn"])
def test_corrupted_examples_stand_behind_the_demonstrations_of_the_clean_ones(asker, one, shared):
    how = Procedure("proofwriter", shared=shared, twins=0)
    asked = ask_examples(asker, one, ["useless negated", "paraphrased"], how)
    shown = fewshot.demonstrate(one.train, 2, len(one.examples), shared=shared, seed=0)
    for name, outcome in asked.corrupted.items():
        for i, example in enumerate(one.examples):
            changed = corrupt(example, name, 0)
            if changed is None:
                assert np.isnan(outcome.correct[i])
                continue
            prompts, choices = fewshot.few_shot(
                asker.loaded.tokenizer, [changed.example], [shown[i]], template="proofwriter"
            )
            alone = read(asker.loaded.model, prompts, choices=choices)
            assert outcome.log_probability[i] == pytest.approx(alone.log_probability[0], abs=1e-4)
    effects = corruption.effects(asked.clean, asked.corrupted, groups=asked.groups, resamples=20)
    assert set(effects.corruption) == {"useless negated", "paraphrased"}
    assert list(asked.shown.corruption) == ["none", "useless negated", "paraphrased"]


def test_corruptions_of_another_task_are_refused(nano, asker, one):
    with pytest.raises(InputError, match=r"'root replaced'.*useful negated"):
        ask_examples(asker, one, ["root replaced"], Procedure("proofwriter"))
    with pytest.raises(InputError, match="'shuffled'"):
        ask_numbers(nano, NUMBERS_TASK, NUMBERS_TASK.draw(5, 0), ["shuffled"])
    assert corruption.chosen_corruptions([], list(CORRUPTIONS)) == list(CORRUPTIONS)


def test_numbers_are_asked_of_a_finetuned_model_only():
    given = {"finetuned": False, "device": "cpu", "trainable": "all"}
    with pytest.raises(InputError, match="finetuned=False"):
        corruption.subject(given, NUMBERS_TASK)


def test_more_examples_than_there_are(nano, tmp_path):
    given = {
        "corruptions": [], "examples": 11, "lists": 1000, "seed": 0, "twins": 0, "batch_size": 8,
    }  # fmt: skip
    numbers = Subject("finetuned", nano, 0)
    with pytest.raises(InputError, match="examples=11: lists=1000 leaves 10 test lists"):
        corruption.ask(given, NUMBERS_TASK, numbers, ProbeSettings(resamples=2))


@pytest.mark.skipif(not SAMPLE.is_file(), reason="the official sample is not here")
def test_more_questions_than_a_file_has():
    given = {
        "corruptions": [], "examples": 10**6, "seed": 0, "twins": 0, "batch_size": 8,
    }  # fmt: skip
    task = ProofWriter(data=str(SAMPLE), cases=("d0",))
    subject = Subject("0-shot", training_data.start_model(task, "llama-nano", device="cpu"), 0)
    with pytest.raises(InputError, match=r"examples=1000000: there are \d+ test questions of "):
        corruption.ask(given, task, subject, ProbeSettings(resamples=2))


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
        *(x[order] for x in (clean,)),
        {n: x[order] for n, x in corrupted.items()},
        groups=np.repeat(np.arange(20), 20),
    )
    assert width(grouped, *pair[:2]) > 2 * width(table, *pair[:2])


def test_answers_return_to_their_places():
    possible = np.array([False, True, True])
    found = spread(np.array([True, False]), np.array([-0.1, -2.0]), possible)
    np.testing.assert_array_equal(found.correct, [np.nan, 1, 0])
    np.testing.assert_array_equal(found.log_probability, [np.nan, -0.1, -2])
    with pytest.raises(InputError, match="useful negated: 2 examples, but 3 clean ones"):
        effects(outcome([1, 1, 0]), {"useful negated": outcome([1, 0])})
