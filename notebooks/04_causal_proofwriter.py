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
# # The causal study in words: does the answer need the attention to the proof?
#
# What a probe reads in the attention need not be what the model uses. Here a language model is
# asked questions about theories, and then again with something changed inside: its attention to
# the useful statements is cut (with useless statements as controls), or the output of the last
# token's attention is replaced by that from the same theory with one fact changed. Several
# models can be asked the same questions.
#
# A model that uses the proof loses its answer when the useful statements are cut, but not when
# useless ones with equal attention are. When it is given the attention output from the other
# theory, it gives the other theory's answer. A model that answers at chance has nothing to
# lose, so the test says nothing about it.
#
# **Cost.** Quick profile: half a minute to a minute and a half for each model of 135 M parameters on two CPU cores.

# %% tags=["parameters"]
data: str = "generated"  # generated, the official release's folder, or one of its files
cases: list[str] = ["d1 s4", "d1 s8"]  # depth and statements; "d2 s8 hidden" or "rival"
style: str = "attribute"  # of generated theories; one of attribute, relation
negation: bool = False  # does "not" occur in theories? (generated ones)
world: str = "closed"  # what is not told is false, or unknown; one of closed, open
order: str = "random"  # of the statements; given has facts first; one of random, given
examples: int = 64  # questions of each case; 1 or more
model: str = "smollm2-135m"  # preset, packaged model, folder or Hub id
beside: list[str] = []  # more models on the same questions, without demonstrations;
# the model itself among them is asked that way too
shots: int = 0  # demonstrations before each question; 0 or more
shared_shots: bool = True  # the same demonstrations for all, or drawn anew for each
dtype: str = "auto"  # of the weights; auto is bfloat16 where the device computes in it;
# one of auto, float32, bfloat16, float16
windows: int = 5  # into how many equal blocks the layers are divided; all layers
# together are a window more; 1 or more
renormalise: bool = True  # does what is left after a cut sum to one again?
queries: str = "question"  # from which tokens edges are cut: those of the question, or
# all that stand behind the statement; one of question, all
resamples: int = 1000  # bootstrap resamples behind each interval; 1 or more
seed: int = 0  # of theories, demonstrations, random statements, replacements and
# resamples; 0 to 4294967295
batch_size: int = 16  # questions a forward pass; 1 or more
device: str = "auto"  # auto, cpu, cuda, map

# %% tags=["about", "remove-cell"]
from mplib.studies.about import study_about

# Six sets of edges in each window: from the question's tokens alone, the rest is read once.
cuts = 6 * (windows + 1) * (1 if queries == "all" else 0.15)
# A question and its two donors are patched in pairs; the copies are a token each.
reads = (1 + len(beside)) * (2 + cuts + 4)
about = study_about("proofwriter", globals(), reads)

# %%
from mplib import ProofWriter, figures, report, start_run
from mplib.report.causal import causal_word_sentences
from mplib.studies import knockout, language, patching

run = start_run("04_causal_proofwriter", globals())
task = ProofWriter(data, tuple(cases), style, negation, world, order, seed)
procedure = language.Procedure.of("proofwriter", run.parameters)

# %% [markdown]
# ## The questions
#
# One question of each case, with its statements in the order in which the models read them.

# %%
questions = language.joined_sets(task, "test", examples, [shots])
subjects = language.asked_subjects(run.parameters, task)
report.cards(language.chosen_sets(task, "test", examples, [shots]))

# %% [markdown]
# ## The proof's own edges cut
#
# The attention from the question's tokens to some of the statements is cut, in a block of
# layers and in all of them: to the useful statements, to the root alone (the rule that
# concludes the answer) or to the leaves alone. The controls cut equally many useless statements
# drawn at random, useless statements that together receive about as much attention as the
# useful ones in that window and question, and all useless statements. A statement can still
# reach the question through later ones, unless `queries` is `all`. Intervals are 95 % (Wilson
# for accuracy, paired bootstrap over theories for changes); the dotted line is the accuracy of
# always giving the most frequent answer.

# %%
cutting = {"renormalise": renormalise, "queries": queries, "resamples": resamples}
cut, against = knockout.knock_out_words(
    subjects, questions, procedure, windows, **cutting
)
run.table("knock_out", cut, summary="changes")
run.table("contrasts", against)
names = [subject.name for subject in reversed(subjects)]
for number, name in enumerate(names, 1):
    part = cut[cut.subject == name]
    shown = part[part.cut != "nothing"]
    figure = figures.knock_out_effects(shown, part.guess.iloc[0])
    run.figure(f"knock_out_{number}", figure)

# %% [markdown]
# Where cutting the useful edges matters, and cutting useless ones of equal attention does not,
# the layers assemble the answer from the proof. The table `contrasts` has the paired
# differences in every window, with p-values corrected for multiple testing.

# %%
if len(against):
    wanted = ["subject", "minus", "first_layer", "last_layer", "value", "low", "high"]
    changed = against[against.measure == "change in accuracy"]
    report.show(changed[[*wanted, "p_fdr"]])

# %% [markdown]
# ## The answer taken from another theory
#
# The output of the last token's heads, before the output projection, is replaced by that from
# the same layer's run on a donor. One kind of donor is the same theory with one useful fact
# replaced by the condition of another rule, so that the answer is reversed. The other, a
# control, has one useless fact replaced and the same answer by the same proof. The logic engine
# verifies both, and donors have as many tokens as the original. Questions without a donor are
# left out; `pairs` says how many of the `examples` are used.

# %%
swaps = patching.patch_theories(
    subjects, questions, procedure, world, windows, resamples=resamples
)
run.table("patching", swaps)
for number, name in enumerate(names, 1):
    if len(part := swaps[swaps.subject == name]):
        run.figure(f"patching_{number}", figures.patching_rates(part))

# %% [markdown]
# A model that assembles the answer in a block of layers gives the donor's answer when that
# block's outputs come from the donor. If the unchanged model already gives the donor's answer
# equally often, because it is wrong that often, the patch shows nothing.

# %% [markdown]
# ## Summary

# %%
report.bullets(*causal_word_sentences(cut, against, swaps))
run.finish()
