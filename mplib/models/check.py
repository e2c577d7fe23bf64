"""What a user runs before believing a number: every promise of the backend, tried on one model."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from mplib.models.attention import Intervention
from mplib.models.facts import backend, embedding
from mplib.models.inference import attention_features, full_attention
from mplib.models.loading import load_model
from mplib.models.passes import forward, head_shape
from mplib.models.prompts import Prompts


class Line(NamedTuple):
    """One promise.

    Attributes:
        what: what was tried.
        seen: the largest difference found; NaN where nothing could be tried.
        bound: the largest that is allowed.
        note: what else there is to say.
    """

    what: str
    seen: float
    bound: float
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is kept; what could not be tried is not broken."""
        return not self.seen > self.bound

    def __str__(self) -> str:
        if np.isnan(self.seen):
            return f"{self.what}: not tried ({self.note})"
        verdict = "ok" if self.holds else "BROKEN"
        return f"{self.what}: {self.seen:.2g} (at most {self.bound:g}) {verdict}{self.note}"


def _prompts(model: PreTrainedModel) -> Prompts:
    """Prompts of 14, 8 and 14 tokens that begin alike; two statements and a question each."""
    size = len(embedding(model))
    rng, lengths, begin = np.random.default_rng(0), np.array([14, 8, 14]), 3
    ids = rng.integers(size // 4, size // 2 + 1, size=(3, 14))
    pads = 14 - lengths
    for row, pad in zip(ids, pads, strict=True):
        row[pad : pad + begin] = ids[0, :begin]
    spans = pads[:, None, None] + begin + np.array([[0, 1], [1, 3]])
    question = np.tile([12, 14], (3, 1))
    return Prompts(ids, np.arange(14) >= pads[:, None], spans, question, ids[:, 0])


def _apart(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.abs(one - two).max())


def _logits(
    model: PreTrainedModel, prompts: Prompts, change: Intervention | None = None
) -> np.ndarray:
    """Of the token after each prompt."""
    with backend(model):
        found = forward(model, prompts, intervention=change).logits
    assert found is not None
    return found.float().cpu().numpy()


def _rows(model: PreTrainedModel, prompts: Prompts) -> Iterator[Line]:
    """What a matrix of attention is."""
    attention = full_attention(model, prompts[:1])
    sums = attention.sum(axis=-1)
    over, rest = float(sums.max() - 1), float(1 - sums.min())
    if any("sink" in name for name, _ in model.named_parameters()):
        yield Line("rows sum to 1", max(over, 0), 1e-4, f", the rest at a sink: {rest:.2g}")
    else:
        yield Line("rows sum to 1", max(over, rest), 1e-4)
    yield Line("nothing looks ahead", float(np.triu(attention, 1).max()), 0)


def _company(model: PreTrainedModel, prompts: Prompts) -> Iterator[Line]:
    """What stands beside a prompt changes nothing."""
    together, alone = attention_features(model, prompts), attention_features(model, prompts[1:2])
    yield Line("left padding", _apart(together[1], alone[0]), 1e-4)
    singly = np.concatenate([_logits(model, prompts[i : i + 1]) for i in (0, 2)])
    yield Line("batch against single", _apart(_logits(model, prompts[::2]), singly), 1e-3)
    shared = attention_features(model, prompts.share_prefix())
    yield Line("prefix cache against whole prompts", _apart(shared, together), 1e-4)


@torch.no_grad()
def _kernels(model: PreTrainedModel, prompts: Prompts) -> Iterator[Line]:
    """The family's own code, without this package, gives the same logits and the same features."""
    one = prompts[:1]
    ours, features = _logits(model, one)[0], attention_features(model, one)[0]
    with ExitStack() as after:
        after.callback(model.set_attn_implementation, model.config._attn_implementation)
        model.set_attn_implementation("eager")
        ids = torch.from_numpy(one.input_ids).to(embedding(model).device)
        own = model(input_ids=ids, output_attentions=True, use_cache=False)
    apart = _apart(own.logits[0, -1].float().cpu().numpy(), ours)
    yield Line("fast kernel against the family's own eager", apart, 1e-3)
    layers = [layer[0] for layer in own.get("attentions") or () if layer is not None]
    seen, note = np.nan, f"the family shows {len(layers)} layers"
    if len(layers) == features.shape[-1]:
        rows = torch.stack(layers)[:, :, slice(*one.question[0])].float().cpu().numpy()
        pooled = np.stack([rows[..., a:b].mean(-1).max(-1).mean(-1) for a, b in one.statements[0]])
        seen, note = _apart(pooled, features), ""
    yield Line("features against the family's own attention", seen, 1e-4, note)


def _changes(model: PreTrainedModel, prompts: Prompts) -> Iterator[Line]:
    """What is cut or switched off is gone."""
    one = prompts[:1]
    ids = one.input_ids.copy()
    start, end = one.statements[0, 1]
    ids[0, start:end] = ids[0, start:end][::-1] - 1
    other = replace(one, input_ids=ids)
    cut = torch.zeros(1, 14, 14, dtype=torch.bool, device=embedding(model).device)
    cut[:, end:, start:end] = True
    change = Intervention(cut=cut)
    moved = _apart(_logits(model, one), _logits(model, other))
    left = _apart(_logits(model, one, change), _logits(model, other, change))
    yield Line("a full cut leaves nothing of a statement", left, 1e-4, f", uncut {moved:.2g}")
    off = Intervention(heads_off=torch.ones(head_shape(model), dtype=torch.bool))
    left = _apart(_logits(model, one, off), _logits(model, other, off))
    yield Line("all heads off leave nothing of it", left, 1e-4)


def _precision(model: PreTrainedModel, prompts: Prompts) -> Iterator[Line]:
    """The model itself is turned, so this comes last."""
    before = attention_features(model, prompts)
    model.bfloat16()
    after = attention_features(model, prompts)
    yield Line("bfloat16 against float32", _apart(after, before), 0.1)


def lines(model: PreTrainedModel) -> Iterator[Line]:
    """Every promise, tried on a model in float32, which is left in bfloat16.

    Raises:
        InputError: its attention cannot be read rightly.
    """
    with backend(model) as known:
        prompts, tried = _prompts(model), [_rows, _company, _kernels, _changes, _precision]
    if known.leak:
        tried.remove(_changes)
        note = ", of its effect; interventions are refused"
        yield Line("a full cut leaves nothing of a statement", known.leak, 1e-4, note)
    for each in tried:
        yield from each(model, prompts)


def check_model(
    name: str, *, device: str = "auto", partial_attention: bool = False
) -> tuple[list[str], bool]:
    """What a model keeps of the backend's promises, as lines, and whether all of them.

    Args:
        name: of the model, as ``load_model`` takes it.
        device: where it runs.
        partial_attention: see ``load_model``.

    Raises:
        InputError: the model cannot be loaded or read.

    >>> said, ok = check_model("nano", device="cpu")
    >>> said[0], ok
    ('layers read: 2 of 2 (0, 1)', True)
    """
    loaded = load_model(name, device=device, partial_attention=partial_attention)
    with backend(loaded.model) as known:
        numbers = ", ".join(map(str, known.layers))
    read = f"layers read: {len(known.layers)} of {loaded.layers} ({numbers})"
    read += "" if known.pads else "; prompts run one by one"
    read += "" if known.prefix else "; prompts are written out whole"
    found = list(lines(loaded.model))
    return [read, *map(str, found)], all(line.holds for line in found)
