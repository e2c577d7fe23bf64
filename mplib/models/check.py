"""What a user runs before believing a number: every promise of the backend, tried on one model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import PreTrainedModel

from mplib.models.attention import Intervention, backend, layer_count
from mplib.models.facts import Facts, embedding, facts
from mplib.models.inference import attention_features, full_attention
from mplib.models.loading import load_model
from mplib.models.passes import forward, head_shape
from mplib.models.prompts import Prompts


@dataclass(frozen=True)
class Line:
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


def _one(prompts: Prompts, index: int) -> Prompts:
    """One prompt without padding."""
    return prompts[index : index + 1]


def _rows(model: PreTrainedModel, prompts: Prompts) -> Iterator[Line]:
    """What a matrix of attention is."""
    attention = full_attention(model, _one(prompts, 0))
    sums = attention.sum(axis=-1)
    sink = any("sink" in name for name, _ in model.named_parameters())
    yield Line(
        "rows sum to 1",
        float(max(sums.max() - 1, 0 if sink else 1 - sums.min())),
        1e-4,
        f", the rest at a sink: {1 - sums.min():.2g}" if sink else "",
    )
    yield Line("nothing looks ahead", float(np.triu(attention, 1).max()), 0)


def _company(model: PreTrainedModel, prompts: Prompts) -> Iterator[Line]:
    """What stands beside a prompt changes nothing."""
    together, alone = attention_features(model, prompts), [
        attention_features(model, _one(prompts, i))[0] for i in range(3)
    ]  # fmt: skip
    yield Line("left padding", _apart(together[1], alone[1]), 1e-4)
    equal = prompts[np.array([0, 2])]
    singly = np.concatenate([_logits(model, _one(equal, i)) for i in range(2)])
    yield Line("batch against single", _apart(_logits(model, equal), singly), 1e-3)
    shared = attention_features(model, prompts.share_prefix())
    yield Line("prefix cache against whole prompts", _apart(shared, together), 1e-4)


@torch.no_grad()
def _kernels(model: PreTrainedModel, prompts: Prompts) -> Iterator[Line]:
    """The family's own code, without this package, gives the same logits and the same features."""
    one = _one(prompts, 0)
    ours, features = _logits(model, one)[0], attention_features(model, one)[0]
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        ids = torch.from_numpy(one.input_ids).to(embedding(model).device)
        own = model(input_ids=ids, output_attentions=True, use_cache=False)
    finally:
        model.set_attn_implementation(before)
    apart = _apart(own.logits[0, -1].float().cpu().numpy(), ours)
    yield Line("fast kernel against the family's own eager", apart, 1e-3)
    layers = [layer[0] for layer in own.get("attentions") or () if layer is not None]
    if len(layers) != features.shape[-1]:
        note = f"the family shows {len(layers)} layers"
        yield Line("features against the family's own attention", np.nan, 1e-4, note)
        return
    rows = torch.stack(layers)[:, :, slice(*one.question[0])].float().cpu().numpy()
    pooled = np.stack([rows[..., a:b].mean(-1).max(-1).mean(-1) for a, b in one.statements[0]])
    yield Line("features against the family's own attention", _apart(pooled, features), 1e-4)


def _changes(model: PreTrainedModel, prompts: Prompts) -> Iterator[Line]:
    """What is cut or switched off is gone."""
    one = _one(prompts, 0)
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


def _layers(model: PreTrainedModel, known: Facts) -> str:
    """Which layers are read."""
    notes = [
        f"layers read: {len(known.layers)} of {layer_count(model)} "
        f"({', '.join(map(str, known.layers))})",
        "" if known.pads else "prompts run one by one",
        "" if known.prefix else "prompts are written out whole",
    ]
    return "; ".join(filter(None, notes))


def lines(model: PreTrainedModel) -> Iterator[Line]:
    """Every promise, tried on a model in float32, which is left in bfloat16.

    Raises:
        InputError: its attention cannot be read rightly.
    """
    with backend(model):
        known = facts(model)
    prompts = _prompts(model)
    tried: list[Callable[[PreTrainedModel, Prompts], Iterator[Line]]] = [_rows, _company, _kernels]
    if known.leak:
        note = ", of its effect; interventions are refused"
        yield Line("a full cut leaves nothing of a statement", known.leak, 1e-4, note)
    else:
        tried.append(_changes)
    for each in (*tried, _precision):
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
    with backend(loaded.model):
        said = [_layers(loaded.model, facts(loaded.model))]
    found = list(lines(loaded.model))
    return said + [str(line) for line in found], all(line.holds for line in found)
