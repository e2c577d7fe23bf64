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
# # Science questions: is the explanation in the attention of a language model?
#
# The model reads a question with options, and facts and conclusions in random order. A gold
# tree says which of them lead to the answer and which conclusion follows from which facts. Two
# kNN classifiers read the attention from the question's tokens to each statement: is it useful
# (V), and how high in the tree is it (G)?
#
# The questions come from `mplib/data/science.jsonl` and were written for this project in the
# format of STREET; they are **not** ARC. The parameter `questions` takes STREET's annotated ARC
# (the paper's data), EntailmentBank, or your own questions instead. Because conclusions repeat
# words of the question, a score must beat the **text** baseline.
#
# **Cost.** Quick profile: two minutes on two CPU cores with SmolLM2 (135 M parameters). LLaMA-7B: one
# GPU.

# %% tags=["parameters"]
questions: str = "science"  # ours, STREET's folder, or a file: STREET,
# EntailmentBank, your own
train_questions: str = ""  # file for demonstrations; empty to hold some out, or for
# the folder's own
depths: list[int] = [1, 2]  # depths of the trees; 1 value or more; 0 or more
conclusions: bool = True  # are intermediate conclusions shown as statements?
distractors: bool = True  # are statements shown that do not lead to the answer?
template: str = "arc"  # what asks for the answer; one of arc, proofwriter, plain
order: str = "random"  # of the statements; given has facts first; one of random, given
examples: int = 128  # questions probed for each depth, at most; 1 or more
model: str = "smollm2-135m"  # preset, packaged model, folder or Hub id
beside: list[str] = []  # more models on the same questions, without demonstrations;
# the model itself among them is asked that way too
shots: int = 4  # demonstrations before each question; 0 or more
shared_shots: bool = True  # the same demonstrations for all, or drawn anew for each
shot_counts: list[int] = [0, 2, 4, 8]  # demonstrations whose accuracy is compared;
# 0 or more
shot_examples: int = 64  # questions of each set asked for that; 1 or more
layers: str = "all"  # layers probed: all, such as 1-10,12, or published (those of
# the paper's LLaMA-7B)
dtype: str = "auto"  # of the weights; auto is bfloat16 where the device computes in it;
# one of auto, float32, bfloat16, float16
partial_attention: bool = False  # read a hybrid model in part, its attention alone
published: bool = False  # ask, read and label as the paper's source does, too
twins: int = 3  # random twins, a seed each; 1 or more
neighbours: int = 8  # of the kNN classifiers; 1 or more
folds: int = 5  # of the cross-validation, whole questions in each; 2 or more
halves: int = 10  # cuts of the examples into halves behind each interval; 1 or more
resamples: int = 1000  # of the examples, behind intervals of whole trees; 1 or more
seed: int = 0  # of orders, demonstrations, twins, folds and halves; 0 to 4294967295
batch_size: int = 16  # questions a forward pass; 1 or more
device: str = "auto"  # auto, cpu, cuda, map

# %% tags=["about", "remove-cell"]
from mplib.studies.about import study_about

about = study_about("science", globals(), probes=1 + len(beside))

# %%
from mplib import Science, figures, report, start_run
from mplib.report import sentences
from mplib.report.learning import learning_sentences
from mplib.studies import language
from mplib.studies import language_tables as tables
from mplib.studies.paired import contrasts
from mplib.studies.published import read_published

run = start_run("06_probe_arc", globals())
told = {"conclusions": conclusions, "distractors": distractors, "order": order}
task = Science(questions, train_questions, tuple(depths), seed=seed, **told)
procedure = language.Procedure.of(template, run.parameters)

# %% [markdown]
# ## The questions
#
# One question of each depth, with its statements in the order in which the model reads them.

# %%
sets = language.chosen_sets(task, "test", examples, [shots, *shot_counts])
report.cards(sets)

# %% [markdown]
# ## Answers
#
# Accuracy on the same prompts whose attention is probed, among the letters of the options.

# %%
subjects = language.asked_subjects(run.parameters, task)
procedure, chosen, _ = language.choose_layers(subjects[0], [], layers, procedure)
run.table("layers", chosen)
together = language.read_sets(subjects, sets[-1:], procedure)
readings = [part for one in together for part in language.divide(one, sets)]
answers = tables.accuracy_table(readings)
run.table("accuracy", answers, summary="accuracy")
report.show(answers)

# %% [markdown]
# ## What attention adds to the text
#
# The *gain* is the F1 of text and attention together, minus the F1 of text and the random
# twins' attention together, so noise gains nothing. It is measured by a logistic regression on
# scaled features, which suits features of different kinds, and by the paper's kNN, which does
# not.

# %%
f1, scores, gains = tables.probe_tables(readings, procedure)
run.table("gains", gains, summary="gains")
run.figure("gains", figures.gain_points(tables.by_set(gains)))
report.show(report.gains_overview(report.gained(gains)))

# %% [markdown] tags=["if-shown"]
# ## Model beside model
#
# All models get the same questions, folds, halves and twins. The table shows by how much a
# model's accuracy, scores and gains exceed another model's, paired question by question.

# %%
apart = run.table("contrasts", contrasts(readings, procedure))
if len(subjects) > 1:
    run.figure("contrasts", figures.contrast_points(apart))

# %% [markdown]
# ## Scores over the random twin
#
# S_P1 normalises V and S_P2 normalises G (Eqs 1 and 2), for attention alone. Intervals are over
# questions and include the fitting: folds are cut and classifiers fitted again in random
# halves.

# %%
run.table("f1", f1)
run.table("scores", scores, summary="scores")
run.figure("scores", figures.score_points(tables.by_set(scores)))

# %% [markdown]
# The F1s behind the scores: the model, its twins, the text, text and attention together, and
# labels shuffled within each question.

# %%
report.show(tables.f1_overview(f1))

# %% [markdown]
# ## Whole trees
#
# Together the two classifiers give a tree for each example: the statements that are called
# useful, each at its predicted height. *Exact match* is the share of examples in which every
# statement is right; *node F1* and *height accuracy* say how much of the tree is right. Edges
# join statements of neighbouring heights, and *gold heights* is the best that this rule can
# achieve. A classifier that calls nothing useful gives empty trees, with a node F1 of 0, so
# compare with the text, and with text and attention together (*joint*).

# %%
trees, read = tables.tree_tables(readings, procedure)
report.show(run.table("trees", trees))
run.figure("trees", figures.recovered_trees(sets[-1].examples, read[-1]))

# %% [markdown]
# The trees of the last set that are read best, at the median, and worst. Below, choose a question and
# a statement.

# %%
run.view("trees", figures.trees_page(sets[-1].examples, read[-1]))

# %% [markdown]
# ## Layer by layer
#
# Scores from the first l layers, relative to the first l layers of the twins (Fig 8), and V for
# the useful statements of one height against the useless ones: are low statements found before
# high ones?

# %%
prefixes = run.table("prefix_scores", tables.prefix_table(readings, procedure))
run.figure("prefixes", figures.prefix_curves(tables.by_set(prefixes)))
heights = run.table("height_f1", tables.height_table(readings, procedure))
run.figure("heights", figures.height_curves(heights))

# %% [markdown]
# Every figure behind the first picture: choose a score, a curve and a layer.

# %%
run.view("layers", figures.curves_page(prefixes))

# %% [markdown]
# ## Demonstrations
#
# Accuracy with different numbers of demonstrations (Table 5).

# %%
by_shots = tables.shots_table(subjects[0], sets, shot_counts, shot_examples, procedure)
run.table("shots", by_shots)
report.show(by_shots)

# %% [markdown]
# ## The published protocol
#
# Folds are cut over statements, so one question can be on both sides of a cut; use this only
# for comparison with the paper's tables. With `published=True` a second part follows the source
# in everything: the questions of all files together, every unit a statement, its prompts, the
# question's rows pooled before a statement's tokens, only the first premise of a step labelled
# as a leaf, and a baseline without demonstrations. Columns name the labels, pooling and prompts
# of each row.

# %%
source = []
if published:
    source = read_published(subjects, task.published_sets(examples), procedure)
both = run.table("published", tables.published_table(readings, source))
report.show(both)

# %% [markdown]
# The paper's own figures for these depths, LLaMA-7B on ARC (Tables 2 and 8).

# %%
report.show(report.paper_figures("arc", depths))

# %% [markdown]
# ## Summary

# %%
lines = learning_sentences(apart, prefixes)
lines += sentences.language_sentences(answers, scores, gains, trees)
report.bullets(*lines, sentences.probed_sentence(procedure, subjects[0].loaded))
run.finish()
