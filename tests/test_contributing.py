"""CONTRIBUTING's recipes, followed to the letter in a scratch folder."""

import ast
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, StableLmConfig

from mplib import attention_features, load_model, probe
from mplib.files import ROOT
from mplib.models.attention import Reduction
from mplib.models.inference import full_attention
from mplib.models.loading import number_tokenizer
from mplib.probe import scores
from mplib.report import figures
from mplib.runs.notebooks import Notebook
from mplib.runs.runner import execute
from mplib.studies import corruption, finetune, language, language_tables
from mplib.tasks import corruptions, ksmallest, task

BLOCKS = [
    textwrap.dedent(block)
    for block in re.findall(
        r"^ *```python\n(.*?)^ *```$", (ROOT / "CONTRIBUTING.md").read_text(), re.S | re.M
    )
]


@pytest.fixture
def parity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> task.Task:
    """The recipe's task: its module in a scratch folder, its line in the registry."""
    module, line = BLOCKS
    (tmp_path / "parity.py").write_text(module)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, place in ast.literal_eval(f"{{{line}}}").items():
        monkeypatch.setitem(task.TASKS, name, place.replace("mplib.tasks.parity", "parity"))
    return task.task_of({"task": "parity", "asked": 2, "seed": 1, "k": 3})


def test_a_new_task_is_finetuned_probed_and_corrupted(parity: task.Task, tmp_path: Path) -> None:
    (one,) = parity.sets("test", 24)
    first = one.examples[0]
    named = [i for i, told in enumerate(first.statements[:-1]) if told.split()[0] in
             first.statements[-1]]  # fmt: skip
    assert first.tree.labels().tolist() == [0 if i in named else -1 for i in range(6)] + [1]
    assert first.answer == ["even", "odd"][sum(int(first.statements[i][-2]) for i in named) % 2]

    start = load_model("llama-nano", vocabulary=parity.vocabulary, device="cpu")
    parts = finetune.split_prompts(parity, start, 100, seed=0)
    steps = finetune.Training(4, batch_size=8, warmup_steps=1, evaluations=2)
    history = finetune.finetune(
        start, parts.train, parts.dev, steps, tmp_path / "tuned", {"task": parity.identity}
    )
    assert history.step.tolist() == [2, 4]

    tuned = load_model(str(tmp_path / "tuned"), device="cpu")
    subject = language.Subject("finetuned", tuned, shots=2)
    procedure = language.Procedure(parity.template, settings=probe.ProbeSettings(halves=2))
    readings = language.read_sets([subject], [one], procedure)
    f1, found, _ = language_tables.probe_tables(readings, procedure)
    assert {"model", "twin", "text", "joint", "joint twin", "permuted"} == {*f1.kind}
    assert set(found.score) == {"S_P1", "S_P2", "S_P2_root"}

    asked = corruption.ask(parity, one.examples, subject, shown=procedure.demonstrate(subject, one))
    assert set(asked.corrupted) == set(corruptions.CORRUPTIONS)
    effects = corruption.effects(asked.clean, asked.corrupted, resamples=20)
    possible = effects[effects.measure == "accuracy"].set_index("corruption").examples
    assert possible["useful negated"] == 24
    assert possible["paraphrased"] == 0, "its rules are none of ProofWriter's"
    with pytest.raises(corruptions.Impossible, match="'paraphrased' is possible in none"):
        corruption.ask(parity, one.examples, subject, ["paraphrased"])


def test_a_new_control_stands_in_every_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scores.CONTROLS, "backward labels", lambda heights, rng: heights[:, ::-1])
    heights = np.tile([0, 1, -1, -1], (20, 1))
    features = heights[..., None] + np.random.default_rng(0).normal(scale=0.1, size=(20, 4, 2))
    found = scores.compare({"model": features}, heights, twins=[features], controls=scores.CONTROLS)
    assert set(found.f1.kind) == {"model", "twin", "permuted", "backward"}
    (axis, *_) = figures.f1_bars(found.f1).axes
    assert "backward labels" in [label.get_text() for label in axis.get_yticklabels()]


def test_a_new_corruption_is_asked(parity: task.Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def first_twice(example, rng):
        again = example.statements[0]
        changed = corruptions.replace(example, statements=(again, *example.statements[1:]))
        return corruptions.Corrupted(changed, 0)

    monkeypatch.setitem(corruptions.CORRUPTIONS, "first twice", first_twice)
    changed, possible = parity.corruptions["first twice"](parity.sets("test", 3)[0].examples, 0)
    assert len(changed) == 3
    assert possible.all()


def test_a_model_in_a_folder_is_read_like_its_familys_own(tmp_path: Path) -> None:
    config = StableLmConfig(
        vocab_size=22, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=32,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "mine")
    number_tokenizer(20).save_pretrained(tmp_path / "mine")
    loaded = load_model(str(tmp_path / "mine"), device="cpu")
    lists = ksmallest.KSmallest(2, 5, 20)
    prompts, _ = lists.prompts(lists.draw(3, seed=0), loaded)
    rows = attention_features(loaded.model, prompts, reduction=Reduction(heads="keep"))
    full = full_attention(loaded.model, prompts)
    np.testing.assert_allclose(rows, full[:, :, :, -1].transpose(0, 3, 1, 2), atol=1e-6)


NOTEBOOK = """# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Is the smallest number first?
#
# **Cost.** Seconds.

# %% tags=["parameters"]
k: int = 2  # which smallest number is asked for
m: int = 4  # numbers in a list

# %% tags=["about", "remove-cell"]
about = {"task": "ksmallest", "label": f"k-th smallest of {m}"}

# %%
import pandas as pd

from mplib import KSmallest, report, start_run

run = start_run(NAME, globals())
task = KSmallest(k, m, pool=16)
first = (task.order(task.draw(100, seed=0))[:, 0] == 0).mean()
run.table("first", pd.DataFrame({"value": [first]}), summary="accuracy")

# %% [markdown]
# ## Summary

# %%
report.bullets(f"The smallest number stands first in {first:.0%} of the lists.")
run.finish()
"""


@pytest.mark.slow
def test_a_new_notebook_runs_with_its_facts_in_its_manifest(tmp_path: Path) -> None:
    path = tmp_path / "20_first.py"
    path.write_text(NOTEBOOK.replace("NAME", repr(str(path))))
    assert Notebook(path).about({"k": 2, "m": 6})["label"] == "k-th smallest of 6"
    folder = execute(str(path), {"m": 6})
    manifest = (folder / "manifest.json").read_text()
    assert '"label": "k-th smallest of 6"' in manifest
    assert '"first": "accuracy"' in manifest
