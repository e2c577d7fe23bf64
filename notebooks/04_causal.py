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
# What a probe reads in the attention need not be what the model works with. Here the model is
# changed and asked again: heads are switched off, those first that look at certain places or at
# certain ranks of size; the last token's attention to the gold tree's own statements is cut; and what
# its attention gives it is taken from another list.
#
# **Cost.** Three minutes on two CPU cores for a small model; on a GPU some minutes for GPT-2 small. Most
# of it goes into switching heads off at random, several times over.

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
# The last token's attention of each head, averaged over the test lists once in the order of the list
# and once in the order of size, and the entropy of each (Fig 14): 1 is an even spread, small values
# belong to heads that look at certain places, or at certain ranks.

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
# Accuracy while heads go in ascending order of either entropy, or at random (Fig 9). Bands are Wilson
# intervals for the two orders; for random heads they hold 95 % of the draws, each of which goes on
# switching off heads beside those that are off already.

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
# The table holds the paper's accuracies for this k, GPT-2 small finetuned (m = 16, pool 512).
#
# A curve below the random one belongs to heads that the answer needs more than others. Where the heads
# of small size entropy do the work, their curve falls first. Where all position entropies lie near 1,
# no head looks at certain places, and their order is one of small differences.

# %% [markdown]
# ## The flow of attention
#
# Mean attention from every token to every token, averaged over the heads that are on: lists in which
# the two smallest numbers stand in fixed places, with the heads of smallest position entropy off, and
# lists as they come, with all heads (Figs 12 and 13). A layer that has lost all its heads has no lines.

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
# The same to play with. Where the model compares numbers as they come, strong lines leave the two
# marked positions for those behind them; in lists as they come nothing stands out but the early places,
# which every later token can see.

# %%
figures.attention_flow_page(flows)

# %% [markdown]
# ## The tree's own edges cut
#
# The last token's attention to some of the list's numbers is cut in a few neighbouring layers: to the
# useful ones, to the root or the leaves alone; and, as controls, to as many useless ones drawn at
# random, to useless ones that together get as much attention as the useful ones in that window and
# list, as nearly as can be, and to all useless ones. All else stays as it is, so a number may still
# reach the last token through another, unless `queries` is `all`. Intervals are 95 % (Wilson for
# accuracy, paired bootstrap over lists for changes); the dotted line is the accuracy of always giving
# the most frequent answer.

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
# Layers in which the useful edges matter, and useless ones of equal attention do not, are the layers in
# which the answer is put together from the tree. Where even all useless ones get less attention than
# the useful ones, the column `mass` of the table says by how much. Where useless ones matter too, the
# layer compares numbers, and a cut, which also takes away what the model relies on to rule others out,
# does not tell one from the other. The table `contrasts` has the paired differences in every window,
# with p-values corrected for their number. Without the useful edges the model may do worse than a
# guess, since it then answers from numbers among which the right one is not.

# %% [markdown]
# ## The answer taken from another list
#
# What the last token's heads give, before the output projection, is taken from the same layer's run on
# another list: one in which the root alone is replaced, so that the answer is another, or, as a
# control, a useless number alone, so that it is the same; both keep their rank. A model that puts the
# answer together in a layer then gives the other list's. Once outputs of the other list come into the
# clean run (noising), once clean ones into the other list's (denoising).

# %%
swaps = patching.patch_numbers(lm, task, numbers, loaded, **size, **resampling)
run.figure("patching", figures.patching_rates(run.table("patching", swaps)))

# %% [markdown]
# Unlike a cut, a patch gives the layers above something that they know, and says what it was: a layer
# that only prepares the answer may break when cut, and yet not carry the answer when patched.

# %% [markdown]
# ## Is what the probe reads what the model uses?
#
# For each list: was its tree read rightly by the probe, and how much of the answer's log-probability
# does the model lose when the useful edges are cut? If the probe reads what the model works with, the
# lists that it reads better should lose more. Every window is shown; since that asks often, `p_fdr`
# is the p-value after control of the false discovery rate over all rows of the table.

# %%
settings = ProbeSettings(neighbours, folds=folds, seed=seed)
predicted = predict(scale_examples(attention), heights, settings=settings)
correctness = knockout.probe_correctness(heights, predicted)
agreed = run.table("agreement", knockout.agreement(correctness, found, **resampling))
report.show(agreed[agreed.statistic == "Spearman"])

# %% [markdown]
# ## Why not roll-out?
#
# Attention roll-out multiplies the layers' attention, half of each layer being the residual stream, to
# follow a token down to the input. The paper's appendix A argues that it ends at the first token,
# whatever the model does. Here it is measured, beside the same for attention that is spread evenly.

# %%
rolled = flow.rollout_table(flow.rollout(lm, prompts, batch_size), heights)
run.figure("rollout", figures.rollout_curve(run.table("rollout", rolled)))

# %% [markdown]
# ## Summary

# %%
cut, rest = (found, contrasts, agreed), {"renormalised": renormalise}
report.bullets(*causal_sentences(entropies, averaged, *cut, swaps, rolled, **rest))
run.finish()
