"""The probe: classifiers on attention, their scores over baselines, draws of examples.

``knn`` fits the paper's two classifiers out of fold, ``scores`` compares sources and normalises
(Eqs 1 and 2), ``published`` is the paper's own protocol quirk by quirk, ``draws`` probes random
draws of examples. Arrays of features and gold heights come in; no model is known here.
"""

from mplib.probe.knn import Predictions, ProbeSettings, predict, useful_heights, usefulness
from mplib.probe.scores import Comparison, compare, compare_prefixes
