"""Patching: exact in every family, and what it finds in models that were trained to reason."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import GOLDEN, VOCABULARY, make_prompts, needs_golden
from transformers import AutoModelForCausalLM

from mplib.errors import InputError
from mplib.models.loading import load_model
from mplib.models.prompts import NumberTokens, Prompts
from mplib.studies import flow, language, patching
from mplib.studies.finetune import Training, finetune
from mplib.studies.language import Procedure, Subject
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.proofwriter.task import ProofWriter

SPANS = [(2, 2), (1, 3)]
PROJECTIONS = ("attn.c_proj", "attn.o_proj", "attn.out_proj", "attention.dense")
IDS = np.arange(512)
NUMBERS = NumberTokens(IDS, IDS, IDS)
WRITER = SimpleNamespace(
    write_numbers=lambda lists, answers, pool: (NUMBERS.prompts(lists, answers), None)
)
"""Token id n is the number n."""


def pairs() -> tuple[Prompts, Prompts]:
    """Left-padded prompts of four lengths, and others of the same lengths."""
    shape = ([14, 8, 11, 8], [[(1, 3)], [(0, 2)], [(2, 3)], [(0, 1)]], [(10, 14), (7, 8)] * 2)
    shape[2][2:] = [(9, 11), (6, 8)]
    return make_prompts(*shape, seed=1), make_prompts(*shape, seed=2)


def by_hand(model, prompt: Prompts, given: dict[int, torch.Tensor] | None = None):
    """Logits, and what each output projection gets at the last token, some of it given."""
    seen: list[torch.Tensor] = []

    def hook(_, inputs):
        states = inputs[0].clone()
        states[0, -1] = (given or {}).get(len(seen), states[0, -1])
        seen.append(states[0, -1])
        return (states,)

    found = [m for name, m in model.named_modules() if name.endswith(PROJECTIONS)]
    hooks = [module.register_forward_pre_hook(hook) for module in found]
    with torch.no_grad():
        logits = model(torch.from_numpy(prompt.input_ids)).logits[0, -1]
    for one in hooks:
        one.remove()
    return logits, seen


def test_patches_are_what_the_output_projections_would_get_in_the_other_run(decoder):
    clean, donors = pairs()
    found = patching.patch(decoder, clean, donors, SPANS, batch_size=13)  # two pairs a pass
    for i in range(len(clean)):
        runs = [one[i : i + 1] for one in (clean, donors)]
        seen = [by_hand(decoder, run)[1] for run in runs]
        for case, (first, last) in enumerate([(1, 0), *SPANS]):
            for way, run in enumerate(runs):
                given = {layer: seen[1 - way][layer] for layer in range(first - 1, last)}
                logits, _ = by_hand(decoder, run, given)
                gap = logits[clean.answers[i]] - logits[donors.answers[i]]
                assert found.difference[case, way, i] == pytest.approx(float(gap), abs=2e-4)
                assert found.said[case, way, i] == logits.argmax()
    assert (np.abs(found.difference[1:] - found.difference[0]) > 1e-3).any(axis=(1, 2)).all()


def test_answers_are_looked_for_among_the_choices(gpt2):
    clean, donors = pairs()
    choices = np.array([3, 5])
    found = patching.patch(gpt2, clean, donors, SPANS, choices=choices)
    whole = patching.patch(gpt2, clean, donors, SPANS)
    assert np.isin(found.said, choices).all() and not np.isin(whole.said, choices).all()
    np.testing.assert_array_equal(found.difference, whole.difference)


def test_only_pairs_of_equal_length_are_patched(gpt2):
    clean, donors = pairs()
    for wrong in (donors[:3], donors[np.array([1, 0, 2, 3])]):
        with pytest.raises(InputError, match="not pairs of equally many tokens"):
            patching.patch(gpt2, clean, wrong, SPANS)


def test_a_table_tells_rates_and_logit_differences():
    said = np.array([[[1, 1, 9], [2, 2, 2]], [[2, 1, 2], [1, 1, 2]]])
    difference = np.array([[[3.0, 2, 1], [-1, -1, -1]], [[-2, 1, -2], [2, 2, -1]]])
    found = patching.Patched(np.array([1, 1, 1]), np.array([2, 2, 2]), said, difference, ((2, 3),))
    table = found.table(resamples=50)
    rows = table.set_index(["direction", "first_layer", "measure"]).value
    assert rows.noising.to_dict() == pytest.approx({
        (0, "clean answer"): 2 / 3, (0, "donor's answer"): 0, (0, "answers changed"): 0,
        (0, "logit difference"): 2, (2, "clean answer"): 1 / 3, (2, "donor's answer"): 2 / 3,
        (2, "answers changed"): 2 / 3, (2, "logit difference"): -1,
    })  # fmt: skip
    assert rows["denoising", 2, "clean answer"] == pytest.approx(2 / 3)
    assert rows["denoising", 2, "answers changed"] == pytest.approx(2 / 3)
    assert (table.low <= table.value).all() and (table.value <= table.high).all()
    assert table.last_layer.unique().tolist() == [0, 3] and (table.pairs == 3).all()
    same = replace(found, donor=found.clean).table(resamples=50)
    assert set(same.measure) == {"clean answer", "answers changed"}


@pytest.mark.parametrize("repeats", [False, True])
def test_donors_differ_in_one_number_of_the_same_rank(repeats):
    task = KSmallest(2, m=7, pool=VOCABULARY, repeats=repeats)
    lists = task.draw(60, seed=1)
    found = patching.number_pairs(task, lists, WRITER)
    assert list(found) == ["root replaced", "useless replaced"]
    for name, (clean, donors) in found.items():
        differ = clean.input_ids != donors.input_ids
        assert len(clean) > 30 and (differ.sum(axis=1) == 1).all()
        heights = task.heights(clean.input_ids)[differ]
        assert (heights == (1 if name == "root replaced" else -1)).all()
        other = task.answers(clean.input_ids) != task.answers(donors.input_ids)
        assert (other == (name == "root replaced")).all()
    # Of seven numbers the largest is the root: none is useless.
    assert list(patching.number_pairs(KSmallest(7, 7, VOCABULARY), lists[:5], WRITER)) == [
        "root replaced"
    ]
    with pytest.raises(InputError, match=r"no list .* raise pool"):
        full = KSmallest(2, m=7, pool=7)
        patching.patch_numbers(None, full, full.draw(5, seed=0), WRITER, SPANS)


def test_what_pairs_share_is_computed_once(llama):
    clean, donors = pairs()
    seen: list[int] = []
    hook = llama.get_input_embeddings().register_forward_hook(
        lambda _, inputs, __: seen.append(inputs[0].numel())
    )
    patching.patch(llama, clean, donors, SPANS)
    hook.remove()
    # Four pairs of at most 14 tokens; then the last token of each pair and its two copies.
    assert seen == [8 * 13, 8 * 3]


# Theories


THEORIES = ProofWriter(
    cases=("d1 s8 hidden", "d2 s8 hidden"), negation=True, world="open", style="relation"
)
PROCEDURE = Procedure("proofwriter", batch_size=16)


@pytest.fixture(scope="module")
def questions():
    return language.joined_sets(THEORIES, "test", 16, [2])


@pytest.fixture(scope="module")
def loaded():
    return load_model("llama-nano", vocabulary=THEORIES.vocabulary, device="cpu")


def test_donors_of_theories_have_as_many_tokens_and_the_answer_that_the_engine_gives(
    questions, loaded
):
    shown = PROCEDURE.demonstrate(Subject("2-shot", loaded, 2), questions)
    asked = questions.examples, loaded, shown, "True or False?", "open"
    found = patching.theory_pairs(*asked)
    assert list(found) == ["useful fact replaced", "useless fact replaced"]
    for name, (kept, clean, donors, choices) in found.items():
        assert len(kept) > 4 and len({*kept}) == len(kept) == len(clean) == len(donors)
        np.testing.assert_array_equal(clean.lengths, donors.lengths)
        answers = [loaded.tokenizer.decode([token]).strip() for token in choices]
        said = {token: word for token, word in zip(choices, answers, strict=True)}
        useful, clean, donors = name == "useful fact replaced", clean.whole(), donors.whole()
        differ = clean.input_ids != donors.input_ids
        for i, row, spans in zip(kept, differ, clean.statements, strict=True):
            example, places = questions.examples[i], np.flatnonzero(row)
            # All that is another lies in one fact.
            (hit,) = (j for j, (a, b) in enumerate(spans) if a <= places[0] < b)
            assert len(places) and places[-1] < spans[hit, 1]
            assert example.kinds[hit] == "fact" and (hit in example.tree.useful) == useful
        pairs = zip(clean.answers, donors.answers, strict=True)
        assert {said[a] != said[b] for a, b in pairs} == {useful}
        assert [said[a] for a in clean.answers] == [questions.examples[i].answer for i in kept]
    again = patching.theory_pairs(*asked)["useless fact replaced"][2].input_ids
    np.testing.assert_array_equal(again, found["useless fact replaced"][2].input_ids)
    other = patching.theory_pairs(*asked, seed=1)["useless fact replaced"][2].input_ids
    assert other.shape != again.shape or (other != again).any()


def test_theories_are_patched_in_blocks_for_each_subject(questions, loaded):
    subjects = [Subject("2-shot", loaded, 2), Subject("0-shot", loaded, 0)]
    table = patching.patch_theories(subjects, questions, PROCEDURE, "open", 2, resamples=50)
    assert list(table.columns[:3]) == ["subject", "donor", "direction"]
    assert list(table.subject.unique()) == ["2-shot", "0-shot"]
    spans = {*zip(table.first_layer, table.last_layer, strict=True)}
    assert spans == {(0, 0), (1, 1), (2, 2), (1, 2)}
    assert (table.examples == 32).all()
    measures = table.groupby("donor").measure.unique()
    assert "donor's answer" in measures["useful fact replaced"]
    assert "donor's answer" not in measures["useless fact replaced"]
    shown = PROCEDURE.demonstrate(subjects[1], questions)
    kept, clean, donors, choices = patching.theory_pairs(
        questions.examples, loaded, shown, "True or False?", "open"
    )["useful fact replaced"]
    spans = patching.blocks_alone_and_up(2, 2)
    own = patching.patch(loaded.model, clean, donors, spans, choices=choices).table(
        questions.groups[kept], 50
    )
    rows = table[(table.subject == "0-shot") & (table.donor == "useful fact replaced")]
    np.testing.assert_allclose(rows.value, own.value, atol=1e-6)
    assert (rows.pairs == len(kept)).all()


def test_where_no_theory_has_a_donor_there_is_an_empty_table(questions, loaded):
    told = [replace(one, question="Owning boats is fun.") for one in questions.examples[:3]]
    none, subjects = replace(questions, examples=told), [Subject("0-shot", loaded, 0)]
    table = patching.patch_theories(subjects, none, PROCEDURE, "open", 2)
    assert table.empty and {"subject", "donor", "pairs"} <= {*table.columns}
    with pytest.raises(InputError, match=r"3 windows: .*from 1 to 2"):
        patching.patch_theories(subjects, none, PROCEDURE, "open", 3)


# Trained models


def rates(table, donor: str, measure: str) -> dict[tuple[int, int], float]:
    """One measure of the noised runs by window."""
    rows = table[(table.donor == donor) & (table.measure == measure)]
    rows = rows[rows.direction == "noising"]
    return dict(zip(zip(rows.first_layer, rows.last_layer, strict=True), rows.value, strict=True))


def holds(table) -> None:
    """Another root swaps half of the answers in some layer, another useless number none."""
    swapped = rates(table, "root replaced", "donor's answer")
    changed = rates(table, "useless replaced", "answers changed")
    assert swapped[2, 2] >= 0.5 > 0.1 > swapped[1, 1] and swapped[0, 0] < 0.02
    assert swapped[1, 2] > swapped[2, 2]
    assert max(changed.values()) <= 0.05
    back = table[(table.donor == "root replaced") & (table.direction == "denoising")]
    back = back[back.measure == "clean answer"].set_index(["first_layer", "last_layer"])
    assert back.loc[(2, 2), "low"] > back.loc[(1, 1), "high"]


@pytest.mark.statistics
def test_a_model_trained_for_seconds_takes_its_answer_from_the_root(tmp_path):
    task = KSmallest(2, m=4, pool=16)
    loaded = load_model("nano", vocabulary=task.vocabulary, device="cpu")
    train, dev, test = task.splits(20_000, seed=0)
    read, judged = (task.prompts(lists, loaded)[0] for lists in (train, dev))
    training = Training(
        400, batch_size=128, learning_rate=3e-3, warmup_steps=20, evaluations=1,
        precision="float32",
    )  # fmt: skip
    finetune(loaded, read, judged, training, tmp_path, {"task": task.identity, "model": "nano"})
    table = patching.patch_numbers(loaded.model, task, test, loaded, resamples=100)
    holds(table)
    # Everything that the last token hears is the donor's: only its own number is not.
    assert rates(table, "root replaced", "donor's answer")[1, 2] > 0.9


@needs_golden
def test_the_golden_checkpoint_takes_its_answer_from_the_root_in_the_second_layer():
    content = json.loads((GOLDEN / "golden.json").read_text())
    facts = content["results"]
    task = KSmallest(facts["k0"] + 1, facts["m"], facts["vocab"])
    lists = flow.without_repeats(np.array(content["lists"]))
    model = AutoModelForCausalLM.from_pretrained(GOLDEN, use_safetensors=True).eval()
    spans = [(1, 1), (2, 2), (1, 2)]
    holds(patching.patch_numbers(model, task, lists, WRITER, spans, resamples=50, batch_size=64))
