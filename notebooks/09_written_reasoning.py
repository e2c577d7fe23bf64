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
# # Written reasoning: does a step look at what it follows from?
#
# Models think in tokens. Here a chain of reasoning is read, step by step, whose steps are known to follow
# from certain statements and from certain steps before them. When the model reads step u, does its attention
# single those out? Each step is an example of the probe, the units told before it are its statements, and
# those it follows from are the useful ones.
#
# What is near is looked at, and what comes next mostly follows from what is near. So the **text** control
# has the distance in units and in tokens, the place, the length, and how many words and numbers a unit
# shares with the step; the **gain** is what the attention tells beyond that and beyond random twins'.
#
# **Cost.** Quick profile: about two minutes on two CPU cores with SmolLM2 (135 M parameters).

# %% tags=["parameters"]
data: str = "generated"  # generated (theories with their proofs), science, or a file
examples: int = 64  # problems, at most; 1 or more
model: str = "smollm2-135m"  # preset, packaged model, folder or Hub id
rows: str = "mean"  # a step's tokens that look; one of mean, last
twins: int = 3  # random twins, a seed each; 1 or more
neighbours: int = 8  # of the kNN classifiers; 1 or more
folds: int = 5  # of the cross-validation, whole problems in each; 2 or more
halves: int = 10  # cuts of the problems into halves behind each interval; 1 or more
resamples: int = (
    1000  # of the problems, behind intervals of what is not fitted; 1 or more
)
seed: int = 0  # of problems, twins, folds and halves; 0 to 4294967295
device: str = "auto"  # auto, cpu, cuda, map

# %% tags=["about", "remove-cell"]
from mplib.studies.about import written_about

about = written_about(globals())

# %%
from mplib import figures, load_model, report, start_run
from mplib.probe import ProbeSettings
from mplib.report.sentences import written_sentences
from mplib.studies import steps
from mplib.tasks.steps.load import load

run = start_run("09_written_reasoning", globals())

# %% [markdown]
# ## The chains
#
# One problem with its steps; behind each, the units that it follows from.

# %%
found = load(data, examples, seed)
report.show(steps.preview(found.chains))
report.show(steps.counts(found))

# %% [markdown]
# ## By attention alone
#
# Nothing is fitted: the units before a step are ranked by its mean attention on each. Average precision is 1
# where those it follows from come first. Beside it random twins, a ranking by recency and one by shared words.

# %%
loaded = load_model(model, device=device, seed=seed)
read = steps.read_chains(loaded, found.chains, twins=twins, rows=rows, seed=seed)
precision = run.table("precision", steps.precision_table(read, resamples, seed))
run.figure("precision", figures.precision_curves(precision))
report.show(
    report.in_words(
        precision[precision.layer == 0], ["source"], "layer", value="precision"
    )
)

# %% [markdown]
# ## What attention adds to the text
#
# F1 of text and attention together, less that of text and the random twins' attention together.

# %%
settings = ProbeSettings(neighbours, 1, folds, halves=halves, seed=seed)
probed = steps.probe_edges(read, model, settings)
gains = run.table("gains", probed.gains, summary="gains")
report.show(report.gains_overview(report.gained(gains)))
run.table("f1", probed.f1)
run.table("scores", probed.scores, summary="scores")
report.show(steps.f1_words(probed.f1))

# %% [markdown]
# ## Does a step need what it looks at?
#
# The step's own tokens are given, and its edges to some units are cut in every layer: change in their
# log-probability, in nats a token. Others stand as far before the step, or get as much attention.

# %%
needs = run.table("needs", steps.needed(read, loaded.model, resamples, seed))
run.figure("needs", figures.needs_points(needs))

# %% [markdown]
# ## Summary

# %%
report.bullets(*written_sentences(precision, gains, needs))
run.finish()
