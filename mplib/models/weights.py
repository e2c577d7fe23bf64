"""Whether a model's weights are all there, and its tokenizer its own."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mplib.errors import InputError
from mplib.models.facts import embedding

BUFFERS = r"(inv_freq|masked_bias|attn\.bias|attention\.bias|position_ids)$"
"""What old checkpoints keep beside their weights: computed anew, so nobody misses or needs it."""


def _named(names: Collection[Any]) -> str:
    """The first few names and how many there are."""
    first = ", ".join(str(name) for name in sorted(names, key=str)[:3])
    return first + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_weights(source: str, model: PreTrainedModel, found: Mapping[str, Any]) -> None:
    """Whether the file's tensors are those that the configuration asks for, and numbers.

    Args:
        source: where the model came from.
        model: the model.
        found: what transformers told of loading it.

    Raises:
        InputError: they are not, with the names of the first few.
    """
    unexpected = [key for key in found["unexpected_keys"] if not re.search(BUFFERS, key)]
    for keys, what in (
        (found["missing_keys"], "are missing in its weights and would be random"),
        (unexpected, "stand in its weights and belong to no layer"),
    ):
        if keys:
            raise InputError(
                f"the model in {source} is not what its config.json says ({model.config.model_type}"
                f"): {_named(keys)} {what}; take the configuration that belongs to the weights, or "
                "save the model again"
            )
    check_numbers(source, model.named_parameters())


def check_numbers(source: str, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Whether named tensors hold nothing but numbers.

    Raises:
        InputError: they do not, with the names of the first few.
    """
    if broken := [name for name, one in tensors if not _finite(one)]:
        raise InputError(
            f"the model in {source} has NaN or infinity in {_named(broken)}: save or train it "
            "again, or use dtype='float32' if float16 is too narrow for its weights"
        )


def _finite(one: torch.Tensor) -> bool:
    """Whether all numbers of a parameter are finite; without another tensor of its size."""
    # Numbers of eight bits and less have no smallest and largest.
    if one.is_meta or not one.numel() or not one.is_floating_point() or one.element_size() < 2:
        return True
    return all(bool(end.isfinite()) for end in torch.aminmax(one))


def check_tokenizer(
    source: str, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
) -> None:
    """Whether the model has an embedding for every token that a prompt may hold.

    Raises:
        InputError: it has not, with the names of the first few; or there are no tokens.
    """
    rows, words = len(embedding(model)), tokenizer.get_vocab()
    added = tokenizer.added_tokens_decoder.values()
    if not words.keys() - {one.content for one in added}:
        raise InputError(
            f"the tokenizer in {source} has no words, so there is no tokenizer.json: save it with "
            "a fast tokenizer, tokenizer.save_pretrained(folder)"
        )
    # A special token of pictures or the like is never made of a text.
    special = {one.content for one in added if one.special}
    special -= {tokenizer.pad_token, tokenizer.unk_token, tokenizer.bos_token, tokenizer.eos_token}
    if beyond := {word for word, i in words.items() if i >= rows and word not in special}:
        raise InputError(
            f"the tokenizer in {source} has tokens that its model has no embedding for "
            f"({_named(beyond)}; {len(tokenizer)} tokens, {rows} embeddings): take the tokenizer "
            "that belongs to the model"
        )
