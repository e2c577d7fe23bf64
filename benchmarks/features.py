"""Feature extraction: the published loop, one example at a time, beside our batches."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks import published
from benchmarks.harness import Row, alternate, speed_row
from mplib.files import ROOT, home
from mplib.models.inference import attention_features, scale_examples
from mplib.models.loading import PRESETS, load_model, pick_device, random_twin
from mplib.models.passes import passes
from mplib.models.prompts import NumberTokens, Prompts
from mplib.probe.knn import ProbeSettings
from mplib.probe.scores import compare
from mplib.studies.finetune import Training, finetune
from mplib.tasks.ksmallest import KSmallest

OURS, THEIRS = 64, 16
"""Examples a round: a batch of ours, and enough of theirs for a steady figure."""


def gpt2_small() -> PreTrainedModel:
    """GPT-2 small's shape and vocabulary, random weights."""
    torch.manual_seed(0)
    config = PRESETS["gpt2-small-shape"](vocab_size=published.GPT2_VOCABULARY)
    return AutoModelForCausalLM.from_config(config).to(pick_device()).eval()


def number_prompts(task: KSmallest, lists: np.ndarray) -> Prompts:
    """Prompts in which token id n is the number n."""
    ids = np.arange(task.pool)
    return NumberTokens(ids, ids, ids).prompts(lists, task.answers(lists))


def predicted_tokens(model: PreTrainedModel, prompts: Prompts, batch_size: int) -> np.ndarray:
    """The most likely token after each prompt, shape (examples,)."""
    found = np.empty(len(prompts), dtype=np.int64)
    with passes(model, prompts, batch_size) as batches:
        for chosen, _, ask in batches:
            found[chosen] = ask().logits.argmax(dim=1).cpu()
    return found


def run() -> list[Row]:
    """Both loops on the same lists, in float32 and ours in bfloat16, and what bfloat16 moves."""
    task = KSmallest(2)
    prompts = number_prompts(task, task.draw(OURS, seed=0))
    model = gpt2_small()
    model.set_attn_implementation("eager")
    expected = published.attention_features(model, prompts.input_ids[:THEIRS])
    found = attention_features(model, prompts)[:THEIRS]
    difference = float(np.abs(found - expected).max())
    if difference > 1e-5:
        raise AssertionError(f"features differ by {difference:.1e}: nothing to compare")
    half = gpt2_small().to(torch.bfloat16)
    seconds = alternate({
        "published": lambda: published.attention_features(model, prompts.input_ids[:THEIRS]),
        "float32": lambda: attention_features(model, prompts),
        "bfloat16": lambda: attention_features(half, prompts),
    })  # fmt: skip
    rows = []
    for name, wanted, note in (
        ("float32", 4, f"features equal to {difference:.0e}"),
        ("bfloat16", 8, "published in float32"),
    ):
        rows.append(speed_row(
            f"features, GPT-2 small's shape, m=16, {name}", "examples/s",
            (seconds[name], seconds["published"]), (OURS, THEIRS), wanted, note,
        ))  # fmt: skip
    return rows + precision_rows()


def precision_rows() -> list[Row]:
    """How far bfloat16 moves the scores of a model that has learned the task."""
    model, task, lists, source = trained_model()
    scores = {}
    for dtype in (torch.float32, torch.bfloat16):
        # Twins are drawn in float32 and rounded, so that both precisions have the same ones.
        twins = [random_twin(model, seed) for seed in range(1, 4)]
        features = [
            scale_examples(attention_features(each, number_prompts(task, lists)))
            for each in (model.to(dtype), *(twin.to(dtype) for twin in twins))
        ]
        found = compare(
            {"model": features[0]}, task.heights(lists), twins=features[1:],
            settings=ProbeSettings(halves=0, fold_seeds=1), classifiers=["kNN"],
        )  # fmt: skip
        scores[dtype] = found.scores[found.scores.source == "model"].set_index("score").value
        model = model.float()
    moved = pd.DataFrame(scores)
    return [
        Row(
            f"{score} with bfloat16 (ours) and float32 (published)", "", ours, theirs,
            note=f"moved by {abs(ours - theirs):.4f}, wanted below .01; {source}",
        )
        for score, ours, theirs in moved[[torch.bfloat16, torch.float32]].itertuples()
        if score in ("S_P1", "S_P2")
    ]  # fmt: skip


def trained_model() -> tuple[PreTrainedModel, KSmallest, np.ndarray, str]:
    """A model that has learned the task, the task and lists: the golden one, or one made here."""
    golden = ROOT / os.environ.get("MPLIB_GOLDEN", "../shared/golden/ksmallest")
    if (golden / "golden.json").is_file():
        about = pd.read_json(golden / "golden.json", typ="series")
        facts = about["results"]
        task = KSmallest(facts["k0"] + 1, facts["m"], facts["vocab"])
        lists = np.array([row for row in about["lists"] if len(set(row)) == task.m])
        model = AutoModelForCausalLM.from_pretrained(golden, use_safetensors=True).eval()
        return model, task, lists, "the golden checkpoint"
    task = KSmallest(2, m=8, pool=32)
    start = load_model("nano", vocabulary=task.vocabulary, device="cpu")
    train, dev, _ = (number_prompts(task, lists) for lists in task.splits(200_000, seed=0))
    training = Training(steps=2000, learning_rate=3e-3, schedule="cosine", warmup_steps=100)
    folder = Path(home()) / "runs" / "bench" / "nano"
    finetune(start, train, dev[:1000], training, folder, {"task": task.identity, "model": "nano"})
    model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True).eval()
    return model, task, task.draw(1000, seed=1), "a nano model trained here"
