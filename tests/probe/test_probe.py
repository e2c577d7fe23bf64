"""The probe: what it must find, what it must not find, and how sure it says it is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control
from scipy.stats import t as student
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from mplib.errors import InputError
from mplib.probe.knn import (
    CLASSIFIERS,
    ProbeSettings,
    Told,
    Trials,
    predict,
    useful_heights,
    usefulness,
)
from mplib.probe.neighbours import MANY, Neighbours
from mplib.probe.published import compare_published, published_f1, published_language_f1
from mplib.probe.scores import compare, compare_prefixes, discoveries, tidy_predictions
from mplib.probe.text import MANY as MANY_VALUES
from mplib.probe.text import by_value, shown
from mplib.stats import band, from_halves
from mplib.studies.ruler import arranged
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.trees import PADDING, USELESS

FAST = ProbeSettings(halves=4, fold_seeds=1)


def problem(n: int = 120, m: int = 6, k: int = 3, seed: int = 0):
    """Gold heights of random lists, and a generator for features."""
    task = KSmallest(k, m=m, pool=40)
    return task.heights(task.draw(n, seed)), np.random.default_rng(seed + 1)


def noisy(heights: np.ndarray, rng: np.random.Generator, noise: float, layers: int = 2):
    """Features that show heights as well as the noise allows; (examples, statements, layers)."""
    return heights[..., None] + rng.normal(size=(*heights.shape, layers)) * noise


def value(table: pd.DataFrame, column: str = "f1", **where):
    """The one entry of a table whose columns have the given values."""
    chosen = table
    for name, wanted in where.items():
        chosen = chosen[chosen[name] == wanted]
    assert len(chosen) == 1
    return chosen[column].iloc[0]


# The classifiers


def test_what_was_told_of_the_same_features_is_not_fitted_again(monkeypatch):
    heights, rng = problem()
    features, twin = noisy(heights, rng, 1.0), rng.normal(size=(*heights.shape, 2))
    fitted, near = [], CLASSIFIERS["kNN"]

    def count(*given):
        fitted.append(given[0].shape)
        return near(*given)

    monkeypatch.setitem(CLASSIFIERS, "kNN", count)
    asked = {"heights": heights, "twins": [twin], "classifiers": ["kNN"], "controls": ()}
    first = compare({"a": features}, **asked, settings=FAST)
    once = len(fitted)
    again = compare({"a": features.copy()}, **asked, settings=FAST)
    pd.testing.assert_frame_equal(again.scores, first.scores)
    assert len(fitted) == once == 2 * 2
    other = features.copy()
    other[0, 0, 0] += 1e-9
    for changed in (
        {"settings": replace(FAST, seed=1)}, {"heights": heights[:, ::-1]},
        {"groups": np.arange(len(heights)) // 2},
    ):  # fmt: skip
        before = len(fitted)
        compare({"a": features}, **{"settings": FAST, **asked, **changed})
        assert len(fitted) == before + once, changed
    compare({"a": other}, **asked, settings=FAST)
    assert len(fitted) == 4 * once + once // 2  # the twin is known


def test_the_two_label_sets():
    heights = np.array([[0, 1, USELESS, PADDING]], dtype=np.int8)
    assert usefulness(heights).tolist() == [[1, 1, 0, PADDING]]
    assert useful_heights(heights).tolist() == [[0, 1, PADDING, PADDING]]


def test_no_group_stands_on_both_sides_of_a_fold():
    # Within a group all features are the same and tell the label exactly; between groups they tell
    # nothing. Only a probe that trains on the group it is tested on could be right.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    heights = np.repeat(rng.integers(0, 2, size=60), 5)[:, None].astype(np.int8)
    features = np.repeat(rng.normal(size=(60, 1, 3)), 5, axis=0)
    apart = predict(features, heights, groups)
    assert (apart.height == heights).mean() < 0.7
    mixed = predict(features, heights)
    assert (mixed.height == heights).mean() > 0.95, "the trap must work when groups are ignored"


def test_the_statements_of_an_example_stand_together_without_groups_too():
    heights, rng = problem()
    own = rng.normal(size=(len(heights), 1, 2)) * 100
    # Each example is a cloud of its own far from the others; neighbours are always strangers.
    found = predict(own + rng.normal(size=(*heights.shape, 2)) * 0.01, heights)
    assert (found.useful != PADDING).all()
    assert abs((found.useful == usefulness(heights)).mean() - 0.5) < 0.1


def test_perfect_features_are_read_perfectly():
    heights, rng = problem()
    found = compare({"good": noisy(heights, rng, 1e-3)}, heights, twins=[], settings=FAST)
    for target in ("V", "G", "G_root"):
        row = found.f1[(found.f1.source == "good") & (found.f1.target == target)]
        assert row.f1.eq(1).all() and row.low.gt(0.9).all()
    assert len(found.scores) == 0


def test_permuted_labels_and_pure_noise_are_at_chance():
    heights, rng = problem(n=400, k=3)
    features = {"good": noisy(heights, rng, 0.01)}
    found = compare(features, heights, twins=[rng.normal(size=(*heights.shape, 2))], settings=FAST)
    # Half of the statements are useful; a third of those is the root.
    for source in ("permuted labels", "random twin 0"):
        near = found.f1[found.f1.classifier == "kNN"]
        assert abs(value(near, source=source, target="V") - 0.5) < 0.05
        assert abs(value(near, source=source, target="G") - 0.5) < 0.08


def test_padding_is_ignored():
    heights, rng = problem(n=60)
    features = noisy(heights, rng, 0.5)
    expected = predict(features, heights)
    more = np.full((60, 3), PADDING, dtype=np.int8)
    padded = np.concatenate([heights, more], axis=1)
    rubbish = np.full((60, 3, 2), np.nan)
    found = predict(np.concatenate([features, rubbish], axis=1), padded)
    assert (found.useful[:, :6] == expected.useful).all()
    assert (found.height[:, :6] == expected.height).all()
    assert (found.useful[:, 6:] == PADDING).all() and (found.height[:, 6:] == PADDING).all()
    assert (found.height[padded == USELESS] == PADDING).all()


def test_small_folds_do_with_fewer_neighbours():
    heights = np.array([[0, 1, USELESS]] * 4, dtype=np.int8)
    features = np.tile(np.array([0.0, 5.0, 9.0])[None, :, None], (4, 1, 2))
    found = predict(features, heights, settings=ProbeSettings(neighbours=8, folds=2))
    assert (found.height[:, :2] == heights[:, :2]).all()


def test_impossible_input_is_refused():
    heights, rng = problem(n=4)
    features = noisy(heights, rng, 0.1)
    with pytest.raises(InputError, match="4 groups of examples for 5 folds"):
        predict(features, heights)
    with pytest.raises(InputError, match="1 groups"):
        predict(features, heights, groups=np.zeros(4), settings=ProbeSettings(folds=2))
    with pytest.raises(InputError, match="shape"):
        predict(features[:, 1:], heights)


# Figures from predictions


@given(st.integers(0, 10_000), st.integers(2, 4))
def test_figures_of_what_is_told_are_those_of_scikit_learn(seed, classes):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, classes, size=40).astype(np.int8)
    chances = rng.dirichlet(np.ones(classes), size=40)
    told, guess = Told(gold, chances), chances.argmax(axis=1)
    occur = np.unique(gold)
    expected = f1_score(gold, guess, average=None, labels=occur, zero_division=0)
    np.testing.assert_allclose(told.f1, expected)
    loss = log_loss(gold, chances, labels=range(classes)) / np.log(2)
    np.testing.assert_allclose(told.bits(1e9), loss, rtol=1e-6)


def test_neighbours_that_agree_cost_some_bits_all_the_same():
    sure = Told(np.array([0, 1]), np.eye(2))
    assert sure.bits(8) == pytest.approx(-np.log2(8.5 / 9))
    wrong = Told(np.array([1, 0]), np.eye(2))
    assert wrong.bits(8) == pytest.approx(-np.log2(0.5 / 9))


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("rows", [60, MANY + 1])
def test_the_votes_are_those_of_scikit_learn(rows, power):
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(rows, 3)), rng.integers(0, 3, size=rows)
    fold = rng.integers(-1, 4, size=rows)
    there = np.flatnonzero(fold >= 0)
    found = np.full((rows, 3), np.nan)
    # Few columns at first, so that most rows have to look further.
    near = Neighbours(values, columns=8, power=power)
    found[there] = near.votes(there, labels, fold, 8)
    for number in range(4):
        train, test = (fold >= 0) & (fold != number), fold == number
        model = KNeighborsClassifier(8, weights="distance", p=power)
        expected = model.fit(values[train], labels[train]).predict_proba(values[test])
        np.testing.assert_allclose(found[test], expected)


def test_a_logistic_regression_weighs_features_of_any_scale():
    heights, rng = problem()
    good = noisy(heights, rng, 0.5, layers=1)
    # Twenty useless columns a thousand times as large: neighbours are lost in them.
    loud = np.concatenate([good, 1e3 * rng.normal(size=(*heights.shape, 20))], axis=-1)
    right = {
        name: (predict(loud, heights, classifier=name).useful == usefulness(heights)).mean()
        for name in ("kNN", "logistic")
    }
    assert right["logistic"] > 0.8 > 0.6 > right["kNN"]


def test_trials_leave_out_what_takes_no_part():
    heights, rng = problem(n=20)
    groups = np.arange(20)
    ways = [(0, slice(None)), (1, np.arange(10)), (2, np.array([3]))]
    trials = Trials.of(usefulness(heights), groups, FAST, ways)
    assert (trials.folds[0] >= 0).all()
    example = trials.place[0]
    assert ((trials.folds[1] >= 0) == (example < 10)).all()
    assert (trials.folds[2] == -1).all(), "one group is too few to predict one from the other"
    for fold in trials.folds[:2]:
        assert all(len({*fold[example == i]}) == 1 for i in range(20))
    for name in ("kNN", "logistic"):
        told = [*trials.run(noisy(heights, rng, 0.1), name, FAST)]
        assert [len(one.gold) for one in told] == [120, 60, 0]
        np.testing.assert_allclose(told[0].chances.sum(axis=1), 1)


def test_tables_hold_the_f1_of_the_predictions():
    heights, rng = problem()
    found = compare({"some": noisy(heights, rng, 0.8)}, heights, twins=[], settings=FAST)
    predictions = found.predictions["some"]
    useful, height = usefulness(heights), useful_heights(heights)
    expected = {
        "V": f1_score(useful.ravel(), predictions.useful.ravel(), average="macro"),
        "G": f1_score(height[height >= 0], predictions.height[height >= 0], average="macro"),
        "G_root": f1_score(height[height >= 0], predictions.height[height >= 0]),
    }
    for target, f1 in expected.items():
        assert 0.3 < f1 < 0.99
        found_f1 = value(found.f1, source="some", target=target, classifier="kNN")
        np.testing.assert_allclose(found_f1, f1)


def test_scores_are_equations_1_and_2():
    heights, rng = problem()
    found = compare(
        {"model": noisy(heights, rng, 0.4)},
        heights,
        twins=[noisy(heights, rng, noise) for noise in (2, 3)],
        text={"text": noisy(heights, rng, 1)},
        settings=FAST,
    )
    f1 = found.f1.set_index(["classifier", "source", "target"]).f1
    for classifier in ("kNN", "logistic"):
        of, table = f1[classifier], found.scores[found.scores.classifier == classifier]
        for score, target in (("S_P1", "V"), ("S_P2", "G"), ("S_P2_root", "G_root")):
            twins = [of[f"random twin {i}", target] for i in (0, 1)]
            base = sum(twins) / 2
            row = table[(table.source == "model") & (table.score == score)].iloc[0]
            np.testing.assert_allclose(row.value, (of["model", target] - base) / (1 - base))
            np.testing.assert_allclose(row.difference, of["model", target] - base)
            # A twin's own score is over the other twins.
            own = value(table, "value", source="random twin 0", score=score)
            np.testing.assert_allclose(own, (twins[0] - twins[1]) / (1 - twins[1]))
    assert (found.scores.low <= found.scores.value).all()
    assert (found.scores.difference_low <= found.scores.difference).all()


def test_the_gain_is_of_text_and_model_over_text_and_twins():
    heights, rng = problem()
    text = noisy(heights, rng, 1)
    twins = [noisy(heights, rng, noise) for noise in (2, 3)]
    models = {"model": noisy(heights, rng, 0.6)}
    found = compare(models, heights, twins=twins, text={"text": text}, settings=FAST)

    def joint(values: np.ndarray) -> pd.Series:
        tables = [
            compare({"m": np.concatenate([told, values], axis=-1)}, heights, twins=[],
                    controls=(), settings=FAST, classifiers=[by]).f1
            for by in CLASSIFIERS
            for told in [shown(text, by)]
        ]  # fmt: skip
        return pd.concat(tables).set_index(["classifier", "target"]).f1

    apart = joint(models["model"]) - (joint(twins[0]) + joint(twins[1])) / 2
    gains = found.gains[found.gains.over == "text and twins"]
    assert len(gains) == 2 * 5
    for row in gains.itertuples():
        sign, target = (-1, f"{row.target} bits") if row.measure == "bits" else (1, row.target)
        np.testing.assert_allclose(row.value, sign * apart[row.classifier, target])
        assert row.against == 2
    plain = gains[(gains.classifier == "logistic") & gains.target.isin(["V", "G"])]
    assert (plain.low > 0).all() and (plain.p < 0.05).all()


def test_attention_to_what_the_text_tells_in_the_middle_of_a_number_gains_nothing():
    """The root stands at one place: a number of the text to which no weight can point."""
    task, rng = KSmallest(2, m=9, pool=40), np.random.default_rng(0)
    lists = arranged(task, task.draw(150, seed=0), place=5)
    heights = task.heights(lists)
    at_place = (np.arange(9) == 4)[None, :, None]
    attention, blind = (
        seen * 0.5 + rng.normal(scale=0.1, size=(150, 9, 2)) for seen in (at_place, 0)
    )
    text = task.text_baseline(lists)["text"]
    found = compare({"m": attention}, heights, twins=[blind], text={"text": text}, settings=FAST)
    gains = found.gains[(found.gains.classifier == "logistic") & (found.gains.measure == "F1")]
    gains = gains[gains.over == "text and twins"].set_index("target")
    assert (abs(gains.value) < 0.02).all()
    as_numbers = [np.concatenate([text, x], axis=-1) for x in (attention, blind)]
    fooled = compare({"m": as_numbers[0]}, heights, twins=[as_numbers[1]], settings=FAST).f1
    of = fooled[fooled.classifier == "logistic"].set_index(["source", "target"]).f1
    assert of["m", "G"] > of["random twin 0", "G"] + 0.1


def test_each_value_of_a_text_has_a_column_unless_they_are_many():
    rng = np.random.default_rng(0)
    text = np.stack([rng.integers(3, size=(40, 5)), rng.random((40, 5))], axis=-1)
    text[3, 4] = np.nan
    found = by_value(text)
    assert MANY_VALUES < 200
    assert found.shape[-1] == 3 + 9
    assert (
        np.isnan(found[3, 4]).all() and np.isfinite(np.delete(found.reshape(200, -1), 19, 0)).all()
    )
    place = np.nonzero(~np.isnan(text[..., 0]))
    np.testing.assert_array_equal(found[place][:, :3], np.eye(3)[text[place][:, 0].astype(int)])
    np.testing.assert_allclose(found[place][:, 3:].sum(axis=1), 1)


def test_discoveries_are_controlled_within_each_family():
    rng = np.random.default_rng(0)
    families = [
        (measure, classifier, over)
        for measure in ("F1", "bits")
        for classifier in ("kNN", "logistic")
        for over in ("text and twins", "permuted labels")
    ]
    rows = [family for _ in range(5) for family in families]  # interleaved, as sets are
    gains = pd.DataFrame(rows, columns=["measure", "classifier", "over"])
    gains["p"] = rng.uniform(size=len(gains)) ** 4
    found = discoveries(gains)
    assert "q" not in gains and found.p.equals(gains.p)
    for number in range(len(families)):
        own = found[number :: len(families)]
        np.testing.assert_allclose(own.q, false_discovery_control(own.p))
    assert not np.allclose(found.q, false_discovery_control(found.p)), "families must matter"
    assert (found.q >= found.p).all()


def test_gains_without_a_p_value_are_no_discoveries_and_stop_none():
    heights, rng = problem(n=3)
    features = [noisy(heights, rng, 1) for _ in range(3)]
    found = compare(
        {"model": features[0]}, heights, twins=[features[1]], text={"text": features[2]},
        settings=replace(FAST, folds=2),
    ).gains  # fmt: skip
    assert len(found) and found.p.isna().all() and discoveries(found).q.isna().all()
    some = found.assign(p=np.arange(len(found)) / 100, measure="F1")
    some.loc[0, "p"] = np.nan
    family = some[(some.classifier == "kNN") & (some.over == some.over[0])]
    q = discoveries(some).q[family.index]
    assert np.isnan(q.iloc[0])
    np.testing.assert_allclose(q.iloc[1:], false_discovery_control(family.p.iloc[1:]))


def test_a_baseline_that_is_nearly_perfect_leaves_the_score_undefined():
    heights, rng = problem()
    found = compare(
        {"model": noisy(heights, rng, 0.4)},
        heights,
        twins=[noisy(heights, rng, 0.01) for _ in range(2)],
        settings=FAST,
    )
    scores = found.scores[found.scores.kind == "model"]
    assert len(scores) == 6 and scores.value.isna().all()
    assert scores.note.str.startswith("not defined here: the baseline's F1 is 1.0").all()
    assert (scores.difference < 0).all(), "the difference says it all the same"


def test_where_nothing_ever_differs_the_rule_of_three_holds():
    heights, rng = problem(n=60)
    found = compare({"good": noisy(heights, rng, 1e-3)}, heights, twins=[], settings=FAST)
    row = found.f1[(found.f1.source == "good") & (found.f1.target == "V")].iloc[0]
    assert (row.f1, row.low, row.high) == (1, 1 - 3 / 60, 1)


def test_halves_that_have_no_figure_are_counted():
    values = np.array([0.5, 0.4, 0.6, np.nan, 0.5, 0.7, 0.5])
    found = from_halves(values, groups=30)
    assert found.cuts == 2
    reach = student.ppf(0.975, 2) * np.sqrt((0.2**2 + 0.2**2) / 2 / 4)
    assert found.high - found.value == pytest.approx(reach)
    assert np.isnan(from_halves(values[:1], groups=30).low)


@pytest.mark.parametrize("value", [0.0, 0.05, 0.2])
def test_where_all_halves_agree_the_p_value_agrees_with_the_interval(value):
    found = from_halves(np.full(7, value), groups=30)
    assert (found.low > 0) == (found.p < 0.05)
    assert 0 < found.p <= 1


def test_a_band_is_wider_than_its_points():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 21))
    alone, together = [from_halves(row, 50) for row in values], band(values, 50)
    for one, other in zip(alone, together, strict=True):
        assert one.value == other.value
        assert 1.2 < (other.high - other.low) / (one.high - one.low) < 2.5
    same = band(np.repeat(values[:1], 6, axis=0), 50)
    assert same[0].high - same[0].low < 1.3 * (alone[0].high - alone[0].low)


def test_one_height_gives_no_figure_for_heights():
    heights, rng = problem(k=1)
    twins = [rng.normal(size=(*heights.shape, 2))]
    found = compare({"model": noisy(heights, rng, 0.3)}, heights, twins=twins, settings=FAST)
    assert set(found.f1.target) == {"V", "V bits"} and set(found.scores.score) == {"S_P1"}


def test_the_same_seed_gives_the_same_tables():
    heights, rng = problem()
    sources = {"model": noisy(heights, rng, 0.5)}, heights
    twins = [noisy(heights, rng, 2), noisy(heights, rng, 2)]
    first, again = (compare(*sources, twins=twins, settings=FAST) for _ in range(2))
    pd.testing.assert_frame_equal(first.f1, again.f1)
    pd.testing.assert_frame_equal(first.scores, again.scores)
    other = compare(*sources, twins=twins, settings=replace(FAST, seed=1))
    assert not first.f1.equals(other.f1)


def test_intervals_grow_when_examples_are_not_independent():
    heights, rng = problem(n=40)
    features = noisy(heights, rng, 1.0)
    copies = 5
    heights, features = np.tile(heights, (copies, 1)), np.tile(features, (copies, 1, 1))
    groups = np.tile(np.arange(40), copies)
    width = {}
    for name, given_groups in (("grouped", groups), ("apart", None)):
        found = compare({"m": features}, heights, twins=[], groups=given_groups, settings=FAST)
        row = found.f1[(found.f1.source == "m") & (found.f1.target == "V")].iloc[0]
        width[name] = row.high - row.low
    assert width["grouped"] > 1.5 * width["apart"]


def test_prefixes_use_the_first_layers_of_model_and_twins():
    heights, rng = problem()
    useless = rng.normal(size=(*heights.shape, 1))
    model = np.concatenate([useless, noisy(heights, rng, 0.2, layers=1)], axis=-1)
    twin = rng.normal(size=model.shape)
    found = compare_prefixes({"model": model}, heights, twins=[twin], settings=FAST)
    for layers in (1, 2):
        own, other = {"model": model[..., :layers]}, [twin[..., :layers]]
        alone = compare(own, heights, twins=other, settings=FAST, classifiers=["kNN"]).scores
        part = found[found.layers == layers].reset_index(drop=True)
        alone = alone[alone.kind == "model"].reset_index(drop=True)
        pd.testing.assert_series_equal(part.value, alone.value)
        # The band holds for both prefixes at once.
        assert (part.high - part.low > alone.high - alone.low).all()
    score = found[found.score == "S_P1"]
    assert abs(score.value.iloc[0]) < 0.2 and score.value.iloc[1] > 0.6


@pytest.mark.parametrize("wrong", ["model", "twin"])
def test_prefixes_of_other_examples_are_refused(wrong):
    heights, rng = problem(n=30)
    features = {name: noisy(heights, rng, 1) for name in ("model", "twin")}
    features[wrong] = np.concatenate([features[wrong]] * 2)
    with pytest.raises(InputError, match=r"features of shape \(60, 6, 2\)"):
        compare_prefixes(
            {"model": features["model"]}, heights, twins=[features["twin"]], settings=FAST
        )


def test_predictions_as_a_table_keep_every_statement():
    heights, rng = problem(n=30)
    heights[0, 5] = PADDING
    found = compare({"model": noisy(heights, rng, 0.3)}, heights, twins=[], settings=FAST)
    names = np.arange(heights.size).reshape(heights.shape)
    table = tidy_predictions(found.predictions, heights, names)
    assert len(table) == heights.size - 1 and set(table.source) == {"model"}
    predicted = found.predictions["model"]
    for row in table.itertuples():
        place = row.example, row.position
        assert (row.statement, row.height) == (names[place], heights[place])
        assert row.predicted_useful == predicted.useful[place]
        if row.height == USELESS:
            assert pd.isna(row.predicted_height)
        else:
            assert row.predicted_height == predicted.height[place]


# The published protocol


def published_in_loops(features: np.ndarray, heights: np.ndarray) -> tuple[float, float]:
    """The source's two figures in plain Python: its own neighbours, weights and F1."""

    def neighbours_vote(train, labels, row):
        distance = np.sqrt(((train - row) ** 2).sum(1))
        near = np.argsort(distance, kind="stable")[:8]
        votes: dict[int, float] = {}
        for i in near:
            votes[labels[i]] = votes.get(labels[i], 0) + 1 / distance[i]
        return max(sorted(votes), key=lambda label: votes[label])

    def f1(gold, guess, label):
        hits = sum(g == p == label for g, p in zip(gold, guess, strict=True))
        total = sum(g == label for g in gold) + sum(p == label for p in guess)
        return 2 * hits / total if total else 0.0

    cut, useful = len(features) // 2, heights != USELESS
    results = []
    for rows, labels, classes in (
        (features.reshape(-1, features.shape[-1]), useful.ravel(), [0, 1]),
        (features[useful], (heights == heights.max())[useful], [1]),
    ):
        labels = labels.astype(int)
        folds = []
        for train, test in ((slice(cut), slice(cut, None)), (slice(cut, None), slice(cut))):
            guess = [neighbours_vote(rows[train], labels[train], row) for row in rows[test]]
            folds.append(np.mean([f1(labels[test], guess, label) for label in classes]))
        results.append(np.mean(folds))
    return results[0], (1 + results[1]) / 2


def test_the_published_protocol_is_the_sources_own():
    task = KSmallest(3, m=6, pool=12, repeats=True)
    lists = task.draw(80, seed=2)
    heights = task.published_heights(lists)
    features = noisy(heights, np.random.default_rng(3), 0.8)
    found = published_f1(features, heights)
    v, g = published_in_loops(features, heights)
    np.testing.assert_allclose([found["V"], found["G"]], [v, g])
    np.testing.assert_allclose(found["G_root"], 2 * g - 1)


def test_the_published_protocol_of_language_takes_rows_as_they_come():
    rng = np.random.default_rng(0)
    heights = np.tile([0, 1, USELESS, PADDING], (20, 1))
    features = rng.normal(size=(*heights.shape, 2))
    rows, gold = features[:, :2].reshape(-1, 2), heights[:, :2].ravel()
    near = KNeighborsClassifier(8, weights="distance", p=1)
    wanted = cross_val_score(near, rows, gold, cv=5, scoring="f1_macro").mean()
    assert published_language_f1(features, heights)["G"] == pytest.approx(wanted, rel=1e-12)
    turned = published_language_f1(features, heights, [[1, 0]] * 20)["G"]
    wanted = cross_val_score(
        near, features[:, [1, 0]].reshape(-1, 2), heights[:, [1, 0]].ravel(), cv=5,
        scoring="f1_macro",
    ).mean()  # fmt: skip
    assert turned == pytest.approx(wanted, rel=1e-12)
    # One class alone is always right, and what the classifier cannot take is unknown.
    assert published_language_f1(features, np.where(heights == 1, 0, heights))["G"] == 1
    assert np.isnan(published_language_f1(features[:4], heights[:4])["G"])


def test_the_published_table_normalises_by_the_twins_mean():
    heights, rng = problem()
    model, twins = noisy(heights, rng, 0.4), [noisy(heights, rng, 3) for _ in range(2)]
    table = compare_published({"model": model}, twins, heights).set_index("source")
    bases = [published_f1(twin, heights) for twin in twins]
    for score, target in (("S_P1", "V"), ("S_P2_root", "G")):
        base = np.mean([b[target] for b in bases])
        expected = (published_f1(model, heights)[target] - base) / (1 - base)
        np.testing.assert_allclose(table.loc["model", score], expected)
    assert table.loc["random twin (mean)", "S_P1"] == 0


def test_statements_that_are_all_alike_are_refused():
    features = np.random.default_rng(0).random((12, 3, 2))
    with pytest.raises(InputError, match=r"nothing to tell apart: .* add useless ones"):
        compare({"m": features}, np.zeros((12, 3), dtype=int), twins=[], settings=FAST)


def test_a_band_of_one_cut():
    values = np.random.default_rng(0).normal(size=(3, 3))
    assert all(np.isfinite(one.low) for one in band(values, 20))
