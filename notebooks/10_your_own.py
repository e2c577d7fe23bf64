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
# # Your own: is the reasoning in the attention of your models, on your questions?
#
# Three parameters, and the rest by itself: a file of questions with their gold trees, one model or several,
# and how many demonstrations stand before each question. All questions make one set; all models are asked the
# same ones in the same way. Two classifiers read the attention of a question's tokens on each statement: is it
# useful (V), and how high does it stand in the tree (G)? The *gain* is what they tell beyond the text and beyond
# random twins of the model.
#
# The file is one of your own (`mplib/tasks/custom.py` tells its fields), of STREET or of EntailmentBank;
# `python -m mplib check FILE` says what it holds. As it stands, the page asks this project's science questions.
#
# **Cost.** Quick profile: two minutes on two CPU cores with SmolLM2 (135 M parameters). 64 questions of
# EntailmentBank, three times as long as ours: three to four minutes, half of that on CPUs that compute in
# bfloat16.

# %% tags=["parameters"]
data: str = "science"  # ours, or a file: your own, STREET (or its folder),
# EntailmentBank
models: list[str] = ["smollm2-135m"]  # presets, packaged models, folders or Hub
# ids, side by side; 1 value or more
shots: int = 0  # demonstrations before each question, held out of the file; 0 or more

examples: int = 64  # questions, at most, drawn by the seed; 2 or more
dtype: str = "auto"  # of the weights; auto is bfloat16 where the device computes in it;
# one of auto, float32, bfloat16, float16
seed: int = 0  # of the draw, demonstrations, twins, folds and halves; 0 to 4294967295
device: str = "auto"  # auto, cpu, cuda, map

# %% tags=["about", "remove-cell"]
from mplib.studies.about import study_about

given = {**globals(), "model": models[0], "beside": models[1:], "twins": 3}
about = study_about("own", given, 4 * len(models), probes=len(models))

# %%
from mplib import figures, report, start_run
from mplib.report import sentences
from mplib.report.learning import contrast_sentences
from mplib.studies import language, step_tables
from mplib.studies import language_tables as tables
from mplib.studies.paired import contrasts
from mplib.tasks.science import Own
from mplib.tasks.steps.load import load_if_any

run = start_run("10_your_own", globals())
task = Own(data, shots=shots, seed=seed)

# %% [markdown]
# ## The questions
#
# The first of them, its statements in the order in which a model reads them. Folds hold whole groups of
# questions, five or as many as there are groups.

# %%
(asked,) = language.chosen_sets(task, "test", examples, [shots])
procedure = language.Procedure.fitting(task.template, asked, seed)
report.cards([asked])

# %% [markdown]
# ## Model beside model
#
# Accuracy, the scores of attention alone over random twins (S_P1 for V, S_P2 for G), and the gains of attention
# over text and twins, with 95 % intervals over questions. Below them, what a model has more than another, paired
# question by question. Twins are those of each model's own family.

# %%
loading = {"device": device, "dtype": dtype, "seed": seed}
subjects = language.side_by_side(models, shots, task, **loading)
readings = language.read_sets(subjects, [asked], procedure)
answers = run.table("accuracy", tables.accuracy_table(readings))
apart = run.table("contrasts", contrasts(readings, procedure))
told = report.contrasted(apart, "subject")
report.show(report.in_words(told, ["subject"], "measure"))

# %% [markdown]
# ## What attention adds to the text
#
# F1 of text and attention together, less that of text and the twins' attention together: noise gains nothing. By
# a logistic regression, which is fit for features of unlike kinds, and by the paper's kNN, which is not.

# %%
f1, scores, gains = tables.probe_tables(readings, procedure)
run.table("gains", gains)
run.figure("gains", figures.gain_points(tables.by_set(gains)))

# %% [markdown]
# ## Controls
#
# The scores over the twins by both classifiers, and the F1s behind all this: of the model, its twins, the text,
# text and attention together, and of labels dealt anew within each question.

# %%
run.table("f1", f1)
run.table("scores", scores)
run.figure("scores", figures.score_points(tables.by_set(scores)))
report.show(tables.f1_overview(f1).drop(columns=["set", "among"]))

# %% [markdown]
# ## Where the question looks
#
# Attention on the statements of each height, whose number stands in brackets, layer by layer: 1 is what each would
# get, were all statements of its question looked at alike.

# %%
maps = tables.attention_by_height(readings)
run.figure("map", figures.attention_maps(maps, "", "times an even share"))

# %% [markdown]
# ## Whole trees
#
# Both classifiers together make a tree of each question: what is called useful, each at the height that is
# predicted for it. Those read best, in the middle and worst from the first model; text and attention together
# are *joint*.

# %%
trees, read = tables.tree_tables(readings, procedure)
run.table("trees", trees)
run.figure("trees", figures.recovered_trees(asked.examples, read[0]))
told = report.contrasted(trees, "source")
report.show(report.in_words(told, ["subject", "source"], "measure"))
run.view("trees", figures.trees_page(asked.examples, read[0]))

# %% [markdown] tags=["if-shown"]
# ## Its written reasoning
#
# Where the file's questions have their reasoning written out: whether the attention of each step singles out what
# the step follows from, and whether the step needs it. `09_written_reasoning` tells this in full, for one model.

# %%
chains = load_if_any(data, examples, seed).chains
written = step_tables.side_by_side(subjects, chains, procedure.settings)
for name, table in written.items():
    run.table(f"steps_{name}", table)
if written:
    run.figure("steps", figures.needs_points(written["needs"]))

# %% [markdown]
# ## Summary

# %%
lines = sentences.own_sentences(answers, gains) + contrast_sentences(apart)
lines += sentences.limit_sentences(asked, scores) + sentences.tree_sentences(trees)
lines += sentences.steps_sentences(**written)
report.bullets(*lines)
run.finish()
