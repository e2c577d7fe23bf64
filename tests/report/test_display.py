"""Tables on a page: all that a cell shows is seen, not the last alone."""

import numpy as np
import pandas as pd
import pytest
from IPython.display import HTML

from mplib import report


def test_every_table_of_a_cell_is_seen(monkeypatch: pytest.MonkeyPatch):
    seen: list[HTML] = []
    monkeypatch.setattr("mplib.report.display.display", seen.append)
    report.show(pd.DataFrame({"a": [0.12345], "b": [np.nan]}))
    report.show(pd.DataFrame({"a": []}))
    report.show(pd.DataFrame({"c": ["<b>"]}))
    first, second = (output.data for output in seen)
    assert "0.123" in first and "<th>b</th>" not in first
    assert "&lt;b&gt;" in second
