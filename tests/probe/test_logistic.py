"""All folds of all trials at once, beside scikit-learn's logistic regression one by one."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mplib.probe import logistic
from mplib.probe.logistic import out_of_fold


def problem(seed: int, kinds: int, signal: float = 1.0):
    """Rows of 60 groups, their labels in eight trials, and folds that leave some rows out."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(60), 5)
    gold = rng.integers(0, kinds, len(group))
    rows = rng.normal(size=(len(group), 6)) + signal * gold[:, None] * rng.normal(size=6)
    labels, folds = np.tile(gold, (8, 1)), np.empty((8, len(group)), dtype=int)
    for label, fold in zip(labels, folds, strict=True):
        fold[:] = rng.permuted(np.resize(np.arange(-1, 4), 60))[group]
        label[rng.random(len(group)) < 0.1] = -1
    labels[-1] = rng.permutation(gold)  # one trial has labels of its own
    return StandardScaler().fit_transform(rows), labels, folds


def one_by_one(rows: np.ndarray, labels: np.ndarray, folds: np.ndarray):
    for label, fold in zip(labels, folds, strict=True):
        chances = np.zeros((len(rows), int(labels.max()) + 1))
        for number in range(fold.max() + 1):
            train, test = (fold >= 0) & (fold != number) & (label >= 0), fold == number
            seen = np.unique(label[train])
            chances[test, seen[0]] = 1
            if len(seen) > 1:
                model = LogisticRegression(tol=1e-10).fit(rows[train], label[train])
                chances[np.ix_(test, seen)] = model.predict_proba(rows[test])
        yield chances[fold >= 0]


def same(rows, labels, folds) -> None:
    found = list(out_of_fold(rows, labels, folds))
    wanted = list(one_by_one(rows, labels, folds))
    assert [x.shape for x in found] == [x.shape for x in wanted]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
        np.testing.assert_allclose(one.sum(axis=1), 1)


@pytest.mark.parametrize("kinds", [2, 3, 5])
@pytest.mark.parametrize("signal", [0.0, 0.5, 20.0])  # the last leaves classes far apart
def test_probabilities_are_those_of_scikit_learn(kinds, signal):
    same(*problem(kinds, kinds, signal))


def test_rows_of_one_value_and_of_a_rare_one_change_nothing():
    rows, labels, folds = problem(1, 3)
    rare = np.zeros(len(rows))
    rare[7] = 17.0
    same(np.column_stack([rows, np.zeros(len(rows)), rare]), labels, folds)


def test_a_label_that_other_folds_lack_is_not_told():
    rows, labels, folds = problem(2, 3)
    labels[:] = np.where(folds == 0, labels, np.minimum(labels, 1))
    same(rows, labels, folds)
    found = next(out_of_fold(rows, labels, folds))
    assert (found[folds[0][folds[0] >= 0] == 0, 2] == 0).all()


def test_where_the_others_have_one_label_it_is_told_for_sure():
    rows, labels, folds = problem(3, 2)
    labels[:] = (folds == 0) & (labels == 1)
    same(rows, labels, folds)


def test_trials_may_come_in_parts(monkeypatch):
    given = problem(4, 3)
    whole = list(out_of_fold(*given))
    monkeypatch.setattr(logistic, "ROOM", 1)
    for one, other in zip(out_of_fold(*given), whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
