"""The probe held to models whose way is known: no tree where there is none, and power."""

from dataclasses import replace

import pytest

from mplib.report.columns import gained
from mplib.studies.ruler import SMALL, error_rates, simulated

pytestmark = pytest.mark.statistics


def test_gains_of_models_that_do_not_reason_are_not_above_zero():
    design = replace(
        SMALL, gaps=(2.0,), own=True, settings=replace(SMALL.settings, halves=5, fold_seeds=1)
    )
    found = error_rates(simulated(4, design))
    assert found.by_heart.min() > 0.97
    gains = gained(found).set_index(["source", "target"])
    blind = gains.loc[["recaller", "shortcut", "noise", "shortcut, arranged"]]
    # Of 32 intervals 0.8 lie above 0 if they hold what they say; three or more with 5 %.
    assert (blind.above * blind.seeds).sum() <= 2, blind
    assert (gains.loc["planted 2"].above == 1).all()
    # The paper's score rises wherever attention repeats the text.
    score = found.query("source == 'shortcut, arranged' and target == 'S_P2'")
    assert (score.value > 0.9).all()
