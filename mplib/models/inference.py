"""Attention as features: one number a layer for each statement."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from mplib.models.attention import Intervention, Reduction, backend
from mplib.models.memory import fits_memory
from mplib.models.passes import forward, passes
from mplib.models.prompts import Prompts


@dataclass(frozen=True)
class Reading:
    """What one run over the examples gave.

    Attributes:
        features: simplified attention, as ``attention_features`` returns it.
        correct: whether each answer was right, shape (examples,); None if not asked.
        log_probability: of the right answer among the choices, shape (examples,); None likewise.
    """

    features: np.ndarray
    correct: np.ndarray | None = None
    log_probability: np.ndarray | None = None


@fits_memory
def read(
    model: PreTrainedModel,
    prompts: Prompts,
    *,
    reduction: Reduction | None = None,
    choices: np.ndarray | None = None,
    answers: bool = True,
    batch_size: int = 64,
) -> Reading:
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
    how = reduction or Reduction()
    if how.statement == "tokens" and not prompts.attention_mask.all():
        # Trimmed batches would hold the tokens of different examples in different columns.
        batch_size = len(prompts)
    features: np.ndarray | None = None
    correct = np.empty(len(prompts), dtype=bool)
    log_probability = np.empty(len(prompts), dtype=np.float32)
    with passes(model, prompts, batch_size, "attention") as batches:
        for chosen, batch, run in batches:
            found = run(reduction=how, logits=answers)
            assert found.attention is not None
            values = found.attention.moveaxis(-1, 1).to("cpu", torch.float32).numpy()
            if features is None:
                features = np.empty((len(prompts), *values.shape[1:]), dtype=np.float32)
            features[chosen] = values
            if found.logits is not None:
                judged = judge(found.logits, batch.answers, choices)
                correct[chosen], log_probability[chosen] = judged
    assert features is not None
    if how.statement != "tokens":
        features[prompts.statements[..., 0] == prompts.statements[..., 1]] = np.nan
    return Reading(features, correct, log_probability) if answers else Reading(features)


def attention_features(
    model: PreTrainedModel,
    prompts: Prompts,
    *,
    reduction: Reduction | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """Simplified attention A_simp of every statement (paper, section 3.2).

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: the examples.
        reduction: see ``read``.
        batch_size: examples a forward pass.

    Returns:
        float32, shape (examples, statements, layers) or (examples, statements, layers, heads);
        NaN where an example has no such statement.
    """
    return read(model, prompts, reduction=reduction, answers=False, batch_size=batch_size).features


def full_attention(model: PreTrainedModel, prompts: Prompts) -> np.ndarray:
    """Every attention weight of a few examples; shape (examples, layers, heads, queries, keys)."""
    prompts = prompts.whole()
    tokens = prompts.input_ids.shape[1]
    everything = replace(prompts, question=np.broadcast_to([0, tokens], (len(prompts), 2)))
    with backend(model):
        found = forward(
            model, everything, reduction=Reduction("tokens", "keep", "keep"), logits=False
        ).attention
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


@fits_memory
def predicted_tokens(
    model: PreTrainedModel,
    prompts: Prompts,
    *,
    choices: np.ndarray | None = None,
    intervention: Intervention | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """The most likely next token of each prompt; shape (examples,).

    Args:
        model: any decoder that uses transformers' attention interface.
        prompts: the examples.
        choices: token ids among which the answer is looked for; the whole vocabulary if None.
        intervention: what is changed in the attention, the same for every example.
        batch_size: examples a forward pass.
    """
    predicted = np.empty(len(prompts), dtype=np.int64)
    # What is changed in the attention changes a shared prefix too.
    prompts = prompts if intervention is None else prompts.whole()
    with passes(model, prompts, batch_size) as batches:
        for chosen, _, run in batches:
            logits = run(intervention=intervention).logits
            assert logits is not None
            predicted[chosen] = _among(logits, choices).argmax(-1).cpu()
    return predicted


def judge(
    logits: Tensor, answers: np.ndarray, choices: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each answer is right, and the log-probability of the right one.

    Args:
        logits: of the token after each prompt, shape (examples, vocabulary).
        answers: the right tokens, shape (examples,).
        choices: token ids among which the answer is looked for; the whole vocabulary if None.
    """
    scores = _among(logits.float(), choices).log_softmax(dim=-1)
    right = torch.from_numpy(answers).to(scores.device)
    log_probability = scores.gather(1, right[:, None])[:, 0]
    return (scores.argmax(-1) == right).cpu().numpy(), log_probability.cpu().numpy()


def _among(logits: Tensor, choices: np.ndarray | None) -> Tensor:
    """The logits, minus infinity for all that is no choice."""
    if choices is None:
        return logits
    allowed = torch.full_like(logits, -torch.inf)
    allowed[:, choices] = logits[:, choices]
    return allowed
