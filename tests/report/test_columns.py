"""Gains as a page shows them."""

import pandas as pd

from mplib.report import contrasted, gained, gains_overview, in_words


def test_gains_stand_side_by_side_in_the_order_of_the_table():
    about = {"over": "text and twins", "measure": "F1", "source": "m"}
    rows = [
        about | {"set": name, "classifier": by, "target": target, "value": value}
        for name in ("short", "a long one")
        for by in ("kNN", "logistic")
        for target, value in (("V", 0.5), ("G", -0.25))
    ]
    table = pd.DataFrame(rows[:-1]).assign(low=-1, high=1)
    found = gains_overview(table)
    assert [*found] == ["set", "classifier", "V", "G"]
    assert [*found.set] == ["short", "short", "a long one", "a long one"]
    assert found.V[0] == "+0.500 [-1.000, +1.000]"
    assert found.G[3] == ""
    assert gains_overview(gained(table[table.set == "short"])).shape == (1, 3)


def test_figures_stand_in_words_and_what_is_not_defined_is_empty():
    nan = float("nan")
    table = pd.DataFrame(
        [("b", "x", 0.5, 0.25, 0.75), ("b", "y", nan, nan, nan), ("a", "x", 0.5, nan, nan)],
        columns=["set", "of", "share", "low", "high"],
    )
    found = in_words(table, ["set"], "of", value="share")
    assert [*found] == ["set", "x", "y"] and [*found.set] == ["b", "a"]
    assert [*found.x] == ["0.50 [0.25, 0.75]", "0.50"]
    assert [*found.y] == ["", ""]
    assert in_words(table[:0], ["set"], "of").empty
    told = in_words(table[table.of == "y"], ["set"], "of", value="share")
    assert told.empty, "a row without a figure says nothing"


def test_differences_are_named_after_both():
    table = pd.DataFrame({"source": ["joint", "joint"], "minus": ["", "text"], "value": [0.5, 0.1]})
    assert [*contrasted(table, "source").source] == ["joint", "joint less text"]
    assert [*table.source] == ["joint", "joint"]
