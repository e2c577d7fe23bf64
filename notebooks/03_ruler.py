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
# # The ruler: what does the probe say of models whose way is known?
#
# A probe that finds a tree everywhere is worthless. Here it is tested on models that cannot
# have followed the tree. A **recaller** memorises lists whose answers were drawn at random from
# each list's own numbers, and is probed on those same lists. A **shortcut** learns from lists
# whose answer is always at the same position. Beside them are noise in place of attention, and
# noise with the tree planted in it at a known strength. Task, gold trees and probe are those of
# the page on the finetuned model, here called the **reasoner**.
#
# The expected result: gains for the reasoner and for the planted trees, and none for the
# others. Over many seeds, one 95 % interval in forty should lie above 0 by chance and another
# one below it.
#
# **Cost.** Three minutes on two CPU cores with twenty seeds, most of it for the error rates.

# %% tags=["parameters"]
k: int = 2  # the k-th smallest number is the answer; 1 or more
m: int = 16  # numbers in a list; 2 or more
pool: int = 128  # lists draw from this many numbers; 2 or more
repeats: bool = False  # may a number stand in a list twice?
lists: int = 500000  # lists drawn in finetuning; the last 1 % are the test lists;
# 3 or more
examples: int = 256  # test lists probed, and learned by heart, at most; 1 or more
model: str = "tiny"  # the model before any training
trainable: str = "all"  # finetuning beside which the others stand;
# one of all, attention, mlp, layernorm, bias, lora
seed: int = 0  # of weights, lists, answers, folds and halves; 0 to 4294967295
checkpoint: str = "auto"  # folder of the finetuned model; auto names it after its task
place: int = 4  # where the answer stands in the shortcut's lists, counted from 1;
# 1 or more
taught_steps: int = 150  # optimiser steps of recaller and shortcut; 1 or more
taught_batch: int = 64  # lists a step; 1 or more
learning_rate: float = 0.001  # peak learning rate of AdamW; above 0
seeds: int = 20  # small rulers behind the error rates; 1 or more
twins: int = 3  # random twins, a seed each; 1 or more
neighbours: int = 8  # of the kNN classifiers; 1 or more
folds: int = 5  # of the cross-validation, whole lists in each; 2 or more
halves: int = 10  # cuts of the examples into halves behind each interval; 1 or more
device: str = "auto"  # auto, cpu, cuda

# %% tags=["about", "remove-cell"]
from mplib.studies.about import study_about

# Two trainings, each of whose steps costs three times a reading; three models are probed, and small
# ones for each seed.
taught = 2 * 3 * taught_steps * taught_batch / max(1, min(examples, lists // 100))
about = study_about(
    "ksmallest", globals(), reads=6 + 2 * twins + taught, probes=3 + seeds / 4
)

# %%
from mplib import KSmallest, figures, load_model, report, start_run
from mplib.probe import ProbeSettings
from mplib.report.sentences import gain_sentences, ruler_sentences
from mplib.studies import ruler
from mplib.studies.checkpoints import finetuned_models
from mplib.studies.finetune import Training

run = start_run("03_ruler", globals())
task = KSmallest(k, m, pool, repeats)
settings = ProbeSettings(neighbours, folds=folds, halves=halves, seed=seed)

# %% [markdown]
# ## What the models do
#
# How often each model gives the k-th smallest number, the randomly drawn number, and the number
# at the shortcut's position; on the reasoner's test lists, and on the same lists *arranged* so
# that the k-th smallest is at that position. The shortcut goes by position and value, because
# in training its answers were always small.

# %%
training = Training(taught_steps, taught_batch, learning_rate=learning_rate,
                    warmup_steps=20, schedule="cosine", evaluations=5)  # fmt: skip
design = ruler.Ruler(task, training, place, settings, twins)
start = load_model(model, vocabulary=pool, seed=seed, device=device)
reasoner = {"reasoner": finetuned_models(run.parameters, task)[trainable]}
numbers = task.splits(lists, seed)[2][:examples]
measured = ruler.measure(design, start, numbers, reasoner)
report.show(run.table("answers", measured.answers))

# %% [markdown]
# ## What the probe says of them
#
# The gain: what the attention reveals beyond the text, compared with the twins' attention.
#
# Arranged lists are a trap for the probe. There the shortcut's attention really does mark the
# root, but so does the position, which is part of the text: attention adds nothing. A text
# baseline that gives the position as a single number falls into the trap, because a linear
# classifier cannot pick out a number in the middle. Ours gives every value of the text a column
# of its own.

# %%
gains = run.table("gains", measured.gains)
run.figure("gains", figures.gain_points(gains))
report.show(report.gains_overview(gains))

# %% [markdown]
# The paper's scores compare with the random twin alone and ignore the text: they rise wherever
# attention repeats it.

# %%
run.table("scores", measured.scores)
run.figure("scores", figures.score_points(measured.scores))

# %% [markdown]
# ## Error rates and power
#
# The same for many seeds, each with new lists, models and labels, with the smallest model, on
# 128 lists of 8 numbers below 32, without a reasoner and without arranged lists. Where there is
# no tree, the share of intervals *above* 0 is the rate of false findings; for planted trees it
# is the power. A gap is given in standard deviations of the noise, between useless numbers and
# leaves and between leaves and root, in one layer.

# %%
by_seed = run.table("by_seed", ruler.simulated(seeds))
rates = run.table("error_rates", ruler.error_rates(by_seed))
run.figure("mean_gains", figures.gain_points(rates))
report.show(rates)

# %% [markdown]
# The figure shows means over seeds with t-intervals.

# %% [markdown]
# ## Summary

# %%
report.bullets(*gain_sentences(gains), *ruler_sentences(measured.answers, rates))
run.finish()
