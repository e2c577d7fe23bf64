# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Finetuning: can a language model learn the task?
#
# Two tasks. **k-th smallest:** a list of m numbers goes in, and the most likely next token should be the
# k-th smallest of them. **ProofWriter:** facts, rules and a question go in, True or False should come out;
# the paper trains the attention parameters alone. In both the loss looks at the answer's place only. The
# other pages ask *how* the model does it.
#
# **Cost.** Quick profile: about three minutes on two CPU cores. GPT-2 small on the paper's task: one
# GPU. A training that was stopped goes on from its last evaluation.

# %% tags=["parameters"]
task: str = "ksmallest"  # ksmallest or proofwriter
k: int = 2  # the k-th smallest number is the answer
m: int = 16  # numbers in a list
pool: int = 512  # lists draw from this many numbers, each a single token
repeats: bool = False  # may a number stand in a list twice?
lists: int = 1000000  # lists drawn; 98 % train, 1 % dev, 1 % test
data: str = "generated"  # generated, the official release's folder, or one of its files
cases: list[str] = ["d1 s4", "d1 s8"]  # depth and number of statements; "d2 s8 hidden"
style: str = "attribute"  # attribute or relation (generated theories)
negation: bool = False  # does "not" occur in theories? (generated ones)
world: str = "closed"  # closed or open
order: str = "random"  # of the statements: random, or given (facts first)
theory_questions: int = 20000  # questions about theories; divided like the lists
model: str = "tiny"  # preset, packaged model, folder or Hub id
trainable: str = "all"  # all, attention, mlp, layernorm, bias or lora
seed: int = 0  # of weights, problems and their order
checkpoint: str = "auto"  # folder of the finetuned model; auto names it after its task
steps: int = 3800  # optimiser steps
batch_size: int = 256  # problems a step
micro_batch_size: int = 0  # problems a forward pass; 0 for the whole batch
learning_rate: float = 0.001  # peak learning rate of AdamW
weight_decay: float = 0.001  # of AdamW
warmup_steps: int = 100  # steps of linear warm-up
schedule: str = "constant_with_warmup"  # name of a transformers schedule
precision: str = "auto"  # auto, float32 or bfloat16 autocast
compile: bool = False  # compile the model first
evaluations: int = 20  # how often to measure the dev accuracy and save the state
device: str = "auto"  # auto, cpu, cuda

# %%
import pandas as pd

from mplib.models.inference import predicted_tokens
from mplib.models.loading import load_model
from mplib.report import display, figures
from mplib.runs import record
from mplib.stats import accuracy
from mplib.studies import checkpoints, finetune, training_data
from mplib.studies.checkpoints import checkpoint_folder

run = record.start_run("01_finetune", globals())
chosen = training_data.choose_task(run.parameters)

# %% [markdown]
# ## The task
#
# Three problems as the model reads them, and the answer it should give.

# %%
start = training_data.start_model(chosen, model, seed=seed, device=device)
count = lists if task == "ksmallest" else theory_questions
parts = training_data.splits(chosen, start, count, seed)
display.show(training_data.preview(start, parts.test))

# %% [markdown]
# ## Training
#
# The accuracy before training is measured first; the test problems are never trained on.

# %%
test, choices = parts.test, parts.choices
before = accuracy(predicted_tokens(start.model, test, choices=choices) == test.answers)
training = finetune.Training(
    steps, batch_size, micro_batch_size, learning_rate, weight_decay, warmup_steps, schedule,
    trainable=trainable, precision=precision, compile=compile, evaluations=evaluations, seed=seed,
)  # fmt: skip
about = {"task": checkpoints.task_identity(chosen), "model": model, "lists": count}
folder = checkpoint_folder(run.parameters)
history = finetune.finetune(start, parts.train, parts.dev, training, folder, about)
run.table("history", history)
run.figure("training", figures.training_curves(history))

# %% [markdown]
# The loss of each point is the mean since the point before it. The state with the best development
# accuracy is the one that is kept.

# %%
finetuned = load_model(str(folder), device=device)
after = accuracy(
    predicted_tokens(finetuned.model, test, choices=choices) == test.answers
)
table = run.table("accuracy", pd.DataFrame([
    {"model": name, "accuracy": found.value, "low": found.low, "high": found.high, "examples": len(test)}
    for name, found in {"before": before, "finetuned": after}.items()
]))  # fmt: skip
display.show(table)

# %% [markdown]
# ## Summary

# %%
display.bullets(
    f"Test accuracy on {len(test):,} problems: **{after}**; before finetuning it was {before}.",
    f"Best development accuracy {history.dev_accuracy.max():.1%} at step "
    f"{history.step[history.dev_accuracy.idxmax()]:,} of {steps:,}.",
    "The interval is Wilson's, over test problems; other seeds may give other models.",
)
run.finish()
