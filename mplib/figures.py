"""Every figure of the book; each function returns a matplotlib figure and draws nothing else."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mplib.flow import Flow
from mplib.summary import POOLED

sns.set_theme(style="ticks", context="notebook", palette="colorblind")

TARGET_NAMES = {
    "V": "V: useful or useless",
    "G": "G: height (macro-F1)",
    "G_root": "G: root alone",
}
SCORE_NAMES = {"S_P1": "S_P1", "S_P2": "S_P2 (macro)", "S_P2_root": "S_P2 (root, as published)"}


def training_curves(history: pd.DataFrame) -> Figure:
    """Loss and development accuracy by optimiser step."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    panels = (("loss", "training loss"), ("dev_accuracy", "development accuracy"))
    for axis, (column, label) in zip(axes, panels, strict=True):
        sns.lineplot(history, x="step", y=column, marker="o", ax=axis)
        axis.set(ylabel=label, xlabel="optimiser step")
    axes[1].set_ylim(-0.02, 1.02)
    sns.despine(figure)
    return figure


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


def _ticks(n: int) -> np.ndarray:
    """At most sixteen ticks over n places, the first among them."""
    return np.arange(0, n, -(-n // 16))


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


def f1_bars(f1: pd.DataFrame) -> Figure:
    """Raw F1 of every source with its 95 % interval, a panel for each target (Table 4)."""
    targets = [target for target in TARGET_NAMES if target in set(f1.target)]
    figure, axes = plt.subplots(
        1, len(targets), figsize=(1.6 + 3.2 * len(targets), 1 + 0.36 * f1.source.nunique()),
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    kinds = dict(zip(f1.kind.unique(), sns.color_palette(), strict=False))
    for axis, target in zip(axes[0], targets, strict=True):
        part = f1[f1.target == target]
        axis.barh(part.source, part.f1, color=[kinds[kind] for kind in part.kind], alpha=0.8)
        axis.errorbar(
            part.f1, part.source, xerr=_distances(part, "f1"), fmt="none", ecolor="black", capsize=2
        )
        axis.set(title=TARGET_NAMES[target], xlabel="F1", xlim=(0, 1.02))
    axes[0, 0].invert_yaxis()
    sns.despine(figure)
    return figure


def _distances(table: pd.DataFrame, value: str) -> np.ndarray:
    """Lengths of the error bars to either side; shape (2, rows)."""
    return np.abs(np.stack([table[value] - table.low, table.high - table[value]]))


def score_points(scores: pd.DataFrame) -> Figure:
    """Normalised scores with 95 % intervals, over each baseline (Table 1).

    Scores have no lower bound: what lies below -1 is drawn at -1 as a triangle.
    """
    part = scores[scores.value.notna()]
    names = [score for score in SCORE_NAMES if score in set(part.score)]
    figure, axes = plt.subplots(
        1, len(names), figsize=(1.6 + 3.2 * len(names), 1.6 + 0.3 * part.source.nunique()),
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    rows = {source: place for place, source in enumerate(part.source.unique())}
    baselines = part.over.str.partition(" (")[0]
    colors = dict(zip(baselines.unique(), sns.color_palette(), strict=False))
    for axis, score in zip(axes[0], names, strict=True):
        axis.axvline(0, color="grey", lw=0.8)
        for shift, (over, color) in enumerate(colors.items()):
            chosen = part[(part.score == score) & (baselines == over)]
            places = chosen.source.map(rows) + 0.22 * shift - 0.11 * (len(colors) - 1)
            seen = chosen.assign(
                value=chosen.value.clip(lower=-1),
                low=chosen.low.clip(lower=-1),
                high=chosen.high.clip(lower=-1),
            )
            axis.errorbar(
                seen.value, places, xerr=_distances(seen, "value"), fmt="o", color=color,
                capsize=3, label=f"over the {over}",
            )  # fmt: skip
            beyond = chosen.value < -1
            axis.plot(seen.value[beyond], places[beyond], "<", color=color, ms=10)
        axis.set(title=SCORE_NAMES[score], xlabel="score", yticks=list(rows.values()))
    axes[0, 0].set_yticklabels(list(rows))
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(colors), frameon=False)
    sns.despine(figure)
    return figure


def prefix_curves(scores: pd.DataFrame) -> Figure:
    """Scores from the first l layers over the twin's own first l layers, with bands (Fig 6)."""
    part = scores[(scores.kind == "model") & scores.value.notna()]
    names = [score for score in SCORE_NAMES if score in set(part.score)]
    few = part.layers.nunique() <= 12
    figure, axes = plt.subplots(
        1, len(names), figsize=(1 + 3.4 * len(names), 3.8), squeeze=False, sharey=True,
        layout="constrained",
    )  # fmt: skip
    for axis, score in zip(axes[0], names, strict=True):
        axis.axhline(0, color="grey", lw=0.8)
        for source, curve in part[part.score == score].groupby("source", sort=False):
            line = axis.plot(curve.layers, curve.value, marker="o" if few else "", label=source)[0]
            axis.fill_between(
                curve.layers, curve.low, curve.high, color=line.get_color(), alpha=0.2
            )
        axis.set(title=SCORE_NAMES[score], xlabel="first layers used")
        axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    # Scores have no lower bound; what lies below -1 is in the table.
    axes[0, 0].set(ylabel="score over the random twin", ylim=(max(-1, part.low.min()) - 0.05, 1.05))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    sns.despine(figure)
    return figure


def height_curves(table: pd.DataFrame) -> Figure:
    """F1 of useful statements of each height against useless ones, by layers used (Fig 7f)."""
    names = list(dict.fromkeys(zip(table.set, table.subject, strict=True)))
    figure, axes = plt.subplots(
        1, len(names), figsize=(1 + 2.9 * len(names), 3.2), squeeze=False, sharey=True,
        layout="constrained",
    )  # fmt: skip
    for axis, (name, subject) in zip(axes[0], names, strict=True):
        part = table[(table.set == name) & (table.subject == subject)]
        for height, curve in part.groupby("height"):
            line = axis.plot(curve.layers, curve.f1, label=f"height {height}")[0]
            axis.fill_between(
                curve.layers, curve.low, curve.high, color=line.get_color(), alpha=0.2
            )
        axis.set(title=f"{name}\n{subject}", xlabel="first layers used", ylim=(0, 1.02))
    axes[0, 0].set_ylabel("F1: useful or useless")
    axes[0, -1].legend(frameon=False)
    sns.despine(figure)
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


def pruning_curves(averaged: pd.DataFrame) -> Figure:
    """Accuracy while heads are switched off in several orders, with 95 % bands (Fig 9)."""
    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    for name, curve in averaged.groupby("order", sort=False):
        label = f"at {name}" if name == "random" else f"small {name} first"
        line = axis.plot(curve.percentage, curve.accuracy, marker="o", label=label)[0]
        axis.fill_between(
            curve.percentage, curve.low, curve.high, color=line.get_color(), alpha=0.2
        )
    axis.set(xlabel="heads switched off (%)", ylabel="accuracy", ylim=(-0.02, 1.02))
    axis.legend(frameon=False)
    sns.despine(figure)
    return figure


def knock_out_effects(table: pd.DataFrame, guess: float) -> Figure:
    """What cutting edges does, a row for each measure and a column for each size of the window.

    Args:
        table: of the knock-out.
        guess: accuracy of always giving the most frequent answer, drawn as a dotted line.
    """
    measures, sizes = ["accuracy", "change in log-probability"], sorted(table.window.unique())
    counts = [table[table.window == size].first_layer.nunique() for size in sizes]
    figure, axes = plt.subplots(
        len(measures), len(sizes), figsize=(2 + 0.9 * sum(counts), 5.6), sharey="row",
        sharex="col", squeeze=False, width_ratios=[count + 0.5 for count in counts],
        layout="constrained",
    )  # fmt: skip
    cuts = list(dict.fromkeys(table.cut))
    for (row, column), axis in np.ndenumerate(axes):
        part = table[(table.measure == measures[row]) & (table.window == sizes[column])]
        axis.axhline(guess if row == 0 else 0, color="grey", lw=1, ls=":")
        for shift, cut in enumerate(cuts):
            chosen = part[part.cut == cut]
            axis.errorbar(
                chosen.first_layer + 0.12 * (shift - (len(cuts) - 1) / 2), chosen.value,
                yerr=_distances(chosen, "value"), fmt="o-", lw=1, capsize=2, label=cut,
            )  # fmt: skip
        spans = part.drop_duplicates("first_layer")
        names = [
            str(a) if a == b else f"{a}-{b}"
            for a, b in zip(spans.first_layer, spans.last_layer, strict=True)
        ]
        axis.set_xticks(spans.first_layer, names)
        if row:
            axis.set_xlabel("layer" if sizes[column] == 1 else "layers")
    axes[0, 0].set(ylabel="accuracy", ylim=(-0.03, 1.03))
    axes[1, 0].set_ylabel("change in log-probability")
    rest = "sums to one again" if table.renormalised.all() else "is not renormalised"
    figure.suptitle(f"attention to these statements cut; what is left {rest}", fontsize="medium")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    sns.despine(figure)
    return figure


def rollout_curve(table: pd.DataFrame) -> Figure:
    """Share of the first token in the last one's attention roll-out, by layer (appendix A)."""
    figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    lines = {
        "first_token": ("first token", "o-"),
        "first_token_if_even": ("first token, attention spread evenly", "s--"),
        "bound": ("bound of appendix A", "^:"),
        "one_token": ("one token of a list", "k:"),
    }
    for column, (label, style) in lines.items():
        axis.plot(table.layer, table[column], style, label=label)
    axis.set(xlabel="layers rolled out", ylabel="share of the last token", xticks=table.layer)
    axis.set_ylim(0, 1)
    axis.legend(frameon=False)
    sns.despine(figure)
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


def corruption_effects(table: pd.DataFrame) -> Figure:
    """Changes by each corruption, or differences of two, with 95 % intervals, a panel a measure."""
    measures = [name for name in dict.fromkeys(table.measure) if name.startswith("change")]
    names = table.corruption + np.where(table.minus != "", "\nminus " + table.minus, "")
    table = table.assign(name=names)[table.value.notna()]
    rows = {name: place for place, name in enumerate(dict.fromkeys(table.name))}
    figure, axes = plt.subplots(
        1, len(measures), figsize=(2.5 + 3.4 * len(measures), 1.2 + 0.42 * max(3, len(rows))),
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    for axis, measure in zip(axes[0], measures, strict=True):
        part = table[table.measure == measure]
        axis.axvline(0, color="grey", lw=0.8)
        axis.errorbar(
            part.value, part.name.map(rows), xerr=_distances(part, "value"), fmt="o", capsize=3
        )
        axis.set(xlabel=measure, yticks=list(rows.values()))
    axes[0, 0].set_yticklabels(list(rows))
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    sns.despine(figure)
    return figure


def change_by_bin(binned: pd.DataFrame) -> Figure:
    """Mean change in accuracy of the draws in bins of a score, a line a corruption (Fig 10)."""
    figure, axis = plt.subplots(figsize=(8.5, 4.2), layout="constrained")
    axis.axhline(0, color="grey", lw=0.8)
    for name, part in binned[binned.value.notna()].groupby("corruption", sort=False):
        centre = (part["from"] + part["to"]) / 2
        line = axis.plot(centre, part.value, marker="o", label=name)[0]
        axis.fill_between(centre, part.low, part.high, color=line.get_color(), alpha=0.12)
    axis.set(xlabel=f"{binned.score.iloc[0]} of the draw", ylabel="change in accuracy")
    axis.legend(frameon=False, fontsize="small", bbox_to_anchor=(1.01, 1), loc="upper left")
    sns.despine(figure)
    return figure


def summary_points(pooled: pd.DataFrame) -> Figure:
    """Scores of all settings over both baselines, a panel a score, with 95 % intervals."""
    scores = pooled[pooled.quantity.isin(["S_P1", "S_P2"])]
    label = scores.task + ": " + scores.setting
    swept = [name for name in scores if name not in POOLED and scores[name].notna().any()]
    for name in swept:
        label = label + scores[name].map(lambda value, name=name: f", {name} {value}")
    scores = scores.assign(label=label)
    places = {name: i for i, name in enumerate(dict.fromkeys(scores.label))}
    figure, axes = plt.subplots(
        1, 2, figsize=(11, 1.2 + 0.34 * len(places)), sharey=True, layout="constrained"
    )
    colours = dict(zip(("random twin", "text"), sns.color_palette(), strict=False))
    for axis, score in zip(axes, ("S_P1", "S_P2"), strict=True):
        for shift, (over, colour) in zip((-0.15, 0.15), colours.items(), strict=True):
            part = scores[(scores.quantity == score) & (scores.over == over)].dropna(subset="value")
            axis.errorbar(
                part.value, part.label.map(places) + shift, xerr=_distances(part, "value"),
                fmt="o", color=colour, markersize=4, capsize=2, label=f"over the {over}",
            )  # fmt: skip
            # One setting without a signal would else take the room of all others.
            off = part[part.value < -1]
            axis.plot([-1.02] * len(off), off.label.map(places) + shift, "<", color=colour)
        axis.axvline(0, color="grey", linewidth=0.8)
        axis.set(title=SCORE_NAMES[score], xlabel="score", xlim=(-1.05, 1.05))
    axes[0].set_yticks(list(places.values()), list(places))
    axes[0].invert_yaxis()
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize="small", loc="outside upper right", ncols=2)
    sns.despine(figure)
    return figure


def sweep_curves(pooled: pd.DataFrame, along: str, paper: pd.DataFrame) -> Figure:
    """Accuracy and scores along a swept number, beside the paper's curves where there are any.

    Args:
        pooled: figures over seeds, from ``summary.pool_seeds``.
        along: the swept number's column.
        paper: columns quantity, ``along``, value and label.
    """
    table = pooled.dropna(subset=[along, "value"])
    others = [name for name in table if name not in (*POOLED, along)]
    panels = [
        (quantity, over)
        for quantity in ("accuracy", "S_P1", "S_P2", "S_P2_root")
        for over in ("", "random twin", "text")
        if ((table.quantity == quantity) & (table.over == over)).any()
    ]
    columns = min(len(panels), 4)
    figure, axes = plt.subplots(
        -(-len(panels) // columns), columns, squeeze=False, sharex=True, layout="constrained",
        figsize=(1 + 3 * columns, 0.6 + 3 * -(-len(panels) // columns)),
    )  # fmt: skip
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (quantity, over) in zip(axes.flat, panels, strict=False):
        part = table[(table.quantity == quantity) & (table.over == over)]
        for key, line in part.groupby(["task", "setting", *others], sort=False, dropna=False):
            line = line.sort_values(along)
            axis.errorbar(
                line[along], line.value, yerr=_distances(line, "value"), marker="o", markersize=4,
                capsize=2, label=", ".join(str(word) for word in key if not pd.isna(word)),
            )  # fmt: skip
        if over != "text":
            for label, line in paper[paper.quantity == quantity].groupby("label", sort=False):
                axis.plot(line[along], line.value, "--", color="grey", linewidth=1, label=label)
        axis.set(title=f"{quantity}{f', over the {over}' if over else ''}", xlabel=along)
        axis.title.set_fontsize("medium")
        axis.set_ylim(min(-0.02, max(part.value.min() - 0.05, -1.05)), 1.05)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].legend(fontsize="x-small")
    sns.despine(figure)
    return figure
