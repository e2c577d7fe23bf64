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
# Models think in tokens. Here a model reads a chain of reasoning whose steps are known to follow from
# certain statements and certain earlier steps. When it reads a step, does its attention single those out?
# Each step is an example of the probe, the units told before it are its statements, and those it follows
# from are the useful ones.
#
# What is near gets attention, and a step mostly follows from what is near. So the **text** control knows the
# distance in units and in tokens, the place, the length, and how many words and numbers a unit shares with
# the step; the **gain** is what attention tells beyond that, and beyond random twins' attention.
#
# **Cost.** Quick profile: about two minutes on two CPU cores with SmolLM2 (135 M parameters).

# %% tags=["parameters"]
data: str = "generated"  # generated (theories with their proofs), science, or a file
examples: int = 64  # problems, at most; 1 or more
model: str = "smollm2-135m"  # preset, packaged model, folder or Hub id
generate: int = 0  # tokens that the model writes itself in place of the given steps;
# nobody says what these follow from; 0 or more
chat: bool = False  # is a problem put as a user's turn, in the model's own template?
layers: str = "all"  # whose attention is read: all, or such as 1-10,12
rows: str = "mean"  # a step's tokens that look; one of mean, last
dtype: str = "auto"  # of the weights; auto is bfloat16 where the device computes in it;
# one of auto, float32, bfloat16, float16
twins: int = 3  # random twins, a seed each; 1 or more
neighbours: int = 8  # of the kNN classifiers; 1 or more
folds: int = 5  # of the cross-validation, whole problems in each; 2 or more
halves: int = 10  # cuts of the problems into halves behind each interval; 1 or more
resamples: int = 1000  # of the problems, behind intervals; 1 or more
seed: int = 0  # of problems, twins, folds and halves; 0 to 4294967295
device: str = "auto"  # auto, cpu, cuda, map

# %% tags=["about", "remove-cell"]
from mplib.studies.about import written_about

about = written_about(globals())

# %%
from mplib import figures, load_model, report, start_run
from mplib.probe import ProbeSettings
from mplib.report import sentences
from mplib.studies import step_tables as tables
from mplib.studies import steps
from mplib.tasks.steps.load import load

run = start_run("09_written_reasoning", globals())

# %% [markdown]
# ## The chains
#
# One problem with its steps; behind each, the units that it follows from.

# %%
found = load(data, examples, seed)
loaded = load_model(model, device=device, dtype=dtype, seed=seed)
how = {
    "twins": twins,
    "layers": layers,
    "rows": rows,
    "chat": chat,
    "generate": generate,
}
read = steps.read_chains(loaded, found.chains, name=model, seed=seed, **how)
report.show(steps.preview(read.chains))
report.show(steps.counts(read.chains, found.refused))

# %% [markdown]
# ## By attention alone
#
# Nothing is fitted: the units before a step are ranked by its mean attention on each. Average precision is 1
# where those it follows from come first. Beside it random twins, a ranking by recency and one by shared
# words; then which edges are found, by how far they reach and how deep their step stands. Of steps that the
# model wrote nobody knows what they follow from: there the table says what each looks at most.

# %%
said, chances, wanted = [], {}, tables.most_attended(read)
if generate:
    report.show(run.table("looked", tables.looked_at(read)).head(12))
else:
    ranked = tables.precision_table(read, resamples, seed)
    run.table("precision", ranked)
    run.figure("precision", figures.precision_curves(ranked))
    shares = run.table("found", tables.found_table(read, resamples, seed))
    run.figure("found", figures.found_shares(shares))

# %% [markdown]
# ## What attention adds to the text
#
# F1 of text and attention together, less that of text and the random twins' attention together; attention
# alone from the first l layers, over the twins' (S_P1, with the F1s behind it in the table); then whole
# graphs, read by boosted trees, which take distances, counts and attention as they are.

# %%
settings = ProbeSettings(neighbours, 1, folds, halves=halves, seed=seed)
if not generate:
    wanted, probed = None, steps.probe_edges(read, settings)
    gains = run.table("gains", probed.gains, summary="gains")
    run.table("f1", probed.f1)
    run.table("scores", probed.scores, summary="scores")
    report.show(report.gains_overview(report.gained(gains)))
    prefixes = run.table("prefix_scores", steps.edge_prefixes(read, settings))
    run.figure("prefixes", figures.prefix_curves(prefixes))
    chances = tables.read_edges(read, settings)
    graphs = tables.graph_table(read, chances, resamples, seed)
    told = report.contrasted(run.table("graphs", graphs), "source")
    report.show(report.in_words(told, ["source"], "measure"))
    said = sentences.written_sentences(model, ranked, gains, graphs)

# %% [markdown]
# ## Does a step need what it looks at?
#
# The step's own tokens are given, and in every layer it is kept from looking at some units: change in the
# tokens' log-probability. Other units stand as far before the step, or get as much attention.

# %%
losses = run.table("steps", tables.needs_of(read, loaded.model, wanted))
needs = run.table("needs", tables.needs_table(losses, resamples, seed))
run.figure("needs", figures.needs_points(needs))
faults = run.table("faults", tables.fault_table(losses, resamples, seed))
report.show(faults)

# %% [markdown]
# ## Whole problems
#
# Each step with an arc back to what it has: what it follows from, what is read from text and attention
# together, and what it needs, that is without which alone it loses a tenth of a nat a token or more.

# %%
drawn = tables.traces(read, loaded.model, chances)
run.figure("trace", figures.arcs(drawn[0]))
run.view("written", figures.written_page(drawn))

# %% [markdown]
# ## Summary

# %%
report.bullets(*said, *sentences.needs_sentences(needs, faults))
run.finish()
