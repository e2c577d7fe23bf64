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
# # The recall dial: does a language model reason, or does it recall?
#
# "Every cat is a feline. No feline is feathered. Max is a cat." Is Max feathered? Anybody who
# knows cats can answer without the theory. Here every tree is told three times: in a **true**
# world, in an **invented** one with made-up nouns, and in a **false** one, where the true nouns
# are exchanged so that general knowledge suggests the opposite of what follows. Sentence
# frames, names, property, question, answer and order are the same. So the text reveals equally
# much in all three, and differences are paired tree by tree.
#
# A model that reasons does equally well in all worlds. A model that recalls does worse in the
# invented world than in the true one, and worse than chance in the false one. Demonstrations
# are always from the invented world. With `data`, PrOntoQA's own questions are asked instead,
# by depth.
#
# **Cost.** Quick profile: about five minutes on two CPU cores with SmolLM2 (135 M parameters).

# %% tags=["parameters"]
data: str = "generated"  # generated, or a file of PrOntoQA's questions
worlds: list[str] = ["true", "invented", "false"]  # in which each tree is told;
# 2 values or more; one of true, invented, false
depths: list[int] = [1, 2]  # heights of the trees; 1 value or more; 1 to 5
chains: int = 2  # the useful chain and its like, an even number; 2 to 6
lexicon: str = "ontology"  # ours, or a file of your own words
examples: int = 64  # trees of each depth, the same in every world; 1 or more
model: str = "smollm2-135m"  # preset, packaged model, folder or Hub id
beside: list[str] = []  # more models on the same questions, without demonstrations
shots: int = 4  # demonstrations before each question; 0 or more
more_shots: list[int] = []  # other numbers of them, for the same model; 0 or more
shared_shots: bool = True  # the same demonstrations for all, or drawn anew for each
layers: str = "all"  # layers probed: all, or such as 1-10,12
dtype: str = "auto"  # of the weights; auto is bfloat16 where the device computes in it;
# one of auto, float32, bfloat16, float16
twins: int = 3  # random twins, a seed each; 1 or more
neighbours: int = 8  # of the kNN classifiers; 1 or more
folds: int = 5  # of the cross-validation, whole trees in each; 2 or more
halves: int = 10  # cuts of the trees into halves behind each interval; 1 or more
resamples: int = 1000  # of the trees, behind differences of accuracy; 1 or more
seed: int = 0  # of trees, demonstrations, twins, folds and halves; 0 to 4294967295
batch_size: int = 16  # questions a forward pass; 1 or more
device: str = "auto"  # auto, cpu, cuda, map

# %% tags=["about", "remove-cell"]
from mplib.studies.about import study_about

probes = 1 + len(more_shots) + len(beside)
about = study_about("ontology", globals(), probes=probes)

# %%
from mplib import Ontology, figures, report, start_run
from mplib.report.sentences import probed_sentence, recall_sentences
from mplib.studies import knockout, language
from mplib.studies import language_tables as tables
from mplib.studies.paired import dial

run = start_run("05_recall_dial", globals())
words = {"chains": chains, "lexicon": lexicon, "seed": seed}
task = Ontology(data, tuple(worlds), tuple(depths), **words)
procedure = language.Procedure.of("proofwriter", run.parameters)

# %% [markdown]
# ## The trees
#
# One tree of each depth in each world, with its statements in the order in which the model
# reads them.

# %%
sets = language.chosen_sets(task, "test", examples, [shots, *more_shots])
report.cards(sets)

# %% [markdown]
# ## Answers
#
# Accuracy on the same prompts whose attention is probed.

# %%
subjects = language.asked_subjects(run.parameters, task)
procedure, _, _ = language.choose_layers(subjects[0], [], layers, procedure)
readings = language.read_sets(subjects, sets, procedure)
answers = tables.accuracy_table(readings)
run.table("accuracy", answers, summary="accuracy")
report.show(answers)

# %% [markdown]
# ## From world to world
#
# Accuracy, scores of attention relative to the random twins (S_P1, S_P2), and gains over text
# and twins. The text names the useful fact, and up to depth 2 it reveals all heights, so there
# is no gain in G there. *Rules alone* leaves the facts out; which rules are useful is not
# visible in the text. *Need* is what the answers lose when the question's tokens cannot look at
# the useful statements in any layer: accuracy with useless statements cut that get about as much
# attention, minus accuracy with the useful ones cut. The table has each set, and the differences
# between sets (*minus*), tree by tree.

# %%
pairs = [(subject, one) for subject in subjects for one in sets]
needs = [knockout.needed(*pair, procedure) for pair in pairs]
found = run.table("dial", dial(readings, procedure, needs))
run.figure("dial", figures.recall_slopes(found))
named = found.replace({"among": {"": "all statements"}})
rows = ["subject", "set", "minus", "among"]
report.show(report.in_words(named, rows, "measure"))

# %% [markdown]
# ## Summary

# %%
report.bullets(*recall_sentences(found), probed_sentence(procedure, subjects[0].loaded))
run.finish()
