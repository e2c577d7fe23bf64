"""The corruption study: every draw asks the model anew, as published, beside ours.

Ours asks every example once clean and once corrupted; draws resample what is stored. Small enough
for the published way to end, and an eighth of the paper's 2,048 draws.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks.features import number_prompts, predicted_tokens
from benchmarks.harness import Row, alternate, speed_row
from mplib.models.inference import answers, attention_features, read
from mplib.models.loading import PRESETS, pick_device, random_twin
from mplib.models.prompts import Prompts
from mplib.probe.draws import Draws, change, draws
from mplib.probe.knn import ProbeSettings, useful_heights, usefulness
from mplib.tasks.ksmallest import KSmallest, replace_number
from mplib.tasks.trees import PADDING

EXAMPLES, DRAWS, BATCH = 256, 256, 64
TASK = KSmallest(3, m=8, pool=64)
NAME = "useless replaced"
SETTINGS = ProbeSettings(metric_power=1)
"""Manhattan distance, eight neighbours, five folds: what the paper's source takes for language."""
COLUMNS = ("accuracy", change(NAME), "S_P1", "S_P2")


class Counted:
    """A model that counts the examples that pass through it."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.passed = model, 0
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, model: PreTrainedModel, args: tuple, kwargs: dict) -> None:
        self.passed += len(args[0] if args else kwargs["input_ids"])


def small_model() -> PreTrainedModel:
    """The nano preset's shape; weights large enough for answers and attention to differ.

    In float64: rounding, which is not the same in a batch, would change who is a near neighbour.
    """
    torch.manual_seed(0)
    config = PRESETS["nano"](vocab_size=TASK.pool)
    config.initializer_range = 0.3
    return AutoModelForCausalLM.from_config(config).double().to(pick_device()).eval()


@torch.no_grad()
def answer(model: PreTrainedModel, prompts: Prompts, example: int) -> bool:
    """Whether one example is answered rightly."""
    tokens = torch.from_numpy(prompts.input_ids[[example]]).to(model.device)
    return int(model(tokens).logits[0, -1].argmax()) == prompts.answers[example]


@torch.no_grad()
def attention(model: PreTrainedModel, prompts: Prompts, example: int) -> np.ndarray:
    """Mean attention of one example's last token, shape (tokens, layers)."""
    tokens = torch.from_numpy(prompts.input_ids[[example]]).to(model.device)
    layers = model(tokens, output_attentions=True).attentions
    return np.stack([layer[0].mean(dim=0)[-1].float().cpu().numpy() for layer in layers], axis=-1)


def cross_validated_f1(features: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """Macro-F1 of the source's classifier, in folds over the draw's examples."""
    example, statement = np.nonzero(labels != PADDING)
    gold = labels[example, statement]
    guess = cross_val_predict(
        KNeighborsClassifier(SETTINGS.neighbours, weights="distance", p=SETTINGS.metric_power),
        features[example, statement], gold, groups=example,
        cv=GroupKFold(SETTINGS.folds, shuffle=True, random_state=seed),
    )  # fmt: skip
    return float(f1_score(gold, guess, average="macro"))


def read_baseline(twin: PreTrainedModel, clean: Prompts) -> np.ndarray:
    """The random baseline's attention, read once for all draws, as in the source."""
    twin.set_attn_implementation("eager")
    return np.stack([attention(twin, clean, example) for example in range(len(clean))])


def published(
    model: PreTrainedModel, baseline: np.ndarray, clean: Prompts, corrupted: Prompts,
    heights: np.ndarray, found: Draws,
) -> np.ndarray:  # fmt: skip
    """The published loop over the same draws, folds and corrupted lists; (draws, columns)."""
    model.set_attn_implementation("eager")
    rows = []
    for seed, members in zip(found.table.seed, found.members, strict=True):
        drawn = members[members >= 0]
        right = np.mean([answer(model, clean, example) for example in drawn])
        still_right = np.mean([answer(model, corrupted, example) for example in drawn])
        features = np.stack([attention(model, clean, example) for example in drawn])
        scores = []
        for labels in (usefulness(heights[drawn]), useful_heights(heights[drawn])):
            f1, base = (
                cross_validated_f1(x, labels, seed) for x in (features, baseline[drawn])
            )  # fmt: skip
            scores.append((f1 - base) / (1 - base))
        rows.append([right, still_right - right, *scores])
    return np.array(rows)


def asked(
    model: PreTrainedModel, twin: PreTrainedModel, clean: Prompts, corrupted: Prompts,
    heights: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """Every example once clean and once corrupted: what the draws resample."""
    before = read(model, clean, batch_size=BATCH)
    after = answers(model, corrupted, batch_size=BATCH)
    right, still_right = (x.correct.astype(float) for x in (before.answers, after))
    return {
        "values": {"accuracy": right, change(NAME): still_right - right},
        "features": before.features, "heights": heights,
        "twins": [attention_features(twin, clean, batch_size=BATCH)],
    }  # fmt: skip


def ours(*case: Any) -> Draws:
    """Every example once clean and once corrupted; then the draws."""
    return draws(**asked(*case), count=DRAWS, settings=SETTINGS)


def run() -> list[Row]:
    """Model passes and time of both, with the same numbers in every draw."""
    threads = torch.get_num_threads()
    # Of a model this small one example at a time is slower on several cores, and far less steady.
    torch.set_num_threads(1)
    try:
        return measure()
    finally:
        torch.set_num_threads(threads)


def study() -> tuple[PreTrainedModel, PreTrainedModel, Prompts, Prompts, np.ndarray]:
    """Model, random twin, clean and corrupted lists, and their heights."""
    model = small_model()
    lists = TASK.draw(EXAMPLES, seed=0)
    replaced = replace_number(TASK, lists, NAME)
    clean, corrupted = (number_prompts(TASK, each) for each in (lists, replaced.lists))
    # What the model answers counts as right in most lists, so that it has something to lose.
    found = predicted_tokens(model, clean, BATCH)
    chance = np.random.default_rng(0).random(EXAMPLES) < 0.8
    found = np.where(chance, found, clean.answers)
    clean, corrupted = (replace(prompts, answers=found) for prompts in (clean, corrupted))
    return model, random_twin(model, seed=1), clean, corrupted, TASK.heights(lists)


def measure() -> list[Row]:
    """The rows."""
    case = study()
    counted = [Counted(each) for each in case[:2]]
    results: dict[str, object] = {}
    passes: dict[str, int] = {}
    found = ours(*case)  # for its draws; the libraries are warm after it

    def measured(name: str) -> None:
        before = sum(each.passed for each in counted)
        if name == "ours":
            results[name] = ours(*case)
        else:
            model, twin, *rest = case
            results[name] = published(model, read_baseline(twin, rest[0]), *rest, found)
        passes[name] = sum(each.passed for each in counted) - before

    seconds = alternate(
        {name: lambda name=name: measured(name) for name in ("ours", "published")},
        rounds=1, warm_ups=0,
    )  # fmt: skip
    table = results["ours"].table[[*COLUMNS]].to_numpy()
    gap = float(np.abs(table - results["published"]).max())
    if not gap <= 1e-6:
        raise AssertionError(f"the draws' numbers differ by {gap:.1e}: nothing to compare")
    what = f"{DRAWS} draws of 64 to 128 of {EXAMPLES} lists, m={TASK.m}"
    spread = ", ".join(
        f"{x:.2f} to {y:.2f}" for x, y in zip(table.min(0), table.max(0), strict=True)
    )
    return [
        Row(
            f"examples passed through a model, {what}", "passes", passes["ours"],
            passes["published"], passes["published"] / passes["ours"], 50,
            "model and random twin; published: each draw anew for accuracy, corruption, attention",
        ),
        speed_row(
            f"the corruption study, {what}", "draws/s",
            (seconds["ours"], seconds["published"]), (DRAWS, DRAWS), 20,
            f"one thread; accuracy, change, S_P1, S_P2 equal to {gap:.0e} in every draw ({spread})",
        ),
    ]  # fmt: skip
