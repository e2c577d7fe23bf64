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
# # Summary: does it reason, or recall?
#
# All runs of a profile on one page. If a model *reasons*, three things should hold: its answers
# are right; its attention adds to the text what a random twin's attention does not; and the
# answer is lost when a useful statement is removed or changed, but not when a useless one is.
#
# If a profile sweeps over seeds, values are means over seeds with t-intervals; the interval of
# a single seed is over examples. If it sweeps over a number, values are plotted along it.
#
# **Cost.** Seconds: it reads tables, no model.

# %% tags=["parameters"]
profile: str = "quick"  # whose runs are gathered

# %% tags=["about", "remove-cell"]
about = {"gathers": profile}

# %%
from mplib import figures, report, start_run
from mplib.report import summary
from mplib.report.sentences import summary_sentences

run = start_run("08_summary", globals())
found, made = summary.gather(profile)
pooled = summary.pool_seeds(found)

# %% [markdown]
# ## Gains and scores
#
# The *gain* is the F1 of text and attention together, minus the F1 of text and the random
# twins' attention together. S_P1 and S_P2 are the paper's scores: attention alone compared with
# the twins' attention alone. They also rise where attention repeats what the text shows. A
# point whose interval lies to the right of 0 shows something that the baseline lacks; a
# triangle at the edge stands for a value below -1.

# %%
run.table("figures", pooled)
run.figure("scores", figures.summary_points(pooled))

# %% [markdown] tags=["if-shown"]
# ## Along what was swept
#
# Dashed: the paper's values, where it reports any for lists of this length.

# %%
along = summary.numeric_axis(pooled)
if along:
    paper = summary.paper_curves(profile, along)
    run.figure("curves", figures.sweep_curves(pooled, along, paper))

# %% [markdown]
# ## Every setting
#
# Means over seeds, or the values of a single seed, with 95 % intervals. A score is *undefined*
# where the baseline is already nearly perfect.

# %%
report.show(summary.by_setting(pooled))

# %% [markdown] tags=["if-shown"]
# ## What an intervention costs
#
# Change in accuracy when statements are corrupted, or when attention to them is cut.

# %%
report.show(summary.by_intervention(pooled))

# %% [markdown]
# ## Runs
#
# What was run, how long it took and on which machine. The notebook of a failed run is kept
# beside its folder as `….failed.ipynb`.

# %%
# Without the times, so that equal results are equal files.
run.table("runs", made.drop(columns=["seconds", "device"]))
report.show(made)

# %% [markdown]
# ## Summary

# %%
report.bullets(*summary_sentences(pooled, made))
run.finish()
