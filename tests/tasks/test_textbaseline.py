"""The text baseline: its features, and theories whose text gives nothing away to it."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from mplib.tasks.examples import Example
from mplib.tasks.proofwriter.generator import examples
from mplib.tasks.textbaseline import text_features
from mplib.tasks.trees import ReasoningTree, stack_labels


def knn(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    model = KNeighborsClassifier(8, weights="distance", p=1)
    folds = GroupKFold(5)
    scores = cross_val_score(model, features, labels, groups=groups, cv=folds, scoring="f1_macro")
    return float(scores.mean())


def over_permuted(shown: list[Example], rules_only: bool) -> float:
    """F1 of the text baseline less its F1 on permuted labels; V, or heights among useful rules."""
    heights = stack_labels([e.tree for e in shown])
    # Theories hide what a statement shows by itself; which words recur tells of their chain.
    features = np.delete(text_features(shown), 3, axis=-1)
    rows = (heights >= 0) & (features[..., -1] == 1) if rules_only else heights >= -1
    labels = heights if rules_only else (heights >= 0).astype(int)
    groups = np.broadcast_to(np.arange(len(shown))[:, None], heights.shape)
    x, y, g = features[rows], labels[rows], groups[rows]
    rng = np.random.default_rng(0)
    permuted = np.mean([knn(x, rng.permutation(y), g) for _ in range(2)])
    return knn(x, y, g) - float(permuted)


@pytest.mark.parametrize("style", ["attribute", "relation"])
@pytest.mark.parametrize(("depth", "size", "rival"), [(1, 16, False), (2, 8, False), (3, 8, True)])
def test_hidden_theories_give_nothing_away(depth: int, size: int, rival: bool, style: str) -> None:
    more = {"rival": True, "negation": True, "world": "open"} if rival else {}
    shown = examples(256, depth=depth, n_statements=size, style=style, giveaway=False, **more)
    for rows in () if rival else text_features(shown):
        # Of the rules: words shared with the question, length; "not" is one more.
        words = rows[rows[:, -1] == 1][:, :2]
        assert (words == words[0]).all()
    assert abs(over_permuted(shown, rules_only=False)) < 0.1
    if depth > 1:
        assert abs(over_permuted(shown, rules_only=True)) < 0.1


def test_usual_theories_do_give_themselves_away() -> None:
    shown = examples(256, depth=2, n_statements=8)
    assert over_permuted(shown, rules_only=False) > 0.2
    assert over_permuted(shown, rules_only=True) > 0.2


def test_text_features_by_hand() -> None:
    tree = ReasoningTree.from_edges([(1, 0)], 3)
    three = Example(
        statements=("Red people are nice.", "Bob is red.", "Erin is big."),
        question="Bob is not nice.",
        answer="False",
        tree=tree,
        kinds=("rule", "fact", "fact"),
    )
    one = Example(
        ("Bob is nice.",), "Bob is nice.", "True", ReasoningTree(1, {0: 0}, (), 0), kinds=("fact",)
    )
    # Words shared with the question, length, position, words told elsewhere, words behind, kinds.
    nan = [np.nan] * 7
    expected = [
        [[1, 4, 0, 1, 6, 0, 1], [2, 3, 0.5, 2, 3, 1, 0], [1, 3, 1, 1, 0, 1, 0]],
        [[3, 3, 0, 0, 0, 1, 0], nan, nan],
    ]
    np.testing.assert_array_equal(text_features([three, one]), expected)
    other = replace(three, tree=ReasoningTree(3, {0: 0}, (), 0))
    np.testing.assert_array_equal(text_features([three]), text_features([other]))
    assert text_features([replace(three, kinds=())]).shape == (1, 3, 5)
