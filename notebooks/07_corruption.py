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
# # Corruption: does the tree matter to the answer?
#
# If a model reasons along the tree, then what is done to a useful statement should change its answer more
# than the same done to a useless one. Every example is asked once clean and once for each corruption, and
# the differences are paired. Then the paper's question: over random draws of examples, do accuracy and its
# change go with the probe's scores (section 6, Table 3, Fig 10)?
#
# Draws share examples, so they are no independent measurements: the intervals here respect that, and the
# interval that does not is shown beside.
#
# **Cost.** Quick profile: about a minute for numbers and two for theories on two CPU cores, 2,048 draws
# included.

# %% tags=["parameters"]
task: str = "ksmallest"  # ksmallest or proofwriter
k: int = 2  # the k-th smallest number is the answer
m: int = 16  # numbers in a list
pool: int = 512  # lists draw from this many numbers
repeats: bool = False  # may a number stand in a list twice?
lists: int = 1000000  # lists drawn in finetuning; the last 1 % are the test lists
keep_order: bool = False  # does a new number keep the old one's rank?
data: str = "generated"  # generated, the official release's folder, or one of its files
cases: list[str] = ["d1 s4", "d1 s8"]  # depth and number of statements; "d2 s8 hidden"
style: str = "attribute"  # attribute or relation (generated theories)
negation: bool = False  # does "not" occur in theories? (generated ones)
world: str = "closed"  # closed or open
order: str = "random"  # of the statements: random, or given (facts first)
corruptions: list[str] = []  # which; every one of the task when empty
examples: int = 512  # lists, or questions of each case
model: str = "tiny"  # the model before finetuning, or the one that is asked with shots
trainable: str = "all"  # which finetuning is asked
checkpoint: str = "auto"  # folder of the finetuned model; auto names it after its task
finetuned: bool = True  # ask the finetuned model; else the model itself, with shots
shots: int = 4  # demonstrations before each question
draw_count: int = 2048  # random draws of examples
draw_sizes: list[int] = [64, 128]  # least and most examples of a draw
bins: int = 8  # bins of S_P2
twins: int = 3  # random twins, a seed each
neighbours: int = 8  # of the kNN classifiers
folds: int = 5  # of the cross-validation, whole groups in each
resamples: int = 1000  # bootstrap resamples behind each interval
seed: int = 0  # of corruptions, draws, twins, folds and resamples
batch_size: int = 64  # problems a forward pass
device: str = "auto"  # auto, cpu, cuda

# %%
from mplib.probe import draws, knn
from mplib.report import display, figures, paper, sentences
from mplib.runs import record
from mplib.studies import corruption, robustness
from mplib.studies.knockout import probe_correctness
from mplib.studies.training_data import choose_task

run = record.start_run("07_corruption", globals())
chosen = choose_task(run.parameters)
power = 2 if task == "ksmallest" else 1
settings = knn.ProbeSettings(neighbours, power, folds, resamples, seed)

# %% [markdown]
# ## Corruptions
#
# The first example as it is, and after each corruption. *First negated* is what the paper's source does:
# it means to hit a useless statement but always takes the first.

# %%
subject = corruption.subject(run.parameters, chosen)
asked = corruption.ask(run.parameters, chosen, subject, settings)
display.show(asked.shown)

# %% [markdown]
# ## What each corruption does
#
# Changes in accuracy and in the log-probability of the clean example's answer, with 95 % intervals over
# groups of examples. For numbers, *new answer* counts what the answer is after the replacement.

# %%
effects = corruption.effects(
    asked.clean, asked.corrupted, groups=asked.groups, resamples=resamples, seed=seed
)
run.table("effects", effects)
run.figure("effects", figures.corruption_effects(effects[effects.minus == ""]))

# %% [markdown]
# ## Useful against useless
#
# Differences of these changes: a corruption that breaks the reasoning minus one that changes as much of
# the text. Below 0, the model leans on what the tree says is useful.

# %%
differences = effects[effects.minus != ""]
run.figure("differences", figures.corruption_effects(differences))
display.show(differences)

# %% [markdown]
# ## Draws
#
# Random draws of examples; accuracy, change in accuracy and both scores of each draw.

# %%
drawn = draws.draws(
    asked.clean, asked.features, asked.heights, twins=asked.twins, corrupted=asked.corrupted,
    groups=asked.groups, count=draw_count, sizes=(draw_sizes[0], draw_sizes[-1]), settings=settings,
)  # fmt: skip
run.table("draws", drawn.table)
correlations = robustness.correlations(drawn, seed=seed)
run.table("correlations", correlations)
display.show(correlations)

# %% [markdown]
# The paper's correlations, LLaMA-7B with 4 shots on ProofWriter of depth 1 (Table 3).

# %%
display.show(paper.paper_table("table3"))

# %% [markdown]
# ## Change in accuracy by S_P2
#
# As Fig 10, for every corruption. The intervals move with the examples, not only with the draws.

# %%
binned = robustness.all_bins(drawn, asked.corrupted, bins=bins, seed=seed)
run.table("bins", binned)
run.figure("bins", figures.change_by_bin(binned))

# %% [markdown]
# ## Example by example
#
# Without any draws: does an example whose tree the probe reads rightly get the right answer, and does it
# lose it by a corruption? Logistic regression, log-odds for one standard deviation.

# %%
predicted = knn.predict(asked.features, asked.heights, asked.groups, settings)
measures = probe_correctness(asked.heights, predicted)
regressed = robustness.per_example(
    measures, asked.clean, asked.corrupted, groups=asked.groups, seed=seed
)
run.table("per_example", regressed)
display.show(regressed)

# %% [markdown]
# ## Summary

# %%
clean = asked.clean.correct.mean()
display.bullets(*sentences.corruption_sentences(effects, correlations, clean))
run.finish()
