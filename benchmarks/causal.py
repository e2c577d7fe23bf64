"""The causal study: the published loops over lists and over head masks, beside ours.

At the quick profile's shape, since 10,000 lists one at a time take long enough there.
"""

from dataclasses import replace

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import AttentionInterface

from benchmarks.features import number_prompts, predicted_tokens
from benchmarks.harness import Row, alternate, speed_row
from mplib.models.attention import Intervention, Reduction
from mplib.models.inference import attention_features, order_statements
from mplib.models.loading import PRESETS, pick_device
from mplib.models.passes import head_shape
from mplib.models.prompts import Prompts
from mplib.studies import flow, heads
from mplib.tasks.ksmallest import KSmallest

LISTS, BATCH, PUBLISHED_BATCH = 10_000, 64, 128
PERCENTAGES = list(range(0, 100, 10))
"""With three orders and the whole model once, 28 evaluations."""
PLACES, FLOW_PERCENTAGE = (8, 12), 40
TASK = KSmallest(2, m=16, pool=128)

HEADS_ON: list[torch.Tensor] = []
"""The mask that the published attention multiplies with, shape (layers, heads)."""


def _masked(module, query, key, value, attention_mask, scaling=None, **kwargs):
    """Eager attention whose probabilities are multiplied with the mask of the heads."""
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    weights = (scores + attention_mask).softmax(dim=-1)
    weights = weights * HEADS_ON[0][module.layer_idx][:, None, None]
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register("published", _masked)
AttentionMaskInterface.register("published", eager_mask)


def quick_shape() -> PreTrainedModel:
    """The quick profile's model with random weights, large enough for heads to differ."""
    torch.manual_seed(0)
    config = PRESETS["tiny"](vocab_size=TASK.pool)
    config.initializer_range = 0.1
    return AutoModelForCausalLM.from_config(config).to(pick_device()).eval()


@torch.no_grad()
def published_maps(model: PreTrainedModel, lists: np.ndarray) -> dict[str, np.ndarray]:
    """Mean attention of the last token by place and by rank, one list at a time.

    Each of shape (m, layers, heads).
    """
    model.set_attn_implementation("eager")
    by_place, by_rank = np.zeros((2, lists.shape[1], *head_shape(model)))
    for numbers in lists.tolist():
        output = model(torch.tensor([numbers], device=model.device), output_attentions=True)
        last = torch.stack(output.attentions)[:, 0, :, -1].cpu().numpy()
        order = sorted(numbers)
        for place, number in enumerate(numbers):
            by_place[place] += last[:, :, place]
            by_rank[order.index(number)] += last[:, :, place]
    return {"place": by_place / len(lists), "rank": by_rank / len(lists)}


def entropy_of(values: np.ndarray) -> np.ndarray:
    """Normalised entropy over the first axis."""
    values = values / values.sum(axis=0)
    return -(values * np.log(values)).sum(axis=0) / np.log(len(values))


@torch.no_grad()
def published_accuracy(model: PreTrainedModel, prompts: Prompts, on: np.ndarray) -> float:
    """Accuracy with a mask over the heads, in batches, logits of every place."""
    HEADS_ON[:] = [torch.from_numpy(on).to(model.device, torch.float32)]
    model.set_attn_implementation("published")
    correct = 0
    for first in range(0, len(prompts), PUBLISHED_BATCH):
        rows = slice(first, first + PUBLISHED_BATCH)
        logits = model(torch.from_numpy(prompts.input_ids[rows]).to(model.device)).logits
        correct += int((logits[:, -1].argmax(-1).cpu().numpy() == prompts.answers[rows]).sum())
    return correct / len(prompts)


@torch.no_grad()
def published_flow(model: PreTrainedModel, lists: np.ndarray, on: np.ndarray) -> np.ndarray:
    """Mean full attention over lists and over the heads that are on, one list at a time."""
    HEADS_ON[:] = [torch.from_numpy(on).to(model.device, torch.float32)]
    model.set_attn_implementation("published")
    total = 0
    for numbers in lists:
        output = model(torch.from_numpy(numbers[None]).to(model.device), output_attentions=True)
        total = total + torch.stack(output.attentions)[:, 0].sum(dim=1).double()
    return total.cpu().numpy() / np.maximum(1, on.sum(axis=1))[:, None, None] / len(lists)


def our_maps(model: PreTrainedModel, prompts: Prompts, lists: np.ndarray) -> dict[str, np.ndarray]:
    """The same maps, from one pass in batches; and their entropies."""
    by_head = attention_features(
        model, prompts, reduction=Reduction("tokens", heads="keep"), batch_size=BATCH
    )
    order = TASK.order(lists)
    found = heads.head_entropies(by_head, order)
    return {
        "place": by_head.mean(axis=0), "rank": order_statements(by_head, order).mean(axis=0),
        "position entropy": found.position, "size entropy": found.size,
    }  # fmt: skip


def published_entropies(model: PreTrainedModel, lists: np.ndarray) -> dict[str, np.ndarray]:
    """The maps and their entropies."""
    maps = published_maps(model, lists)
    entropies = {"position entropy": "place", "size entropy": "rank"}
    return maps | {name: entropy_of(maps[source]) for name, source in entropies.items()}


def run() -> list[Row]:
    """Maps and entropies, and the whole study, over the same lists with equal results."""
    model = quick_shape()
    lists = TASK.draw(LISTS, seed=0)
    arranged = flow.arrange(lists, PLACES)
    prompts, case = number_prompts(TASK, lists), number_prompts(TASK, arranged)
    # What the whole model answers counts as right, so that heads have something to lose.
    prompts = replace(prompts, answers=predicted_tokens(model, prompts, BATCH))
    shape = head_shape(model)
    results: dict[str, dict[str, np.ndarray]] = {}

    def masks(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        entropies = heads.Entropies(found["position entropy"], found["size entropy"])
        return heads.pruning_orders(entropies, draws=1)

    def study_published() -> None:
        found = published_entropies(model, lists)
        orders = masks(found)
        rates = []
        for order in orders.values():
            for percentage in PERCENTAGES if not rates else PERCENTAGES[1:]:
                removed = heads.heads_removed(percentage, order.size)
                on = ~heads.heads_off(order[0], removed, shape)
                rates.append(published_accuracy(model, prompts, on))
        removed = heads.heads_removed(FLOW_PERCENTAGE, order.size)
        on = ~heads.heads_off(orders["position entropy"][0], removed, shape)
        found["flow"] = published_flow(model, arranged, on)
        found["flow of all"] = published_flow(model, lists, np.ones_like(on))
        results["published"] = found | {"accuracy": np.array(rates)}

    def study_ours() -> None:
        found = our_maps(model, prompts, lists)
        orders = masks(found)
        table = heads.prune(model, prompts, orders, PERCENTAGES, batch_size=BATCH)
        once = table[(table.percentage > 0) | (table.order == table.order[0])]
        removed = heads.heads_removed(FLOW_PERCENTAGE, shape[0] * shape[1])
        off = heads.heads_off(orders["position entropy"][0], removed, shape)
        change = Intervention(heads_off=torch.from_numpy(off))
        found["flow"] = flow.mean_flow(model, case, change, BATCH)
        found["flow of all"] = flow.mean_flow(model, prompts, batch_size=BATCH)
        results["ours"] = found | {"accuracy": once.accuracy.to_numpy()}

    part = alternate({
        "ours": lambda: our_maps(model, prompts, lists),
        # The source has a command for the maps and one for the heads; each makes its own pass.
        "maps": lambda: published_maps(model, lists),
        "entropies": lambda: published_entropies(model, lists),
    }, rounds=1, warm_ups=0)  # fmt: skip
    both = [sum(seconds) for seconds in zip(part["maps"], part["entropies"], strict=True)]
    whole = alternate({"ours": study_ours, "published": study_published}, rounds=1, warm_ups=0)
    ours, theirs = results["ours"], results["published"]
    gaps = {name: float(np.abs(ours[name] - theirs[name]).max()) for name in theirs}
    # Two logits may be closer than rounding, so an accuracy may differ by a list or two.
    if gaps.pop("accuracy") > 2.5 / LISTS or max(gaps.values()) > 1e-4:
        raise AssertionError(f"results differ: {gaps}")
    note = f"{len(theirs['accuracy'])} accuracies equal, maps and flows to {max(gaps.values()):.0e}"
    count = (LISTS, LISTS)
    return [
        speed_row(f"attention maps and entropies of {LISTS:,} lists, m=16, quick shape", "lists/s",
                  (part["ours"], both), count, 10, "published: a pass for each, as in the source"),
        speed_row("the same, where one published pass gives both", "lists/s",
                  (part["ours"], part["entropies"]), count),
        speed_row("the causal study: the same, 28 evaluations with heads off, two flows", "lists/s",
                  (whole["ours"], whole["published"]), count, 2, note),
    ]  # fmt: skip
