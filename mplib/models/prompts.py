"""Prompts as token tensors, with the token span of every statement and of the question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np
from transformers import PreTrainedTokenizerBase

from mplib.errors import InputError

Span = tuple[int, int]


@dataclass(frozen=True)
class Prompts:
    """A batch of left-padded prompts; spans are half-open token ranges ``[start, end)``.

    A prefix that all prompts share is kept once. Spans count from its first token: column c of
    ``input_ids`` is place ``len(prefix) + c``, so they are the same with and without a prefix.

    Attributes:
        input_ids: token ids, shape (examples, tokens).
        attention_mask: True where there is a token, shape (examples, tokens).
        statements: span of each statement, ``(0, 0)`` where an example has fewer, shape
            (examples, statements, 2).
        question: span of the tokens whose attention is read, shape (examples, 2).
        answers: id of the token that should come next, shape (examples,).
        prefix: ids of the tokens that stand before every prompt, shape (shared tokens,).
    """

    input_ids: np.ndarray
    attention_mask: np.ndarray
    statements: np.ndarray
    question: np.ndarray
    answers: np.ndarray
    prefix: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.input_ids)

    def __getitem__(self, index: slice | np.ndarray) -> "Prompts":
        """The chosen examples, without the columns that hold only padding for them."""
        mask = self.attention_mask[index]
        unused = int(mask.argmax(axis=1).min()) if len(mask) else 0
        spans, question = self.statements[index], self.question[index]
        present = spans[..., 1:] > spans[..., :1]
        return Prompts(
            self.input_ids[index][:, unused:],
            mask[:, unused:],
            np.where(present, spans - unused, 0) if unused else spans,
            question - unused,
            self.answers[index],
            self.prefix,
        )

    @cached_property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each prompt, prefix included, shape (examples,)."""
        return self.attention_mask.sum(axis=1) + len(self.prefix)

    def share_prefix(self) -> "Prompts":
        """The same prompts, the tokens that all of them begin with kept once as ``prefix``.

        The prefix ends before the first statement and the first question of any prompt.
        """
        if len(self.prefix):
            return self
        pads = self.input_ids.shape[1] - self.lengths
        present = self.statements[..., 1] > self.statements[..., 0]
        starts = np.where(present, self.statements[..., 0], self.question[:, :1])
        room = int((np.minimum(starts.min(axis=1), self.question[:, 0]) - pads).min())
        begin = np.take_along_axis(self.input_ids, pads[:, None] + np.arange(room), axis=1)
        differ = (begin != begin[0]).any(axis=0)
        shared = int(differ.argmax()) if differ.any() else room
        columns = np.arange(shared, self.input_ids.shape[1])
        return replace(
            self,
            input_ids=self.input_ids[:, shared:],
            attention_mask=columns >= (pads + shared)[:, None],
            prefix=begin[0, :shared].copy(),
        )

    def whole(self) -> "Prompts":
        """The same prompts, each with the prefix written out."""
        if not (shared := len(self.prefix)):
            return self
        n, columns = len(self), shared + self.input_ids.shape[1]
        pads = columns - self.lengths
        ids = np.concatenate([np.zeros((n, shared), np.int64), self.input_ids], axis=1)
        np.put_along_axis(ids, pads[:, None] + np.arange(shared), self.prefix[None], axis=1)
        return replace(
            self,
            input_ids=ids,
            attention_mask=np.arange(columns) >= pads[:, None],
            prefix=self.prefix[:0],
        )

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, "Prompts"]]:
        """Pairs (indices, prompts) of at most ``size`` examples, alike in length, longest first.

        Longest first, so that a batch too large for the memory fails at once and not at the end.
        """
        order = np.argsort(-self.lengths, kind="stable")
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield chosen, self[chosen]


def tokenize(
    tokenizer: PreTrainedTokenizerBase, text: str, chat: bool = False
) -> tuple[list[int], list[Span]]:
    """Ids and character spans of a text that is to be gone on with.

    What the tokenizer appends, such as ``</s>``, is left out; what it puts in front stays. What
    looks like a special token is text like any other, but for those of a chat's template, which
    brings what stands in front itself.

    Raises:
        InputError: the tokenizer has no offset mapping.
    """
    if not tokenizer.is_fast:
        raise InputError(
            f"tokenizer {type(tokenizer).__name__} has no offset mapping: use a model with a fast "
            "tokenizer (tokenizer.json)"
        )
    found = tokenizer(
        text, return_offsets_mapping=True, return_special_tokens_mask=True,
        split_special_tokens=not chat, add_special_tokens=not chat,
    )  # fmt: skip
    added = found["special_tokens_mask"]
    end = next((n for n in range(len(added), 0, -1) if not added[n - 1]), len(added))
    return found["input_ids"][:end], found["offset_mapping"][:end]


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], statements: Sequence[Sequence[Span]],
    questions: Sequence[Span], answers: Sequence[int], max_tokens: int | None = None,
) -> Prompts:  # fmt: skip
    """Tokenizes texts and finds the tokens of character spans by the tokenizer's offset mapping.

    A token belongs to a span if it covers at least one of its characters other than a space.

    Args:
        tokenizer: a fast tokenizer (offset mapping).
        texts: one prompt for each example.
        statements: character spans of each example's statements.
        questions: character span of each example's question.
        answers: id of each example's answer token.
        max_tokens: the model's number of positions, if it is limited.

    Raises:
        InputError: the tokenizer has no offset mapping, or a prompt is longer than ``max_tokens``.
    """
    ids, spans, questioned = [], [], []
    for text, told, asked in zip(texts, statements, questions, strict=True):
        tokens, offsets = tokenize(tokenizer, text)
        ids.append(tokens)
        spans.append([token_span(text, offsets, span) for span in told])
        questioned.append(token_span(text, offsets, asked))
    return stack(tokenizer, ids, spans, questioned, answers, max_tokens)


def stack(
    tokenizer: PreTrainedTokenizerBase, tokens: Sequence[Sequence[int]],
    statements: Sequence[Sequence[Span]], questions: Sequence[Span], answers: Sequence[int],
    max_tokens: int | None = None,
) -> Prompts:  # fmt: skip
    """Puts prompts of different lengths together, padded on the left.

    Args:
        tokenizer: whose padding is taken.
        tokens: ids of each prompt.
        statements: token spans of each example's statements, counted from its first token.
        questions: token span of each example's question, likewise.
        answers: id of each example's answer token.
        max_tokens: the model's number of positions, if it is limited.

    Raises:
        InputError: a prompt is longer than ``max_tokens``.
    """
    longest = max(map(len, tokens))
    if max_tokens is not None and longest > max_tokens:
        raise InputError(
            f"a prompt has {longest} tokens, but the model has {max_tokens} positions: use fewer "
            "demonstrations, shorter examples or another model"
        )
    n = len(tokens)
    input_ids = np.full((n, longest), tokenizer.pad_token_id or 0, dtype=np.int64)
    mask = np.zeros((n, longest), dtype=bool)
    spans = np.zeros((n, max(map(len, statements)), 2), dtype=np.int64)
    question = np.zeros((n, 2), dtype=np.int64)
    for i, ids in enumerate(tokens):
        pad = longest - len(ids)
        input_ids[i, pad:] = ids
        mask[i, pad:] = True
        spans[i, : len(statements[i])] = np.array(statements[i]) + pad
        question[i] = np.array(questions[i]) + pad
    return Prompts(input_ids, mask, spans, question, np.asarray(answers, dtype=np.int64))


def token_span(text: str, offsets: Sequence[Span], span: Span) -> Span:
    """Token range of a character span."""
    start, end = span
    start += len(text[start:end]) - len(text[start:end].lstrip())
    end -= len(text[start:end]) - len(text[start:end].rstrip())
    inside = [i for i, (a, b) in enumerate(offsets)
              if a < end and b > start and text[max(a, start) : min(b, end)].strip()]  # fmt: skip
    if not inside:
        raise InputError(f"no token covers {text[span[0] : span[1]]!r}: the span is empty")
    return inside[0], inside[-1] + 1


@dataclass(frozen=True)
class NumberTokens:
    """The numbers that are one token each, and their ids.

    Attributes:
        values: the numbers, ascending, shape (pool,).
        first: id of each number at the beginning of a text, shape (pool,).
        following: id of each number after another number, shape (pool,).
    """

    values: np.ndarray
    first: np.ndarray
    following: np.ndarray

    def prompts(
        self, lists: np.ndarray, answers: np.ndarray, max_tokens: int | None = None
    ) -> Prompts:
        """Lists of indices into the pool as prompts: a number a token, read at the last token.

        The fixed parts are broadcast views, so that a million lists cost only their token ids.

        Args:
            lists: shape (examples, m), entries from 0 to pool - 1.
            answers: the expected next number of each list, shape (examples,).
            max_tokens: the model's number of positions, if it is limited.

        Raises:
            InputError: a list is longer than that.
        """
        n, m = lists.shape
        if max_tokens is not None and m > max_tokens:
            raise InputError(
                f"m={m} numbers, but the model has {max_tokens} positions: lower m or take another "
                "model"
            )
        input_ids = self.following[lists]
        input_ids[:, 0] = self.first[lists[:, 0]]
        places = np.arange(m)
        return Prompts(
            input_ids,
            np.broadcast_to(True, (n, m)),
            np.broadcast_to(np.stack([places, places + 1], axis=1), (n, m, 2)),
            np.broadcast_to([m - 1, m], (n, 2)),
            self.following[answers],
        )


@lru_cache(maxsize=4)
def number_tokens(tokenizer: PreTrainedTokenizerBase, pool: int) -> NumberTokens:
    """Finds the ``pool`` smallest numbers that are one token for this tokenizer, by asking it.

    The last answers are kept: a study asks at every one of its steps.

    Raises:
        InputError: the tokenizer has fewer such numbers.
    """
    limit = max(10_000, 2 * pool)
    encoded = tokenizer([f"{c} {c}" for c in range(limit)], add_special_tokens=False)["input_ids"]
    unknown = tokenizer.unk_token_id
    found = [(c, *ids) for c, ids in enumerate(encoded) if len(ids) == 2 and unknown not in ids]
    if len(found) < pool:
        raise InputError(
            f"pool={pool}, but only {len(found)} numbers below {limit} are a single token for "
            f"{tokenizer.name_or_path or type(tokenizer).__name__}: lower pool or change the model"
        )
    values, first, following = np.array(found[:pool], dtype=np.int64).T
    return NumberTokens(values, first, following)
