"""Every figure of the book; each function returns a figure and shows nothing itself.

``style`` holds what all of them share. A new figure is a function in the module of its subject: a
plot of seaborn's objects, mostly made by ``style.curves`` or ``style.rows`` and always drawn by
``style.draw``, or images in ``style.panels``. It has one name below.

>>> import pandas as pd
>>> from mplib import figures
>>> history = pd.DataFrame({"step": [50, 100], "loss": [3.1, 0.9], "dev_accuracy": [0.2, 0.8]})
>>> [axis.get_ylabel() for axis in figures.training_curves(history).axes]
['training loss', 'development accuracy']
"""

from mplib.report.figures.attention import (
    attention_maps,
    entropy_maps,
    head_thumbnails,
    heads_page,
)
from mplib.report.figures.causal import (
    knock_out_effects,
    patching_rates,
    pruning_curves,
    rollout_curve,
)
from mplib.report.figures.corruption import change_by_bin, corruption_effects
from mplib.report.figures.flow import Flow, attention_flow, attention_flow_page
from mplib.report.figures.scores import (
    contrast_points,
    curves_page,
    f1_bars,
    film_curves,
    gain_points,
    height_curves,
    prefix_curves,
    recall_slopes,
    score_points,
    summary_points,
    sweep_curves,
    training_curves,
    transfer_maps,
)
from mplib.report.figures.steps import (
    arcs,
    found_shares,
    needs_points,
    precision_curves,
    written_page,
)
from mplib.report.figures.trees import gold_tree, recovered_trees, trees_page
