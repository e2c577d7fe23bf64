"""Every figure of the book; each function returns a figure and shows nothing itself.

``style`` holds what all of them share. A new figure is a function in the module of its subject,
built of ``style.panels``, ``style.curves`` and ``style.points``, and one name below.
"""

from mplib.report.figures.attention import (
    Flow,
    attention_flow,
    attention_maps,
    entropy_maps,
    head_thumbnails,
)
from mplib.report.figures.causal import knock_out_effects, pruning_curves, rollout_curve
from mplib.report.figures.corruption import change_by_bin, corruption_effects
from mplib.report.figures.flow_page import attention_flow_page
from mplib.report.figures.scores import (
    f1_bars,
    height_curves,
    prefix_curves,
    score_points,
    summary_points,
    sweep_curves,
    training_curves,
)
