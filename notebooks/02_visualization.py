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
# # Attention maps: where does the last token look?
#
# The model reads the answer off the last token, so the reasoning tree should show in that
# token's attention: first on the leaves (the numbers below the k-th smallest), then on the root
# (the k-th smallest itself). Each map is a mean over test lists and heads, once with the
# numbers sorted by size and once in the order of the list.
#
# **Cost.** Seconds on a CPU. It shows the finetuned model that `01_finetune` leaves for the
# same parameters; as the notebooks stand, that is the one of `make book`.

# %% tags=["parameters"]
k: int = 2  # the k-th smallest number is the answer; 1 or more
m: int = 16  # numbers in a list; 2 or more
pool: int = 128  # lists draw from this many numbers; 2 or more
repeats: bool = False  # may a number stand in a list twice?
lists: int = 500000  # lists drawn in finetuning; the last 1 % are the test lists;
# 3 or more
examples: int = 10000  # test lists looked at, at most; 1 or more
model: str = "tiny"  # the model before finetuning
trainables: list[str] = []  # parts whose finetuning is shown, if present;
# empty for all; one of all, attention, mlp, layernorm, bias, lora
seed: int = 0  # of weights and lists; 0 to 4294967295
checkpoint: str = "auto"  # folder of the finetuned model; auto names it after its task
batch_size: int = 256  # lists a forward pass; 1 or more
device: str = "auto"  # auto, cpu, cuda

# %% tags=["about", "remove-cell"]
from mplib.studies.about import study_about

about = study_about("ksmallest", globals(), reads=2)

# %%
from mplib import KSmallest, attention_features, figures, load_model, report, start_run
from mplib.models.attention import Reduction
from mplib.models.inference import full_attention, order_statements
from mplib.report.sentences import map_sentences
from mplib.studies.checkpoints import finetuned_models
from mplib.studies.heads import tidy_maps

run = start_run("02_visualization", globals())
task = KSmallest(k, m, pool, repeats)

# %%
start = load_model(model, vocabulary=pool, seed=seed, device=device)
tuned = finetuned_models(run.parameters, task)
models = {"before": start} | {f"finetuned: {part}": tuned[part] for part in tuned}
numbers = task.splits(lists, seed)[2][:examples]
prompts, _ = task.prompts(numbers, start)
attention = {
    name: attention_features(loaded.model, prompts, batch_size=batch_size)
    for name, loaded in models.items()
}

# %% [markdown]
# ## By size
#
# Row 1 is the smallest number of each list, and row k is the answer (Figs 5, 11, 15 and 16 of
# the paper).

# %%
order = task.order(numbers)
by_rank = {
    name: order_statements(values, order).mean(axis=0)
    for name, values in attention.items()
}
run.table("attention_by_rank", tidy_maps(by_rank, "rank"))
run.figure("attention_by_rank", figures.attention_maps(by_rank, "size rank"))

# %% [markdown]
# If all rows look alike, the model does not know which numbers are small. Once the task has
# been learned, the rows up to k stand out, and in some layers row k alone: first the leaves and
# the root, then the root.

# %% [markdown]
# ## By position

# %%
by_position = {name: values.mean(axis=0) for name, values in attention.items()}
run.table("attention_by_position", tidy_maps(by_position, "position"))
run.figure(
    "attention_by_position", figures.attention_maps(by_position, "position in the list")
)

# %% [markdown]
# Averaging over lists removes the effect of size. What remains is attention to a position,
# whatever number is there: above all the first and the last one.

# %% [markdown]
# ## The heads of one list
#
# Every head of the first finetuned model on the first test list. Brightness is the square root
# of the attention, and the last row of each map belongs to the last token.

# %%
shown = next(iter(tuned.values()))
heads = full_attention(shown.model, prompts[:1])[0]
run.figure("heads", figures.head_thumbnails(heads, [str(n) for n in numbers[0]]))

# %% [markdown]
# The last token's attention in six test lists. The squares say how many percent of it each head
# spends on the numbers of the tree; choose one to see where.

# %%
by_head = Reduction(heads="keep")
looks = attention_features(shown.model, prompts[:6], reduction=by_head)
run.view("looks", figures.heads_page(task.as_examples(numbers[:6]), looks))

# %% [markdown]
# ## Summary

# %%
report.bullets(*map_sentences(by_rank, k))
run.finish()
