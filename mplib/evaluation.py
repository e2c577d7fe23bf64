"""How often a model gives the right answer, and how sure that is."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from transformers import PreTrainedModel

from mplib.attention import Intervention, backend, forward
from mplib.prompts import Prompts


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """As percentages, for a sentence: ``98.1 % [97.0, 98.8]``."""
        return f"{self.value:.1%} [{self.low * 100:.1f}, {self.high * 100:.1f}]".replace("%", " %")


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
    with backend(model):
        for chosen, batch in prompts.batches(batch_size):
            logits = forward(model, batch, intervention=intervention).logits
            assert logits is not None
            if choices is None:
                predicted[chosen] = logits.argmax(-1).cpu()
            else:
                predicted[chosen] = choices[logits[:, choices].argmax(-1).cpu()]
    return predicted


def accuracy(correct: np.ndarray) -> Estimate:
    """Share of correct answers with its Wilson interval.

    Args:
        correct: True where the answer was right, shape (examples,).
    """
    interval = binomtest(int(correct.sum()), len(correct)).proportion_ci(method="wilson")
    return Estimate(float(correct.mean()), interval.low, interval.high)
