"""Every figure of the book; each function returns a matplotlib figure and draws nothing else."""

from mplib.report.figures.attention import (
    attention_flow,
    attention_maps,
    entropy_maps,
    head_thumbnails,
)
from mplib.report.figures.causal import knock_out_effects, pruning_curves, rollout_curve
from mplib.report.figures.corruption import change_by_bin, corruption_effects
from mplib.report.figures.scores import f1_bars, height_curves, prefix_curves, score_points
from mplib.report.figures.summary import summary_points, sweep_curves
from mplib.report.figures.training import training_curves
