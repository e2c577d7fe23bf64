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
# # Corruption of lists: does the tree matter to the answer?
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
# **Cost.** Quick profile: about a minute on two CPU cores, 2,048 draws included.

# %% tags=["parameters"]
k: int = 2  # the k-th smallest number is the answer; 1 or more
m: int = 16  # numbers in a list; 2 or more
pool: int = 128  # lists draw from this many numbers; 2 or more
repeats: bool = False  # may a number stand in a list twice?
lists: int = 500000  # lists drawn in finetuning; the last 1 % are the test lists;
# 3 or more
keep_order: bool = False  # does a new number keep the old one's rank?
corruptions: list[str] = []  # which; every one when empty
examples: int = 256  # test lists asked; 1 or more
model: str = "tiny"  # the model before finetuning
trainable: str = "all"  # finetuning asked;
# one of all, attention, mlp, layernorm, bias, lora
checkpoint: str = "auto"  # folder of the finetuned model; auto names it after its task
draw_count: int = 2048  # random draws of examples; 1 or more
draw_sizes: list[int] = [64, 128]  # least and most examples of a draw; 2 values;
# 1 or more
bins: int = 8  # bins of S_P2; 1 or more
twins: int = 3  # random twins, a seed each; 1 or more
neighbours: int = 8  # of the kNN classifiers; 1 or more
folds: int = 5  # of the cross-validation, whole lists in each; 2 or more
resamples: int = 1000  # bootstrap resamples behind each interval; 1 or more
seed: int = 0  # of corruptions, draws, twins, folds and resamples; 0 to 4294967295
batch_size: int = 64  # lists a forward pass; 1 or more
device: str = "auto"  # auto, cpu, cuda

# %% tags=["about", "remove-cell"]
from mplib.studies.about import study_about

about = study_about("ksmallest", globals(), reads=8 + twins, probes=draw_count / 1000)

# %%
from mplib import KSmallest, figures, report, start_run
from mplib.probe import ProbeSettings, draws, predict
from mplib.report.corruption import corruption_sentences, link_sentences
from mplib.studies import corruption, knockout, language, robustness
from mplib.studies.checkpoints import finetuned_models

run = start_run("07_corruption_ksmallest", globals())
task = KSmallest(k, m, pool, repeats)
settings = ProbeSettings(neighbours, 2, folds, seed=seed)

# %% [markdown]
# ## Corruptions
#
# One number of the list is replaced by another. Shown is the first list that allows it, after
# each replacement.

# %%
tuned = finetuned_models(run.parameters, task)[trainable]
subject = language.Subject(f"finetuned ({trainable})", tuned, 0)
numbers = task.test_lists(lists, seed, examples)
asked = corruption.ask(
    task,
    numbers,
    subject,
    corruptions,
    corruptions=task.replacements(keep_order),
    twins=twins,
    batch_size=batch_size,
    seed=seed,
)
report.show(asked.shown)

# %% [markdown]
# ## What each corruption does
#
# Changes in accuracy and in the log-probability of the original answer, with 95 % intervals
# over lists. *New answer* counts the answer that is right after the replacement.

# %%
effects = corruption.effects(
    asked.clean, asked.corrupted, groups=asked.groups, resamples=resamples, seed=seed
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
report.show(differences)

# %% [markdown]
# ## Draws
#
# Random draws of examples, with the accuracy, the change in accuracy and both scores of each
# draw. Correlations are over draws from these examples; draws of new examples can correlate
# more strongly.

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
accuracy = {"": asked.clean.correct.mean()}
report.bullets(
    *corruption_sentences(effects, correlations, accuracy), *link_sentences(regressed)
)
run.finish()
