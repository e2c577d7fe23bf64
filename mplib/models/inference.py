"""What a model gives for prompts: attention as features, and answers, clean or changed inside."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from mplib.models.attention import Intervention, Reduction
from mplib.models.facts import backend
from mplib.models.loading import random_twins
from mplib.models.memory import fits_memory
from mplib.models.passes import forward, passes
from mplib.models.prompts import Prompts

Changes = Callable[[np.ndarray, Prompts], Iterable[tuple[Hashable, Intervention | None]]]
"""From a batch's indices and the batch: names of what is tried on it, and what is changed."""


@dataclass(frozen=True)
class Answers:
    """How every example was answered.

    Attributes:
        correct: whether the most likely answer is the right one, shape (examples,).
        log_probability: of the right answer among the choices, shape (examples,).
    """

    correct: np.ndarray
    log_probability: np.ndarray

    @classmethod
    def empty(cls, n: int) -> Self:
        """Room for n answers."""
        return cls(np.empty(n, dtype=bool), np.empty(n, dtype=np.float32))

    def judge(
        self, index: np.ndarray, logits: Tensor, right: np.ndarray, choices: np.ndarray | None
    ) -> None:
        """Fills in whether some answers are right, and the log-probability of the right ones.

        Args:
            index: which answers, shape (chosen,).
            logits: of the token after each of their prompts, shape (chosen, vocabulary).
            right: the right tokens, shape (chosen,).
            choices: token ids among which the answer is looked for; the whole vocabulary if None.
        """
        scores = logits.float()
        if choices is not None:
            allowed = torch.full_like(scores, -torch.inf)
            allowed[:, choices] = scores[:, choices]
            scores = allowed
        scores, tokens = scores.log_softmax(dim=-1), torch.from_numpy(right).to(scores.device)
        self.correct[index] = (scores.argmax(-1) == tokens).cpu().numpy()
        self.log_probability[index] = scores.gather(1, tokens[:, None])[:, 0].cpu().numpy()

    def among(self, possible: np.ndarray) -> "Answers":
        """These answers in their places among more examples, as floats; NaN for the others.

        Args:
            possible: True for the examples that these answers belong to, shape (all examples,).
        """
        places = np.full((2, len(possible)), np.nan)
        places[:, possible] = self.correct, self.log_probability
        return Answers(*places)

    def __getitem__(self, index: Any) -> "Answers":
        """The answers to some of the examples."""
        return Answers(self.correct[index], self.log_probability[index])


@dataclass(frozen=True)
class Reading:
    """What one run over the examples gave.

    Attributes:
        features: simplified attention, as ``attention_features`` returns it.
        answers: the model's; None if not asked.
    """

    features: np.ndarray
    answers: Answers | None = None


@fits_memory
def all_answers(
    model: PreTrainedModel, prompts: Prompts, *, changes: Changes | None = None,
    choices: np.ndarray | None = None, expected: Mapping[Any, np.ndarray] | None = None,
    batch_size: int = 256, late: bool = False, title: str | None = None,
) -> dict[Hashable, Answers]:  # fmt: skip
    """Answers every example under every change, all changes of a batch before the next batch.

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: the examples.
        changes: what is changed inside the model, batch by batch; nothing by default.
        choices: token ids among which the answer is looked for; the whole vocabulary if None.
        expected: several right answers by name, each of shape (examples,), all judged on the same
            passes in place of the prompts' own; their names then take the place of the changes'.
        batch_size: examples a forward pass.
        late: whether every change concerns the question's tokens and those behind it alone.
        title: of the progress bar; none is shown if None.

    Returns:
        The answers by the change's name.
    """
    found: dict[Hashable, Answers] = {}
    # What is changed in the attention changes a shared prefix too, unless it concerns questions.
    whole = prompts.whole() if changes and not late else prompts
    with passes(model, whole, batch_size, title, late=late) as batches:
        for chosen, batch, ask in batches:
            for name, change in changes(chosen, batch) if changes else [("", None)]:
                logits = ask(intervention=change).logits
                assert logits is not None
                right = {name: prompts.answers} if expected is None else expected
                for key, tokens in right.items():
                    room = found.setdefault(key, Answers.empty(len(prompts)))
                    room.judge(chosen, logits, tokens[chosen], choices)
    return found


def answers(
    model: PreTrainedModel, prompts: Prompts, *, change: Intervention | None = None,
    choices: np.ndarray | None = None, batch_size: int = 256,
) -> Answers:  # fmt: skip
    """Answers every example, under one change or none; see ``all_answers``.

    >>> from mplib import KSmallest, load_model
    >>> task = KSmallest(k=2, m=4, pool=16)
    >>> loaded = load_model("nano", vocabulary=task.vocabulary, device="cpu")
    >>> prompts, choices = task.prompts(task.draw(5, seed=0), loaded)
    >>> answers(loaded.model, prompts, choices=choices).correct.shape
    (5,)
    """
    changes: Changes | None = None if change is None else lambda *_: [("", change)]
    found = all_answers(model, prompts, changes=changes, choices=choices, batch_size=batch_size)
    return found[""]


@fits_memory
def read(
    model: PreTrainedModel, prompts: Prompts, *, reduction: Reduction | None = None,
    choices: np.ndarray | None = None, answers: bool = True, batch_size: int = 64,
) -> Reading:  # fmt: skip
    """Attention features and answers from the same pass over the same prompts.

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: the examples.
        reduction: how attention is reduced; the paper's way if None. Its ``heads="keep"`` adds a
            last axis of heads, its ``statement="tokens"`` gives tokens in the place of statements.
        choices: token ids among which the answer is looked for; the whole vocabulary if None.
        answers: whether the answers are wanted; without them a pass ends at the last attention.
        batch_size: examples a forward pass.
    """
    reduction = reduction or Reduction()
    prompts = prompts.whole() if reduction.statement == "tokens" else prompts
    features, found = np.empty(0, dtype=np.float32), Answers.empty(len(prompts))
    with passes(model, prompts, batch_size, "attention") as batches:
        for chosen, batch, ask in batches:
            given = ask(reduction=reduction, logits=answers)
            assert given.attention is not None
            values = given.attention.moveaxis(-1, 1).to("cpu", torch.float32).numpy()
            if not features.size:
                features = np.zeros((len(prompts), *values.shape[1:]), dtype=np.float32)
            # The longest come first; of tokens, shorter batches lack columns of padding.
            features[chosen, -values.shape[1] :] = values
            if given.logits is not None:
                found.judge(chosen, given.logits, batch.answers, choices)
    if reduction.statement != "tokens":
        features[prompts.statements[..., 0] == prompts.statements[..., 1]] = np.nan
    return Reading(features, found if answers else None)


def attention_features(
    model: PreTrainedModel, prompts: Prompts, *, reduction: Reduction | None = None,
    batch_size: int = 64,
) -> np.ndarray:  # fmt: skip
    """Simplified attention A_simp of every statement (paper, section 3.2).

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: the examples.
        reduction: see ``read``.
        batch_size: examples a forward pass.

    Returns:
        float32, shape (examples, statements, layers) or (examples, statements, layers, heads);
        NaN where an example has no such statement.

    >>> from mplib import KSmallest, load_model
    >>> task = KSmallest(k=2, m=4, pool=16)
    >>> loaded = load_model("nano", vocabulary=task.vocabulary, device="cpu")
    >>> prompts, _ = task.prompts(task.draw(5, seed=0), loaded)
    >>> attention_features(loaded.model, prompts).shape
    (5, 4, 2)
    """
    return read(model, prompts, reduction=reduction, answers=False, batch_size=batch_size).features


def published_features(
    model: PreTrainedModel, prompts: Prompts, *, question: Literal["max", "mean"] = "max",
    batch_size: int = 64,
) -> np.ndarray:  # fmt: skip
    """Attention of every statement in the order in which the paper's source pools it.

    First over the rows of the question, for each token by itself, then over heads, then the mean
    over a statement's tokens. The paper has the statement's tokens first, as ``attention_features``
    does. Arguments are those of it; the source takes the maximum over the rows with demonstrations
    and the mean without.

    Returns:
        float32, shape (examples, statements, layers); NaN where an example has no such statement.
    """
    features = np.empty(0, dtype=np.float32)
    with passes(model, prompts, batch_size, "attention") as batches:
        for chosen, batch, ask in batches:
            seen = ask(reduction=Reduction("tokens", question), logits=False).attention
            assert seen is not None
            values, spans = seen.to("cpu", torch.float32).numpy(), batch.statements
            if not features.size:
                shape = (*prompts.statements.shape[:2], values.shape[1])
                features = np.full(shape, np.nan, dtype=np.float32)
            for i, j in zip(*np.nonzero(spans[..., 0] < spans[..., 1]), strict=True):
                start, end = spans[i, j]
                features[chosen[i], j] = values[i, :, start:end].mean(axis=-1)
    return features


def full_attention(model: PreTrainedModel, prompts: Prompts) -> np.ndarray:
    """Every attention weight of a few examples; shape (examples, layers, heads, queries, keys)."""
    prompts = prompts.whole()
    tokens = prompts.input_ids.shape[1]
    everything = replace(prompts, question=np.broadcast_to([0, tokens], (len(prompts), 2)))
    with backend(model):
        every = Reduction("tokens", "keep", "keep")
        found = forward(model, everything, reduction=every, logits=False).attention
    assert found is not None
    return found.cpu().numpy()


def order_statements(features: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Statements of each example in a given order, the paper's pi(A_simp) (section 4.2).

    Args:
        features: shape (examples, statements, ...).
        order: statement indices in the wanted order, shape (examples, statements).
    """
    index = order.reshape(order.shape + (1,) * (features.ndim - 2))
    return np.take_along_axis(features, index, axis=1)


def scale_examples(features: np.ndarray) -> np.ndarray:
    """Divides each example's features by their maximum, as the paper's source does for numbers."""
    largest = np.nanmax(features, axis=tuple(range(1, features.ndim)), keepdims=True)
    return features / np.where(largest > 0, largest, 1)


def twin_features(
    model: PreTrainedModel, prompts: Prompts, count: int, seed: int, *, batch_size: int = 64
) -> list[np.ndarray]:
    """Features of a model's random twins on the same prompts, one twin in memory at a time.

    Args:
        model: the model whose twins they are.
        prompts: the examples.
        count: how many twins.
        seed: of the study.
        batch_size: examples a forward pass.
    """
    return [
        attention_features(twin, prompts, batch_size=batch_size)
        for twin in random_twins(model, count, seed)
    ]
