"""The published algorithm, from what is known of its source, in plain loops of our own."""

from itertools import product

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from mplib.models.prompts import Prompts

GPT2_VOCABULARY = 50257


@torch.no_grad()
def attention_features(model: PreTrainedModel, input_ids: np.ndarray) -> np.ndarray:
    """Mean attention of the last token, one example at a time; (examples, tokens, layers).

    Args:
        model: a decoder that runs eager attention.
        input_ids: shape (examples, tokens).
    """
    features = []
    for row in input_ids:
        output = model(torch.from_numpy(row)[None].to(model.device), output_attentions=True)
        layers = [layer[0].cpu().float().numpy() for layer in output.attentions]
        features.append(np.stack([layer.mean(axis=0)[-1] for layer in layers], axis=-1))
    return np.stack(features)


@torch.no_grad()
def statement_features(model: PreTrainedModel, prompts: Prompts) -> np.ndarray:
    """Attention from the question to each statement; shape (examples, statements, layers).

    One example at a time, each with its demonstrations, all of every layer's attention at once.
    The source takes the maximum first; here it comes second, as in the paper.

    Args:
        model: a decoder that runs eager attention.
        prompts: the examples, equally many statements in each.
    """
    prompts = prompts.whole()
    features = []
    for i in range(len(prompts)):
        one = prompts[i : i + 1]
        ids = torch.from_numpy(one.input_ids).to(model.device)
        output = model(ids, output_attentions=True)
        first, last = one.question[0]
        layers = []
        for layer in output.attentions:
            rows = layer[0, :, first:last]  # heads, question, tokens
            pooled = [rows[:, :, a:b].mean(dim=2).amax(dim=1).mean() for a, b in one.statements[0]]
            layers.append(torch.stack(pooled).cpu().float().numpy())
        features.append(np.stack(layers, axis=-1))
    return np.stack(features)


class TextTraining:
    """Finetuning on lists as text: every position's logits, softmax, then cross-entropy."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast,
        optimizer: torch.optim.Optimizer,
    ) -> None:  # fmt: skip
        self.model, self.tokenizer, self.optimizer = model, tokenizer, optimizer

    def step(self, lists: list[str], answers: list[str]) -> float:
        """One step on one batch of texts; returns its loss."""
        device = self.model.device
        batch = self.tokenizer(lists, padding=True, return_tensors="pt").to(device)
        # The answer is tokenized without the space in front, as the source does.
        targets = torch.tensor(self.tokenizer(answers)["input_ids"])[:, 0]
        labels = torch.full_like(batch["input_ids"], -100)
        labels[:, -1] = targets.to(device)
        logits = self.model(**batch).logits
        # The source takes the softmax before a loss that takes it again.
        loss = cross_entropy(logits.softmax(-1).flatten(0, 1), labels.flatten())
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


def padded_gradients(model: PreTrainedModel, prompts: Prompts, chosen: np.ndarray) -> float:
    """Gradients of a batch of prompts, padded to the longest of all; returns its loss.

    Args:
        model: a decoder.
        prompts: all prompts.
        chosen: which of them are the batch, shape (examples,).
    """
    model.zero_grad()
    ids, mask, answers = (
        torch.from_numpy(each[chosen]).to(model.device)
        for each in (prompts.input_ids, prompts.attention_mask, prompts.answers)
    )
    labels = torch.full_like(ids, -100)
    labels[:, -1] = answers
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=mask.long(), position_ids=positions).logits
    loss = cross_entropy(logits.flatten(0, 1), labels.flatten())
    loss.backward()
    return loss.item()


def gpt2_like_tokenizer(digits: int = 3) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of GPT-2's size in which three digits are one token, made offline."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate(alphabet)}
    merges: list[tuple[str, str]] = []
    texts = ["".join(t) for n in range(digits) for t in product("0123456789", repeat=n + 1)]
    # The space is taken up first, or "1 12" would find its "12" before the space does.
    for text in texts:
        merges.append(("Ġ" + text[:-1], text[-1]))
    for text in texts:
        merges += [(text[:cut], text[cut:]) for cut in range(1, len(text))]
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    for filler in range(len(vocabulary), GPT2_VOCABULARY - 1):
        vocabulary[f"<{filler}>"] = filler
    vocabulary["<|endoftext|>"] = GPT2_VOCABULARY - 1
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>",
        padding_side="left",
    )  # fmt: skip
