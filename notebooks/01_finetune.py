# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Finetuning: can a language model learn the task?
#
# There are two tasks. **k-th smallest:** the model reads a list of m numbers and should
# continue with the k-th smallest of them. **ProofWriter:** it reads facts, rules and a question
# and should continue with True or False; here the paper trains only the attention parameters.
# In both tasks the loss is computed only where the answer stands. The other pages ask *how* the
# model does it.
#
# **Cost.** As it stands: about three minutes on two CPU cores. GPT-2 small on the paper's task:
# one GPU. A training that was interrupted continues from its last evaluation.
# `trainable="lora"` trains an adapter, which `model="base+folder"` puts back on its base.

# %% tags=["parameters"]
task: str = "ksmallest"  # ksmallest, proofwriter, or another that is registered
k: int = 2  # the k-th smallest number is the answer; 1 or more
m: int = 16  # numbers in a list; 2 or more
pool: int = 128  # lists draw from this many numbers, each a single token; 2 or more
repeats: bool = False  # may a number stand in a list twice?
lists: int = 500000  # lists drawn; 98 % train, 1 % dev, 1 % test; 3 or more
data: str = "generated"  # generated, the official release's folder, or one of its files
cases: list[str] = ["d1 s4", "d1 s8"]  # depth and statements; "d2 s8 hidden" or "rival"
style: str = "attribute"  # of generated theories; one of attribute, relation
negation: bool = False  # does "not" occur in theories? (generated ones)
world: str = "closed"  # what is not told is false, or unknown; one of closed, open
order: str = "random"  # of the statements; given has facts first; one of random, given
theory_questions: int = 20000  # questions about theories; divided like the lists;
# 3 or more
dealt: bool = False  # training answers dealt at random: a control that cannot learn
model: str = "tiny"  # preset, packaged model, folder or Hub id
trainable: str = "all"  # one of all, attention, mlp, layernorm, bias, lora
lora_rank: int = 16  # of the adapter that lora trains; 1 or more
lora_alpha: int = 32  # its changes are multiplied by alpha / rank; 1 or more
lora_targets: list[str] = []  # linear layers that it changes, by name; all when empty
seed: int = 0  # of weights, problems and their order; 0 to 4294967295
checkpoint: str = "auto"  # folder of the finetuned model; auto names it after its task
steps: int = 700  # optimiser steps; 1 or more
batch_size: int = 256  # problems a step; 1 or more
micro_batch_size: int = 0  # problems a forward pass; 0 for the whole batch; 0 or more
learning_rate: float = 0.001  # peak learning rate of AdamW; above 0
weight_decay: float = 0.001  # of AdamW; 0 or more
warmup_steps: int = 100  # steps of linear warm-up; 0 or more
schedule: str = "cosine"  # of the learning rate;
# one of constant, constant_with_warmup, linear, cosine, cosine_with_restarts,
# polynomial, inverse_sqrt
dtype: str = "float32"  # of the weights; the other two lose small steps;
# one of float32, bfloat16, float16
precision: str = "auto"  # of autocast; auto is bfloat16 where the machine has it;
# one of auto, float32, bfloat16
compile: bool = False  # compile the model first
evaluations: int = 10  # how often to measure the dev accuracy and save the state;
# 1 or more
film: bool = True  # probe the model at each evaluation
device: str = "auto"  # auto, cpu, cuda

# %% tags=["about", "remove-cell"]
from mplib.studies.about import training_about

about = training_about(task, globals())

# %%
import pandas as pd

from mplib import answers, figures, load_model, report, start_run
from mplib.report.sentences import training_sentences
from mplib.stats import accuracy
from mplib.studies import finetune
from mplib.studies.checkpoints import checkpoint_folder
from mplib.studies.film import Film, frames, rises
from mplib.tasks.task import task_of

run = start_run("01_finetune", globals())
chosen = task_of(run.parameters)

# %% [markdown]
# ## The task
#
# Three problems as the model reads them, with the answers it should give.

# %%
loading = {"dtype": dtype, "device": device}
start = load_model(model, vocabulary=chosen.vocabulary, seed=seed, **loading)
count = lists if task == "ksmallest" else theory_questions
parts = finetune.split_prompts(chosen, start, count, seed, dealt)
report.show(finetune.preview(start, parts.test))

# %% [markdown]
# ## Training
#
# The accuracy is first measured before any training. The test problems are never trained on.

# %%
test, choices = parts.test, parts.choices
before = accuracy(answers(start.model, test, choices=choices).correct)
training = finetune.Training.of(run.parameters)
name = model if dtype == "float32" else f"{model} in {dtype}"
about = {"task": chosen.identity, "model": name, "lists": count}
about |= {"dealt": True} if dealt else {}
folder = checkpoint_folder(task, run.parameters)
watch = Film(chosen, start, chosen.splits(count, seed)[1], seed=seed) if film else None
history = finetune.finetune(
    start, parts.train, parts.dev, training, folder, about, watch
)
run.table("history", history)
run.figure("training", figures.training_curves(history))

# %% [markdown]
# Each point shows the mean loss since the previous point. The state with the best development
# accuracy is kept.

# %% [markdown]
# With `film=True` the model is also probed on development problems, before the first step and
# at each evaluation: does the tree appear before the accuracy does? *Halfway* is the step at
# which a curve has covered half of its rise. Scores are relative to three random twins and
# gains to the text, as on the pages about the probe. The intervals are over the problems of
# this one training.

# %%
if film:
    seen = run.table("film", frames(history))
    run.figure("film", figures.film_curves(seen))
report.show(rises(seen) if film else pd.DataFrame())

# %%
finetuned = load_model(str(folder), vocabulary=chosen.vocabulary, seed=seed, **loading)
after = accuracy(answers(finetuned.model, test, choices=choices).correct)
found = {"before": before, "finetuned": after}
rows = [{"model": name, **each.columns("accuracy")} for name, each in found.items()]
table = pd.DataFrame(rows).assign(examples=len(test))
run.table("accuracy", table, summary="accuracy")
report.show(table)

# %% [markdown]
# ## Summary

# %%
report.bullets(*training_sentences(before, after, history, len(test), steps))
run.finish()
