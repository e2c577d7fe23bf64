"""Figures of attention itself: maps of layers, of heads and of their entropies."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from mplib.report.figures.style import panels
from mplib.report.figures.view import View, view
from mplib.tasks.examples import Example

Values: TypeAlias = np.ndarray | pd.DataFrame
"""What a panel shows, shape (rows, layers)."""


def attention_maps(
    maps: Mapping[str, Values], rows: str, what: str = "mean attention of the last token"
) -> Figure:
    """Mean attention, a panel for each model (Figs 5, 11, 15, 16).

    Args:
        maps: mean attention by model, shape (rows, layers); a table names its rows and layers.
        rows: what a row is, such as ``size rank``.
        what: is shown.
    """
    size = 1.2 + 3.4 * len(maps), max(3.4, 0.24 * len(next(iter(maps.values()))))
    top = max(float(np.max(values)) for values in maps.values())
    # The numbers of many layers would touch.
    apart = max(1, max(values.shape[1] for values in maps.values()) // 8)
    return _maps(maps, size, rows, what, vmax=top, xticklabels=apart)


def entropy_maps(maps: Mapping[str, np.ndarray]) -> Figure:
    """Normalised entropy of every head, a panel for each kind (Fig 14).

    Args:
        maps: entropy by kind, shape (layers, heads).
    """
    layers, heads = next(iter(maps.values())).shape
    size = (1.4 + 0.32 * max(layers, 8)) * len(maps), 1.4 + 0.3 * heads
    turned = {name: values.T for name, values in maps.items()}
    look = {"annot": layers * heads <= 64, "fmt": ".2f", "annot_kws": {"size": "x-small"}}
    return _maps(turned, size, "head", "normalised entropy", vmax=1, **look)


def _maps(
    maps: Mapping[str, Values], size: tuple[float, float], rows: str, what: str, **look: Any
) -> Figure:
    """Images of values, shape (rows, layers), on one scale; without names both count from 1."""
    figure, axes = panels(len(maps), size)
    for axis, (name, values) in zip(axes, maps.items(), strict=True):
        counted = (np.arange(n) + 1 for n in values.shape)
        frame = values if isinstance(values, pd.DataFrame) else pd.DataFrame(values, *counted)
        sns.heatmap(frame, ax=axis, cmap="viridis", vmin=0, cbar=False, **look)
        axis.set(title=name, xlabel="layer")
        axis.tick_params(rotation=0)
    axes[0].set_ylabel(rows)
    figure.colorbar(axes[0].collections[0], ax=axes, label=what)
    return figure


def head_thumbnails(attention: np.ndarray, tokens: Sequence[str]) -> Figure:
    """One small map for each head of one example.

    Args:
        attention: shape (layers, heads, queries, keys).
        tokens: the example's tokens.
    """
    layers, heads = attention.shape[:2]
    size = min(1.5, 12 / heads)
    figure, axes = panels(heads, (size * heads + 0.8, size * layers + 0.8), layers)
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


def heads_page(examples: Sequence[Example], attention: np.ndarray) -> View:
    """Attention by layer and head as a page to play with: choose an example and a head.

    Statements have the colour of their height in the gold tree; see ``view``.

    Args:
        examples: the examples, with their gold trees.
        attention: on each statement as a whole, shape (examples, statements, layers, heads).
    """
    data = [
        {
            "name": f"example {i}", "units": [*example.statements],
            "gold": example.tree.labels().tolist(),
            "weights": np.moveaxis(own[: len(example.statements)], 0, -1).round(3).tolist(),
        }
        for i, (example, own) in enumerate(zip(examples, attention, strict=True))
    ]  # fmt: skip
    rows = max(len(one["units"]) for one in data), 3 + attention.shape[2]
    return view("attention_heads", "Attention by head", data, 130 + 24 * max(rows))
