"""What a model answers, and whether it is right."""

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from mplib.attention import Intervention, passes
from mplib.memory import fits_memory
from mplib.prompts import Prompts


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
