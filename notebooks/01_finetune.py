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
# # Finetuning: can a language model learn to find the k-th smallest number?
#
# A list of m numbers goes in; the model has learned the task when the next token that it finds most
# likely is the k-th smallest of them. Every number is one token, and the loss looks at the answer's
# place only. The other pages ask *how* the model does it.
#
# **Cost.** Quick profile: about three minutes on two CPU cores. GPT-2 small on the paper's task: one
# GPU. A training that was stopped goes on from its last evaluation.

# %% tags=["parameters"]
k: int = 2  # the k-th smallest number is the answer
m: int = 16  # numbers in a list
pool: int = 512  # lists draw from this many numbers, each a single token
repeats: bool = False  # may a number stand in a list twice?
lists: int = 1000000  # lists drawn; 98 % train, 1 % dev, 1 % test
model: str = "tiny"  # preset, packaged model, folder or Hub id
trainable: str = "all"  # all, attention, mlp, layernorm, bias or lora
seed: int = 0  # of weights, lists and their order
checkpoint: str = "auto"  # folder of the finetuned model; auto names it after its task
steps: int = 3800  # optimiser steps
batch_size: int = 256  # lists a step
micro_batch_size: int = 0  # lists a forward pass; 0 for the whole batch
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

from mplib import figures, finetune, results
from mplib.evaluation import accuracy, predicted_tokens
from mplib.models import load_model
from mplib.paths import checkpoint_folder
from mplib.prompts import number_prompts
from mplib.tasks.ksmallest import KSmallest

run = results.start("01_finetune", globals())
task = KSmallest(k, m, pool, repeats)

# %% [markdown]
# ## The task
#
# Three lists as the model reads them, and the answer it should give.

# %%
start = load_model(model, numbers=pool, seed=seed, device=device)
train, dev, test = (
    number_prompts(start.tokenizer, start.positions, pool, part, task.answers(part))
    for part in task.splits(lists, seed)
)
results.show(pd.DataFrame({
    "list": start.tokenizer.batch_decode(test.input_ids[:3]),
    "answer": start.tokenizer.batch_decode(test.answers[:3, None]),
}))  # fmt: skip

# %% [markdown]
# ## Training
#
# The accuracy before training is measured first; the test lists are never trained on.

# %%
before = accuracy(predicted_tokens(start.model, test) == test.answers)
training = finetune.Training(
    steps, batch_size, micro_batch_size, learning_rate, weight_decay, warmup_steps, schedule,
    trainable=trainable, precision=precision, compile=compile, evaluations=evaluations, seed=seed,
)  # fmt: skip
about = {"task": results.task_identity(task), "model": model, "lists": lists}
folder = checkpoint_folder(run.parameters)
history = finetune.finetune(start, train, dev, training, folder, about)
run.table("history", history)
run.figure("training", figures.training_curves(history))

# %% [markdown]
# The loss of each point is the mean since the point before it. The state with the best development
# accuracy is the one that is kept.

# %%
finetuned = load_model(str(folder), device=device)
after = accuracy(predicted_tokens(finetuned.model, test) == test.answers)
table = run.table("accuracy", pd.DataFrame([
    {"model": name, "accuracy": found.value, "low": found.low, "high": found.high, "examples": len(test)}
    for name, found in {"before": before, "finetuned": after}.items()
]))  # fmt: skip
results.show(table)

# %% [markdown]
# ## Summary

# %%
results.summary(
    f"Test accuracy on {len(test):,} lists: **{after}**; before finetuning it was {before}.",
    f"Best development accuracy {history.dev_accuracy.max():.1%} at step "
    f"{history.step[history.dev_accuracy.idxmax()]:,} of {steps:,}.",
    "The interval is Wilson's, over test lists; other seeds may give other models.",
)
run.finish()
