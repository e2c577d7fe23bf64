"""Prompts: spans against the text they stand for, batches, and numbers that are one token."""

import numpy as np
import pytest
from conftest import make_prompts
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from mplib.errors import InputError
from mplib.models.loading import number_tokenizer
from mplib.models.prompts import Prompts, encode, number_tokens

WORDS = ["Bob", "is", "quiet", "the", "naïve", "cow's", "12", "if", "then", "réd—", "🙂", "x"]
SEEN = [word for word in WORDS if word.isascii()]
"""What the tokenizers learn from: the other words come in bytes, several tokens a character."""
CORPUS = [" ".join(SEEN), *(f"{n} {n}" for n in range(60)), *(f"the {w} is quiet." for w in SEEN)]
SPECIAL = ["<s>", "<pad>", "<unk>"]


def byte_level() -> PreTrainedTokenizerFast:
    """Like GPT-2's: bytes, a space belongs to the word behind it, nothing stands in front."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<pad>"],
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """Like Llama's: a mark in the place of spaces, also in front, bytes as a last resort, a BOS."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=[*SPECIAL, *bytes_])
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", unk_token="<unk>"
    )


@pytest.fixture(scope="module", params=[byte_level, sentencepiece_like])
def tokenizer(request) -> PreTrainedTokenizerFast:
    return request.param()


sentence = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)


def test_both_tokenizers_split_words_and_bytes(tokenizer):
    assert len(tokenizer("naïve 🙂", add_special_tokens=False)["input_ids"]) > 4


@given(st.lists(st.lists(sentence, min_size=1, max_size=4), min_size=1, max_size=3))
def test_spans_decode_to_the_statement_and_nothing_else(tokenizer, problems):
    texts, statements, questions = [], [], []
    for problem in problems:
        text, spans = "", []
        for each in problem:
            text += " " if text else ""
            # The full stop belongs to no statement; the space in front is let in on purpose.
            spans.append((max(0, len(text) - 1), len(text) + len(each)))
            text += each + " ."
        texts.append(text)
        statements.append(spans)
        questions.append((len(text) - 2, len(text)))
    prompts = encode(tokenizer, texts, statements, questions, range(len(texts)))
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts]
    assert prompts.lengths.tolist() == lengths and prompts.input_ids.shape[1] == max(lengths)
    for i, problem in enumerate(problems):
        ids = prompts.input_ids[i]
        assert not prompts.attention_mask[i, : len(ids) - lengths[i]].any()
        assert ids[prompts.attention_mask[i]].tolist() == tokenizer(texts[i])["input_ids"]
        for j, each in enumerate(problem):
            a, b = prompts.statements[i, j]
            assert tokenizer.decode(ids[a:b]).strip() == each
        assert (prompts.statements[i, len(problem) :] == 0).all()
        a, b = prompts.question[i]
        assert tokenizer.decode(ids[a:b]).strip() == "." and b == len(ids)
    assert prompts.answers.tolist() == list(range(len(texts)))


def test_a_span_in_the_number_vocabulary_is_its_number():
    tokenizer = number_tokenizer(100)
    text = "5 71 30"
    prompts = encode(tokenizer, [text], [[(0, 1), (2, 4), (5, 7)]], [(5, 7)], [71])
    assert prompts.input_ids.tolist() == [[5, 71, 30]]
    assert prompts.statements.tolist() == [[[0, 1], [1, 2], [2, 3]]]
    assert prompts.question.tolist() == [[2, 3]]


def test_prompts_that_cannot_be_are_refused(tokenizer):
    text = "Bob is quiet"
    with pytest.raises(InputError, match="no token covers"):
        encode(tokenizer, [text], [[(3, 4)]], [(0, 3)], [0])
    with pytest.raises(InputError, match=r"tokens, but the model has 1 positions"):
        encode(tokenizer, [text], [[(0, 3)]], [(0, 3)], [0], max_tokens=1)


@given(
    st.lists(st.integers(2, 9), min_size=1, max_size=8),
    st.integers(1, 4),
    st.data(),
)
def test_batches_hold_every_example_once_without_useless_columns(lengths, size, data):
    spans = [[(0, 1), (1, n)][: data.draw(st.integers(1, 2))] for n in lengths]
    prompts = make_prompts(lengths, spans, [(n - 1, n) for n in lengths])
    seen, widths = [], []
    for chosen, batch in prompts.batches(size):
        assert len(chosen) == len(batch) <= size
        assert batch.input_ids.shape[1] == batch.lengths.max() == max(lengths[i] for i in chosen)
        for row, i in enumerate(chosen):
            own = batch.input_ids[row][batch.attention_mask[row]]
            assert (own == prompts.input_ids[i][prompts.attention_mask[i]]).all()
            pad = batch.input_ids.shape[1] - lengths[i]
            present = [(a - pad, b - pad) for a, b in batch.statements[row] if b > a]
            assert present == spans[i]
            assert (batch.question[row] - pad).tolist() == [lengths[i] - 1, lengths[i]]
            assert batch.answers[row] == prompts.answers[i]
        seen += chosen.tolist()
        widths.append(batch.input_ids.shape[1])
    assert sorted(seen) == list(range(len(lengths)))
    assert widths == sorted(widths, reverse=True), "what does not fit must fail at once"


# Numbers


def test_the_number_vocabulary_gives_each_number_its_own_id():
    found = number_tokens(number_tokenizer(50), 50)
    assert (found.values == np.arange(50)).all()
    assert (found.first == found.values).all() and (found.following == found.values).all()


def test_number_prompts_read_back_as_the_lists():
    tokenizer = byte_level()
    lists = np.array([[3, 0, 11], [7, 7, 2]])
    numbers = number_tokens(tokenizer, 12)
    prompts = numbers.prompts(lists, np.array([3, 7]), 64)
    for row, values in zip(prompts.input_ids, numbers.values[lists], strict=True):
        assert tokenizer.decode(row) == " ".join(map(str, values))
        assert row.tolist() == tokenizer(" ".join(map(str, values)))["input_ids"]
    assert [tokenizer.decode([a]) for a in prompts.answers] == [
        f" {numbers.values[3]}", f" {numbers.values[7]}"
    ]  # fmt: skip
    assert prompts.statements.tolist() == [[[0, 1], [1, 2], [2, 3]]] * 2
    assert prompts.question.tolist() == [[2, 3]] * 2 and prompts.attention_mask.all()


def test_numbers_are_asked_of_the_tokenizer_one_by_one():
    tokenizer = byte_level()
    single = [
        n
        for n in range(10_000)
        if len(tokenizer.tokenize(f"{n}")) == len(tokenizer.tokenize(f" {n}")) == 1
    ]
    assert 12 <= len(single) < 100
    assert number_tokens(tokenizer, len(single)).values.tolist() == single
    with pytest.raises(
        InputError, match=rf"pool={len(single) + 1}, but only {len(single)} numbers"
    ):
        number_tokens(tokenizer, len(single) + 1)


def test_a_pool_beyond_the_number_vocabulary_is_refused():
    with pytest.raises(InputError, match="pool=51, but only 50 numbers"):
        number_tokens(number_tokenizer(50), 51)


def test_a_tokenizer_is_asked_for_its_numbers_once(monkeypatch):
    tokenizer, other, asked = number_tokenizer(50), number_tokenizer(50), []
    call = PreTrainedTokenizerFast.__call__
    monkeypatch.setattr(
        PreTrainedTokenizerFast,
        "__call__",
        lambda self, *given, **options: asked.append(self) or call(self, *given, **options),
    )
    for _ in range(3):
        assert (number_tokens(tokenizer, 50).values == np.arange(50)).all()
    assert asked == [tokenizer]
    assert len(number_tokens(tokenizer, 49).values) == 49 and len(asked) == 2
    assert (number_tokens(other, 50).values == np.arange(50)).all()
    assert asked[2:] == [other], "each has answers of its own"
    for _ in range(2):
        with pytest.raises(InputError, match="pool=51"):
            number_tokens(tokenizer, 51)


def test_a_list_longer_than_the_model_is_refused():
    with pytest.raises(InputError, match="m=9 numbers, but the model has 8 positions"):
        number_tokens(number_tokenizer(50), 50).prompts(
            np.zeros((1, 9), int), np.zeros(1, int), max_tokens=8
        )


def test_a_million_lists_cost_only_their_token_ids():
    lists = np.zeros((100_000, 16), dtype=np.int32)
    prompts = number_tokens(number_tokenizer(50), 50).prompts(lists, lists[:, 0])
    assert isinstance(prompts, Prompts)
    # Strides of zero: the fixed parts are one row seen many times.
    for part in (prompts.attention_mask, prompts.statements, prompts.question):
        assert part.strides[0] == 0


# A prefix that all prompts share


@given(
    st.integers(0, 5),
    st.lists(st.tuples(st.integers(0, 2), st.integers(2, 6)), min_size=1, max_size=5),
    st.integers(1, 3),
    st.data(),
)
def test_what_all_prompts_begin_with_is_kept_once(alike, sizes, size, data):
    # Each prompt: what is alike, some tokens of its own, a statement and a question of one token.
    lengths = [alike + own + rest for own, rest in sizes]
    starts = [alike + own for own, _ in sizes]
    spans = [
        [(a, n - 1)] if data.draw(st.booleans()) else []
        for a, n in zip(starts, lengths, strict=True)
    ]
    spans[0] = [(starts[0], lengths[0] - 1)]
    asked = [(n - 1, n) for n in lengths]
    prompts = make_prompts(lengths, spans, asked)
    pads = max(lengths) - np.array(lengths)
    for i, pad in enumerate(pads):
        prompts.input_ids[i, pad : pad + alike] = np.arange(alike)
    rows = [row[mask].tolist() for row, mask in zip(prompts.input_ids, prompts.attention_mask,
                                                    strict=True)]  # fmt: skip
    room = min(own[0][0] if own else n - 1 for own, n in zip(spans, lengths, strict=True))
    shared = prompts.share_prefix()
    longest = next((i for i in range(room) if len({row[i] for row in rows}) > 1), room)
    assert longest >= alike and shared.prefix.tolist() == rows[0][:longest]
    assert shared.input_ids.shape[1] == prompts.input_ids.shape[1] - longest
    for found in (shared, prompts):
        assert found.lengths.tolist() == lengths
        for chosen, batch in found.batches(size):
            whole = batch.whole()
            assert len(whole.prefix) == 0 and (batch.lengths == whole.lengths).all()
            for row, i in enumerate(chosen):
                assert whole.input_ids[row][whole.attention_mask[row]].tolist() == rows[i]
                pad = whole.input_ids.shape[1] - lengths[i]
                present = [(a - pad, b - pad) for a, b in whole.statements[row] if b > a]
                assert present == spans[i] and (whole.question[row] - pad == asked[i]).all()
                assert whole.answers[row] == prompts.answers[i]
    back, again = shared.whole(), shared.whole().share_prefix()
    for name in ("attention_mask", "statements", "question", "answers"):
        assert (getattr(back, name) == getattr(prompts, name)).all()
        assert (getattr(again, name) == getattr(shared, name)).all()
    assert (again.prefix == shared.prefix).all()
