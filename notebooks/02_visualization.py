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
# # Attention maps: where does the last token look?
#
# The answer is read off the last token, so its attention is where the reasoning tree should show:
# first on the leaves (the numbers up to the k-th smallest), then on the root (the k-th smallest).
# Each map is a mean over test lists and heads; once with the numbers put in order of size, once in
# the order of the list.
#
# **Cost.** Seconds on a CPU.

# %% tags=["parameters"]
k: int = 2  # the k-th smallest number is the answer
m: int = 16  # numbers in a list
pool: int = 512  # lists draw from this many numbers
repeats: bool = False  # may a number stand in a list twice?
lists: int = 1000000  # lists drawn in finetuning; the last 1 % are the test lists
examples: int = 10000  # test lists looked at, at most
model: str = "tiny"  # the model before finetuning
trainables: list[str] = []  # parts whose finetuning is shown, if present; empty for all
seed: int = 0  # of weights and lists
checkpoint: str = "auto"  # folder of the finetuned model; auto names it after its task
batch_size: int = 256  # lists a forward pass
device: str = "auto"  # auto, cpu, cuda

# %%
from mplib.models import inference
from mplib.models.loading import load_model
from mplib.models.prompts import number_prompts
from mplib.report import display, figures
from mplib.runs import record
from mplib.studies import checkpoints, heads
from mplib.tasks.ksmallest import KSmallest

run = record.start_run("02_visualization", globals())
task = KSmallest(k, m, pool, repeats)

# %%
start = load_model(model, numbers=pool, seed=seed, device=device)
tuned = checkpoints.finetuned_models(
    run.parameters, checkpoints.task_identity(task), device
)
models = {"before": start} | {
    f"finetuned: {part}": loaded for part, loaded in tuned.items()
}
numbers = task.splits(lists, seed)[2][:examples]
prompts = number_prompts(
    start.tokenizer, start.positions, pool, numbers, task.answers(numbers)
)
attention = {
    name: inference.attention_features(loaded.model, prompts, batch_size=batch_size)
    for name, loaded in models.items()
}

# %% [markdown]
# ## By size
#
# Row 1 is the smallest number of each list, row k the answer (Figs 5, 11, 15 and 16 of the paper).

# %%
order = task.order(numbers)
by_rank = {
    name: inference.order_statements(values, order).mean(axis=0)
    for name, values in attention.items()
}
run.table("attention_by_rank", heads.tidy_maps(by_rank, "rank"))
run.figure("attention_by_rank", figures.attention_maps(by_rank, "size rank"))

# %% [markdown]
# Rows that are all alike belong to a model that does not know what is small. Where the task has been
# learned, the rows up to k stand out, and in some layers row k alone: leaves and root.

# %% [markdown]
# ## By position

# %%
by_position = {name: values.mean(axis=0) for name, values in attention.items()}
run.table("attention_by_position", heads.tidy_maps(by_position, "position"))
run.figure(
    "attention_by_position", figures.attention_maps(by_position, "position in the list")
)

# %% [markdown]
# What is left when the sizes are averaged away: attention that goes to a place whatever number
# stands there, the first or the last place above all.

# %% [markdown]
# ## The heads of one list
#
# Every head of the (first) finetuned model on the first test list, brightness being the square root of the
# attention. The last row of each map is the last token's.

# %%
shown = next(iter(tuned.values()))
heads = inference.full_attention(shown.model, prompts[:1])[0]
run.figure("heads", figures.head_thumbnails(heads, [str(n) for n in numbers[0]]))

# %% [markdown]
# ## Summary

# %%
display.bullets(*(
    f"{name}: the last token's attention on the number of rank {k} is largest in layer "
    f"{values[k - 1].argmax() + 1} ({values[k - 1].max():.3f}; evenly spread would be {1 / m:.3f}), "
    f"and on the numbers up to it in layer {values[:k].sum(axis=0).argmax() + 1} "
    f"({values[:k].sum(axis=0).max():.3f}; evenly {k / m:.3f})."
    for name, values in by_rank.items()
))  # fmt: skip
run.finish()
