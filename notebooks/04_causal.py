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
# # The causal study: does the answer need what the attention shows?
#
# What a probe reads in the attention need not be what the model uses. Here the model is changed
# and asked again. Heads are switched off, starting with those that attend to particular
# positions or to particular ranks; the last token's attention to the statements of the gold
# tree is cut; and the output of its attention is replaced by that from another list.
#
# **Cost.** A minute on two CPU cores for a small model; some minutes on a GPU for GPT-2
# small. Most of the time goes into switching off heads in random order, several times. It
# studies the finetuned model that `01_finetune` leaves for the same parameters.

# %% tags=["parameters"]
k: int = 2  # the k-th smallest number is the answer; 1 or more
m: int = 16  # numbers in a list; 2 or more
pool: int = 128  # lists draw from this many numbers; 2 or more
repeats: bool = False  # may a number stand in a list twice?
lists: int = 500000  # lists drawn in finetuning; the last 1 % are the test lists;
# 3 or more
examples: int = 1000  # test lists used, at most; 1 or more
model: str = "tiny"  # the model before finetuning
trainable: str = "all"  # finetuning studied;
# one of all, attention, mlp, layernorm, bias, lora
seed: int = 0  # of weights, lists, random heads, random statements and resamples;
# 0 to 4294967295
checkpoint: str = "auto"  # folder of the finetuned model; auto names it after its task
percentages: list[int] = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]  # of heads off;
# 1 value or more; 0 to 100
draws: int = 10  # random orders of the heads, each with all percentages; 1 or more
ablation: str = "zero"  # what replaces a head that is off: its mean, or zero;
# one of zero, mean
published: bool = False  # one head more off at each percentage, as in the source
flow_percentage: int = 40  # of heads, of smallest position entropy, off in the flow;
# 0 to 100
smallest_at: int = 8  # position of the smallest number in the arranged lists; 0 or more
second_at: int = 12  # position of the second smallest; 0 or more
window_sizes: list[int] = [1, 2]  # layers cut at once; 1 value or more; 1 or more
renormalise: bool = True  # what is drawn and told: cuts after which the attention that
# is left sums to one again, or those after which it does not; the tables hold both
queries: str = "question"  # from which tokens edges are cut: the last one, or all that
# stand behind the number; one of question, all
neighbours: int = 8  # of the kNN classifiers; 1 or more
folds: int = 5  # of the cross-validation, whole lists in each; 2 or more
resamples: int = 1000  # bootstrap resamples behind each interval; 1 or more
batch_size: int = 64  # lists a forward pass; 1 or more
device: str = "auto"  # auto, cpu, cuda

# %% tags=["about", "remove-cell"]
from mplib.studies.about import study_about

# Half a pass for each pruned model: the layers below the first change are shared.
reads = 4 + (2 + draws) * len(percentages) / 2
# Six sets of edges, cut in two ways, in each window; patches and their two donors.
about = study_about("ksmallest", globals(), reads, by_layer=12 * len(window_sizes) + 8)

# %%
from mplib import KSmallest, Reduction, attention_features, figures, report, start_run
from mplib.models.inference import scale_examples
from mplib.probe import ProbeSettings, predict
from mplib.report.causal import causal_sentences
from mplib.studies import flow, heads, knockout, patching
from mplib.studies.checkpoints import finetuned_models

run = start_run("04_causal", globals())
task = KSmallest(k, m, pool, repeats)

# %% [markdown]
# ## Size heads and position heads
#
# The last token's attention in each head, averaged over the test lists once in the order of the
# list and once sorted by size, with the entropy of each (Fig 14). An entropy of 1 means that
# attention is spread evenly; small values belong to heads that attend to particular positions,
# or to particular ranks.

# %%
loaded = finetuned_models(run.parameters, task)[trainable]
lm, numbers = loaded.model, task.splits(lists, seed)[2][:examples]
prompts, _ = task.prompts(numbers, loaded)
arranged = flow.arrange(flow.without_repeats(numbers), [smallest_at, second_at])
windows = knockout.windows(loaded.layers, window_sizes)
reduction, size = Reduction(heads="keep"), {"batch_size": batch_size}
by_head = attention_features(lm, prompts, reduction=reduction, **size)
entropies = heads.head_entropies(by_head, task.order(numbers))
run.table("entropies", entropies.table())
run.figure("entropies", figures.entropy_maps(entropies.maps))

# %% [markdown]
# ## Heads switched off
#
# Accuracy as more heads are switched off, in ascending order of either entropy or at random
# (Fig 9). Bands are Wilson intervals for the two orders; for random heads they hold 95 % of the
# draws. Each draw keeps the heads that are already off and switches off more.

# %%
orders = heads.pruning_orders(entropies, draws, seed)
change = heads.ablation(lm, prompts, ablation, batch_size)
counting = {"change": change, "published": published, **size}
pruned = run.table("pruning", heads.prune(lm, prompts, orders, percentages, **counting))
averaged = run.table("pruning_averaged", heads.average_draws(pruned))
run.figure("pruning", figures.pruning_curves(averaged))

# %%
report.show(report.paper_curves("fig9", "percentage", "order", k=k))

# %% [markdown]
# The table shows the paper's accuracies for this k (GPT-2 small, finetuned, m = 16, pool 512).
#
# If a curve lies below that of the random order, the answer depends on those heads more than on
# others. If the heads with small size entropy do the work, their curve falls first. If all
# position entropies are near 1, no head attends to particular positions, and the position order
# reflects only small differences.

# %% [markdown]
# ## The flow of attention
#
# Mean attention from every token to every token, averaged over the heads that are on: for lists
# in which the two smallest numbers have fixed positions, with the heads of smallest position
# entropy switched off, and for ordinary lists with all heads (Figs 12 and 13). A layer without
# any head left has no lines.

# %%
removed = heads.heads_removed(flow_percentage, entropies.size.size, published=published)
off = heads.heads_off(orders["position entropy"][0], removed, entropies.size.shape)
placed, _ = task.prompts(arranged, loaded)
marks = {smallest_at: "smallest", second_at: "second"}
without = flow.mean_flow(lm, placed, heads.without_heads(off, change), batch_size)
flows = [
    figures.Flow(f"arranged, {removed} position heads off", without, marks),
    figures.Flow("as they come", flow.mean_flow(lm, prompts, batch_size=batch_size)),
]
run.figure("flow", figures.attention_flow(flows))

# %% [markdown]
# An interactive version of the same figure. If the model compares numbers as it reads them,
# strong lines lead from the two marked positions to later ones; in ordinary lists only the
# early positions stand out, because every later token can see them.

# %%
run.view("flow", figures.attention_flow_page(flows))

# %% [markdown]
# ## The tree's own edges cut
#
# The last token's attention to some of the numbers is cut in a few neighbouring layers: to the
# useful ones, to the root alone or to the leaves alone. The controls cut equally many useless
# numbers drawn at random, useless numbers that together receive about as much attention as the
# useful ones in that window and list, and all useless numbers. Nothing else is changed, so a
# number can still reach the last token through another one, unless `queries` is `all`.
# Intervals are 95 % (Wilson for accuracy, paired bootstrap over lists for changes); the dotted
# line is the accuracy of always giving the most frequent answer.

# %%
heights, attention = task.heights(numbers), by_head.mean(axis=-1)
cuts = knockout.edge_sets(heights, seed, attention, windows)
resampling = {"resamples": resamples, "seed": seed}
asking = {"queries": queries, **size, **resampling}
found = knockout.knock_out(lm, prompts, cuts, windows, attention, **asking)
run.table("knock_out", found.table, summary="changes")
shown = found.table[found.table.renormalised == renormalise]
run.figure("knock_out", figures.knock_out_effects(shown, found.guess))
contrasts = run.table("contrasts", knockout.contrasts(found, **resampling))

# %% [markdown]
# Where cutting the useful edges matters, and cutting useless ones of equal attention does not,
# the layer assembles the answer from the tree. If even all useless numbers receive less
# attention than the useful ones, the column `mass` of the table shows by how much. If cutting
# useless numbers matters too, the layer compares numbers; a cut also removes what the model
# needs to rule numbers out, and cannot tell these roles apart. The table `contrasts` has the
# paired differences in every window, with p-values corrected for multiple testing. Without the
# useful edges the model may do worse than a guess, because it then answers with one of the
# remaining numbers, none of which is right.

# %% [markdown]
# ## The answer taken from another list
#
# The output of the last token's heads in a layer, before the output projection, is replaced by
# that from the same layer's run on another list. In one kind of donor list only the root is
# replaced, so the answer differs; in the other, a control, only a useless number is replaced,
# so the answer is the same. The new number always has the rank of the old one. If the model
# assembles the answer in that layer, it gives the donor's answer. Patching runs both ways: the
# donor's outputs into the clean run (noising) and clean outputs into the donor's run
# (denoising).

# %%
swaps = patching.patch_numbers(lm, task, numbers, loaded, **size, **resampling)
run.figure("patching", figures.patching_rates(run.table("patching", swaps)))

# %% [markdown]
# Unlike a cut, a patch gives the layers above an input of a familiar kind, and so shows what
# information was passed on. A layer that only prepares the answer may be disrupted by a cut and
# yet not carry the answer in a patch.

# %% [markdown]
# ## Is what the probe reads what the model uses?
#
# For each list: did the probe read its tree correctly, and how much of the answer's
# log-probability does the model lose when the useful edges are cut? If the probe reads what the
# model uses, the lists that it reads better should lose more. Every window is shown. Because
# this makes many tests, `p_fdr` is the p-value after controlling the false discovery rate over
# all rows of the table.

# %%
settings = ProbeSettings(neighbours, folds=folds, seed=seed)
predicted = predict(scale_examples(attention), heights, settings=settings)
correctness = knockout.probe_correctness(heights, predicted)
agreed = run.table("agreement", knockout.agreement(correctness, found, **resampling))
report.show(agreed[agreed.statistic == "Spearman"])

# %% [markdown]
# ## Why not roll-out?
#
# Attention roll-out multiplies the attention of successive layers, counting the residual stream
# as half of each layer, to follow a token down to the input. The paper's appendix A argues that
# it ends at the first token whatever the model does. Here that is measured, next to the
# roll-out of attention that is spread evenly.

# %%
rolled = flow.rollout_table(flow.rollout(lm, prompts, batch_size), heights)
run.figure("rollout", figures.rollout_curve(run.table("rollout", rolled)))

# %% [markdown]
# ## Summary

# %%
cut, rest = (found, contrasts, agreed), {"renormalised": renormalise}
report.bullets(*causal_sentences(entropies, averaged, *cut, swaps, rolled, **rest))
run.finish()
