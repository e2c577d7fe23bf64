"""Statistics: whole groups are drawn."""

import numpy as np
import pytest

from mplib.errors import InputError
from mplib.stats import example_weights


def test_whole_groups_are_drawn_by_the_bootstrap():
    weights = example_weights(6, np.array([0, 0, 0, 1, 1, 2]), 50, seed=0)
    assert (weights[0] == 1).all()
    assert (weights[:, :3] == weights[:, :1]).all() and (weights[:, 3] == weights[:, 4]).all()
    assert (weights[1:, [0, 3, 5]].sum(axis=1) == 3).all()
    with pytest.raises(InputError, match="groups of 5 examples for 6 examples"):
        example_weights(6, np.zeros(5), 50, seed=0)
