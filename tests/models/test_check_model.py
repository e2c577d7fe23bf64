"""``check_model`` on models that keep every promise, and on ones that break each of them."""

import pytest
import torch
from conftest import build
from transformers.models.gpt2 import modeling_gpt2

from benchmarks.families import tiny
from mplib.models import facts as looked
from mplib.models.check import Line, check_model, lines
from mplib.models.facts import backend

PROMISES = [
    "layers read", "rows sum to 1", "nothing looks ahead", "left padding", "batch against single",
    "prefix cache against whole prompts", "fast kernel against the family's own eager",
    "features against the family's own attention", "a full cut leaves nothing of a statement",
    "all heads off leave nothing of it", "bfloat16 against float32",
]  # fmt: skip


@pytest.mark.parametrize("name", ["nano", "llama-nano"])
def test_a_good_model_keeps_them_all(name: str) -> None:
    said, ok = check_model(name, device="cpu")
    assert ok
    assert [line.split(":")[0] for line in said] == PROMISES
    assert said[0] == "layers read: 2 of 2 (0, 1)"
    assert all("at most" in line and line.split(")")[1].startswith(" ok") for line in said[1:])


def test_a_hybrid_does_not_keep_them_all() -> None:
    model = tiny("qwen3_next")
    model.partial_attention = True  # type: ignore[assignment]
    found = {line.what: line for line in lines(model)}
    cut = found.pop("a full cut leaves nothing of a statement")
    assert cut.seen > 0.5
    assert str(cut).endswith("BROKEN, of its effect; interventions are refused")
    assert all(line.holds for line in found.values())


def test_attention_that_is_not_the_familys_own_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("gpt2")
    with backend(model):
        looked.facts(model)
    own = modeling_gpt2.eager_attention_forward

    def other(*args: object, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
        output, weights = own(*args, **options)
        return output, weights.flip(-1)

    monkeypatch.setattr(modeling_gpt2, "eager_attention_forward", other)
    broken = {line.what for line in lines(model) if not line.holds}
    assert "nothing looks ahead" in broken
    assert not broken & {"batch against single", "all heads off leave nothing of it"}


def test_a_line_says_what_was_seen_and_what_is_allowed() -> None:
    assert str(Line("a", 0.5, 0.1)) == "a: 0.5 (at most 0.1) BROKEN"
    assert str(Line("a", float("nan"), 0.1, "why")) == "a: not tried (why)"
    assert Line("a", float("nan"), 0.1).holds
