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
# # ProofWriter: is the proof in the attention of a language model?
#
# The model reads facts and rules in words and a question, and answers True or False. The gold
# tree is the proof. Two kNN classifiers read the attention from the question's tokens to each
# statement, one value for each layer: is the statement useful (V), and how high in the proof is
# it (G)? Model and random twins see the same prompts, demonstrations included.
#
# Every score has three controls. The **text**: the same classifiers on words shared with the
# question, length, position and kind (fact or rule). **Permuted labels**: what the classifiers
# reach when there is nothing to learn. And **hidden** theories, in which no single statement
# gives away whether the proof uses it; in **rival** ones, no part of the proof gives the answer
# away either, since a chain of rules for the opposite is as long and breaks off somewhere. A
# fourth belongs to finetuned models: the **same finetuning on answers dealt at random**
# (`smollm2-135m-dealt`), in which attention learns the form of the task and nothing to reason for.
#
# **Cost.** Quick profile: three to five minutes on two CPU cores with SmolLM2 (135 M parameters). LLaMA-7B:
# one GPU.

# %% tags=["parameters"]
data: str = "generated"  # generated, the official release's folder, or one of its files
cases: list[str] = ["d1 s4", "d1 s8"]  # depth and statements; "d2 s8 hidden" or "rival"
style: str = "attribute"  # of generated theories; one of attribute, relation
negation: bool = False  # does "not" occur in theories? (generated ones)
world: str = "closed"  # what is not told is false, or unknown; one of closed, open
order: str = "random"  # of the statements; given has facts first; one of random, given
examples: int = 128  # questions probed for each case, at most; 1 or more
model: str = "smollm2-135m"  # preset, packaged model, folder or Hub id
beside: list[str] = []  # more models on the same questions, without demonstrations;
# the model itself among them is asked that way too
trainables: list[str] = []  # finetunings to probe beside;
# every one there is when empty; one of all, attention, mlp, layernorm, bias, lora
checkpoint: str = "auto"  # folder of the finetuned model; auto names it after its task
shots: int = 4  # demonstrations before each question; 0 or more
shared_shots: bool = True  # the same demonstrations for all, or drawn anew for each
shot_counts: list[int] = [0, 2, 4, 8]  # demonstrations whose accuracy is compared;
# 0 or more
shot_examples: int = 64  # questions of each case asked for that, and edited;
# 1 or more
layers: str = "all"  # layers probed: all, selected (greedy, on dev), such as 1-10,12,
# or published (those of the paper's LLaMA-7B)
dtype: str = "auto"  # of the weights; auto is bfloat16 where the device computes in it;
# one of auto, float32, bfloat16, float16
partial_attention: bool = False  # read a hybrid model in part, its attention alone
published: bool = False  # ask, read and label as the paper's source does, too
twins: int = 3  # random twins, a seed each; 1 or more
neighbours: int = 8  # of the kNN classifiers; 1 or more
folds: int = 5  # of the cross-validation, whole theories in each; 2 or more
halves: int = 10  # cuts of the examples into halves behind each interval; 1 or more
resamples: int = 1000  # of the examples, behind intervals of whole trees; 1 or more
seed: int = 0  # of theories, demonstrations, twins, folds and halves;
# 0 to 4294967295
batch_size: int = 16  # questions a forward pass; 1 or more
device: str = "auto"  # auto, cpu, cuda, map

# %% tags=["about", "remove-cell"]
from mplib.studies.about import study_about

# Every model is probed, and the last one from case to case.
about = study_about("proofwriter", globals(), probes=len(beside) + len(cases) / 2)

# %%
from mplib import ProofWriter, figures, report, start_run
from mplib.report import learning, sentences
from mplib.studies import film, language, paired
from mplib.studies import language_tables as tables
from mplib.studies.published import read_published

run = start_run("05_probe_proofwriter", globals())
task = ProofWriter(data, tuple(cases), style, negation, world, order, seed)
procedure = language.Procedure.of("proofwriter", run.parameters)

# %% [markdown]
# ## The questions
#
# One question of each case, with its statements in the order in which the model reads them.

# %%
sets = language.chosen_sets(task, "test", examples, [shots, *shot_counts])
report.cards(sets)

# %% [markdown]
# ## The models
#
# The model with demonstrations; the models beside it and those finetuned on these theories,
# without.

# %%
subjects = language.asked_subjects(run.parameters, task)
dev = task.sets("dev", shot_examples) if layers == "selected" else []
procedure, chosen, found = language.choose_layers(subjects[0], dev, layers, procedure)
run.table("layers", chosen)
report.bullets(sentences.probed_sentence(procedure, subjects[0].loaded))

# %% [markdown]
# ## Answers
#
# Accuracy on the same prompts whose attention is probed. *By negation* is a rule of thumb that
# ignores the theory: False if the question says "not". In the closed world, for questions whose
# proof needs no negation as failure (the paper's selection), it is almost always right, so high
# accuracy there is no evidence of reasoning.

# %%
readings = language.read_sets(subjects, sets, procedure)
answers = tables.accuracy_table(readings)
report.show(run.table("accuracy", answers, summary="accuracy"))

# %% [markdown]
# Is it a shortcut? Accuracy by answer and by whether the question says "not", and on edited
# versions of the first questions. Without a useful statement the answer no longer follows, at
# whatever height of the proof it stood, so accuracy (for the original answer) should fall to
# chance; or below, where all rules that are left about the question conclude its opposite. Without
# a useless statement, or in another order, it should stay. Asked of models without demonstrations.

# %%
edited = tables.shortcut_table(subjects, readings, shot_examples, procedure)
run.table("shortcuts", edited)
report.show(report.in_words(edited, ["set", "of"], "subject", value="accuracy"))

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

# %% [markdown]
# ## Model beside model
#
# All models get the same questions, folds, halves and twins. The table shows by how much a
# model's accuracy, scores and gains exceed another model's, paired question by question.

# %%
apart = run.table("contrasts", paired.contrasts(readings, procedure))
run.figure("contrasts", figures.contrast_points(apart))

# %% [markdown] tags=["if-shown"]
# ## While they were trained
#
# Was the tree in the attention before the answers were right, or after? Of each model whose
# training was filmed: what the probe read on development questions at each evaluation. Where
# training answers were dealt at random, there was nothing to reason for, so whatever rises
# there comes with the form of the task. The summary names the step at which half of each rise
# was done.

# %%
filmed = film.films(subject.loaded for subject in subjects)
if len(filmed):
    run.figure("film", figures.film_curves(run.table("film", filmed)))

# %% [markdown]
# ## Scores over the random twin
#
# S_P1 normalises V and S_P2 normalises G (Eqs 1 and 2), for attention alone. Intervals are over
# questions and include the fitting: folds are cut and classifiers fitted again in random
# halves.

# %%
run.table("scores", scores, summary="scores")
run.figure("scores", figures.score_points(tables.by_set(scores)))

# %% [markdown]
# The F1s behind the scores: the model, its twins, the text, text and attention together, and
# labels shuffled within each question.

# %%
report.show(tables.f1_overview(run.table("f1", f1)))

# %% [markdown] tags=["if-shown"]
# ## Among rules alone
#
# At depth 1 the useful statement of height 0 is a fact and the other one is a rule, so G only
# asks what a statement looks like. From depth 2 on, among rules alone, G asks which rule is
# applied first.

# %%
rules = tables.by_set(gains, "rules alone")
if len(rules):
    run.figure("rules", figures.gain_points(rules))
report.show(report.gains_overview(rules))

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
# Scores from the first l layers, relative to the first l layers of the twins (Fig 7), and V for
# the useful statements of one height against the useless ones (Fig 7f): are low statements
# found before high ones?

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
# ## Transfer
#
# Is it the same signal in every case? The classifiers are fitted to one case (rows) and tested
# on another (columns), with folds of whole theories on the diagonal. Only heights that both
# cases have are distinguished. The text, with its positions and lengths, may transfer as well,
# so it is shown beside. The figure has the logistic regression, and the table the paper's kNN
# as well. With several models, both show the last one.

# %%
transfer = tables.transfer_table(readings[-len(sets) :], procedure)
run.figure("transfer", figures.transfer_maps(run.table("transfer", transfer)))

# %% [markdown]
# ## Demonstrations
#
# Accuracy with different numbers of demonstrations (Table 5).

# %%
by_shots = tables.shots_table(subjects[0], sets, shot_counts, shot_examples, procedure)
report.show(run.table("shots", by_shots))

# %% [markdown]
# ## The published protocol
#
# Folds are cut over statements, so one theory can be on both sides of a cut; use this only for
# comparison with the paper's tables. With `published=True` a second part follows the source in
# everything: facts before rules, its prompts, the question's rows pooled before a statement's
# tokens, only the first premise of a step labelled as a leaf, and a baseline without
# demonstrations. Columns name the labels, pooling and prompts of each row.

# %%
as_published = task.published_sets(examples) if published else []
source = read_published(subjects, as_published, procedure)
report.show(run.table("published", tables.published_table(readings, source)))

# %% [markdown]
# The paper's own figures for these depths, LLaMA-7B on the official data (Tables 2 and 8).

# %%
report.show(report.paper_figures("proofwriter", {one.depth for one in sets}))

# %% [markdown]
# ## Summary

# %%
lines = learning.learning_sentences(apart, prefixes, film.rises(filmed))
lines += sentences.language_sentences(answers, scores, gains, trees)
report.bullets(*sentences.layer_sentences(found), *lines)
run.finish()
