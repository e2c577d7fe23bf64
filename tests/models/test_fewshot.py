"""Few-shot prompts: their spans, demonstrations and answers, for every task in words."""

import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MODERN, predicted_tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import shared
from test_prompts import byte_level, sentencepiece_like
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from mplib.errors import InputError
from mplib.models.fewshot import answer_tokens, demonstrate, few_shot, write
from mplib.models.inference import read
from mplib.models.loading import PACKAGED
from mplib.tasks import custom
from mplib.tasks.examples import Example
from mplib.tasks.jsonl import load_jsonl
from mplib.tasks.proofwriter.generator import examples as theories
from mplib.tasks.science import formats
from mplib.tasks.trees import ReasoningTree

ASKS = ["True or False?", "The answer is:", ""]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
OWN = [
    {"statements": ["Rex is a naïve dog 🙂", "12 dogs bark. Loudly!"], "question": "Does Rex bark?",
     "answer": "yes", "edges": [[0, 1]], "choices": ["yes", "no"]},
    {"statements": ["  Nothing is asked ", "here"], "question": "", "answer": "no",
     "useful": [0], "heights": [0], "choices": ["yes", "no"]},
    {"statements": ["Любой ответ"], "question": "(any “token”\tmay follow) ", "answer": "Sure",
     "useful": [0], "heights": [0]},
]  # fmt: skip
TASKS = ["natural", "negated", "hidden", "science", "bank", "own"]


def of_file(path: Path) -> list[Example]:
    """All science questions of a file."""
    return [q.example(True, True, "random", 0) for _, q in load_jsonl(path, formats.parse)]


def science() -> list[Example]:
    """This project's own science questions."""
    return of_file(formats.SCIENCE)


def load(task: str, folder: Path) -> list[Example]:
    """Examples of a task, of several kinds."""
    if task == "natural":
        return [
            example
            for depth, size, style in ((0, 3, "attribute"), (1, 8, "relation"), (3, 16, "relation"))
            for example in theories(8, depth=depth, n_statements=size, style=style)
        ]
    if task == "negated":
        return [
            example
            for world, style in (("closed", "attribute"), ("open", "relation"))
            for example in theories(8, depth=2, negation=True, world=world, style=style)
        ]
    if task == "hidden":
        return [
            *theories(8, depth=1, n_statements=4, giveaway=False),
            *theories(8, n_statements=12, giveaway=False, style="relation"),
            *theories(8, depth=2, giveaway=False, negation=True, world="open"),
        ]
    if task == "science":
        return science()
    if task == "bank":
        return of_file(shared("entailmentbank/task_2-dev.jsonl"))
    path = folder / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, OWN)), encoding="utf-8")
    return custom.examples(path)


@pytest.fixture(scope="module", params=TASKS)
def examples(request, tmp_path_factory) -> list[Example]:
    return load(request.param, tmp_path_factory.mktemp("own"))


def trained(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer in GPT-2's or Llama's manner that knows common words of the tasks."""
    start = byte_level() if kind == "gpt2" else sentencepiece_like()
    if kind == "llama":
        # Else pieces would reach over the spaces between words.
        mark = pre_tokenizers.Split("▁", "merged_with_next")
        start.backend_tokenizer.pre_tokenizer = mark
    known = [*theories(20), *science()]
    texts = [x for e in known for x in (*e.statements, f"{e.question} is: A B C D True False no")]
    return start.train_new_from_iterator(texts, 1200, show_progress=False)


@pytest.fixture(scope="session", params=["gpt2", "llama", "smollm2"])
def tokenizer(request) -> PreTrainedTokenizerFast:
    """One tokenizer of each manner; the packaged model's comes out of its packed file."""
    if request.param != "smollm2":
        return trained(request.param)
    package, file = PACKAGED["smollm2-135m"]
    if not (spec := find_spec(package)):
        pytest.skip(f"the package {package} is not installed: make env does it")
    (path,) = (f for p in spec.submodule_search_locations for f in Path(p).rglob(file))
    return AutoTokenizer.from_pretrained(path.parent, gguf_file=file)


@pytest.fixture(scope="module")
def small() -> PreTrainedTokenizerFast:
    return trained("gpt2")


def expected_text(example: Example, template: str) -> str:
    """[S..] + [Q] + what asks for the answer, without what is empty."""
    return " ".join(filter(None, [*example.statements, example.question, template]))


# Spans


@settings(max_examples=8)
@given(st.data())
def test_spans_decode_to_statements_and_question(tokenizer, examples, data):
    half = len(examples) // 2
    drawn = st.lists(st.sampled_from(examples[half:]), min_size=1, max_size=4)
    chosen, template = data.draw(drawn), data.draw(st.sampled_from(ASKS))
    shots, shared = data.draw(st.integers(0, min(3, half))), data.draw(st.booleans())
    shown = demonstrate(examples[:half], shots, len(chosen), shared=shared)
    prompts, choices = few_shot(tokenizer, chosen, shown, template=template)
    assert (choices is None) == any(not example.choices for example in chosen)
    befores = ["".join(f"{expected_text(x, template)} {x.answer}\n" for x in own) for own in shown]
    if shared:
        covered = tokenizer.decode(prompts.prefix).removeprefix("<s>").strip()
        assert covered == befores[0].strip(), "the prefix holds the demonstrations, whole"
    whole = prompts.whole()
    for i, (example, before) in enumerate(zip(chosen, befores, strict=True)):
        text = before + expected_text(example, template)
        real = np.concatenate([prompts.prefix >= 0, prompts.attention_mask[i]])
        ids = np.concatenate([prompts.prefix, prompts.input_ids[i]])
        assert ids[real].tolist() == tokenizer(text)["input_ids"]
        assert whole.input_ids[i][whole.attention_mask[i]].tolist() == ids[real].tolist()
        asked = example.question or template or example.statements[-1]
        spans = [*prompts.statements[i, : len(example.statements)], prompts.question[i]]
        for (a, b), words in zip(spans, [*example.statements, asked], strict=True):
            assert tokenizer.decode(ids[a:b]).strip() == words.strip()
            assert tokenizer.decode(whole.input_ids[i, a:b]).strip() == words.strip()
        assert (prompts.statements[i, len(example.statements) :] == 0).all()
        answered = tokenizer(f"{text} {example.answer}")["input_ids"]
        assert answered[len(ids[real])] == prompts.answers[i]


@pytest.mark.parametrize(
    ("template", "text", "asked"),
    [
        ("True or False?", "A is red. All is big. Bob is big. True or False?", "Bob is big."),
        ("The answer is:", "A is red. All is big. Bob is big. The answer is:", "Bob is big."),
        ("", "A is red. All is big. Bob is big.", "Bob is big."),
        ("True or False?", "A is red. All is big. True or False?", "True or False?"),
        ("", "A is red. All is big.", "All is big."),
    ],
)
def test_templates_are_the_papers(template, text, asked):
    tree = ReasoningTree.from_edges([(0, 1)], 2)
    question = "Bob is big." if "Bob" in text else ""
    example = Example(("A is red.", "All is big."), question, "True", tree)
    written = write(example, template)
    assert written.text == text
    assert [text[a:b] for a, b in written.statements] == list(example.statements)
    assert text[slice(*written.question)] == asked


def test_a_demonstration_is_an_example_with_its_answer_and_a_new_line(small):
    one, other = theories(2)
    prompts, _ = few_shot(small, [one], [[other]], template="True or False?")
    text = f"{expected_text(other, 'True or False?')} {other.answer}\n"
    assert small.decode(prompts.prefix) == text


def test_prompts_that_cannot_be_are_refused(small):
    asked = theories(3, n_statements=4)
    shown = demonstrate(theories(6, seed=1), 2, 3)
    longest = few_shot(small, asked, shown, template="True or False?")[0].lengths.max()
    few_shot(small, asked, shown, template="True or False?", max_tokens=longest)
    with pytest.raises(InputError, match=f"{longest} tokens, but .* {longest - 1} positions: .*"):
        few_shot(small, asked, shown, template="True or False?", max_tokens=longest - 1)
    with pytest.raises(InputError, match="no examples"):
        few_shot(small, [], [], template="True or False?")


# Demonstrations that all examples share


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_shared_prefix_changes_no_number(small, family, shared):
    config = (
        GPT2Config(
            vocab_size=len(small), n_positions=1024, n_embd=32, n_layer=3, n_head=4,
            initializer_range=0.3, bos_token_id=None, eos_token_id=None,
        )
        if family == "gpt2"
        else LlamaConfig(**MODERN | {"vocab_size": len(small), "max_position_embeddings": 1024})
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    asked = [*theories(3, n_statements=4), *theories(3, depth=2, n_statements=9)]
    shown = demonstrate(theories(12, seed=1), 2, 6, shared=shared)
    prompts, choices = few_shot(small, asked, shown, template="True or False?", max_tokens=1024)
    assert (len(prompts.prefix) > 40) == shared
    found, whole = (read(model, each, choices=choices, batch_size=4)
                    for each in (prompts, prompts.whole()))  # fmt: skip
    np.testing.assert_allclose(found.features, whole.features, **CLOSE)
    given, other = found.answers, whole.answers
    np.testing.assert_allclose(given.log_probability, other.log_probability, **CLOSE)
    assert np.nanstd(found.features, axis=(0, 1)).min() > 1e-3, "attention is not flat"
    predicted = predicted_tokens(model, prompts, choices=choices, batch_size=4)
    assert (predicted == predicted_tokens(model, prompts.whole(), choices=choices)).all()
    for i, (example, own) in enumerate(zip(asked, shown, strict=True)):
        text = "".join(f"{expected_text(x, 'True or False?')} {x.answer}\n" for x in own)
        text += expected_text(example, "True or False?")
        with torch.no_grad():
            logits = model(**small(text, return_tensors="pt")).logits[0, -1]
        right, wrong = (small.encode(f" {x}")[0] for x in sorted(["True", "False"],
                        key=lambda x: x != example.answer))  # fmt: skip
        expected = logits[[right, wrong]].log_softmax(dim=0)
        np.testing.assert_allclose(given.log_probability[i], expected[0], **CLOSE)
        assert given.correct[i] == (expected[0] > expected[1])
        assert predicted[i] == (right if given.correct[i] else wrong)


# Demonstrations


def numbered(answers: str) -> list[Example]:
    """One example for each letter, which is its answer."""
    tree = ReasoningTree.from_edges([], 1, 0)
    return [Example((f"Number {i}.",), "", a, tree) for i, a in enumerate(answers)]


@given(st.text("TFU", min_size=1, max_size=20), st.data())
def test_demonstrations_are_balanced_and_from_training(answers, data):
    train = numbered(answers)
    shots = data.draw(st.integers(0, len(train)))
    shared, seed = data.draw(st.booleans()), data.draw(st.integers(0, 5))
    found = demonstrate(train, shots, 4, shared=shared, seed=seed)
    assert found == demonstrate(train, shots, 4, shared=shared, seed=seed)
    assert len(found) == 4
    there = Counter(answers)
    for own in found:
        assert len({x.statements for x in own}) == len(own) == shots
        assert all(x in train for x in own)
        shown = Counter(x.answer for x in own)
        for a in there:
            for b in there:
                # One answer more often than another by two only where the other has run out.
                assert shown[a] <= shown[b] + 1 or shown[b] == there[b]
    if shared:
        assert found == [found[0]] * 4


def test_demonstrations_change_with_the_seed_and_unless_shared_with_the_example():
    train = numbered("TF" * 20)
    apart = demonstrate(train, 4, 10, shared=False)
    assert len({tuple(x.statements for x in own) for own in apart}) == 10
    assert apart[:3] == demonstrate(train, 4, 3, shared=False), "those of the first depend on no n"
    assert apart != demonstrate(train, 4, 10, shared=False, seed=1)
    together = {tuple(x.statements for x in demonstrate(train, 4, 2, seed=s)[1]) for s in range(10)}
    assert len(together) == 10
    sets = [demonstrate(train, 4, 1, seed=seed)[0] for seed in range(40)]
    orders = {"".join(x.answer for x in own) for own in sets}
    assert len(orders) == 6, "the order of answers is drawn, or it would tell the next one"
    assert {demonstrate(train, 1, 1, seed=seed)[0][0].answer for seed in range(10)} == {"T", "F"}


def test_more_shots_than_training_examples_are_refused():
    with pytest.raises(InputError, match="shots=5, but there are only 4 training examples"):
        demonstrate(numbered("TFTF"), 5, 2)


def test_no_shots_give_bare_prompts(small):
    asked = theories(2)
    assert demonstrate([], 0, 2) == demonstrate([], 0, 2, shared=False) == [[], []]
    prompts, _ = few_shot(small, asked, [[], []], template="True or False?")
    assert len(prompts.prefix) == 0
    found = [small.decode(x[m]) for x, m in zip(prompts.input_ids, prompts.attention_mask,
                                                strict=True)]  # fmt: skip
    assert found == [expected_text(e, "True or False?") for e in asked]


# Answers


def test_answers_are_asked_of_the_tokenizer(small):
    asked = theories(6, world="open")
    prompts, choices = few_shot(small, asked, [[]] * 6, template="True or False?")
    known = small.get_vocab()
    assert choices is not None and {known["ĠTrue"], known["ĠFalse"]} < {*choices.tolist()}
    assert len(choices) == 3 and {e.answer for e in asked} == {"True", "False"}
    assert [small.decode([a]) for a in prompts.answers] == [f" {e.answer}" for e in asked]


def test_without_choices_any_token_may_follow(small):
    asked = [*theories(1), *numbered("B")]
    prompts, choices = few_shot(small, asked, [[], []], template="The answer is:")
    assert choices is None
    assert [small.decode([a]) for a in prompts.answers] == [f" {asked[0].answer}", " B"]


def test_answers_that_begin_alike_are_refused(small):
    with pytest.raises(InputError, match="'True' and 'True enough' begin with the same token"):
        answer_tokens(small, "Is it?", ["True", "True enough"])


def letters(*merges: tuple[str, str], **parts: object) -> PreTrainedTokenizerFast:
    """Single letters and the given merges, ``[`` in front; also over spaces if nothing splits."""
    words = [*map(chr, range(32, 127)), *(a + b for a, b in merges)]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[ $A ]", special_tokens=[("[", vocabulary["["]), ("]", vocabulary["]"])]
    )
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_a_token_over_the_end_of_the_text_is_refused():
    (found,) = answer_tokens(letters((" ", "T")), "Is it?", ["True"])
    assert letters((" ", "T")).decode([found]) == " T"
    with pytest.raises(InputError, match=r"no.* begin a new token for 'True' after 'Is it\?'"):
        answer_tokens(letters(("?", " ")), "Is it?", ["True"])


def test_a_space_that_is_a_token_of_its_own_is_what_comes_next():
    tokenizer = letters(pre_tokenizer=pre_tokenizers.Digits(individual_digits=True))
    (found,) = answer_tokens(tokenizer, "How warm is it?", ["120C"])
    assert tokenizer.decode([found]) == " "
    with pytest.raises(InputError, match="'1' and '2' begin with the same token"):
        answer_tokens(tokenizer, "Which one?", ["1", "2"])
