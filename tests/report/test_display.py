"""Tables and questions on a page: all that a cell shows is seen, and what is alike is said once."""

import numpy as np
import pandas as pd
import pytest
from IPython.display import HTML

from mplib import report
from mplib.tasks.examples import Example, ExampleSet
from mplib.tasks.trees import ReasoningTree


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[HTML]:
    """What is displayed."""
    found: list[HTML] = []
    monkeypatch.setattr("mplib.report.display.display", found.append)
    return found


def test_every_table_of_a_cell_is_seen(seen: list[HTML]):
    report.show(pd.DataFrame({"a": [0.12345], "b": [np.nan]}))
    report.show(pd.DataFrame({"a": []}))
    report.show(pd.DataFrame({"c": ["<b>"]}))
    first, second = (output.data for output in seen)
    assert "0.123" in first and "<th>b</th>" not in first
    assert "&lt;b&gt;" in second


def test_figures_have_their_intervals_and_what_is_alike_is_said_once(seen: list[HTML]):
    nan = float("nan")
    table = pd.DataFrame({
        "set": ["<a>", "<a>", "<a>"], "of": ["x", "y", "z"], "minus": ["", "", ""],
        "accuracy": [1.0, 1.0, nan], "low": [0.5, nan, nan], "high": [1.0, nan, nan],
        "examples": [64, 64, 64], "guess": [0.5, 0.5, 0.5], "note": [nan, nan, "few"],
        "size": [0, 0, 0],
    })  # fmt: skip
    report.show(table)
    text = seen[0].data
    assert "size" not in text and "<th>minus</th>" not in text and "<th>set</th>" not in text
    assert "1.000 [0.500, 1.000]" in text and "<td>1.000</td>" in text
    assert "In every row set: &lt;a&gt;, examples: 64; 1 more without a figure." in text
    assert "note" not in text.replace('class="note"', ""), "of a row that is not shown"
    assert text.count("<tr>") == 2, "two rows with a figure, beside the head"
    assert [*table.columns][-1] == "size" and len(table) == 3, "what is given stays as it is"


def test_rows_that_are_alike_are_still_a_table(seen: list[HTML]):
    report.show(pd.DataFrame({"a": ["x", "x"], "b": [1, 1]}))
    assert "<td>x</td>" in seen[0].data and "In every row b: 1." in seen[0].data
    report.show(pd.DataFrame({"value": [np.nan], "low": [np.nan], "high": [np.nan], "a": ["x"]}))
    assert "<td>x</td>" in seen[1].data, "what is not known is shown as such"


def test_figures_stay_and_words_told_twice_do_not(seen: list[HTML]):
    figures = {"accuracy": [0.5, 0.5], "low": [0.4, 0.4], "high": [0.6, 0.6]}
    report.show(pd.DataFrame({"subject": ["a", "b"], "source": ["a", "b"], **figures}))
    assert seen[0].data.count("<td>0.500 [0.400, 0.600]</td>") == 2
    assert "<th>subject</th>" in seen[0].data and "<th>source</th>" not in seen[0].data


def test_a_long_table_scrolls_and_is_whole(seen: list[HTML]):
    report.show(pd.DataFrame({"a": range(40)}))
    text = seen[0].data
    assert 'tabindex="0"' in text and "overflow:auto" in text and "40 rows" in text
    assert all(f"<td>{number}</td>" in text for number in range(40))


def test_a_card_tells_what_is_useful_and_escapes_the_rest(seen: list[HTML]):
    tree = ReasoningTree.from_edges([(0, 2)], 3)
    example = Example(("a <i>", "b", "c"), "Is it <so>?", "yes", tree)
    report.cards([ExampleSet("one", [example, example], [], 1, left_out=3)])
    text = seen[0].data
    assert '<li class="useful">a &lt;i&gt; <small>height 0</small></li><li>b</li>' in text
    assert "c <small>height 1</small>" in text and "Is it &lt;so&gt;?" in text
    assert "2 examples; 3 that are asked, and so not demonstrated" in text
