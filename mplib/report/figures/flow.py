"""The flow of attention from layer to layer, as a figure and as a page to play with."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import seaborn as sns
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mplib.report.figures.style import panels
from mplib.report.figures.view import View, view

EDGES_AT_FIRST = 150
"""About how many edges of a flow the page shows before anything is chosen."""


@dataclass(frozen=True)
class Flow:
    """A flow to be drawn.

    Attributes:
        name: what it is of.
        weights: shape (layers, tokens, tokens), rows look at columns.
        marks: what stands at certain places, counted from 1.
    """

    name: str
    weights: np.ndarray
    marks: Mapping[int, str] = field(default_factory=dict)


def attention_flow(flows: Sequence[Flow]) -> Figure:
    """Tokens of every layer, joined by mean attention, a panel for each flow (Figs 12 and 13).

    A line's width and darkness follow its weight; lines below the even share 1/m are left out.
    """
    layers, tokens = flows[0].weights.shape[:2]
    size = max(4.0, 0.34 * tokens) * len(flows), 1.6 + 0.7 * layers
    figure, axes = panels(len(flows), size)
    top = max(float(flow.weights.max()) for flow in flows) or 1.0
    places = np.arange(1, tokens + 1)
    for axis, flow in zip(axes, flows, strict=True):
        strong = flow.weights > 1 / tokens
        edges, weight = np.argwhere(strong), flow.weights[strong] / top
        lines = [((key + 1, layer), (query + 1, layer + 1)) for layer, query, key in edges]
        if lines:  # no opacities of none
            axis.add_collection(LineCollection(lines, linewidths=0.4 + 3 * weight, alpha=weight))
        colors = ["C3" if place in flow.marks else "grey" for place in places]
        for level in range(layers + 1):
            axis.scatter(places, np.full(tokens, level), s=14, c=colors, zorder=2)
        names = [f"{p}\n{flow.marks[p]}" if p in flow.marks else str(p) for p in places]
        axis.set_xticks(places, names, fontsize="x-small")
        axis.set(title=flow.name, xlabel="position in the list")
        sns.despine(ax=axis, left=True)
    axes[0].set_yticks(range(layers + 1), ["tokens", *(f"layer {n + 1}" for n in range(layers))])
    return figure


def attention_flow_page(flows: Sequence[Flow]) -> View:
    """Flows as one page inside the page: choose list and layer, hide weak edges, hold a token.

    Weights are rounded to 255 steps of the largest; see ``view``.
    """
    data = []
    for flow in flows:
        top = float(flow.weights.max()) or 1.0
        steps = np.rint(flow.weights / top * 255).astype(np.uint8)
        least = int(np.sort(steps, axis=None)[-min(EDGES_AT_FIRST, steps.size)])
        data.append({
            "name": flow.name, "layers": steps.shape[0], "tokens": steps.shape[1], "top": top,
            "least": max(1, least), "marks": {str(k): str(v) for k, v in flow.marks.items()},
            "weights": base64.b64encode(steps.tobytes()).decode(),
        })  # fmt: skip
    layers = max(flow.weights.shape[0] for flow in flows)
    return view("attention_flow", "Attention flow", data, 200 + 60 * layers)
