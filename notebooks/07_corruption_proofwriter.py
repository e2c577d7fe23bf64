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
# # Corruption of theories: does the proof matter to the answer?
#
# If a model reasons along the tree, changing a useful statement should affect its answer more
# than changing a useless one. Every example is asked once unchanged and once with each
# corruption, and the differences are paired. Then comes the paper's question: over random draws
# of examples, do accuracy and its change correlate with the probe's scores (section 6, Table 3,
# Fig 10)?
#
# Draws share examples, so they are not independent measurements, and a correlation over them
# describes draws from *these* examples. Its interval accounts for that; beside it stands the
# interval that treats draws as independent, as the paper does. Where fewer than ten answers
# differ from the rest, no link is reported.
#
# **Cost.** Quick profile: about two minutes on two CPU cores, 2,048 draws included.

# %% tags=["parameters"]
data: str = "generated"  # generated, the official release's folder, or one of its files
cases: list[str] = ["d1 s4", "d1 s8"]  # depth and statements; "d2 s8 hidden" or "rival"
style: str = "attribute"  # of generated theories; one of attribute, relation
negation: bool = False  # does "not" occur in theories? (generated ones)
world: str = "closed"  # what is not told is false, or unknown; one of closed, open
order: str = "random"  # of the statements; given has facts first; one of random, given
corruptions: list[str] = []  # which; every one when empty
examples: int = 64  # questions of each case; 1 or more
model: str = "smollm2-135m"  # preset, packaged model, folder or Hub id
trainable: str = "all"  # finetuning asked;
# one of all, attention, mlp, layernorm, bias, lora
checkpoint: str = "auto"  # folder of the finetuned model; auto names it after its task
finetuned: bool = False  # ask the finetuned model; else the model itself, with shots
beside: list[str] = []  # more models on the same questions, without demonstrations;
# draws and links are those of the last one
shots: int = 4  # demonstrations before each question; 0 or more
shared_shots: bool = True  # the same demonstrations for all, or drawn anew for each
layers: str = "all"  # layers probed: all, selected (greedy, on dev), such as 1-10,12,
# or published (those of the paper's LLaMA-7B)
dtype: str = "auto"  # of the weights; auto is bfloat16 where the device computes in it;
# one of auto, float32, bfloat16, float16
draw_count: int = 2048  # random draws of examples; 1 or more
draw_sizes: list[int] = [64, 128]  # least and most examples of a draw; 2 values;
# 1 or more
bins: int = 8  # bins of S_P2; 1 or more
twins: int = 3  # random twins, a seed each; 1 or more
neighbours: int = 8  # of the kNN classifiers; 1 or more
folds: int = 5  # of the cross-validation, whole theories in each; 2 or more
resamples: int = 1000  # bootstrap resamples behind each interval; 1 or more
seed: int = 0  # of corruptions, draws, twins, folds and resamples; 0 to 4294967295
batch_size: int = 16  # questions a forward pass; 1 or more
device: str = "auto"  # auto, cpu, cuda

# %% tags=["about", "remove-cell"]
from mplib.studies.about import study_about

reads = 8 * (1 + len(beside)) + twins
about = study_about("proofwriter", globals(), reads, probes=draw_count / 1000)

# %%
import pandas as pd

from mplib import ProofWriter, figures, report, start_run
from mplib.probe import ProbeSettings, draws, predict
from mplib.report.corruption import corruption_sentences, link_sentences
from mplib.studies import corruption, knockout, language, robustness

run = start_run("07_corruption_proofwriter", globals())
task = ProofWriter(data, tuple(cases), style, negation, world, order, seed)
settings = ProbeSettings(neighbours, 1, folds, seed=seed)

# %% [markdown]
# ## Corruptions
#
# The first example as it is, and after each corruption. *First negated* is what the paper's
# source does: it is meant to change a useless statement but always takes the first one in its
# own order, which is a fact.

# %%
subjects = language.asked_subjects(run.parameters, task)
most = [subject.shots for subject in subjects]
theories = language.joined_sets(task, "test", examples, most)
dev = task.sets("dev", examples) if layers == "selected" else []
asking = language.Procedure("proofwriter", shared_shots, seed=seed)
asking, _, _ = language.choose_layers(subjects[-1], dev, layers, asking)
reading = {"layers": asking.layers, "batch_size": batch_size, "seed": seed}
every = corruption.ask_all(
    task, theories, subjects, asking, corruptions, twins=twins, **reading
)
asked = every[subjects[-1].name]
report.show(asked.shown)

# %% [markdown]
# ## What each corruption does
#
# Changes in accuracy and in the log-probability of the original answer, with 95 % intervals
# over groups of examples.

# %%
drawing = {"groups": asked.groups, "resamples": resamples, "seed": seed}
effects = pd.concat(
    corruption.effects(one.clean, one.corrupted, **drawing).assign(subject=name)
    for name, one in every.items()
)
run.table("effects", effects, summary="changes")
run.figure("effects", figures.corruption_effects(effects[effects.minus == ""]))

# %% [markdown]
# ## Useful against useless
#
# Differences between these changes: a corruption that breaks the reasoning, minus one that
# changes equally much text. Values below 0 mean that the model relies on what the tree marks as
# useful.

# %%
differences = effects[effects.minus != ""]
run.figure("differences", figures.corruption_effects(differences))
report.show(report.in_words(differences, ["measure", "corruption", "minus"], "subject"))

# %% [markdown]
# ## Draws
#
# Random draws of examples for the last model, with the accuracy, the change in accuracy and
# both scores of each draw. Correlations are over draws from these examples; draws of new
# examples can correlate more strongly.

# %%
drawn = draws.draws(
    asked.values,
    asked.features,
    asked.heights,
    twins=asked.twins,
    groups=asked.groups,
    count=draw_count,
    sizes=(draw_sizes[0], draw_sizes[-1]),
    settings=settings,
)
run.table("draws", drawn.table)
correlations = robustness.correlations(drawn, seed=seed)
report.show(run.table("correlations", correlations))

# %% [markdown]
# The paper's correlations, LLaMA-7B with 4 shots on ProofWriter of depth 1 (Table 3).

# %%
report.show(report.paper_table("table3"))

# %% [markdown]
# ## Change in accuracy by S_P2
#
# As in Fig 10, for every corruption. The intervals account for the choice of examples and not
# only for the draws; `q` says whether a bin differs from the mean of all draws, with the false
# discovery rate controlled over the bins.

# %%
binned = robustness.all_bins(drawn, asked.corrupted, bins=bins, seed=seed)
run.table("bins", binned)
run.figure("bins", figures.change_by_bin(binned))

# %% [markdown]
# ## Example by example
#
# Without any draws: if the probe reads an example's tree correctly, is the answer more often
# right, and is it more often lost through a corruption? Logistic regression, log-odds for one
# standard deviation; `p` comes from permuting whole groups, and `q` controls the false
# discovery rate over the table. An outcome is tested if at least ten groups of examples have it
# and ten do not.

# %%
predicted = predict(asked.features, asked.heights, asked.groups, settings)
measures = knockout.probe_correctness(asked.heights, predicted)
regressed = robustness.per_example(
    measures, asked.clean, asked.corrupted, groups=asked.groups, seed=seed
)
report.show(run.table("per_example", regressed))

# %% [markdown]
# ## Summary

# %%
accuracies = {name: one.clean.correct.mean() for name, one in every.items()}
lines = corruption_sentences(effects, correlations, accuracies)
report.bullets(*lines, *link_sentences(regressed))
run.finish()
