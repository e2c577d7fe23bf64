"""Examples in words become prompts: demonstrations first, then statements, question, answer.

One prompt serves for accuracy and for attention, and demonstrations are the same for the model and
for its random twin (the paper's source differs in both).
"""

import random
from collections.abc import Sequence
from itertools import accumulate, cycle, islice
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from transformers import PreTrainedTokenizerBase

from mplib.errors import InputError
from mplib.models.prompts import Prompts, Span, encode, stack, tokenize

Asked = tuple[Prompts, np.ndarray | None]
"""Prompts, and the token ids among which the answer is looked for; None for all there are."""


class Problem(Protocol):
    """What is read of an example in words."""

    @property
    def statements(self) -> tuple[str, ...]:
        """What the model is told."""

    @property
    def question(self) -> str:
        """What it is asked; may be empty."""

    @property
    def answer(self) -> str:
        """What should come next."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The answers among which the model's is looked for; empty for any token."""


P = TypeVar("P", bound=Problem)
Problems = Sequence[Problem]


class Written(NamedTuple):
    """An example in words, up to its answer.

    Attributes:
        text: statements, question and what asks for the answer, joined by spaces.
        statements: character span of each statement.
        question: character span of the question.
    """

    text: str
    statements: tuple[Span, ...]
    question: Span


def write(example: Problem, template: str) -> Written:
    """Puts an example into words.

    Args:
        example: the example.
        template: what asks for the answer, such as ``True or False?``; may be empty.
    """
    parts = [*example.statements, example.question, template]
    spans, text = [], ""
    for part in parts:
        text += " " if text and part else ""
        spans.append((len(text), len(text) + len(part)))
        text += part
    # Where the task has no question of its own, what asks for the answer stands for it.
    question = spans[-2] if example.question else spans[-1]
    if question[0] == question[1]:
        question = spans[len(example.statements) - 1]
    return Written(text, tuple(spans[: len(example.statements)]), question)


def demonstrate(
    train: Sequence[P], shots: int, n: int, *, shared: bool = True, seed: int = 0
) -> list[list[P]]:
    """Draws demonstrations for n examples, each answer equally often, without repeats.

    Args:
        train: examples to draw from, none of them probed.
        shots: demonstrations for each example.
        n: how many examples.
        shared: whether all examples have the same ones; else they are drawn anew for each, as in
            the paper.
        seed: of the draws.

    Raises:
        InputError: there are fewer training examples than demonstrations.
    """
    if shots > len(train):
        raise InputError(f"shots={shots}, but there are only {len(train)} training examples")
    by_answer: dict[str, list[P]] = {}
    for example in train:
        by_answer.setdefault(example.answer, []).append(example)

    def draw(rng: random.Random) -> list[P]:
        answers = sorted(by_answer)
        rng.shuffle(answers)
        pools = {answer: iter(rng.sample(by_answer[answer], len(by_answer[answer])))
                 for answer in answers}  # fmt: skip
        turns = (next(pools[answer], None) for answer in cycle(answers))
        drawn = list(islice((example for example in turns if example), shots))
        rng.shuffle(drawn)
        return drawn

    rngs = [random.Random(f"{seed} {0 if shared else i}") for i in range(1 if shared else n)]
    sets = [draw(rng) for rng in rngs]
    return sets * n if shared else sets


def answer_tokens(
    tokenizer: PreTrainedTokenizerBase, text: str, answers: Sequence[str]
) -> list[int]:
    """The token with which each answer goes on after a text and a space, by asking the tokenizer.

    Raises:
        InputError: two answers begin with the same token, or the tokenizer joins text and answer.
    """
    before, _ = tokenize(tokenizer, text)
    found: dict[int, str] = {}
    for answer in answers:
        whole, spans = tokenize(tokenizer, f"{text} {answer}")
        # The space may be a token of its own, as it is before a digit that always stands alone.
        place = next((i for i, (_, end) in enumerate(spans) if end > len(text)), None)
        if place is None or spans[place][0] < len(text) or whole[:place] != before[:place]:
            raise InputError(
                f"the tokenizer does not begin a new token for {answer!r} after {text[-20:]!r}: "
                "use another template or other answers"
            )
        token = whole[place]
        if token in found:
            raise InputError(
                f"the answers {found[token]!r} and {answer!r} begin with the same token: name them "
                "so that their first tokens differ"
            )
        found[token] = answer
    return list(found)


def few_shot(
    tokenizer: PreTrainedTokenizerBase, examples: Problems, demonstrations: Sequence[Problems],
    template: str, max_tokens: int | None = None,
) -> Asked:  # fmt: skip
    """Prompts for examples in words, each behind its demonstrations.

    Args:
        tokenizer: a fast tokenizer.
        examples: the examples.
        demonstrations: those of each example, from ``demonstrate``; empty lists for none.
        template: what asks for the answer, such as ``True or False?``; may be empty.
        max_tokens: the model's number of positions.

    Returns:
        The prompts, with what all of them begin with as their shared prefix, and the token ids
        among which the answer is looked for: those of every choice that occurs; None where an
        example has no choices, so that any token may follow.

    Raises:
        InputError: no examples, a prompt that is too long, or answers that cannot be told apart.
    """
    if not examples:
        raise InputError("no examples to ask: change what is drawn or read")
    written = [write(example, template) for example in examples]
    texts, statements, questions = [], [], []
    for one, shown in zip(written, demonstrations, strict=True):
        before = "".join(f"{write(x, template).text} {x.answer}\n" for x in shown)
        shift = len(before)
        texts.append(before + one.text)
        statements.append([(a + shift, b + shift) for a, b in one.statements])
        questions.append((one.question[0] + shift, one.question[1] + shift))
    choices = sorted({choice for example in examples for choice in example.choices})
    if all(example.choices for example in examples):
        # The end of a prompt is the same for all, and an answer's token depends on nothing else.
        ids = dict(zip(choices, answer_tokens(tokenizer, written[0].text, choices), strict=True))
        answers = [ids[example.answer] for example in examples]
        among = np.array(list(ids.values()))
    else:
        pairs = zip(written, examples, strict=True)
        answers = [answer_tokens(tokenizer, w.text, [e.answer])[0] for w, e in pairs]
        among = None
    prompts = encode(tokenizer, texts, statements, questions, answers, max_tokens)
    return prompts.share_prefix(), among


def published_demonstration(example: Problem, context: str, template: str) -> str:
    r"""An example as the paper's source demonstrates it.

    Args:
        example: the example.
        context: what tells its statements there.
        template: what asks for the answer, behind a colon; may be empty.

    >>> from collections import namedtuple
    >>> asked = namedtuple("Asked", "question answer")("Bob is big.", "True")
    >>> published_demonstration(asked, "Bob is big. Al is red.", "True or False?")
    'Bob is big. Al is red. Bob is big.: True or False?True\n'
    """
    return f"{context} {example.question}{': ' * bool(template)}{template}{example.answer}\n"


def published_prompts(
    tokenizer: PreTrainedTokenizerBase, examples: Problems, before: Sequence[str], template: str,
    max_tokens: int | None = None,
) -> Prompts:  # fmt: skip
    """Prompts as the paper's source reads their attention, with the spans that it takes.

    Statements stand without anything between them. Each is as long as it is when tokenized alone,
    counted on from the demonstrations, and the first begins one token late; what comes behind them
    is the question, the template included. There are no special tokens.

    Args:
        tokenizer: a fast tokenizer.
        examples: the examples.
        before: demonstrations of each example as one text; empty for none.
        template: what asks for the answer; may be empty.
        max_tokens: the model's number of positions.

    Raises:
        InputError: a prompt that is too long.
    """

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    tokens, statements, questions = [], [], []
    for one, shown in zip(examples, before, strict=True):
        asked = f" {one.question}" + f" {template}" * bool(template)
        tokens.append(ids("".join([shown, *one.statements, asked])))
        ends = [*accumulate(len(ids(text)) for text in (shown, *one.statements))]
        starts = [ends[0] + 1, *ends[1:]]
        statements.append([*zip(starts, ends[1:], strict=False)])
        questions.append((ends[-1], len(tokens[-1])))
    return stack(tokenizer, tokens, statements, questions, [0] * len(tokens), max_tokens)
