"""Transfer: the same signal is found in another set, another signal is not."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from mplib.errors import InputError
from mplib.probe.knn import CLASSIFIERS, ProbeSettings, useful_heights, usefulness
from mplib.probe.scores import compare
from mplib.probe.transfer import transfer
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.trees import PADDING, USELESS

FAST = ProbeSettings(halves=4, fold_seeds=1)


def lists(k: int, m: int = 6, n: int = 60, seed: int = 0) -> np.ndarray:
    """Gold heights of random lists."""
    task = KSmallest(k, m=m, pool=40)
    return task.heights(task.draw(n, seed))


def seen(heights: np.ndarray, seed: int, sign: int = 1, noise: float = 0.3) -> np.ndarray:
    """Features that show heights, or their opposite, under noise."""
    rng = np.random.default_rng(seed)
    return sign * heights[..., None] + rng.normal(scale=noise, size=(*heights.shape, 2))


def f1(table: pd.DataFrame, fitted: str, scored: str, target: str, name: str = "f1") -> np.ndarray:
    """A column by classifier."""
    chosen = table["fitted on"].eq(fitted) & table["scored on"].eq(scored)
    found = table[chosen & (table.target == target)]
    assert found.classifier.tolist() == list(CLASSIFIERS)
    return found[name].to_numpy()


def test_the_same_signal_transfers_and_a_flipped_one_does_not():
    few, many = lists(2), lists(4, m=9, n=45, seed=1)
    table = transfer(
        {
            "few": (seen(few, 0), few),
            "many": (seen(many, 1), many),
            "flipped": (seen(few, 2, sign=-1), few),
        },
        FAST,
    )
    assert len(table) == 9 * 2 * 2
    for target in ("V", "G"):
        for fitted, scored in product(("few", "many"), repeat=2):
            assert (f1(table, fitted, scored, target) > 0.9).all()
            assert (f1(table, fitted, scored, target, "low") > 0.8).all()
        assert (f1(table, "flipped", "flipped", target) > 0.9).all(), "it can be read in itself"
        for other in ("few", "many"):
            for pair in ((other, "flipped"), ("flipped", other)):
                assert (f1(table, *pair, target, "high") < 0.5).all()
    inside = table.low.le(table.f1) & table.f1.le(table.high)
    assert inside.all() and table.low.ge(0).all() and table.high.le(1).all()


def test_a_pair_is_scikit_learns_fit_and_prediction():
    one, other = lists(3, n=30), lists(3, m=8, n=20, seed=1)
    sets = {"one": (seen(one, 0, noise=1), one), "other": (seen(other, 1, noise=1), other)}
    table = transfer(sets, FAST)
    for target, label in (("V", usefulness), ("G", useful_heights)):
        (x, y), (x2, y2) = (
            (features[label(h) != PADDING], label(h)[label(h) != PADDING])
            for features, h in sets.values()
        )
        near = KNeighborsClassifier(8, weights="distance").fit(x, y)
        scaler = StandardScaler().fit(np.concatenate([x, x2]))
        line = LogisticRegression(solver="newton-cholesky").fit(scaler.transform(x), y)
        guesses = near.predict(x2), line.predict(scaler.transform(x2))
        expected = [f1_score(y2, guess, average="macro") for guess in guesses]
        np.testing.assert_allclose(f1(table, "one", "other", target), expected, atol=1e-12)


def test_the_diagonal_is_the_sets_own_comparison():
    heights = lists(3, n=30)
    features = seen(heights, 0, noise=1)
    groups = {"a": np.arange(30) // 2, "b": 100 + np.arange(30) // 3}
    table = transfer(dict.fromkeys("ab", (features, heights)), FAST, groups=groups)
    for name, own in groups.items():
        found = compare(
            {"m": features}, heights, twins=[], groups=own, controls=(), settings=FAST
        ).f1
        for target in ("V", "G"):
            expected = found[(found.target == target) & (found.kind == "model")]
            for column in ("f1", "low", "high"):
                np.testing.assert_array_equal(
                    f1(table, name, name, target, column), expected[column]
                )


def test_only_heights_that_both_have_are_told_apart():
    shallow = lists(3, n=40)
    deep = np.where(lists(4, m=8, n=40, seed=1) == 1, 2, lists(4, m=8, n=40, seed=1))
    deep[:, 0] = np.where(deep[:, 0] == 0, 1, deep[:, 0])
    assert set(np.unique(deep)) == {USELESS, 0, 1, 2}
    sets = {"d1": (seen(shallow, 0, noise=0.1), shallow), "d2": (seen(deep, 1, noise=0.1), deep)}
    table = transfer({**sets, "flat": (sets["d1"][0], np.minimum(shallow, 0))}, FAST)
    assert (f1(table, "d1", "d2", "G") > 0.95).all(), "no height is missed that was never shown"
    assert f1(table, "d1", "d2", "G", "classes").tolist() == [2, 2]
    assert f1(table, "d2", "d2", "G", "classes").tolist() == [3, 3]
    assert not len(table[(table.target == "G") & table["scored on"].eq("flat")])


def test_no_group_is_on_both_sides():
    # Features tell a group exactly, and its label; between groups they tell nothing.
    rng = np.random.default_rng(0)
    heights = rng.choice([0, USELESS], size=(90, 1)).astype(np.int8)
    features, names = rng.normal(size=(90, 1, 3)), np.array([f"theory {i}" for i in range(90)])
    # A third of the theories stand in both sets.
    one, other = slice(60), slice(30, None)
    sets = {name: (features[own], heights[own]) for name, own in (("a", one), ("b", other))}

    def across(**given) -> pd.DataFrame:
        table = transfer(sets, FAST, ["kNN"], **given)
        return table[table["fitted on"] != table["scored on"]]

    assert (across().f1 > 0.7).all(), "the trap must work when groups are ignored"
    assert (across(groups={"a": names[one], "b": names[other]}).f1 < 0.6).all()
    nothing_left = across(groups={"a": names[one], "b": names[one]})
    assert nothing_left.empty


def test_padding_is_no_statement():
    heights = lists(3, n=30)
    features = seen(heights, 0)
    more = np.full((30, 2), PADDING, dtype=np.int8)
    wide = np.concatenate([features, np.full((30, 2, 2), np.nan)], axis=1)
    plain = transfer({"a": (features, heights), "b": (features[::-1], heights[::-1])}, FAST)
    padded = {
        "a": (wide, np.concatenate([heights, more], axis=1)),
        "b": (features[::-1], heights[::-1]),
    }
    pd.testing.assert_frame_equal(transfer(padded, FAST), plain)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (np.zeros((60, 6, 3)), "layers: 2 in 'a', 3 in 'b'; probe the same number of them"),
        (np.zeros((60, 5, 2)), r"features of shape \(60, 5, 2\) for heights of shape \(60, 6\)"),
    ],
)
def test_sets_that_do_not_fit_are_refused(features, said):
    heights = lists(2)
    with pytest.raises(InputError, match=said):
        transfer({"a": (seen(heights, 0), heights), "b": (features, heights)}, FAST)
