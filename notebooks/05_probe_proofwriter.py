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
# Facts and rules in words, a question, "True or False?". The gold tree is the proof. Two kNN
# classifiers read the attention of the question's tokens on each statement, one value a layer: is the
# statement useful (V), and how high does it stand in the proof (G)? Model and random twin see the same
# prompts, demonstrations included.
#
# Three controls stand beside every score. The **text**: the same classifiers on words shared with the
# question, length, position and kind (fact or rule). **Permuted labels**: what they reach when there is
# nothing to learn. And **hidden** theories, whose text does not tell which statements the proof uses.
#
# **Cost.** Quick profile: five to six minutes on two CPU cores with SmolLM2 (135 M parameters). LLaMA-7B:
# one GPU.

# %% tags=["parameters"]
data: str = "generated"  # generated, the official release's folder, or one of its files
cases: list[str] = ["d1 s4", "d1 s8"]  # depth and number of statements; "d2 s8 hidden"
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
dtype: str = "float32"  # of the weights; one of float32, bfloat16, float16
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

# Models without demonstrations have the same twins.
reads = (1 + twins) * (1 + published) + len(beside) + twins * bool(beside)
# Every model is probed, and the last one from case to case.
probes = len(beside) + len(cases) / 2
about = study_about("proofwriter", globals(), reads, probes=probes)

# %%
from mplib import ProofWriter, figures, report, start_run
from mplib.report import sentences
from mplib.studies import language
from mplib.studies import language_tables as tables
from mplib.studies.paired import contrasts
from mplib.studies.published import read_published

run = start_run("05_probe_proofwriter", globals())
task = ProofWriter(data, tuple(cases), style, negation, world, order, seed)
procedure = language.Procedure.of("proofwriter", run.parameters)

# %% [markdown]
# ## The questions
#
# One question of each case, its statements in the order in which the model reads them.

# %%
sets = language.chosen_sets(task, "test", examples, [shots, *shot_counts])
report.show(tables.preview(sets))

# %% [markdown]
# ## The models
#
# The model with demonstrations, those beside it, and whatever was finetuned on these theories, which are
# asked without.

# %%
subjects = language.asked_subjects(run.parameters, task)
dev = task.sets("dev", shot_examples) if layers == "selected" else []
procedure, chosen, found = language.choose_layers(subjects[0], dev, layers, procedure)
run.table("layers", chosen)
report.bullets(sentences.probed_sentence(procedure, subjects[0].loaded))

# %% [markdown]
# ## Answers
#
# Accuracy of the same prompts whose attention is probed. *By negation* is a rule of thumb that reads no
# theory: False where the question says "not". In the closed world, with questions whose proof needs no
# negation as failure (the paper's cleaning), it is nearly always right, so a high accuracy there is no
# sign of reasoning.

# %%
readings = language.read_sets(subjects, sets, procedure)
answers = tables.accuracy_table(readings)
report.show(run.table("accuracy", answers, summary="accuracy"))

# %% [markdown]
# Is it a shortcut? Accuracy by answer and by whether the question says "not", and on the first questions
# edited: with a useful statement removed the answer no longer follows, and accuracy (of the answer from
# before) should fall to chance; with a useless one removed, or in another order, it should stay. For models
# that are asked without demonstrations.

# %%
edited = tables.shortcut_table(subjects, readings, shot_examples, procedure)
run.table("shortcuts", edited)
report.show(report.in_words(edited, ["set", "subject"], "of", value="accuracy"))

# %% [markdown]
# ## What attention adds to the text
#
# The *gain* is the F1 of text and attention together, less that of text and the random twins' attention
# together: noise gains nothing. By a logistic regression on scaled features, which is fit for features
# of unlike kinds, and by the paper's kNN, which is not.

# %%
f1, scores, gains = tables.probe_tables(readings, procedure)
run.table("gains", gains, summary="gains")
run.figure("gains", figures.gain_points(tables.by_set(gains)))
report.show(report.gains_overview(report.gained(gains)))

# %% [markdown]
# ## Model beside model
#
# The same questions, folds, halves and twins: what one model's accuracy, scores and gains are more than
# another's, paired question by question.

# %%
apart = run.table("contrasts", contrasts(readings, procedure))
run.figure("contrasts", figures.contrast_points(apart))

# %% [markdown]
# ## Scores over the random twin
#
# S_P1 normalises V, S_P2 normalises G (Eqs 1 and 2), attention alone. Intervals are over questions,
# those of a model's own making included: folds are cut and classifiers fitted anew in random halves.

# %%
run.table("f1", f1)
run.table("scores", scores, summary="scores")
run.figure("scores", figures.score_points(tables.by_set(scores)))

# %% [markdown]
# The F1s behind the scores: the model, its twins, the text, text and attention
# together, and labels dealt anew within each question.

# %%
report.show(tables.f1_overview(f1))

# %% [markdown]
# ## Among rules alone
#
# At depth 1 the useful statement of height 0 is a fact and the other one is a rule, so G asks only what a
# statement looks like. At depth 2 and more, among rules alone, G asks which rule is applied first.

# %%
rules = tables.by_set(gains, "rules alone")
if len(rules):
    run.figure("rules", figures.gain_points(rules))
report.show(report.gains_overview(rules))

# %% [markdown]
# ## Whole trees
#
# Both classifiers together make a tree of each example: what is called useful, each at the height that
# is predicted for it. *Exact match* is the share of examples in which every statement is right, *node F1*
# and *height accuracy* say how much of the tree there is. Edges join statements of neighbouring heights;
# *gold heights* is what that rule could reach at best. A classifier that calls nothing useful reads
# empty trees, of node F1 0: compare with the text, and text and attention together (*joint*) with it.

# %%
trees, read = tables.tree_tables(readings, procedure)
report.show(run.table("trees", trees))
run.figure("trees", figures.recovered_trees(sets[-1].examples, read[-1]))

# %% [markdown]
# The trees of the last set, those read best, in the middle, and worst.

# %% [markdown]
# ## Layer by layer
#
# Scores from the first l layers over the twin's own first l layers (Fig 7), and V for the useful
# statements of one height against the useless ones (Fig 7f): are low statements found before high ones?

# %%
prefixes = run.table("prefix_scores", tables.prefix_table(readings, procedure))
run.figure("prefixes", figures.prefix_curves(tables.by_set(prefixes)))
heights = run.table("height_f1", tables.height_table(readings, procedure))
run.figure("heights", figures.height_curves(heights))

# %% [markdown]
# ## Transfer
#
# Is it the same signal in every case? The classifiers are fitted to one case (rows) and asked about
# another (columns); on the diagonal, folds of whole theories. Only heights that both cases have are told
# apart. What the text tells, its positions and lengths, may transfer too, so it stands beside. The figure
# has the logistic regression, the table the paper's kNN as well; where there are several models, both
# are of the last one.

# %%
transfer = tables.transfer_table(readings[-len(sets) :], procedure)
run.figure("transfer", figures.transfer_maps(run.table("transfer", transfer)))

# %% [markdown]
# ## Demonstrations
#
# Accuracy with several numbers of demonstrations (Table 5).

# %%
by_shots = tables.shots_table(subjects[0], sets, shot_counts, shot_examples, procedure)
report.show(run.table("shots", by_shots))

# %% [markdown]
# ## The published protocol
#
# Folds over statements, so that one theory stands on both sides of a cut; for comparison with the
# paper's tables only. With `published=True` a second part has all of the source's ways: facts before
# rules, its prompts, the question's rows pooled before a statement's tokens, only the first premise of a
# step labelled a leaf, and a baseline that is asked without demonstrations. Columns say which labels,
# pooling and prompts a row has.

# %%
source = []
if published:
    source = read_published(subjects, task.published_sets(examples), procedure)
report.show(run.table("published", tables.published_table(readings, source)))

# %% [markdown]
# The paper's own figures for these depths, LLaMA-7B on the official data (Tables 2 and 8).

# %%
report.show(report.paper_figures("proofwriter", {one.depth for one in sets}))

# %% [markdown]
# ## Summary

# %%
lines = sentences.contrast_sentences(apart)
lines += sentences.language_sentences(answers, scores, gains, trees)
report.bullets(*sentences.layer_sentences(found), *lines)
run.finish()
