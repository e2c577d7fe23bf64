"""The published protocol of language against figures that the paper's source computed.

The folder is ``MPLIB_GOLDEN_LANGUAGE`` (default ``../shared/golden/language``). The models read
one example of each set and pooling; with ``MPLIB_GOLDEN_LANGUAGE_ALL=1`` all.

What cannot agree, and what is done about it:

- **The order of the rows of G** is that of a Python set of names, so of PYTHONHASHSEED: the order
  that the folder names is taken. In the order of telling G moves by up to 0.018.
- **The leaf of science questions from depth 2 on** is one of the units beside the longest way up,
  and a Python set says which: for G the folder's labels are taken, and ours must be the same but
  for the choice of that unit.
- **The draws of demonstrations** hang on the state of Python's random numbers in the source's run:
  the folder's texts are taken, and each must be made of training examples in our writing.
- **The question, the options and units that lead to the answer alone** are statements to the
  source, useless ones. ``published_sets`` has them likewise; ``Science.sets`` by design has not.
- **Logits** depend on the last bits of sums: the answers are compared, not the logits.
- **What the cleaning drops** beyond the source's (loops, proofs not as deep as stated) is asked by
  the source and not by us; generated theories have none.
"""

import copy
import json
import os
import re
from collections import Counter
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn
from transformers import PreTrainedModel

from mplib.errors import InputError
from mplib.models import inference
from mplib.models.fewshot import answer_tokens, published_demonstration, published_prompts
from mplib.models.loading import LoadedModel, load_model, packaged_file
from mplib.models.prompts import Prompts, encode
from mplib.probe.published import compare_published, published_language_f1
from mplib.tasks.corruptions import corrupt
from mplib.tasks.examples import Example
from mplib.tasks.proofwriter import ProofWriter, release
from mplib.tasks.published import Published, theory
from mplib.tasks.science import Science
from mplib.tasks.task import TEMPLATES
from mplib.tasks.trees import PADDING

FOLDER = Path(__file__).parents[1] / os.environ.get(
    "MPLIB_GOLDEN_LANGUAGE", "../shared/golden/language"
)
CONTENT: dict[str, Any] = {}
if (FOLDER / "golden.json").is_file():
    CONTENT = json.loads((FOLDER / "golden.json").read_text())
pytestmark = pytest.mark.skipif(
    not CONTENT, reason=f"no golden figures in {FOLDER}: name them with MPLIB_GOLDEN_LANGUAGE"
)
EVERY = bool(os.environ.get("MPLIB_GOLDEN_LANGUAGE_ALL"))
"""Whether the models read every example; else one of each set and pooling."""

PHASES = ("icl", "scratch")
CLOSE = {"rtol": 0, "atol": 1e-5, "equal_nan": True}


class Golden:
    """One set of examples with the source's figures."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content, self.examples = content, content["examples"]
        self.task, self.bucket = content["task"], int(content["bucket"])
        self.template = TEMPLATES["proofwriter"] if self.task == "proofwriter" else ""
        self.told = [SimpleNamespace(**example) for example in self.examples]

    def __str__(self) -> str:
        return f"{self.task}.{self.bucket}"

    @cached_property
    def heights(self) -> np.ndarray:
        """The source's labels, padded."""
        found = np.full(FEATURES[f"{self}.icl"].shape[:2], PADDING)
        for row, example in zip(found, self.examples, strict=True):
            row[: len(example["heights"])] = example["heights"]
        return found

    @property
    def order(self) -> list[list[int]]:
        return [example["order"] for example in self.examples]

    def read(self, one: int) -> np.ndarray:
        """Indices of the examples that the models read: all, or the one."""
        every = np.arange(len(self.examples))
        return every if EVERY else every[[one]]

    def prompts(self, loaded: LoadedModel, phase: str, which: np.ndarray) -> Prompts:
        """The source's prompts and spans."""
        before = [self.examples[i][phase]["demonstrations"] for i in which]
        told = [self.told[i] for i in which]
        return published_prompts(loaded.tokenizer, told, before, self.template)

    def exact(self, loaded: LoadedModel, phase: str, which: np.ndarray) -> Prompts:
        """The same texts, with the tokens that the statements and the question really have."""
        texts, statements, questions = [], [], []
        for i in which:
            example, text, spans = self.examples[i], self.examples[i][phase]["demonstrations"], []
            for statement in example["statements"]:
                spans.append((len(text), len(text) + len(statement)))
                text += statement
            questions.append((len(text) + 1, len(text) + 1 + len(example["question"])))
            asked = f" {example['question']}" + f" {self.template}" * bool(self.template)
            texts.append(text + asked)
            statements.append(spans)
        return encode(loaded.tokenizer, texts, statements, questions, [0] * len(texts))


SETS = [Golden(one) for one in CONTENT.get("sets", ())]
FEATURES = load_file(FOLDER / "features.safetensors") if CONTENT else {}
each_set = pytest.mark.parametrize("golden", SETS, ids=str)
each_phase = pytest.mark.parametrize("phase", PHASES)


@pytest.fixture(scope="module")
def theories() -> dict[tuple[str, str], Example]:
    """Every question about a theory in the folder, facts before rules."""
    files = release.files(FOLDER / "proofwriter", "CWA")
    return {(x.group, x.question): x for x in release.examples(files, order="given")}


@pytest.fixture(scope="module")
def ours() -> dict[str, dict[tuple[str, str], Published]]:
    """What the tasks make of the folder under the published protocol, by task and question."""
    buckets = {task: [x.bucket for x in SETS if x.task == task] for task in ("proofwriter", "arc")}
    cases = tuple("d0" if bucket == 1 else f"d1 s{bucket}" for bucket in buckets["proofwriter"])
    tasks = {
        "proofwriter": cases and ProofWriter(str(FOLDER / "proofwriter"), cases),
        "arc": buckets["arc"] and Science(str(FOLDER / "arc"), depths=tuple(buckets["arc"])),
    }
    return {
        name: {(x.group, x.question): x for of in task.published_sets(10**6) for x in of.examples}
        for name, task in tasks.items()
        if task
    }


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    """The packaged model, unpacked once for all where the checkout has its checkpoints."""
    try:
        packaged_file("smollm2-135m")
    except InputError as error:
        pytest.skip(str(error))
    return load_model("smollm2-135m", device="cpu")


@pytest.fixture(scope="module")
def scratch(loaded: LoadedModel) -> PreTrainedModel:
    """The source's random baseline, bit by bit: the initialisation that transformers 4.46 had.

    Every module takes its numbers when it is made, in PyTorch's own way; then, in the same order,
    each weight is drawn from the normal distribution.
    """
    config, twin = loaded.model.config, copy.deepcopy(loaded.model)
    torch.manual_seed(CONTENT["about"]["seed"])
    weights = {"embed_tokens": nn.Embedding(config.vocab_size, config.hidden_size).weight}
    for name, module in twin.model.named_modules():
        if isinstance(module, nn.Linear):
            fresh = nn.Linear(module.in_features, module.out_features, bias=False)
            weights[name] = fresh.weight
    for weight in weights.values():
        nn.init.normal_(weight, std=config.initializer_range)
    for name, module in twin.model.named_modules():
        if name in weights:
            module.weight = weights[name]
        elif "norm" in name:
            nn.init.ones_(module.weight)
    if config.pad_token_id is not None:
        nn.init.zeros_(weights["embed_tokens"][config.pad_token_id].detach())
    return twin


# Labels


@each_set
def test_statements_question_answer_and_labels(golden, ours):
    for told in golden.examples:
        found = ours[golden.task][told["theory"], told["question"]]
        assert list(found.statements) == told["statements"]
        assert found.answer == str(told["answer"])
        labels = found.tree.labels().tolist()
        assert [int(label >= 0) for label in labels] == told["useful"]
        assert sorted(told["order"]) == np.flatnonzero(told["useful"]).tolist()
        if golden.task == "arc" and golden.bucket > 1:
            assert Counter(labels) == Counter(told["heights"])
        else:
            assert labels == told["heights"]


def demonstrated(task: str) -> list[str]:
    """Every training example as our writing demonstrates it."""
    if task == "arc":
        depth = next(golden.bucket for golden in SETS if golden.task == "arc")
        train = Science(str(FOLDER / "arc"), depths=(depth,)).published_sets(1)[0].train
        return [published_demonstration(x, x.context, "") for x in train]
    files = release.files(FOLDER / "proofwriter", "CWA", ["train"])
    train = [theory(x) for x in release.examples(files, order="given")]
    return [published_demonstration(x, x.context, TEMPLATES["proofwriter"]) for x in train]


@pytest.mark.parametrize("task", sorted({golden.task for golden in SETS}))
def test_demonstrations_are_training_examples_in_our_writing(task):
    known = re.compile("(?:" + "|".join(map(re.escape, demonstrated(task))) + ")*")
    texts = [x["icl"]["demonstrations"] for one in SETS if one.task == task for x in one.examples]
    assert all(texts) and not [text for text in texts if not known.fullmatch(text)]


# Features


@each_set
@each_phase
def test_spans(golden, phase, loaded):
    prompts = golden.prompts(loaded, phase, np.arange(len(golden.examples)))
    pads = prompts.input_ids.shape[1] - prompts.lengths
    for told, spans, question, pad in zip(
        golden.examples, prompts.statements, prompts.question, pads, strict=True
    ):
        assert (spans[: len(told["statements"])] - pad).tolist() == told[phase]["spans"]
        assert question[0] - pad == told[phase]["question_from"]
        assert question[1] == prompts.input_ids.shape[1]


def agree(found: np.ndarray, wanted: np.ndarray) -> None:
    """Equal where there are statements; NaN behind them in both."""
    width = found.shape[1]
    np.testing.assert_allclose(found, wanted[:, :width], **CLOSE)
    assert np.isnan(wanted[:, width:]).all()


@each_set
@each_phase
def test_features_in_the_sources_pooling(golden, phase, loaded, request):
    """With demonstrations the maximum over the rows and some layers, without the mean and all."""
    model = loaded.model if phase == "icl" else request.getfixturevalue("scratch")
    left_out = CONTENT["about"]["layers_left_out"][golden.task] if phase == "icl" else []
    kept = [n for n in range(CONTENT["about"]["layers"]) if n not in left_out]
    read = golden.read(0)
    prompts = golden.prompts(loaded, phase, read)
    question = "max" if phase == "icl" else "mean"
    found = inference.published_features(model, prompts, question=question, batch_size=8)
    agree(found[..., kept], FEATURES[f"{golden}.{phase}"][read])


@each_set
@each_phase
def test_features_in_the_papers_pooling(golden, phase, loaded, request):
    model = loaded.model if phase == "icl" else request.getfixturevalue("scratch")
    read = golden.read(-1)
    found = inference.attention_features(model, golden.exact(loaded, phase, read), batch_size=8)
    agree(found, FEATURES[f"{golden}.{phase}.paper"][read])


# F1s


@each_set
def test_both_f1s_exactly_and_the_scores(golden):
    protocol = partial(published_language_f1, order=golden.order)
    model, twin = (FEATURES[f"{golden}.{phase}"] for phase in PHASES)
    table = compare_published({"icl": model}, [twin], golden.heights, protocol)
    for phase, found in zip(PHASES, table.to_dict("records"), strict=True):
        wanted = golden.content[phase]
        assert found["F1 of V"] == pytest.approx(wanted["f1_noise"], rel=0, abs=1e-12)
        assert found["F1 of G"] == pytest.approx(wanted["f1_depth"], rel=0, abs=1e-12)
    for score in ("S_P1", "S_P2"):
        wanted, found = golden.content[score], table[score].iloc[0]
        assert pd.isna(found) if wanted is None else found == pytest.approx(wanted)


# Corruption


def test_the_corrupted_texts(theories):
    by_text = {(" ".join(x.statements), x.question): x for x in theories.values()}
    corruption = CONTENT["corruption"]
    assert corruption["examples"]
    for told in corruption["examples"]:
        example = by_text[told["context"], told["question"]]
        found = corrupt(example, "first negated")
        assert found.hit == corruption["sentence_hit"]
        assert " ".join(found.example.statements) == told["corrupted_context"]
        assert found.example.answer == str(told["answer"])
        for context in ("context", "corrupted_context"):
            asked = published_demonstration(example, told[context], TEMPLATES["proofwriter"])
            prompt = told["clean_prompt" if context == "context" else "corrupted_prompt"]
            assert prompt.endswith(asked.removesuffix(f"{example.answer}\n"))


@pytest.mark.parametrize("state", ["clean", "corrupted"])
def test_the_answers(state, loaded):
    corruption = CONTENT["corruption"]
    asked = corruption["examples"][: None if EVERY else 2]
    texts, ids = [x[f"{state}_prompt"] for x in asked], np.array(corruption["ids"])
    assert answer_tokens(loaded.tokenizer, texts[0], ("True", "False")) == ids.tolist()
    right = [ids[0] if x["answer"] else ids[1] for x in asked]
    anywhere = [(0, 1)] * len(texts)
    prompts = encode(loaded.tokenizer, texts, [[span] for span in anywhere], anywhere, right)
    found = inference.answers(loaded.model, prompts, choices=ids, batch_size=8).correct
    logits = np.array([x[f"{state}_logits"] for x in asked])
    np.testing.assert_array_equal(found, ids[logits.argmax(axis=1)] == right)
    if EVERY:
        assert found.mean() == pytest.approx(corruption[f"accuracy_{state}"])
