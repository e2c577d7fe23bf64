"""Figures of training and of the probe's scores, of one run and of many."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mplib.report.columns import swept
from mplib.report.figures.style import SCORE_NAMES, TARGET_NAMES, curves, draw, panels, rows
from mplib.report.figures.view import View, view


def training_curves(history: pd.DataFrame) -> Figure:
    """Loss and development accuracy by optimiser step."""
    plot = so.Plot(history, x="step").pair(y=["loss", "dev_accuracy"], wrap=1)
    plot = plot.add(so.Line(marker="o")).limit(y1=(-0.02, 1.02))
    labels = {"x": "optimiser step", "y0": "training loss", "y1": "development accuracy"}
    return draw(plot, (9, 3.2), **labels)


def film_curves(film: pd.DataFrame) -> Figure:
    """Accuracy, scores and gains at each evaluation of a training, with 95 % bands.

    Args:
        film: of ``mplib.studies.film.frames``, or of ``films``: a panel for each model.
    """
    clipped = film[["value", "low", "high"]].clip(lower=-1)  # scores have no lower bound
    plot = curves(film.assign(**clipped), "step", "value", "quantity", so.Band())
    if "subject" in film:
        plot = plot.facet(row="subject")
    height = 1.5 + 2.5 * film.get("subject", film.quantity[:1]).nunique()
    plot = plot.limit(y=(min(-0.05, clipped.low.min() - 0.05), 1.05))
    return draw(plot, (8, height), zero="y", x="optimiser step", y="", color="")


def f1_bars(f1: pd.DataFrame) -> Figure:
    """Raw F1 of every source by either classifier, a panel for each target (Table 4)."""
    f1 = f1[f1.target.isin(["V", "G"])]
    looks = {"color": "classifier"}
    plot = rows(f1, "f1", "source", "target", so.Bar(), so.Range(color="black"), **looks)
    size = 1.6 + 3.2 * f1.target.nunique(), 1.4 + 0.44 * f1.source.nunique()
    return draw(plot.limit(x=(0, 1.02)), size, x="F1", y="", title=TARGET_NAMES.get)


def score_points(scores: pd.DataFrame) -> Figure:
    """Scores over the random twin with their 95 % intervals, a panel each (Table 1)."""
    return _points(scores.assign(panel=scores.score, row=scores.source), color="classifier")


def gain_points(gains: pd.DataFrame) -> Figure:
    """What attention adds to the text over what the twins' adds, in F1, with 95 % intervals."""
    part = gains[(gains.over == "text and twins") & gains.target.isin(["V", "G"])]
    part = part[part.measure == "F1"]
    return _points(part.assign(panel="gain " + part.target, row=part.source), color="classifier")


def summary_points(pooled: pd.DataFrame) -> Figure:
    """Gains and scores of all settings, a panel each, with 95 % intervals."""
    scores = pooled[pooled.quantity.isin(["gain V", "gain G", "S_P1", "S_P2"])]
    row = scores.task + ": " + scores.setting
    for name in swept(pooled):
        if scores[name].notna().any():
            row = row + scores[name].map(lambda value, name=name: f", {name} {value}")
    return _points(scores.assign(panel=scores.quantity, row=row))


def _points(table: pd.DataFrame, **looks: str) -> Figure:
    """A panel for each gain and score, with a row for each of the table's.

    Scores have no lower bound, and one setting without a signal would else take the room of all
    others: what lies below -1 is drawn at -1 as a triangle.
    """
    table = table[table.value.notna()]
    table = table.assign(beyond=table.value < -1, panel=table.panel.replace(SCORE_NAMES))
    table = table.assign(**table[["value", "low", "high"]].clip(lower=-1))
    plot = rows(table, "value", "row", "panel", so.Dot(), so.Range(), **looks, marker="beyond")
    plot = plot.scale(marker=so.Nominal({False: "o", True: "<"}, order=[False, True]))
    size = 1.6 + 3.2 * table.panel.nunique(), 1.5 + 0.34 * table.row.nunique()
    return draw(plot, size, zero="x", x="", y="")


def contrast_points(table: pd.DataFrame) -> Figure:
    """Accuracy and gains of several models on the same questions, a row for each set.

    Args:
        table: of ``mplib.studies.paired.contrasts``.
    """
    part = table[(table["minus"] == "") & (table["among"] != "rules alone")]
    part = part[part.measure.isin(["accuracy", "gain V", "gain G"])]
    return _points(part.assign(panel=part.measure, row=part.set), color="subject")


def prefix_curves(scores: pd.DataFrame) -> Figure:
    """Scores from the first l layers over the twin's own first l layers, with bands (Fig 6).

    Where there are several subjects, every set has panels of its own.
    """
    part = scores[scores.value.notna()].replace({"score": SCORE_NAMES})
    several = "subject" in part and part.subject.nunique() > 1
    by, sets = ("subject", "set") if several else ("source", None)
    # Scores have no lower bound; what lies below -1 is in the table.
    plot = curves(part, "layers", "value", by, so.Band()).facet("score", sets)
    plot = plot.limit(y=(max(-1, part.low.min()) - 0.05, 1.05))
    plot = plot.scale(x=so.Continuous().tick(MaxNLocator(8, integer=True)))
    labels = {"x": "first layers used", "y": "score over the random twin", "color": ""}
    size = 1 + 3.4 * part.score.nunique(), 1 + 2.8 * (part[sets].nunique() if sets else 1)
    return draw(plot, size, zero="y", **labels)


def curves_page(
    table: pd.DataFrame, by: str = "subject", panel: Sequence[str] = ("score", "set"),
    what: str = "Up to layer",
) -> View:  # fmt: skip
    """Curves over layers as a page to play with: choose curves and a layer, see all figures there.

    By mouse, touch or arrow keys; see ``view``.

    Args:
        table: columns layers, value, low and high, and those that are named here.
        by: column of what has a curve.
        panel: columns of what stands together.
        what: is said before the number of a layer.
    """
    data = []
    for name, part in table.replace({"score": SCORE_NAMES}).groupby([*panel], sort=False):
        layers = sorted({*part.layers})
        figures = {
            str(line): own.drop_duplicates("layers").set_index("layers")[["value", "low", "high"]]
            for line, own in part.groupby(by, sort=False)
        }
        data.append({
            "name": ", ".join(map(str, name)), "layers": layers, "what": what, "lines": [
                {"name": line, "values": json.loads(own.reindex(layers).to_json(
                    orient="values", double_precision=4))}
                for line, own in figures.items()
            ],
        })  # fmt: skip
    return view("layer_curves", "Layer by layer", data, 470)


def height_curves(table: pd.DataFrame) -> Figure:
    """F1 of useful statements of each height against useless ones, by layers used (Fig 7f)."""
    panel, height = table["set"] + "\n" + table.subject, "height " + table.height.astype(str)
    plot = curves(table.assign(panel=panel, height=height), "layers", "f1", "height", so.Band())
    # A row for each model.
    sets, models = table["set"].nunique(), table.subject.nunique()
    plot = plot.facet("panel", wrap=sets if models > 1 else None).limit(y=(0, 1.02))
    size = 1 + 2.9 * sets, 0.8 + 2.6 * models
    return draw(plot, size, x="first layers used", y="F1: useful or useless")


def transfer_maps(table: pd.DataFrame, classifier: str = "logistic") -> Figure:
    """F1 on one set of what was fitted to another, a panel for each target and kind of features.

    Args:
        table: of ``mplib.probe.transfer``, with columns subject and kind.
        classifier: whose F1s are drawn.
    """
    table = table[table.classifier == classifier]
    sets, kinds = (table[name].unique() for name in ("scored on", "kind"))
    parts = table.groupby(["subject", "target"], sort=False)
    several = table.subject.nunique() > 1
    size = 2.6 + (0.4 + 0.6 * len(sets)) * len(kinds), 1.6 + (0.7 + 0.45 * len(sets)) * len(parts)
    figure, axes = panels(len(kinds), size, len(parts))
    look = {"vmin": 0, "vmax": 1, "annot": True, "fmt": ".2f", "annot_kws": {"size": "x-small"}}
    for place, axis in enumerate(axes):
        (subject, target), part = [*parts][place // len(kinds)]
        own = part[part.kind == kinds[place % len(kinds)]]
        cells = own.pivot(index="fitted on", columns="scored on", values="f1")
        cells = cells.reindex(index=sets, columns=sets)
        below = place >= len(axes) - len(kinds)
        sns.heatmap(cells, ax=axis, cmap="viridis", cbar=False, xticklabels=below, **look)
        name = f"{target}: {own.kind.iloc[0]}"
        axis.set(title=f"{subject}\n{name}" if several else name, xlabel="", ylabel="")
        axis.tick_params(length=0)
        axis.tick_params("y", rotation=0)
    figure.supxlabel("scored on")
    figure.supylabel("fitted on")
    figure.colorbar(axes[0].collections[0], ax=axes, label="F1")
    return figure


def recall_slopes(table: pd.DataFrame) -> Figure:
    """Accuracy, need, scores and gains from world to world, with 95 % intervals, a panel each.

    Args:
        table: of ``mplib.studies.paired.dial``.
    """
    table = table[(table["minus"] == "") & (table["among"] != "rules alone")]
    table = table[table.value.notna()]
    world, subject = table["set"].str.split(", ").str[-1], ", " + table.subject
    table = table.assign(world=world, label="depth " + table.depth.astype(str) + subject)
    table = table.assign(**table[["value", "low", "high"]].clip(lower=-1))  # scores have no bound
    plot = curves(table, "world", "value", "label", so.Range(), so.Dodge())
    plot = plot.facet("measure", wrap=3)
    size = 9, 0.6 + 2.8 * -(-table.measure.nunique() // 3)
    return draw(plot, size, zero="y", x="", y="", color="")


def sweep_curves(pooled: pd.DataFrame, along: str, paper: pd.DataFrame) -> Figure:
    """Accuracy and scores along a swept number, beside the paper's curves where there are any.

    Args:
        pooled: figures over seeds, from ``summary.pool_seeds``.
        along: the swept number's column.
        paper: columns quantity, ``along``, value and label.
    """
    table = pooled.dropna(subset=[along, "value"])
    table = table[table.quantity.isin(["accuracy", "gain V", "gain G", *SCORE_NAMES])]
    # Lists of other lengths are other tasks: where m is swept they are one curve.
    pairs = table[["task", along]].drop_duplicates()
    one_curve = len(pairs) == pairs.task.nunique() == pairs[along].nunique() > 1
    names = ["setting"] if one_curve else ["task", "setting"]
    words = table[[*names, *(name for name in swept(table) if name != along)]]
    label = [", ".join(str(word) for word in row if not pd.isna(word)) for row in words.to_numpy()]
    over = np.where(table.over == "", "", ", over the " + table.over)
    table = table.assign(label=label, panel=table.quantity + over)
    table = table.sort_values("panel", key=lambda panel: panel.str.lower(), kind="stable")
    panels = table.groupby("panel", sort=False)
    plot = curves(table, along, "value", "label", so.Range()).facet("panel", wrap=4).share(y=False)
    plot = plot.scale(x=so.Continuous().tick(MaxNLocator(5, integer=True)))
    size = 1 + 3 * min(len(panels), 4), 1.2 + 3 * -(-len(panels) // 4)
    figure = draw(plot, size, y="")
    for axis, (_, part) in zip(figure.axes, panels, strict=True):
        axis.set_ylim(min(-0.02, max(part.value.min() - 0.05, -1.05)), 1.05)
        theirs = paper[paper.quantity == part.quantity.iloc[0]]
        for name, line in theirs.groupby("label", sort=False):
            axis.plot(line[along], line.value, "--", color="grey", linewidth=1, label=name)
            axis.legend(fontsize="x-small", frameon=True)
    return figure
