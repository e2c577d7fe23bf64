"""TODO."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mplib.report.figures.style import _ticks
from mplib.studies.flow import Flow


def attention_maps(maps: Mapping[str, np.ndarray], rows: str) -> Figure:
    """Mean attention of the last token, a panel for each model (Figs 5, 11, 15, 16).

    Args:
        maps: mean attention by model, shape (rows, layers).
        rows: what a row is, such as ``size rank``.
    """
    height = max(3.4, 0.24 * len(next(iter(maps.values()))))
    figure, axes = plt.subplots(
        1, len(maps), figsize=(1.2 + 3.4 * len(maps), height), squeeze=False, sharey=True,
        layout="constrained",
    )  # fmt: skip
    top = max(float(values.max()) for values in maps.values())
    for axis, (name, values) in zip(axes[0], maps.items(), strict=True):
        image = axis.imshow(values, aspect="auto", cmap="viridis", vmin=0, vmax=top)
        axis.set(title=name, xlabel="layer", xticks=_ticks(values.shape[1]))
        axis.set(yticks=_ticks(len(values)))
        axis.set_xticklabels([str(tick + 1) for tick in _ticks(values.shape[1])])
        axis.set_yticklabels([str(tick + 1) for tick in _ticks(len(values))])
    axes[0, 0].set_ylabel(rows)
    figure.colorbar(image, ax=axes[0].tolist(), label="mean attention of the last token")
    return figure


def head_thumbnails(attention: np.ndarray, tokens: Sequence[str]) -> Figure:
    """One small map for each head of one example.

    Args:
        attention: shape (layers, heads, queries, keys).
        tokens: the example's tokens.
    """
    layers, heads = attention.shape[:2]
    size = min(1.5, 12 / heads)
    figure, axes = plt.subplots(
        layers, heads, figsize=(size * heads + 0.8, size * layers + 0.8), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    panels: list[list[Axes]] = axes.tolist()
    for layer, head in np.ndindex(layers, heads):
        axis = panels[layer][head]
        # Square roots, so that weak attention is seen beside strong.
        axis.imshow(np.sqrt(attention[layer, head]), cmap="viridis", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
        if layer == 0:
            axis.set_title(f"head {head + 1}", fontsize="small")
    for layer in range(layers):
        panels[layer][0].set_ylabel(f"layer {layer + 1}", fontsize="small")
    figure.supxlabel("keys: " + " ".join(tokens), fontsize="small")
    return figure


def entropy_maps(maps: Mapping[str, np.ndarray]) -> Figure:
    """Normalised entropy of every head, a panel for each kind (Fig 14).

    Args:
        maps: entropy by kind, shape (layers, heads).
    """
    layers, heads = next(iter(maps.values())).shape
    figure, axes = plt.subplots(
        1, len(maps), figsize=((1.4 + 0.32 * max(layers, 8)) * len(maps), 1.4 + 0.3 * heads),
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axis, (name, values) in zip(axes[0], maps.items(), strict=True):
        image = axis.imshow(values.T, aspect="auto", cmap="viridis", vmin=0, vmax=1)
        axis.set(title=name, xlabel="layer", ylabel="head")
        axis.set_xticks(_ticks(layers), [str(tick + 1) for tick in _ticks(layers)])
        axis.set_yticks(_ticks(heads), [str(tick + 1) for tick in _ticks(heads)])
        for layer, head in np.ndindex(layers, heads) if layers * heads <= 64 else ():
            value = values[layer, head]
            axis.text(layer, head, f"{value:.2f}", ha="center", va="center", fontsize="x-small",
                      color="black" if value > 0.6 else "white")  # fmt: skip
    figure.colorbar(image, ax=axes[0].tolist(), label="normalised entropy")
    return figure


def attention_flow(flows: Sequence[Flow]) -> Figure:
    """Tokens of every layer, joined by mean attention, a panel for each flow (Figs 12 and 13).

    A line's width and darkness follow its weight; lines below the even share 1/m are left out.
    """
    layers, tokens = flows[0].weights.shape[:2]
    figure, axes = plt.subplots(
        1, len(flows), figsize=(max(4.0, 0.34 * tokens) * len(flows), 1.6 + 0.7 * layers),
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    top = max(float(flow.weights.max()) for flow in flows) or 1.0
    for axis, flow in zip(axes[0], flows, strict=True):
        layer, query, key = np.nonzero(flow.weights > 1 / tokens)
        weight = flow.weights[layer, query, key] / top
        ends = np.stack([np.stack([key + 1, layer]), np.stack([query + 1, layer + 1])])
        lines = ends.transpose(2, 0, 1)
        if len(lines):
            axis.add_collection(
                LineCollection(list(lines), linewidths=0.4 + 3 * weight, alpha=weight)
            )
        places = np.arange(1, tokens + 1)
        colors = ["C3" if place in flow.marks else "grey" for place in places]
        for level in range(layers + 1):
            axis.scatter(places, np.full(tokens, level), s=14, c=colors, zorder=2)
        names = [f"{p}\n{flow.marks[p]}" if p in flow.marks else str(p) for p in places]
        axis.set_xticks(places, names, fontsize="x-small")
        axis.set(title=flow.name, xlabel="position in the list")
    axes[0, 0].set_yticks(range(layers + 1), ["tokens", *(f"layer {n + 1}" for n in range(layers))])
    sns.despine(figure, left=True)
    return figure
