"""What the tests share: tiny random decoders of many families, prompts, a place to write in."""

import os

# Before transformers is imported: no test may reach the network, or wait for it.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    OPTConfig,
    Phi3Config,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from mplib.files import ROOT
from mplib.models.attention import Intervention
from mplib.models.facts import backend, facts
from mplib.models.inference import Answers
from mplib.models.loading import LoadedModel, load_model
from mplib.models.passes import passes
from mplib.models.prompts import NumberTokens, Prompts
from mplib.probe.draws import Draws, change, draws
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.trees import PADDING, USELESS

VOCABULARY = 61
GOLDEN = Path(__file__).parents[1] / os.environ.get("MPLIB_GOLDEN", "../shared/golden/ksmallest")
"""Figures that the paper's published source computed, and the checkpoint they are of."""
needs_golden = pytest.mark.skipif(
    not (GOLDEN / "golden.json").is_file(),
    reason=f"no golden figures in {GOLDEN}: name their folder with MPLIB_GOLDEN",
)
WINDOW = 5
"""Of the families with a sliding window; shorter than every prompt of the tests."""

FUZZ = int(os.environ.get("MPLIB_FUZZ", "150"))
"""Examples of each test that throws anything at a reader; 5000 now and then, by hand."""

settings.register_profile("mplib", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("mplib")

# Weights far larger than usual, so that attention differs from token to token and head to head.
MODERN = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "initializer_range": 0.3, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
ALTERNATING = ["sliding_attention", "full_attention", "sliding_attention"]
FAMILIES: dict[str, Callable[[], PretrainedConfig]] = {
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=3, n_head=4,
        initializer_range=0.3, bos_token_id=None, eos_token_id=None,
    ),
    "llama": lambda: LlamaConfig(**MODERN),
    "mistral": lambda: MistralConfig(**MODERN, sliding_window=WINDOW),
    "qwen2": lambda: Qwen2Config(**MODERN),
    "qwen3": lambda: Qwen3Config(**MODERN, head_dim=16),
    "gemma2": lambda: Gemma2Config(
        **MODERN, head_dim=8, query_pre_attn_scalar=8, attn_logit_softcapping=2.0,
        final_logit_softcapping=5.0, sliding_window=WINDOW, layer_types=ALTERNATING,
    ),
    "phi3": lambda: Phi3Config(**MODERN),
    "gpt-neox": lambda: GPTNeoXConfig(**{**MODERN, "num_key_value_heads": 4}),
    "opt": lambda: OPTConfig(
        vocab_size=VOCABULARY, hidden_size=32, ffn_dim=48, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=64, word_embed_proj_dim=32, init_std=0.3,
        pad_token_id=None, bos_token_id=None, eos_token_id=None,
    ),
    "olmo2": lambda: Olmo2Config(**MODERN),
    "gpt-oss": lambda: GptOssConfig(
        **MODERN, head_dim=8, num_local_experts=2, num_experts_per_tok=1, sliding_window=WINDOW,
        layer_types=ALTERNATING, rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    ),
}  # fmt: skip
"""Every family the attention backend is tested on, three layers of four heads each."""


def build(family: str) -> PreTrainedModel:
    """A random decoder of a family, the same every time."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES[family]()).eval()
    for name, parameter in model.named_parameters():
        # Sinks and biases start at zero or uninitialised; give them something to do.
        if name.endswith(("sinks", "bias")):
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def looked_at(model: PreTrainedModel) -> PreTrainedModel:
    """The model, after what is run once of every model; for tests that count passes."""
    with backend(model):
        facts(model)
    return model


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """One thread: workers share the cores, and sums come out the same everywhere."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test writes through ``mplib.files`` goes to a folder of its own."""
    monkeypatch.setenv("MPLIB_HOME", str(tmp_path))


@pytest.fixture(scope="session", params=list(FAMILIES))
def decoder(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A random decoder of each family in turn."""
    return build(request.param)


@pytest.fixture(scope="session")
def gpt2() -> PreTrainedModel:
    return looked_at(build("gpt2"))


@pytest.fixture(scope="session")
def llama() -> PreTrainedModel:
    return looked_at(build("llama"))


@pytest.fixture(scope="session")
def smollm(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """The packaged language model, unpacked once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLIB_HOME", str(tmp_path_factory.mktemp("smollm")))
        return load_model("smollm2-135m", device="cpu")


@pytest.fixture
def batch() -> Prompts:
    """Four left-padded prompts of 8 to 14 tokens, statements and questions of several tokens."""
    return make_prompts(
        lengths=[14, 8, 11, 9],
        statements=[[(1, 3), (3, 4), (5, 9)], [(0, 2)], [(2, 3), (4, 6)], [(0, 1), (1, 5), (5, 6)]],
        questions=[(10, 14), (7, 8), (8, 11), (6, 8)],
    )


def make_prompts(
    lengths: Sequence[int],
    statements: Sequence[Sequence[tuple[int, int]]],
    questions: Sequence[tuple[int, int]],
    seed: int = 0,
) -> Prompts:
    """Random tokens with given spans, which count from each prompt's own first token."""
    rng = np.random.default_rng(seed)
    longest, n = max(lengths), len(lengths)
    pads = longest - np.array(lengths)
    spans = np.zeros((n, max(map(len, statements)), 2), dtype=np.int64)
    for i, own in enumerate(statements):
        spans[i, : len(own)] = np.reshape(own, (-1, 2)) + pads[i]
    return Prompts(
        rng.integers(VOCABULARY, size=(n, longest)),
        np.arange(longest) >= pads[:, None],
        spans,
        np.array(questions) + pads[:, None],
        rng.integers(VOCABULARY, size=n),
    )


def singles(prompts: Prompts) -> Iterator[Prompts]:
    """The examples one by one, without their padding."""
    for i in range(len(prompts)):
        yield prompts[i : i + 1]


def numbers(task: KSmallest, lists: np.ndarray) -> Prompts:
    """Prompts in which token id n is the number n."""
    ids = np.arange(task.pool)
    return NumberTokens(ids, ids, ids).prompts(lists, task.answers(lists))


def predicted_tokens(
    model: PreTrainedModel,
    prompts: Prompts,
    *,
    change: Intervention | None = None,
    choices: np.ndarray | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """The most likely token after each prompt, of all or of the choices; shape (examples,)."""
    found = np.empty(len(prompts), dtype=np.int64)
    with passes(model, prompts if change is None else prompts.whole(), batch_size) as batches:
        for chosen, _, ask in batches:
            logits = ask(intervention=change).logits.float()
            among = np.arange(logits.shape[1]) if choices is None else choices
            found[chosen] = among[logits[:, among].argmax(dim=1).cpu()]
    return found


def outcome(correct: Sequence[float] | np.ndarray) -> Answers:
    """Answers of which these are right; NaN where there is none."""
    correct = np.asarray(correct, dtype=float)
    return Answers(correct, np.where(np.isnan(correct), np.nan, np.where(correct == 1, -0.1, -2)))


def probed(
    n: int = 40, statements: int = 4, layers: int = 2, seed: int = 0, noise: float = 0.8,
    padded: bool = False,
) -> tuple[Answers, np.ndarray, np.ndarray, list[np.ndarray]]:  # fmt: skip
    """Answers by chance, features that show heights as well as the noise allows, blind twins."""
    rng = np.random.default_rng(seed)
    task = KSmallest(2, m=statements, pool=40)
    heights = task.heights(task.draw(n, seed))
    shape = (*heights.shape, layers)
    features = heights[..., None] + rng.normal(size=shape) * noise
    if padded:
        # The largest number of some lists is taken away: it is of no use.
        last = (heights == USELESS) & (rng.random(heights.shape) < 0.3)
        heights, features = heights.copy(), np.where(last[..., None], np.nan, features)
        heights[last] = PADDING
    twins = [np.where(np.isnan(features), np.nan, rng.normal(size=shape)) for _ in range(2)]
    return outcome(rng.random(n) < 0.7), features, heights, twins


def draw(
    clean: Answers, features: np.ndarray, heights: np.ndarray,
    corrupted: Mapping[str, Answers] = MappingProxyType({}), **options: Any,
) -> Draws:  # fmt: skip
    """Draws of examples with their accuracy, and its change by each corruption."""
    changes = {change(name): x.correct - clean.correct for name, x in corrupted.items()}
    return draws({"accuracy": clean.correct, **changes}, features, heights, **options)


def command(*words: str, home: Path) -> tuple[list[str], dict[str, str]]:
    """A command line of this project with its environment, for a process of its own."""
    environment = os.environ | {"MPLIB_HOME": str(home), "TQDM_DISABLE": "1"}
    return [sys.executable, "-m", "mplib", *words], environment


def mplib(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Runs one to its end."""
    line, environment = command(*words, home=home)
    return subprocess.run(line, env=environment, cwd=ROOT, capture_output=True, text=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
