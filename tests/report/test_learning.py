"""What models side by side say of learning, word by word, from small tables."""

import numpy as np
import pandas as pd

from mplib.report.learning import contrast_sentences, learning_sentences

ALL = "all statements"


def rows(columns: str, *values: tuple) -> pd.DataFrame:
    return pd.DataFrame(values, columns=columns.split())


def contrasts(*values: tuple) -> pd.DataFrame:
    return rows("set among measure subject minus value low high", *values)


def test_contrasts_tell_what_the_last_model_has_more_than_each_other():
    table = contrasts(
        ("d1", "", "accuracy", "b", "", 0.9, 0.8, 0.95),
        ("d1", "", "accuracy", "b", "a", 0.4, 0.3, 0.5),
        ("d1", "", "accuracy", "a", "c", 0.4, 0.3, 0.5),
        ("d2", "", "accuracy", "b", "a", 0.1, -0.1, 0.3),
        ("d1", ALL, "gain V", "b", "a", -0.1, -0.2, -0.05),
        ("d1", ALL, "gain G", "b", "a", np.nan, np.nan, np.nan),
        ("d1", "rules alone", "gain V", "b", "a", 0.3, 0.1, 0.5),
    )
    assert contrast_sentences(table) == [
        "**b against a**, the same questions: accuracy is higher in 1 of 2 sets "
        "(+0.40 [+0.30, +0.50]); gain V is lower in 1 of 2 sets (-0.10 [-0.20, -0.05]); no other "
        "difference is certain."
    ]
    assert contrast_sentences(table[:1]) == [] == learning_sentences(table[:1], pd.DataFrame())
    (line,) = contrast_sentences(table.assign(low=-1.0, high=1.0))
    assert line.endswith("the same questions: no difference is certain.")


def test_of_one_set_no_sets_are_counted():
    (line,) = contrast_sentences(contrasts(("all", "", "accuracy", "b", "a", 0.3, 0.1, 0.5)))
    assert "accuracy is higher (+0.30 [+0.10, +0.50]); no other" in line


APART = contrasts(
    ("d1", "", "accuracy", "shown", "", 0.1, 0.0, 0.2),
    ("d3", "", "accuracy", "shown", "", 0.5, 0.4, 0.6),
    ("d3", "", "accuracy", "dealt", "", 0.4, 0.3, 0.5),
    ("d3", "", "accuracy", "able", "", 0.9, 0.8, 1.0),
    ("d3", "", "accuracy", "able", "dealt", 0.5, 0.4, 0.6),
    ("d3", "", "accuracy", "able", "shown", 0.4, 0.3, 0.5),
    ("d3", ALL, "gain V", "able", "", 0.2, 0.1, 0.3),
    ("d3", ALL, "gain V", "dealt", "", 0.0, -0.1, 0.1),
    ("d3", ALL, "gain V", "able", "dealt", 0.2, 0.1, 0.3),
    ("d3", ALL, "gain V", "able", "shown", 0.1, -0.1, 0.3),
)
PREFIXES = rows(
    "set subject kind score layers value low",
    ("d3", "able", "model", "S_P1", 1, 0.0, -0.1), ("d3", "able", "model", "S_P1", 4, 0.1, 0.0),
    ("d3", "able", "model", "S_P1", 8, 0.3, 0.2), ("d3", "able", "model", "S_P1", 12, 0.5, 0.4),
    ("d3", "shown", "model", "S_P1", 12, 0.9, 0.8), ("d1", "able", "model", "S_P1", 12, 0.9, 0.8),
    ("d3", "able", "model", "S_P2", 1, 0.9, 0.8),
)  # fmt: skip


def test_the_headline_counts_the_models_that_are_surpassed_and_names_all_figures():
    headline, layers, *others = learning_sentences(APART, PREFIXES)
    assert headline == (
        "**The attention of able shows measurably more of the proof than that of 1 of 2 models "
        "beside it.** Right answers (d3): shown 0.50 [0.40, 0.60]; dealt 0.40 [0.30, 0.50], gain V "
        "+0.00 [-0.10, +0.10]; able 0.90 [0.80, 1.00], gain V +0.20 [+0.10, +0.30]."
    )
    assert layers == (
        "Half of what its attention shows of the useful statements comes with layers 5 to 8 of 12 "
        "(S_P1 of the first 8: 0.30; of all: 0.50)."
    )
    assert [line[: line.index(",")] for line in others] == [
        "**able against dealt**", "**able against shown**",
    ]  # fmt: skip


def test_where_no_model_is_surpassed_it_is_said():
    headline, *_ = learning_sentences(APART.assign(low=-1.0), PREFIXES)
    said = "does not show measurably more of the proof than that of any model beside it.**"
    assert headline.startswith(f"**The attention of able {said}")


def test_where_the_whole_shows_nothing_no_layer_is_named():
    hidden = PREFIXES.assign(low=-1.0)
    assert len(learning_sentences(APART, hidden)) == 3
    one = PREFIXES.assign(value=1.0)
    assert "comes with its first layer of 12" in learning_sentences(APART, one)[1]


def test_a_training_is_told_by_what_came_first():
    risen = rows(
        "subject quantity halfway",
        ("able", "accuracy", 300.0), ("able", "S_P1", 200.4), ("able", "gain V", np.nan),
        ("dealt", "accuracy", np.nan),
    )  # fmt: skip
    assert learning_sentences(APART, PREFIXES, risen)[2:4] == [
        "While able was trained, halfway stood S_P1 at step 200, accuracy at step 300; gain V did "
        "not rise measurably.",
        "While dealt was trained, nothing rose measurably.",
    ]
