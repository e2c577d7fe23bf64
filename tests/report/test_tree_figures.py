"""Figures of gold and read trees: nodes stand where they belong, mistakes are named rightly."""

from collections.abc import Iterator
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from mplib.errors import InputError
from mplib.report.figures import recovered_trees
from mplib.report.figures.trees import LOOKS
from mplib.tasks.custom import parse
from mplib.tasks.examples import Example
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.trees import PADDING, USELESS

LISTS = KSmallest(k=2, m=4, pool=40).as_examples(np.array([[5, 9, 0, 7]] * 5))  # 0 -> 5


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def nodes(axis: Axes) -> dict[str, tuple[float, float, str]]:
    """Place and look of each node, by what is written in it."""
    looks = {(face, edge): name for name, (_, face, edge) in LOOKS.items()}
    look = {tuple(map(to_hex, colors)): name for colors, name in looks.items()}
    found = {}
    for text, drawn in zip(axis.texts, axis.collections, strict=True):
        ((x, y),) = drawn.get_offsets()
        assert text.get_position() == (x, y)
        colors = to_hex(drawn.get_facecolor()[0]), to_hex(drawn.get_edgecolor()[0])
        found[text.get_text()] = (x, y, look[colors])
    return found


def edges(axis: Axes) -> set[tuple[tuple[float, float], tuple[float, float], str]]:
    """Ends of each line between two nodes, and how it is drawn."""
    lines = [line for line in axis.lines if line.get_linestyle() != ":"]  # of what is left out
    ends = [[tuple(map(float, at)) for at in line.get_xydata()] for line in lines]
    return {(*at, line.get_linestyle()) for at, line in zip(ends, lines, strict=True)}


def told(figure: Figure) -> list[str]:
    """The text beside the first tree, line by line."""
    return [text.get_text() for text in figure.axes[2].texts]


def story(**tree: object) -> Example:
    told = [f"Statement number {i} of a story." for i in range(4)]
    return parse({"statements": told, "question": "Is $x$ so?", "answer": "yes", **tree})


def test_what_is_wrong_is_marked_as_what_it_is() -> None:
    read = np.array([[USELESS, USELESS, 1, 0]] + [[1, USELESS, 0, USELESS]] * 4)
    gold, own, beside = recovered_trees(LISTS, read, [0]).axes
    # Columns are 5, 0 and 7, which one of the trees uses; 9 stands in neither.
    assert nodes(gold) == {"5": (0, 2, "right"), "0": (1, 1, "right"), "7": (2, 0, "left out")}
    assert edges(gold) == {((1, 1), (0, 2), "-")}
    assert nodes(own) == {"5": (0, 0, "missed"), "0": (1, 2, "wrong height"), "7": (2, 1, "extra")}
    assert edges(own) == {((2, 1), (1, 2), "--")}
    labels = [label.get_text() for label in gold.get_yticklabels()]
    assert labels == ["left out", "height 0", "height 1"]
    assert own.get_xlabel() == "node F1 0.50, height accuracy 0.00"
    assert [text.get_text() for text in beside.texts] == ["5 9 0 7", "answer: 5"]


def test_a_tree_that_is_read_rightly_looks_like_the_gold_one() -> None:
    read = np.stack([x.tree.labels() for x in LISTS])
    figure = recovered_trees(LISTS, read, [3])
    gold, own, _ = figure.axes
    assert nodes(gold) == nodes(own) and edges(gold) == edges(own)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["right", "wrong height", "extra", "missed", "wrong edge"]


def test_the_best_the_median_and_the_worst() -> None:
    right, half, none = [1, -1, 0, -1], [1, -1, -1, -1], [-1, -1, -1, -1]
    figure = recovered_trees(LISTS, np.array([none, half, right, half, right]))
    titles = [axis.get_title() for axis in figure.axes[::3]]
    assert titles == [
        "best, example 2: gold tree", "median, example 1: gold tree", "worst, example 0: gold tree",
    ]  # fmt: skip
    chosen = recovered_trees(LISTS, np.array([half] * 5), [4, 1])
    assert [axis.get_title() for axis in chosen.axes[::3]] == [
        "example 4: gold tree", "example 1: gold tree",
    ]  # fmt: skip
    (one,) = [axis.get_title() for axis in recovered_trees(LISTS[:1], np.array([half])).axes[::3]]
    assert one == "best, example 0: gold tree"


def test_statements_in_words_are_numbered_and_written_beside() -> None:
    examples = [story(edges=[[0, 1], [1, 3]])]
    figure = recovered_trees(examples, np.array([[0, 0, USELESS, 2, PADDING]]))
    gold, own, _ = figure.axes
    assert {name: node[1:] for name, node in nodes(own).items()} == {
        "1": (1, "right"), "2": (1, "wrong height"), "4": (3, "right"),
    }  # fmt: skip
    assert len(edges(gold)) == 2
    assert told(figure) == [
        "Is $x$ so?", "answer: yes", "1  Statement number 0 of a story.",
        "2  [wrong height] Statement number 1 of a story.", "3  Statement number 2 of a story.",
        "4  Statement number 3 of a story.",
    ]  # fmt: skip
    figure.canvas.draw()  # a dollar sign is no formula


def test_a_users_own_trees_with_heights_alone_have_no_edges() -> None:
    examples = [story(useful=[0, 1, 3], heights=[0, 1, 2])]
    figure = recovered_trees(examples, np.array([[0, 1, 0, 2]]))
    assert edges(figure.axes[0]) == edges(figure.axes[1]) == set()
    assert nodes(figure.axes[1])["3"][2] == "extra"


def test_many_long_statements_stay_apart() -> None:
    long = [f"Number {i}: " + "very many words of no great weight " * 6 for i in range(25)]
    record = {"statements": long, "question": "Why? " * 200, "answer": "so"}
    example = parse(record | {"edges": [[i, i + 1] for i in range(24)]})
    figure = recovered_trees([example], np.full((1, 25), 0))
    figure.canvas.draw()
    for axis in figure.axes[:2]:
        places = sorted(axis.transData.transform([at[:2] for at in nodes(axis).values()])[:, 0])
        assert min(np.diff(places)) >= 0.28 * figure.dpi, "nodes touch"
    lines = [text.get_window_extent() for text in figure.axes[2].texts]
    assert len(lines) == 4 + 1 + 25 * 2 and all(len(line) <= 66 for line in told(figure))
    assert all(upper.y0 >= lower.y0 for upper, lower in pairwise(lines))
    assert lines[-1].y0 >= figure.legends[0].get_window_extent().y1, "text runs into the legend"
    assert max(line.x1 for line in lines) <= figure.bbox.x1, "text runs out of the figure"


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="read trees of 2 examples for 5"):
        recovered_trees(LISTS, np.zeros((2, 4)))
    with pytest.raises(InputError, match="example 7: choose among 0 to 4"):
        recovered_trees(LISTS, np.zeros((5, 4)), [1, 7])
