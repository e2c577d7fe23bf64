"""The probe: classifiers on attention, their scores over baselines, draws of examples.

``knn`` fits the paper's two classifiers out of fold, ``scores`` compares sources and normalises
(Eqs 1 and 2), ``text`` lays the text out for them, ``published`` is the paper's own protocol quirk
by quirk, ``draws`` probes random draws of examples, ``transfer`` fits to one set and asks about
another. Arrays of features and gold heights come in; no model is known here.

>>> import numpy as np
>>> heights = np.tile([0, 1, -1, -1], (20, 1))  # a leaf, a root and two useless statements
>>> noise = np.random.default_rng(0).normal(size=(2, 20, 4, 3))
>>> found = compare({"planted": heights[..., None] + 0.1 * noise[0]}, heights, twins=[noise[1]])
>>> found.scores.query("kind == 'model'").set_index("score").value.round(2).to_dict()
{'S_P1': 1.0, 'S_P2': 1.0, 'S_P2_root': 1.0}
"""

from mplib.probe.knn import Predictions, ProbeSettings, predict, useful_heights, usefulness
from mplib.probe.scores import Comparison, compare, compare_prefixes
