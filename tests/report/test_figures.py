"""Every figure drawn once: scores from planted trees, others from the committed quick tables."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.patches import Polygon
from planted import HEIGHTS, SETTINGS, comparison, prefixes, seen

from mplib.probe.transfer import transfer
from mplib.report import figures
from mplib.report.columns import POOLED
from mplib.report.figures import Flow
from mplib.studies.patching import Patched

QUICK = Path(__file__).resolve().parents[2] / "results" / "quick"


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(QUICK / f"{name}.csv")


def of_numbers(name: str) -> pd.DataFrame:
    """A table of the corruption of lists of numbers, wherever its run is kept."""
    found = [pd.read_csv(path) for path in QUICK.glob(f"07_corruption*/**/{name}.csv")]
    return next(each for each in found if "root replaced" in set(each.corruption))


def bands(axis: Axes) -> list[np.ndarray]:
    """The corners of each band."""
    return [patch.get_xy() for patch in axis.patches if isinstance(patch, Polygon)]


def intervals(axis: Axes) -> np.ndarray:
    """Both ends of every interval, shape (points, ends, x and y)."""
    drawn = [found for found in axis.collections if isinstance(found, LineCollection)]
    return np.concatenate([found.get_segments() for found in drawn])


def points(axis: Axes) -> np.ndarray:
    """Places of all points, shape (points, 2)."""
    (drawn,) = [found for found in axis.collections if isinstance(found, PathCollection)]
    return np.array(drawn.get_offsets())


def triangles(axis: Axes) -> np.ndarray:
    """Places of all triangles that stand for what lies beyond the edge, shape (points, 2)."""
    (drawn,) = [found for found in axis.collections if isinstance(found, PathCollection)]
    corners = np.array([len(path.vertices) for path in drawn.get_paths()])
    return points(axis)[corners == 4]


def ticks(labels: list) -> list[str]:
    return [label.get_text() for label in labels]


def titles(figure) -> list[str]:
    return [axis.get_title() for axis in figure.axes if axis.get_visible()]


def legend(holder) -> list[str]:
    found = holder.get_legend() if isinstance(holder, Axes) else holder.legends[0]
    return ticks(found.get_texts())


# Training and attention


def test_training_curves():
    history = table("01_finetune/history").dropna(subset="loss")  # a film begins before training
    loss, accuracy = figures.training_curves(table("01_finetune/history")).axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("training loss", "development accuracy")
    np.testing.assert_array_equal(accuracy.lines[0].get_ydata(), history.dev_accuracy)
    assert accuracy.get_ylim() == (-0.02, 1.02)


def test_film_curves_have_a_band_and_a_floor():
    one = {"step": [0, 10, 20], "value": [-3, 0.2, 0.8], "low": [-4, 0.1, 0.7], "high": 0.9}
    rows = [pd.DataFrame(one | {"quantity": name}) for name in ("S_P1", "accuracy")]
    figure = figures.film_curves(pd.concat(rows))
    (axis,) = figure.axes
    assert legend(figure) == ["S_P1", "accuracy"] and len(bands(axis)) == 2
    assert axis.lines[0].get_ydata().tolist() == [-1, 0.2, 0.8]
    assert axis.get_ylim() == (-1.05, 1.05)
    two = [part.assign(subject=name) for name in ("able", "dealt") for part in rows]
    panels = figures.film_curves(pd.concat(two)).axes
    assert [axis.get_title() for axis in panels] == ["able", "dealt"]


def test_attention_maps_share_one_scale_and_count_from_one():
    small = np.arange(32 * 4).reshape(32, 4) / 1000
    first, second, bar = figures.attention_maps({"a": small, "b": 3 * small}, "size rank").axes
    for axis, values in ((first, small), (second, 3 * small)):
        np.testing.assert_array_equal(axis.collections[0].get_array(), values)
        assert axis.collections[0].get_clim() == (0, 3 * small.max())
        assert ticks(axis.get_xticklabels()) == ["1", "2", "3", "4"]
    rows = ticks(first.get_yticklabels())
    assert rows[0] == "1" and 8 <= len(rows) <= 32
    assert first.yaxis_inverted(), "the first row stands on top"
    assert first.get_ylabel() == "size rank" and not second.get_ylabel()
    assert bar.get_ylabel() == "mean attention of the last token"


def test_attention_maps_of_tables_bear_their_names():
    table = pd.DataFrame([[2.0, 1.0], [0.5, 1.0]], ["height 0", "useless"], [1, 2])
    first, _, bar = figures.attention_maps({"a": table, "b": table}, "", "an even share").axes
    assert ticks(first.get_yticklabels()) == ["height 0", "useless"]
    assert first.collections[0].get_clim() == (0, 2)
    assert bar.get_ylabel() == "an even share"


def test_entropies_are_written_into_small_maps_alone():
    values = np.linspace(0, 1, 12).reshape(3, 4)
    axis, _, bar = figures.entropy_maps({"position entropy": values, "size entropy": values}).axes
    # Layers from left to right, heads from top to bottom.
    np.testing.assert_array_equal(axis.collections[0].get_array(), values.T)
    words = {text.get_position(): text.get_text() for text in axis.texts}
    assert words[2.5, 3.5] == "1.00" and words[0.5, 1.5] == f"{values[0, 1]:.2f}"
    assert len(words) == 12
    assert bar.get_ylabel() == "normalised entropy"
    large = figures.entropy_maps({"size entropy": np.zeros((12, 12))}).axes[0]
    assert not large.texts


def test_every_head_has_a_thumbnail():
    attention = np.random.default_rng(0).random((2, 3, 5, 5))
    axes = figures.head_thumbnails(attention, list("abcde")).axes
    assert len(axes) == 6
    np.testing.assert_allclose(axes[4].images[0].get_array() ** 2, attention[1, 1])
    assert [axis.get_title() for axis in axes[:3]] == ["head 1", "head 2", "head 3"]
    assert axes[3].get_ylabel() == "layer 2"


def test_the_flow_draws_what_lies_above_the_even_share():
    weights = np.tril(np.random.default_rng(0).random((2, 5, 5))) / 3
    flows = [Flow("arranged", weights, {2: "smallest"}), Flow("nothing", 0 * weights)]
    arranged, nothing = figures.attention_flow(flows).axes
    (lines,) = [found for found in arranged.collections if isinstance(found, LineCollection)]
    assert len(lines.get_segments()) == (weights > 1 / 5).sum()
    layer, query, key = (index[0] for index in np.nonzero(weights > 1 / 5))
    assert lines.get_segments()[0].tolist() == [[key + 1, layer], [query + 1, layer + 1]]
    assert ticks(arranged.get_xticklabels())[:3] == ["1", "2\nsmallest", "3"]
    assert ticks(arranged.get_yticklabels()) == ["tokens", "layer 1", "layer 2"]
    assert not [found for found in nothing.collections if isinstance(found, LineCollection)]


# Scores


def test_f1_bars_with_their_intervals():
    f1 = comparison().f1
    figure = figures.f1_bars(f1)
    assert titles(figure) == ["V: useful or useless", "G: height (macro-F1)"]
    part = f1[f1.target == "G"]
    axis = figure.axes[1]
    # One classifier after the other, each in the order of the sources.
    assert [bar.get_width() for bar in axis.patches] == part.f1.tolist()
    np.testing.assert_allclose(intervals(axis)[:, :, 0], part[["low", "high"]])
    assert ticks(figure.axes[0].get_yticklabels()) == list(part.source.unique())
    assert legend(figure) == ["kNN", "logistic"]
    by = part.groupby("classifier").ngroups
    centres = np.array([bar.get_y() + bar.get_height() / 2 for bar in axis.patches])
    assert (centres.round().reshape(by, -1) == np.arange(part.source.nunique())).all()


def test_transfer_maps_have_a_row_for_what_was_fitted():
    sets = {name: (seen(0.3, i), HEIGHTS) for i, name in enumerate(("first", "second", "third"))}
    found = transfer(sets, SETTINGS)
    table = pd.concat(found.assign(kind=kind, subject="4-shot") for kind in ("model", "twin"))
    table = table[(table["fitted on"] != "third") | (table["scored on"] != "first")]
    figure = figures.transfer_maps(table)
    assert titles(figure)[:4] == ["V: model", "V: twin", "G: model", "G: twin"]
    part = found[(found.classifier == "logistic") & (found.target == "G")]
    expected = part.pivot(index="fitted on", columns="scored on", values="f1")
    expected.loc["third", "first"] = np.nan
    drawn = figure.axes[2].collections[0].get_array()
    np.testing.assert_array_equal(np.ma.filled(drawn, np.nan), expected)
    assert ticks(figure.axes[2].get_yticklabels()) == list(sets)
    assert ticks(figure.axes[2].get_xticklabels()) == list(sets)
    several = pd.concat([table, table.assign(subject="finetuned")])
    assert titles(figures.transfer_maps(several))[5] == "finetuned\nV: twin"


def test_values_without_intervals_are_drawn():
    f1 = comparison().f1.assign(low=np.nan, high=np.nan)
    bars = figures.f1_bars(f1).axes[0].patches
    assert [bar.get_width() for bar in bars] == f1[f1.target == "V"].f1.tolist()
    scores = prefixes().assign(low=np.nan, high=np.nan)
    axis = figures.prefix_curves(scores).axes[0]
    assert len(axis.lines[0].get_xdata()) == scores.layers.nunique() and not bands(axis)


def test_scores_beyond_the_edge_become_triangles():
    scores = comparison().scores.copy()
    far = (scores.source == "before") & (scores.classifier == "logistic")
    scores.loc[far, ["value", "low", "high"]] = [-2.5, -4, -0.5]
    figure = figures.score_points(scores)
    assert titles(figure) == ["S_P1", "S_P2 (macro)", "S_P2 (root)"]
    axis = figure.axes[0]
    places = list(scores.source.unique())
    assert ticks(axis.get_yticklabels()) == places
    # The second classifier stands below the first in each row.
    np.testing.assert_allclose(triangles(axis), [[-1, places.index("before") + 0.2]])
    ends = intervals(axis)
    ends = ends[np.isclose(ends[:, 0, 1] % 1, 0.2)]
    part = scores[(scores.score == "S_P1") & (scores.classifier == "logistic")]
    np.testing.assert_allclose(ends[:, :, 0], part[["low", "high"]].clip(lower=-1))
    assert legend(figure) == ["kNN", "logistic"], "triangles are told of in words"


def test_undefined_scores_take_no_row():
    scores = pd.DataFrame({
        "source": ["a", "b", "c"], "score": "S_P1", "over": "random twin", "classifier": "kNN",
        "value": [0.5, np.nan, 0.1], "low": [0.4, np.nan, 0], "high": [0.6, np.nan, 0.2],
    })  # fmt: skip
    figure = figures.score_points(scores)
    assert titles(figure) == ["S_P1"] and legend(figure) == ["kNN"]
    assert ticks(figure.axes[0].get_yticklabels()) == ["a", "c"]


def test_gains_are_those_in_f1_over_text_and_twins():
    gains = comparison().gains
    figure = figures.gain_points(gains)
    assert titles(figure) == ["gain V", "gain G"] and legend(figure) == ["kNN", "logistic"]
    assert ticks(figure.axes[0].get_yticklabels()) == ["tuned", "before"]
    for target, axis in zip("VG", figure.axes, strict=True):
        part = gains[(gains.target == target) & (gains.measure == "F1")]
        part = part[part.over == "text and twins"]
        assert len(part) == 4
        np.testing.assert_allclose(points(axis)[:, 0], part.value)
        np.testing.assert_allclose(intervals(axis)[:, :, 0], part[["low", "high"]])


def test_prefix_curves_have_a_band_for_each_source():
    scores = prefixes()
    figure = figures.prefix_curves(scores)
    assert titles(figure) == ["S_P1", "S_P2 (macro)", "S_P2 (root)"]
    for axis in figure.axes:
        assert len(bands(axis)) == 2
    assert legend(figure) == ["tuned", "before"]
    first = scores[(scores.score == "S_P1") & (scores.source == "tuned")]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), first.value)
    assert {*first.low, *first.high} <= {*bands(figure.axes[0])[0][:, 1]}


@pytest.mark.parametrize(("layers", "size"), [(12, 5), (13, 2)])
def test_a_line_of_many_layers_is_not_hidden_by_its_marks(layers, size):
    scores = pd.DataFrame({
        "layers": range(1, layers + 1), "source": "tuned", "score": "S_P1", "value": 0.5,
        "low": np.linspace(-7, 0, layers), "high": 0.9,
    })  # fmt: skip
    (axis,) = figures.prefix_curves(scores).axes
    assert axis.lines[0].get_markersize() == size
    assert axis.get_ylim()[0] == -1.05, "scores have no lower bound, the picture has"


def test_height_curves_have_a_band_for_each_height():
    heights = table("06_probe_arc/height_f1")
    figure = figures.height_curves(heights)
    panels = {(one, name): part for (name, one), part in heights.groupby(["set", "subject"])}
    order = [(o, name) for o in heights.subject.unique() for name in heights["set"].unique()]
    assert titles(figure) == [f"{name}\n{subject}" for subject, name in order]
    for axis, place in zip(figure.axes, order, strict=True):
        assert len(bands(axis)) == panels[place].height.nunique()
    rows = {round(axis.get_position().y0, 3) for axis in figure.axes}
    assert len(rows) == heights.subject.nunique()
    first = panels["4-shot", "depth 1"]
    first = first[first.height == 0]
    assert bands(figure.axes[0])[0][:, 1].max() == pytest.approx(first.high.max())
    assert legend(figure) == [f"height {height}" for height in sorted(heights.height.unique())]


def test_a_group_has_one_colour_in_all_panels():
    heights = table("06_probe_arc/height_f1")
    heights = heights[heights.subject == "4-shot"]
    heights = heights[(heights["set"] != "depth 1") | (heights.height != 0)]
    first, second, *_ = figures.height_curves(heights).axes
    part = heights[(heights["set"] == "depth 2") & (heights.height == 1)]
    (line,) = [line for line in second.lines if line.get_ydata().tolist() == part.f1.tolist()]
    assert line.get_color() == first.lines[0].get_color()


# Many runs


def pooled() -> pd.DataFrame:
    """Figures of one run of each kind, as ``summary.pool_seeds`` hands them on."""
    rows = [("k-th smallest of 16", "finetuned", "accuracy", "", 0.98, 0.97, 0.985)]
    values = {
        "gain V": 0.1, "gain G": 0.2, "S_P1": 0.8, "S_P2": 0.7, "S_P2_root": 0.6
    }  # fmt: skip
    for task, setting, lost in (
        ("k-th smallest of 16", "finetuned", 0), ("theories", "depth 1", 0.3),
        ("theories", "depth 2", 2),
    ):  # fmt: skip
        for quantity, value in values.items():
            over = "text and twins" if "gain" in quantity else "random twin"
            found = value - lost * ("S_P" in quantity)
            rows.append((task, setting, quantity, over, found, found - 0.1, found + 0.1))
    rows.append(("theories", "depth 3", "S_P1", "random twin", *[np.nan] * 3))
    columns = ["task", "setting", "quantity", "over", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).reindex(columns=POOLED)


def test_models_beside_one_another_are_points_of_a_row_for_each_set():
    rows = [
        {"set": name, "depth": 1, "subject": subject, "among": among, "measure": measure,
         "minus": minus, "value": value, "low": value - 0.1, "high": value + 0.1}
        for name in ("d1", "d2") for subject, value in (("0-shot", 0.5), ("reasoner", 0.9))
        for among, measure in (("", "accuracy"), ("all statements", "gain V"),
                               ("rules alone", "gain V"))
        for minus in ("", "0-shot")
    ]  # fmt: skip
    figure = figures.contrast_points(pd.DataFrame(rows))
    assert titles(figure) == ["accuracy", "gain V"]
    for axis in figure.axes:
        assert sorted(points(axis)[:, 0]) == [0.5, 0.5, 0.9, 0.9]
    assert ticks(figure.axes[0].get_yticklabels()) == ["d1", "d2"]
    prefixes = pd.DataFrame(
        {"set": name, "subject": subject, "source": "x", "score": "S_P1", "layers": layer,
         "value": 0.1 * layer, "low": 0.0, "high": 0.5}
        for name in ("d1", "d2") for subject in ("a", "b") for layer in (1, 2)
    )  # fmt: skip
    drawn = figures.prefix_curves(prefixes)
    assert [len(axis.lines) for axis in drawn.axes] == [3, 3]  # two models and zero
    assert len(figures.prefix_curves(prefixes[prefixes.subject == "a"]).axes) == 1


def test_the_recall_dial_has_a_line_for_each_depth_from_true_to_false():
    rows = [
        {"depth": depth, "subject": "4-shot", "among": among, "measure": measure, "minus": minus,
         "set": f"depth {depth}, {world}", "value": value, "low": value - 0.1, "high": value + 0.1}
        for depth in (1, 2)
        for among, measure in (("", "accuracy"), ("all statements", "S_P1"),
                               ("rules alone", "S_P1"))
        for world, value in (("true", 0.9), ("invented", 0.5), ("false", -5.0))
        for minus in ("", "other")
    ]  # fmt: skip
    accuracy, score = figures.recall_slopes(pd.DataFrame(rows)).axes
    for axis in (accuracy, score):
        assert [x.get_text() for x in axis.get_xticklabels()] == ["true", "invented", "false"]
        lines = [line for line in axis.lines if len(line.get_xdata()) == 3]
        assert [line.get_ydata().tolist() for line in lines] == [[0.9, 0.5, -1.0]] * 2
        assert len(intervals(axis)) == 2 * 3


def test_the_summary_has_a_row_for_each_setting_with_what_was_swept():
    figure = figures.summary_points(pooled().assign(k=2))
    assert titles(figure) == ["gain V", "gain G", "S_P1", "S_P2 (macro)"]
    gain, _, score, _ = figure.axes
    assert ticks(gain.get_yticklabels()) == [
        "k-th smallest of 16: finetuned, k 2", "theories: depth 1, k 2", "theories: depth 2, k 2",
    ]  # fmt: skip
    np.testing.assert_allclose(triangles(score), [[-1, 2]])
    np.testing.assert_allclose(points(score)[:, 0], [0.8, 0.5, -1])
    assert len(triangles(gain)) == 0 and not figure.legends
    unswept = figures.summary_points(pooled()).axes[0]
    assert ticks(unswept.get_yticklabels())[0] == "k-th smallest of 16: finetuned"


def test_sweeps_stand_beside_the_papers_curves():
    swept = pd.concat([pooled().assign(k=k) for k in (3, 1)], ignore_index=True)
    paper = pd.DataFrame({"quantity": "S_P1", "k": [1, 2], "value": [0.9, 0.8], "label": "paper"})
    figure = figures.sweep_curves(swept, "k", paper)
    assert titles(figure) == [
        "accuracy", "gain G, over the text and twins", "gain V, over the text and twins",
        "S_P1, over the random twin", "S_P2, over the random twin",
        "S_P2_root, over the random twin",
    ]  # fmt: skip
    accuracy, *_, gain, twin, _, _ = figure.axes
    assert legend(figure)[0] == "k-th smallest of 16, finetuned"
    assert accuracy.lines[0].get_xdata().tolist() == [1, 3], "in the order of the swept number"
    finetuned = pooled()[pooled().quantity == "accuracy"].iloc[0]
    np.testing.assert_allclose(intervals(accuracy)[0, :, 1], finetuned[["low", "high"]].tolist())
    dashed = [line for line in twin.lines if line.get_label() == "paper"]
    assert [line.get_ydata().tolist() for line in dashed] == [[0.9, 0.8]]
    assert legend(twin) == ["paper"]
    for axis in figure.axes:
        assert (axis.get_legend() is None) == (axis is not twin), axis.get_title()
    assert twin.get_ylim()[0] == -1.05 and gain.get_ylim()[0] == accuracy.get_ylim()[0] == -0.02
    lists = [pooled().assign(m=m, task=f"k-th smallest of {m}") for m in (8, 16)]
    longer = figures.sweep_curves(pd.concat(lists, ignore_index=True), "m", paper[:0].assign(m=0))
    assert longer.axes[0].lines[0].get_xdata().tolist() == [8, 16], "one curve of lists"
    assert legend(longer)[0] == "finetuned"


# Causal study


def test_pruning_curves():
    averaged = table("04_causal/pruning_averaged")
    figure = figures.pruning_curves(averaged)
    (axis,) = figure.axes
    assert legend(figure) == [
        "small position entropy first",
        "small size entropy first",
        "at random",
    ]
    (part,) = [part for name, part in averaged.groupby("order") if name == "random"]
    corners = bands(axis)[2]
    assert {*part.low, *part.high} <= {*corners[:, 1]}


def test_knock_out_effects_by_measure_and_window():
    found = table("04_causal/knock_out")
    found = found[found.renormalised]
    figure = figures.knock_out_effects(found, guess=0.07)
    accuracy, _, change, double = figure.axes
    assert accuracy.get_ylabel() == "accuracy" and accuracy.lines[-1].get_ydata()[0] == 0.07
    assert change.get_ylabel() == "change in log-probability"
    assert change.lines[-1].get_ydata()[0] == 0
    assert ticks(change.get_xticklabels()) == ["1", "2", "3", "4"]
    assert ticks(double.get_xticklabels()) == ["1-2", "2-3", "3-4"]
    assert (change.get_xlabel(), double.get_xlabel()) == ("layers", "layers")
    part = found[
        (found.cut == "root alone") & (found.window == 2) & (found.measure == change.get_ylabel())
    ]
    # The cuts stand around each place, this one second.
    ends, cuts = intervals(double), found.cut.nunique()
    assert list(found.cut.unique()).index("root alone") == 1 and len(ends) == 3 * cuts
    np.testing.assert_allclose(ends[3:6, :, 1], part[["low", "high"]])
    np.testing.assert_allclose(ends[3:6, 0, 0], np.arange(3) - 0.8 * (cuts / 2 - 1.5) / cuts)
    np.testing.assert_allclose(double.lines[1].get_ydata(), part.value)
    assert legend(figure) == list(found.cut.unique())
    assert "sums to one again" in figure.get_suptitle()
    one = found[found.window == 2].assign(renormalised=False)
    other = figures.knock_out_effects(one, guess=0.07)
    assert "is not renormalised" in other.get_suptitle()


def test_patching_rates_by_direction_and_kind_of_window():
    said = np.array([[[1, 1, 9], [2, 2, 2]], [[2, 1, 2], [1, 1, 2]], [[2, 2, 2], [1, 1, 1]]])
    found = Patched(np.ones(3), np.full(3, 2), said, np.zeros(said.shape), ((2, 2), (1, 2)))
    same = replace(found, donor=found.clean)
    tables = [found.table().assign(donor="root"), same.table().assign(donor="useless")]
    figure = figures.patching_rates(pd.concat(tables, ignore_index=True))
    assert legend(figure) == ["root: the other's answer", "useless: another answer than before"]
    values = {
        axis.get_title(): [[*line.get_ydata()] for line in axis.lines] for axis in figure.axes
    }
    assert values == {
        "each layer alone\ndonor's output in the clean run": [[2 / 3], [2 / 3]],
        "all from the first layer\ndonor's output in the clean run": [[1], [1]],
        "each layer alone\nclean output in the donor's run": [[2 / 3], [2 / 3]],
        "all from the first layer\nclean output in the donor's run": [[1], [1]],
    }
    assert ticks(figure.axes[3].get_xticklabels()) == ["1-2"]


def test_patching_rates_in_blocks_of_layers():
    spans = ((1, 2), (3, 4), (1, 4))
    said = np.full((4, 2, 3), 2)
    found = Patched(np.ones(3), np.full(3, 2), said, np.zeros(said.shape), spans)
    figure = figures.patching_rates(found.table().assign(donor="fact", subject="0-shot"))
    alone, up = figure.axes[2:]
    assert alone.get_title().startswith("each block alone")
    assert ticks(alone.get_xticklabels()) == ["1-2", "3-4"]
    assert ticks(up.get_xticklabels()) == ["1-2", "1-4"]
    assert figure.get_suptitle() == "0-shot"


def test_the_rollout_beside_what_to_compare_it_with():
    figure = figures.rollout_curve(table("04_causal/rollout"))
    (axis,) = figure.axes
    assert legend(figure) == [
        "first token", "first token, attention spread evenly", "bound of appendix A",
        "one token of a list",
    ]  # fmt: skip
    assert axis.get_ylim() == (0, 1) and {1, 2, 3, 4} <= set(axis.get_xticks())
    np.testing.assert_array_equal(axis.lines[2].get_ydata(), table("04_causal/rollout").bound)


# Corruption


def test_corruption_effects_name_what_is_subtracted():
    effects = of_numbers("effects")
    effects = effects.assign(minus=effects.minus.fillna(""))
    whole = figures.corruption_effects(effects[effects.minus == ""])
    assert titles(whole) == ["change in accuracy", "change in log-probability"]
    differences = effects[effects.minus != ""].copy()
    differences.loc[differences.corruption == "leaf replaced", "value"] = np.nan
    axis = figures.corruption_effects(differences).axes[0]
    assert ticks(axis.get_yticklabels()) == ["root replaced\nminus useless replaced"]
    (row,) = differences[
        (differences.measure == "change in accuracy") & differences.value.notna()
    ].itertuples()
    np.testing.assert_allclose(intervals(axis)[:, :, 0], [[row.low, row.high]])
    np.testing.assert_allclose(points(axis), [[row.value, 0]])


def test_corruption_effects_of_several_models_stand_side_by_side():
    effects = of_numbers("effects")
    effects = effects[effects.minus.isna()].assign(minus="")
    both = pd.concat([effects.assign(subject="a"), effects.assign(subject="b", value=-0.5)])
    figure = figures.corruption_effects(both)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    changed = both[(both.measure == "change in accuracy") & both.value.notna()]
    assert len(points(figure.axes[0])) == len(changed)


def test_where_nothing_can_be_told_a_figure_is_empty():
    effects = of_numbers("effects")
    assert figures.corruption_effects(effects.assign(minus="", value=np.nan)).axes
    (axis,) = figures.summary_points(pooled().query("quantity == 'accuracy'")).axes
    assert not axis.get_title()


def test_changes_by_bin_leave_out_empty_bins():
    binned = of_numbers("bins")
    figure = figures.change_by_bin(binned)
    (axis,) = figure.axes
    assert axis.get_xlabel() == "S_P2 of the draw"
    kept = binned[binned.value.notna()]
    names = list(kept.corruption.unique())
    # A corruption that changes too few answers has no interval in any bin.
    assert legend(figure) == names
    assert len(bands(axis)) == kept.dropna(subset="low").corruption.nunique()
    line = axis.lines[names.index("leaf replaced")]
    part = kept[kept.corruption == "leaf replaced"]
    np.testing.assert_allclose(line.get_xdata(), (part["from"] + part["to"]) / 2)
    few = binned.assign(low=np.nan, high=np.nan)
    assert len(figures.change_by_bin(few).axes[0].lines) == len(axis.lines), "too few for a band"
