"""Figures of whole trees: the gold one beside the one that was read, and what is wrong with it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from textwrap import wrap
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mplib.errors import InputError
from mplib.probe.recovered import edges_by_height, marks, measures
from mplib.report.figures.style import panels
from mplib.report.figures.view import View, view
from mplib.tasks.examples import Example
from mplib.tasks.trees import USELESS

LOOKS = {
    "right": ("o", "C0", "C0"),
    "wrong height": ("D", "C4", "C4"),
    "extra": ("s", "C1", "C1"),
    "missed": ("o", "white", "C3"),
    "left out": ("o", "white", "lightgrey"),
}
"""Marker, face and edge of each of ``marks``; the shapes tell them apart without colours too."""

SHORT = 4
"""Letters of the longest statement that is written into its node."""

LETTERS, LINE = 62, 0.15
"""Of the text beside the trees: letters in a line, and its height in inches."""


@dataclass(frozen=True)
class _Row:
    """An example with the tree that was read."""

    name: str
    example: Example
    read: np.ndarray
    short: bool
    whole: bool = False

    @cached_property
    def gold(self) -> np.ndarray:
        return self.example.tree.labels()

    @cached_property
    def marks(self) -> list[str]:
        return marks(self.gold, self.read).tolist()

    @cached_property
    def columns(self) -> list[int]:
        """Statements that stand in either tree; all where the whole problem is drawn."""
        marks = enumerate(self.marks)
        return [place for place, mark in marks if self.whole or mark != "left out"]

    @cached_property
    def levels(self) -> dict[int, int]:
        """Where each height of either tree is drawn, and what is left out."""
        found = np.union1d(self.gold, self.read)
        return {USELESS: 0} | {int(h): i for i, h in enumerate(found[found > USELESS], 1)}

    @cached_property
    def lines(self) -> list[tuple[str, str]]:
        """Lines of the text beside the trees, with their colours."""
        x = self.example
        if self.short:
            told = _wrapped(" ".join(x.statements), 6, LETTERS // 2)
            return [(line, "black") for line in [*told, f"answer: {x.answer}"]]
        asked = [(line, "black") for line in [*_wrapped(x.question, 4), f"answer: {x.answer}"]]
        for i, (statement, mark) in enumerate(zip(x.statements, self.marks, strict=True), 1):
            said = "" if mark in ("right", "left out") else f"[{mark}] "
            color = "grey" if mark == "left out" else "black"
            asked += [(line, color) for line in _wrapped(f"{i}  {said}{statement}", 2)]
        return asked

    @property
    def height(self) -> float:
        """In inches."""
        return max(1.1 + 0.42 * len(self.levels), 0.4 + LINE * len(self.lines))


def _wrapped(text: str, most: int, width: int = LETTERS) -> list[str]:
    """Lines of a text, the last cut off where there would be more."""
    return wrap(text, width, max_lines=most, placeholder=" …", subsequent_indent="    ")


def recovered_trees(
    examples: Sequence[Example], read: np.ndarray, chosen: Iterable[int] = ()
) -> Figure:
    """Gold trees beside the trees that were read, a row for each example; what is wrong is marked.

    Statements that stand in either tree have one column in both, in the order in which the model
    reads them; on the lowest line is what one tree leaves out. Numbers are written into their
    nodes; statements in words are numbered and written beside.

    Args:
        examples: the examples, with their gold trees.
        read: read heights, shape (examples, statements), such as ``Recovered.read["model"]``.
        chosen: which examples, counted from 0; if none the one read best, the median, the worst.

    Raises:
        InputError: trees of other examples, or no such example.
    """
    if len(examples) != len(read):
        raise InputError(f"read trees of {len(read)} examples for {len(examples)}: give both alike")
    names = {i: f"example {i}" for i in chosen} or _best_to_worst(examples, read)
    if outside := sorted(i for i in names if not 0 <= i < len(examples)):
        raise InputError(f"example {outside[0]}: choose among 0 to {len(examples) - 1}")
    told = [len(text) for i in names for text in examples[i].statements]
    rows = [
        _Row(name, examples[i], read[i, : len(examples[i].statements)], max(told) <= SHORT)
        for i, name in names.items()
    ]
    widths = [max(2.8, 0.34 * max(len(row.columns) for row in rows))] * 2
    widths.append(2.4 if all(row.short for row in rows) else 4.6)
    heights = [row.height for row in rows]
    figure, axes = panels(len(widths), (sum(widths), sum(heights) + 0.4), len(rows))
    figure.set_layout_engine("constrained", h_pad=0.12)
    grid: Any = axes[0].get_gridspec()
    grid.set_width_ratios(widths)
    grid.set_height_ratios(heights)
    for row, (left, right, beside) in zip(rows, _triples(axes), strict=True):
        _gold_tree(left, row)
        _read_tree(right, row)
        _text(beside, row)
    handles = [_handle(mark) for mark in LOOKS if mark != "left out"]
    handles.append(Line2D([], [], ls="--", color="C3", label="wrong edge"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def trees_page(examples: Sequence[Example], read: np.ndarray, most: int = 12) -> View:
    """Gold and read trees side by side, as a page to play with: choose an example and a statement.

    By mouse, touch or arrow keys; see ``view``. ``recovered_trees`` is the same on paper.

    Args:
        examples: the examples, with their gold trees.
        read: read heights, shape (examples, statements).
        most: how many examples: the one read best, the median, the worst, then the first ones.
    """
    names = _best_to_worst(examples, read)
    more = [i for i in range(len(examples)) if i not in names][: most - len(names)]
    data = []
    for i in [*names, *more]:
        example, gold = examples[i], examples[i].tree.labels()
        own, has_steps = read[i, : len(gold)], bool(example.tree.edges)
        data.append({
            "name": names.get(i, f"example {i}"), "question": example.question,
            "answer": str(example.answer), "units": [*example.statements],
            "gold": np.maximum(gold, USELESS).tolist(), "read": np.maximum(own, USELESS).tolist(),
            "marks": marks(gold, own).tolist(), "goldEdges": sorted(example.tree.edges),
            "readEdges": sorted(edges_by_height(own)) if has_steps else [],
        })  # fmt: skip
    levels = max(len({*one["gold"], *one["read"]}) for one in data)
    short = all(len(text) <= SHORT for one in data for text in one["units"])
    lines = 3 if short else max(sum(1 + len(x) // 80 for x in one["units"]) for one in data)
    return view("recovered_trees", "Gold and read trees", data, 170 + 48 * levels + 30 * lines)


def gold_tree(example: Example) -> Figure:
    """The gold tree of one example, useless statements below it; all are written beside it."""
    short = max(map(len, example.statements)) <= SHORT
    row = _Row("", example, example.tree.labels(), short, whole=True)
    width = max(2.8, 0.34 * len(row.columns))
    beside = 2.4 if short else 4.6
    figure, (left, right) = panels(2, (width + beside, row.height))
    grid: Any = left.get_gridspec()
    grid.set_width_ratios([width, beside])
    _gold_tree(left, row)
    left.set_title("")
    _text(right, row)
    return figure


def _best_to_worst(examples: Sequence[Example], read: np.ndarray) -> dict[int, str]:
    """The examples whose nodes and heights are read best, in the middle, and worst, with names."""
    found = measures([example.tree for example in examples], read)
    score = found[["node F1", "height accuracy"]].to_numpy().mean(axis=1)
    order = np.argsort(-score, kind="stable")
    picked = {"worst": order[-1], "median": order[len(order) // 2], "best": order[0]}
    names = {int(i): f"{name}, example {i}" for name, i in picked.items()}
    return dict(reversed(names.items()))


def _triples(axes: Sequence[Axes]) -> Iterator[Sequence[Axes]]:
    return (axes[i : i + 3] for i in range(0, len(axes), 3))


def _gold_tree(axis: Axes, row: _Row) -> None:
    looks = ["left out" if height == USELESS else "right" for height in row.gold]
    lines = [(edge, "-", "grey") for edge in row.example.tree.edges]
    _draw(axis, row, row.gold, looks, lines)
    axis.set_title(f"{row.name}: gold tree", fontsize="small")


def _read_tree(axis: Axes, row: _Row) -> None:
    """Where the gold tree has edges, those of the read tree too; wrong ones are dashed."""
    gold = {*row.example.tree.edges}
    edges = sorted(edges_by_height(row.read)) if gold else []
    lines = [(edge, "-", "grey") if edge in gold else (edge, "--", "C3") for edge in edges]
    _draw(axis, row, row.read, row.marks, lines)
    (found,) = measures([row.example.tree], row.read[None]).to_dict("records")
    axis.set_title("read tree", fontsize="small")
    said = "node F1 {node F1:.2f}, height accuracy {height accuracy:.2f}"
    axis.set_xlabel(said.format(**found), fontsize="x-small")


def _draw(
    axis: Axes, row: _Row, labels: np.ndarray, looks: Sequence[str],
    lines: Sequence[tuple[tuple[int, int], str, str]],
) -> None:  # fmt: skip
    """One tree: statements at their heights, in their looks, and lines with style and colour."""
    place = {i: (x, row.levels[int(labels[i])]) for x, i in enumerate(row.columns)}
    for (start, end), style, color in lines:
        ends = np.transpose([place[start], place[end]])
        axis.plot(*ends, ls=style, color=color, lw=1, zorder=1)
    for i, at in place.items():
        marker, face, edge = LOOKS[looks[i]]
        axis.scatter(*at, s=300, c=face, marker=marker, edgecolors=edge, linewidths=1.5, zorder=2)
        name = row.example.statements[i] if row.short else str(i + 1)
        color = {"missed": "C3", "left out": "grey"}.get(looks[i], "white")
        look: dict[str, Any] = {"fontsize": "x-small", "parse_math": False, "color": color}
        axis.text(*at, name, ha="center", va="center", **look)
    axis.set(xlim=(-0.6, max(5, len(place)) - 0.4), ylim=(-0.6, len(row.levels) - 0.4), xticks=[])
    axis.axhline(0.5, color="lightgrey", lw=0.8, ls=":")
    names = ["left out", *(f"height {height}" for height in row.levels if height > USELESS)]
    axis.set_yticks(range(len(names)), names, fontsize="small")
    sns.despine(ax=axis, left=True, bottom=True)
    axis.tick_params(length=0)


def _text(axis: Axes, row: _Row) -> None:
    """Question, answer and statements, line by line from the top."""
    axis.set_axis_off()
    look: dict[str, Any] = {"va": "top", "fontsize": "x-small", "parse_math": False}
    look |= {"xycoords": "axes fraction", "textcoords": "offset points"}
    for i, (line, color) in enumerate(row.lines):
        axis.annotate(line, (0, 1), (0, -72 * LINE * i), color=color, **look)


def _handle(mark: str) -> Line2D:
    """Of the legend."""
    marker, face, edge = LOOKS[mark]
    return Line2D([], [], ls="", marker=marker, color=face, mec=edge, mew=1.5, ms=9, label=mark)
