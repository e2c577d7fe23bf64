"""What is true of a model, found by running it once on a few tokens before anything is read of it.

A family's name says little: a hybrid is a decoder too, and its attention looks like any other's. So
nothing is looked up in a list. The model itself, in its own precision and where it lies, runs over
seven rows of sixteen tokens, which costs it less than one prompt, and once in its life. A small
random copy would be cheaper, but what makes a model a hybrid is easily lost in shrinking.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from mplib.errors import InputError
from mplib.models.attention import BACKEND, SESSION, Enough, Intervention, Session, layer_stack

TOKENS = 16
"""Of a row that a model is tried on; fewer where it has fewer positions."""


class Facts(NamedTuple):
    """What is true of a model.

    Attributes:
        layers: numbers of the layers whose attention is read, as the model numbers them.
        leak: share of a token's effect on the logits that stays when every edge to it is cut: other
            layers mix tokens too; 0 where attention alone does.
        pads: whether padding on the left leaves no trace; else prompts run one by one.
        prefix: whether what prompts share can be computed once; else they are written out whole.
        last_only: whether the logits can be asked for the last token alone.
        even: whether every layer has as many heads.
        limit: see ``rope_limit``.
    """

    layers: tuple[int, ...]
    leak: float
    pads: bool
    prefix: bool
    last_only: bool
    even: bool
    limit: int | None


_KNOWN: WeakKeyDictionary[PreTrainedModel, Facts] = WeakKeyDictionary()


def embedding(model: PreTrainedModel) -> Tensor:
    """A row for each token; it lies where the model wants its tokens."""
    return next(model.get_input_embeddings().parameters())


@contextmanager
def backend(model: PreTrainedModel) -> Iterator[Facts]:
    """Runs the model's attention through the backend for the time of the block.

    Yields:
        What is true of the model.

    Raises:
        InputError: the model's family does not use transformers' attention interface, or its
            attention cannot be read rightly.
    """
    module = sys.modules[type(model).__module__]
    if not hasattr(module, "eager_attention_forward") or not model._can_set_attn_implementation():
        raise InputError(
            f"{type(model).__name__} does not use transformers' attention interface, so its "
            "attention cannot be read: take a family that does (GPT-2, GPT-NeoX, OPT, Llama, "
            "Mistral, Qwen, Gemma, Phi-3, OLMo and most newer ones)"
        )
    with ExitStack() as after:
        after.callback(model.set_attn_implementation, model.config._attn_implementation)
        model.set_attn_implementation(BACKEND)
        for number, layer in enumerate(layer_stack(model)):
            after.enter_context(layer.register_forward_pre_hook(partial(_enter, number)))
        yield facts(model)


def _enter(number: int, *_: Any) -> None:
    """Notes which layer runs, for attention that does not know its number."""
    if (session := SESSION.get()) is not None:
        session.running = number


def last_place(ids: Tensor) -> Tensor:
    """The index of the last column, to ask for its logits alone.

    Of a slice, which is no copy, the product with the vocabulary's weights would copy these for
    each example: in bfloat16 nearly half of a pass.
    """
    return torch.tensor([ids.shape[1] - 1], device=ids.device)


def one_pass(
    model: PreTrainedModel, session: Session, ids: Tensor, mask: Tensor | None = None,
    cache: Cache | None = None, last_only: bool = False,
) -> Any:  # fmt: skip
    """One pass under a session; None where it ended at the last layer that was wanted.

    Args:
        model: a decoder inside a ``backend`` block.
        session: what the backend does meanwhile.
        ids: tokens, shape (examples, tokens).
        mask: True where there is a token, also of what the cache holds, shape (examples, places);
            if None, mask and positions are left to the model.
        cache: keys and values of what comes before.
        last_only: whether the logits of the last token are enough.
    """
    given: dict[str, Any] = {"logits_to_keep": last_place(ids)} if last_only else {}
    if mask is not None:
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, mask.shape[1] - ids.shape[1] :]
        given |= {"attention_mask": mask.long(), "position_ids": places}
    session.sdpa = type(model)._supports_sdpa
    token = SESSION.set(session)
    try:
        with suppress(Enough):
            return model(input_ids=ids, past_key_values=cache, use_cache=cache is not None, **given)
    finally:
        SESSION.reset(token)
    return None


class _PrefixLayer(DynamicLayer):
    """One layer's keys and values of a prefix, the same for every example of every batch.

    Once it is ``whole``, what a pass adds is not kept: it would cost the prefix once for each
    example and layer. Several prefixes serve as many examples, again and again.
    """

    whole = False

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of the prefix, followed by the new ones."""
        before: Any = (self.keys, self.values)
        if self.is_initialized and (more := len(key_states) // len(before[0])) > 1:
            one = len(before[0]) == 1
            self.keys, self.values = (
                x.expand(more, -1, -1, -1) if one else x.repeat(more, 1, 1, 1) for x in before
            )
        found = super().update(key_states, value_states, *args, **kwargs)
        if self.whole:
            self.keys, self.values = before
        return found


@torch.no_grad()
def prefix_cache(
    model: PreTrainedModel, prefix: Tensor, last_layer: int | None = None,
    mask: Tensor | None = None, before: Cache | None = None,
) -> Cache:  # fmt: skip
    """Keys and values of tokens that stand before every prompt; inside a ``backend`` block.

    Built without the model's config, or layers with a sliding window would forget the prefix.

    Args:
        model: a decoder.
        prefix: ids of the tokens, shape (tokens,), or (examples, tokens) for each its own.
        last_layer: the layer at which the pass may end.
        mask: True where there is a token, shape (examples, tokens); everywhere if None.
        before: of one prefix before these tokens, which the cache then holds too.
    """
    cache, device = Cache(layer_class_to_replicate=_PrefixLayer), embedding(model).device
    session, ids = Session(last_layer=last_layer), torch.atleast_2d(prefix).to(device)
    mask = torch.ones_like(ids) if mask is None else mask.to(device)
    if before is not None:
        mask = torch.cat([mask.new_ones(len(ids), before.get_seq_length()), mask], dim=1)
        cache = _views(before, whole=False)
    one_pass(model, session, ids, mask, cache, last_only=last_layer is not None)
    return _views(cache, whole=True)


def first_tokens(cache: Cache | None, tokens: int) -> Cache | None:
    """The first tokens of a ``prefix_cache``; None of none."""
    return _views(cache, True, tokens) if cache and tokens else None


def _views(cache: Cache, whole: bool, tokens: int | None = None) -> Cache:
    """The same keys and values, of the first tokens or all, in layers of their own."""
    layers: list[Any] = [copy(layer) for layer in cache.layers]
    for layer in layers:
        layer.whole = whole
        if layer.is_initialized:  # those that share another's keys and values stay empty
            layer.keys, layer.values = layer.keys[:, :, :tokens], layer.values[:, :, :tokens]
    return Cache(layers=layers)


def rope_limit(model: PreTrainedModel) -> int | None:
    """Tokens up to which the rotary frequencies do not depend on the longest prompt of a batch."""
    limits: list[Any] = []
    for module in model.modules():
        if not hasattr(module, "rope_type"):
            continue
        given: Any = getattr(module.config, "rope_parameters", None) or {}
        for each in [given, *(one for one in given.values() if isinstance(one, dict))]:
            if "dynamic" in each.get("rope_type", ""):
                limits.append(module.original_max_seq_len)
            elif each.get("rope_type") == "longrope":
                limits.append(each["original_max_position_embeddings"])
    return min(map(int, limits), default=None)


def facts(model: PreTrainedModel) -> Facts:
    """What is true of a model, looked at the first time; inside a ``backend`` block.

    Raises:
        InputError: its attention cannot be read rightly, with why.
    """
    if (known := _KNOWN.get(model)) is None:
        name = type(model).__name__
        try:
            known = _KNOWN[model] = _look(model)
        except (InputError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise InputError(
                f"{name} does not run with its attention read ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}): take another family"
            ) from error
    if known.leak and not getattr(model, "partial_attention", False):
        raise InputError(
            f"{type(model).__name__} mixes tokens outside its attention too, in recurrent or "
            "convolutional layers: with every edge to a token cut, its effect on the logits is "
            f"{known.leak:.0%} of what it was. Take another family, or read the attention of "
            f"layers {', '.join(map(str, known.layers))} alone with partial_attention=True"
        )
    return known


def inherit(twin: PreTrainedModel, model: PreTrainedModel) -> None:
    """What is known of a model holds for one that differs from it in its weights alone."""
    twin.partial_attention = getattr(model, "partial_attention", False)  # type: ignore[assignment]
    if known := _KNOWN.get(model):
        _KNOWN[twin] = known


@torch.no_grad()
def _look(model: PreTrainedModel) -> Facts:
    """Runs the rows; see ``facts``."""
    name, device, limit = type(model).__name__, embedding(model).device, rope_limit(model)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or TOKENS
    tokens = min(TOKENS, positions, limit or TOKENS)
    rows, mask, cut = _rows(len(embedding(model)), tokens, device)
    pads = tokens // 3

    def keep(weights: Tensor, _: int) -> Tensor:  # every weight
        return weights.float()

    whole, brief = Session(Intervention(cut=cut), reduce=keep), Session()
    logits = one_pass(model, whole, rows, mask).logits.float()
    last = one_pass(model, brief, rows[:1], mask[:1], last_only=True).logits
    some = torch.tensor([[tokens - 2, tokens - 1]], device=device)
    question = Session(reduce=keep, rows=some)
    own = one_pass(model, question, rows[:1]).logits.float()[0]
    layers = tuple(whole.calls)
    if not layers:
        raise InputError(f"no layer of {name} went through the attention interface")
    if repeated := [layer for layer, calls in whole.calls.items() if calls > 1]:
        raise InputError(
            f"{name} runs the attention of layers {', '.join(map(str, repeated))} more than once a "
            "pass, so there is no one attention of theirs to read: take another family"
        )
    if logits.isnan().any():
        raise not_a_number(model)
    # In half precision sums of other shapes differ in the third digit.
    bound = 1e-3 if model.dtype == torch.float32 else 0.1

    def apart(one: Tensor, two: Tensor) -> float:
        scale = logits[0].std().clamp(min=1e-20)
        return float((one - two).square().mean().sqrt() / scale)

    if apart(logits[0, :-1], logits[1, :-1]) > bound / 10:
        raise InputError(
            f"{name} is no causal decoder as it is configured (is_decoder?): a later token changes "
            "what comes before it; take a causal model"
        )
    if apart(own, logits[0]) > bound:
        raise InputError(
            f"{name} counts positions in a way of its own, not from 0 at a prompt's first token, "
            "so prompts of several lengths cannot be read together: take another family"
        )
    if any(
        (question.recorded[n][0] - whole.recorded[n][0, :, -2:]).abs().max() > bound for n in layers
    ):
        raise InputError(
            f"{name} gives other attention where the rows of a question are asked for alone: take "
            "another family"
        )
    effect, left = apart(logits[0, -1], logits[4, -1]), apart(logits[2, -1], logits[3, -1])
    padded, alone = logits[5:, pads:], logits[0, : tokens - pads]
    return Facts(
        layers=layers,
        leak=left / effect if left > max(bound * effect, 1e-6) else 0.0,
        pads=max(apart(padded[0], alone), apart(padded[0], padded[1])) < bound,
        prefix=not whole.windows and _prefix_holds(model, rows[0], logits[0], bound),
        last_only=last.shape[1] == 1 and brief.queries == {tokens},
        even=len({heads.shape[1] for heads in whole.recorded.values()}) == 1,
        limit=limit,
    )


def _rows(size: int, tokens: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What a model is tried on: tokens, where they are, which edges are cut; a prompt a row.

    Row 0 is a prompt. In row 1 its last token is another one, in row 4 the last but one; rows 2 and
    3 are rows 0 and 4 with every edge to that token cut. Rows 5 and 6 are its beginning behind
    padding that differs.
    """
    # Away from the ends of the vocabulary, where padding, pictures and the like have their ids.
    base = (size // 3 + torch.arange(tokens, device=device) * 3) % size
    other = (base + size // 3 + 1) % size
    rows, pads, asked = base.repeat(7, 1), tokens // 3, tokens - 2
    rows[1, -1] = other[-1]
    rows[3:5, asked] = other[asked]
    rows[5:, pads:] = base[: tokens - pads]
    rows[6, :pads] = other[:pads]
    mask = torch.ones_like(rows, dtype=torch.bool)
    mask[5:, :pads] = False
    cut = torch.zeros(7, tokens, tokens, dtype=torch.bool, device=device)
    cut[2:4, asked + 1 :, asked] = True
    return rows, mask, cut


def _prefix_holds(model: PreTrainedModel, base: Tensor, whole: Tensor, bound: float) -> bool:
    """Whether prompts of two lengths behind a shared prefix give what whole ones do."""
    shared = len(base) // 3
    rows = base[shared:].repeat(2, 1)
    rows[1, 1:] = base[shared:-1]
    mask = torch.ones(2, len(base), dtype=torch.bool, device=base.device)
    mask[1, shared] = False
    try:
        cache = prefix_cache(model, base[:shared])
        found = one_pass(model, Session(), rows, mask, cache).logits[:, -1]
    except Exception:
        return False  # whatever it is, whole prompts do without
    apart = found.float() - whole[-1 - torch.arange(2)]
    return bool(apart.square().mean().sqrt() < bound * whole.std())


def not_a_number(model: PreTrainedModel) -> InputError:
    """What to say where a model gives NaN."""
    return InputError(
        f"{type(model).__name__} gives NaN in {str(model.dtype).removeprefix('torch.')}: "
        + (
            "its numbers are too large for it, use dtype='bfloat16' or 'float32'"
            if model.dtype == torch.float16
            else "its weights are broken; save or train it again"
        )
    )
