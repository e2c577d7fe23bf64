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
# # The probe: can the reasoning tree be read from the attention?
#
# Two classifiers read the attention that the last token pays to each number, one value for each
# layer. The first separates useful numbers (up to the k-th smallest) from useless ones; its F1
# is V. The second separates the root (the k-th smallest) from the leaves among the useful
# numbers; its F1 is G.
#
# What does the *model* contribute? The same is asked of **random twins** (the same architecture
# with random weights) and of the **text** (a number's value and position). The *gain* is the F1
# of text and attention together, minus the F1 of text and the twins' attention together, so
# noise gains nothing. The paper's scores compare attention alone with the twin's: (F1 - F1 of
# the twin) / (1 - F1 of the twin).
#
# **Cost.** Under a minute on two CPU cores for a small model; a few minutes on a GPU for GPT-2
# small. It probes the finetuned model that `01_finetune` leaves for the same parameters.

# %% tags=["parameters"]
k: int = 2  # the k-th smallest number is the answer; 1 or more
m: int = 16  # numbers in a list; 2 or more
pool: int = 128  # lists draw from this many numbers; 2 or more
repeats: bool = False  # may a number stand in a list twice?
lists: int = 500000  # lists drawn in finetuning; the last 1 % are the test lists;
# 3 or more
examples: int = 1024  # test lists probed, at most; 1 or more
model: str = "tiny"  # the model before finetuning
trainable: str = "all"  # finetuning probed;
# one of all, attention, mlp, layernorm, bias, lora
seed: int = 0  # of weights, lists, folds and halves; 0 to 4294967295
checkpoint: str = "auto"  # folder of the finetuned model; auto names it after its task
twins: int = 3  # random twins, a seed each; 1 or more
neighbours: int = 8  # of the kNN classifiers; 1 or more
folds: int = 5  # of the cross-validation, whole lists in each; 2 or more
halves: int = 10  # cuts of the examples into halves behind each interval; 1 or more
resamples: int = 1000  # of the examples, behind intervals of whole trees; 1 or more
batch_size: int = 256  # lists a forward pass; 1 or more
device: str = "auto"  # auto, cpu, cuda

# %% tags=["about", "remove-cell"]
from mplib.studies.about import study_about

about = study_about("ksmallest", globals(), reads=1 + twins, probes=1)

# %%
from mplib import KSmallest, attention_features, figures, load_model, report, start_run
from mplib.models.inference import scale_examples, twin_features
from mplib.probe import ProbeSettings, published, recovered, scores
from mplib.report.sentences import probe_sentences, tree_sentences
from mplib.studies.checkpoints import finetuned_models

run = start_run("03_probe_ksmallest", globals())
task = KSmallest(k, m, pool, repeats)
settings = ProbeSettings(
    neighbours, folds=folds, halves=halves, seed=seed, resamples=resamples
)

# %% [markdown]
# ## Features
#
# The last token's attention to each number, averaged over heads, one value for each layer. Each
# list is divided by its largest value, as in the paper's source. Models, twins and text see the
# same lists.

# %%
start = load_model(model, vocabulary=pool, seed=seed, device=device)
models = {"pretrained": start} if start.pretrained else {}
models["finetuned"] = finetuned_models(run.parameters, task)[trainable]
numbers = task.splits(lists, seed)[2][:examples]
heights = task.heights(numbers)
prompts, _ = task.prompts(numbers, start)
features = {
    name: scale_examples(
        attention_features(loaded.model, prompts, batch_size=batch_size)
    )
    for name, loaded in models.items()
}
of_twins = twin_features(start.model, prompts, twins, seed, batch_size=batch_size)
baseline = [scale_examples(values) for values in of_twins]

# %% [markdown]
# ## What attention adds to the text
#
# Measured by a logistic regression on scaled features, which suits features of different kinds,
# and by the paper's kNN, which does not. F1 counts correct decisions; bits say how much more
# probable the right label has become.

# %%
text = task.text_baseline(numbers)
found = scores.compare(features, heights, twins=baseline, text=text, settings=settings)
gains = run.table("gains", scores.discoveries(found.gains), summary="gains")
run.figure("gains", figures.gain_points(gains))
report.show(report.gains_overview(gains))

# %% [markdown]
# The rows for *permuted labels* show how selective the classifiers are (Hewitt and Liang 2019):
# the same features, with the labels shuffled within each list.

# %% [markdown]
# ## F1 of the classifiers
#
# The F1s behind the scores (Table 4 of the paper). Folds hold whole lists. Intervals come from
# probing random halves of the lists, with the classifiers fitted again; they are over lists,
# and a second training may give a different model. The *computing text* is a ceiling: what
# somebody who sorts the list could say about each number.

# %%
run.table("f1", found.f1)
run.figure("f1", figures.f1_bars(found.f1))

# %% [markdown]
# ## Scores over the random twin
#
# S_P1 normalises V and S_P2 normalises G (Eqs 1 and 2). The paper prints the normalised F1 of
# the root alone as S_P2, so that is shown too. A twin scored against the other twins should be
# near 0.

# %%
run.table("scores", found.scores, summary="scores")
run.figure("scores", figures.score_points(found.scores))
report.show(found.scores)

# %% [markdown]
# ## Whole trees
#
# Together the two classifiers give a tree for each list: the numbers that are called useful,
# each at its predicted height. *Exact match* is the share of lists in which every number is
# right; *node F1* and *height accuracy* say how much of the tree is right. Edges join numbers
# of neighbouring heights, and *gold heights* is the best that this rule can achieve. A
# classifier that calls nothing useful gives empty trees, with a node F1 of 0, so compare with
# the text, and with text and attention together (*joint*).

# %%
listed, of_text = task.as_examples(numbers), text["text"]
gold, own = [example.tree for example in listed], features["finetuned"]
trees = recovered.recover(own, gold, twins=baseline, text=of_text, settings=settings)
report.show(run.table("trees", trees.table))
run.figure("trees", figures.recovered_trees(listed, trees.read["model"]))

# %% [markdown]
# The lists whose trees are read best, at the median, and worst. Below, choose a list and a number.

# %%
run.view("trees", figures.trees_page(listed, trees.read["model"]))

# %% [markdown]
# ## Layer by layer
#
# Scores from the first l layers only, relative to the first l layers of the twins (Fig 6): from
# which layer on can the tree be read? The band holds for the whole curve at once.

# %%
prefixes = scores.compare_prefixes(features, heights, twins=baseline, settings=settings)
run.table("prefix_scores", prefixes)
run.figure("prefixes", figures.prefix_curves(prefixes))

# %% [markdown]
# Where a curve is flat, the further layers add nothing that a nearest-neighbour search can use.
# Below, choose a curve and a layer.

# %%
run.view("layers", figures.curves_page(prefixes, "source", ["score"]))

# %% [markdown]
# ## The published protocol
#
# What the paper's own source computes on the same features: folds are cut by rows instead of
# lists, the root's labels have a constant column beside them, and there are no intervals. Use
# it only for comparison with the paper's tables.

# %%
labels = task.published_heights(numbers)
as_published = published.compare_published(features, baseline, labels)
run.table("published", as_published)
report.show(as_published)

# %% [markdown]
# ## Predictions
#
# Every prediction is stored, so that further questions can be asked of the same run.

# %%
tidy = scores.tidy_predictions(found.predictions, heights, numbers)
run.table("predictions", tidy)
report.show(report.paper_tables("table1", "table4", k=k))

# %% [markdown]
# The rows above are the paper's figures for this k with GPT-2 small (m = 16, pool 512).

# %% [markdown]
# ## Summary

# %%
report.bullets(*probe_sentences(found), *tree_sentences(trees.table))
run.finish()
