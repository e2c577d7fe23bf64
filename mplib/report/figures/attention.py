"""Figures of attention itself: maps, heads, entropies and the flow from layer to layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mplib.report.figures.style import panels


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


def attention_maps(maps: Mapping[str, np.ndarray], rows: str) -> Figure:
    """Mean attention of the last token, a panel for each model (Figs 5, 11, 15, 16).

    Args:
        maps: mean attention by model, shape (rows, layers).
        rows: what a row is, such as ``size rank``.
    """
    height = max(3.4, 0.24 * len(next(iter(maps.values()))))
    figure, axes = panels(len(maps), (1.2 + 3.4 * len(maps), height), frame=True)
    top = max(float(values.max()) for values in maps.values())
    for axis, (name, values) in zip(axes, maps.items(), strict=True):
        image = _map(axis, name, values, top)
    axes[0].set_ylabel(rows)
    figure.colorbar(image, ax=axes, label="mean attention of the last token")
    return figure


def entropy_maps(maps: Mapping[str, np.ndarray]) -> Figure:
    """Normalised entropy of every head, a panel for each kind (Fig 14).

    Args:
        maps: entropy by kind, shape (layers, heads).
    """
    layers, heads = next(iter(maps.values())).shape
    size = (1.4 + 0.32 * max(layers, 8)) * len(maps), 1.4 + 0.3 * heads
    figure, axes = panels(len(maps), size, frame=True, sharey=False)
    for axis, (name, values) in zip(axes, maps.items(), strict=True):
        image = _map(axis, name, values.T, top=1)
        axis.set_ylabel("head")
        for (layer, head), value in np.ndenumerate(values) if values.size <= 64 else ():
            label = axis.text(layer, head, f"{value:.2f}", ha="center", va="center")
            label.set(fontsize="x-small", color="black" if value > 0.6 else "white")
    figure.colorbar(image, ax=axes, label="normalised entropy")
    return figure


def _map(axis: Axes, title: str, values: np.ndarray, top: float) -> AxesImage:
    """An image of values by layer, shape (rows, layers); both are counted from 1."""
    for set_ticks, n in zip((axis.set_yticks, axis.set_xticks), values.shape, strict=True):
        places = np.arange(0, n, -(-n // 16))  # at most sixteen ticks, the first among them
        set_ticks(places, [str(place + 1) for place in places])
    axis.set(title=title, xlabel="layer")
    return axis.imshow(values, aspect="auto", cmap="viridis", vmin=0, vmax=top)


def head_thumbnails(attention: np.ndarray, tokens: Sequence[str]) -> Figure:
    """One small map for each head of one example.

    Args:
        attention: shape (layers, heads, queries, keys).
        tokens: the example's tokens.
    """
    layers, heads = attention.shape[:2]
    size = min(1.5, 12 / heads)
    figure, axes = panels(
        heads, (size * heads + 0.8, size * layers + 0.8), layers, frame=True, sharey=False
    )
    for axis, (layer, head) in zip(axes, np.ndindex(layers, heads), strict=True):
        # Square roots, so that weak attention is seen beside strong.
        axis.imshow(np.sqrt(attention[layer, head]), cmap="viridis", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
        if layer == 0:
            axis.set_title(f"head {head + 1}", fontsize="small")
        if head == 0:
            axis.set_ylabel(f"layer {layer + 1}", fontsize="small")
    figure.supxlabel("keys: " + " ".join(tokens), fontsize="small")
    return figure


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
        layer, query, key = edges = np.nonzero(flow.weights > 1 / tokens)
        weight = flow.weights[edges] / top
        ends = np.stack([np.stack([key + 1, layer]), np.stack([query + 1, layer + 1])])
        lines = list(ends.transpose(2, 0, 1))
        if lines:  # no opacities of none
            axis.add_collection(LineCollection(lines, linewidths=0.4 + 3 * weight, alpha=weight))
        colors = ["C3" if place in flow.marks else "grey" for place in places]
        for level in range(layers + 1):
            axis.scatter(places, np.full(tokens, level), s=14, c=colors, zorder=2)
        names = [f"{p}\n{flow.marks[p]}" if p in flow.marks else str(p) for p in places]
        axis.set_xticks(places, names, fontsize="x-small")
        axis.set(title=flow.name, xlabel="position in the list")
        axis.spines["left"].set_visible(False)
    axes[0].set_yticks(range(layers + 1), ["tokens", *(f"layer {n + 1}" for n in range(layers))])
    return figure
