"""Trees beside one another: figures are the probe's own, planted slopes are seen."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mplib.errors import InputError
from mplib.models.inference import Answers, Reading
from mplib.models.loading import load_model
from mplib.probe.knn import ProbeSettings
from mplib.probe.scores import compare
from mplib.studies import language, language_tables
from mplib.studies.language import Procedure, Readings, Subject
from mplib.studies.paired import dial
from mplib.tasks.ontology import Ontology
from mplib.tasks.textbaseline import text_features

TASK = Ontology(depths=(1, 2))
PROCEDURE = Procedure("proofwriter", twins=2, settings=ProbeSettings(8, 1, halves=2, fold_seeds=1))
QUICK = replace(PROCEDURE, settings=replace(PROCEDURE.settings, folds=2, halves=1))
SURE = replace(PROCEDURE, settings=replace(PROCEDURE.settings, halves=6))
NAMES = {world: f"depth 2, {world}" for world in TASK.worlds}


@pytest.fixture(scope="module")
def sets():
    return language.chosen_sets(TASK, "test", 32, [2])


def planted(sets, right, noise=(0.01, 0.01, 0.01)):
    """Readings of depth 2 with given answers, in which attention shows the tree as well as told."""
    found, rng = [], np.random.default_rng(0)
    arms = [one for one in sets if one.depth == 2]
    for one, correct, spread in zip(arms, right, noise, strict=True):
        shape = (*one.heights.shape, 3)
        seen = one.heights[..., None] + rng.normal(scale=spread, size=shape)
        answers = Answers(np.asarray(correct, dtype=bool), np.zeros(len(correct)))
        blind = tuple(rng.normal(size=(4, *shape)))
        found.append(Readings("planted", one, Reading(seen, answers), blind))
    return found


def row(table: pd.DataFrame, measure: str, of: str, minus: str = "", among: str = "") -> pd.Series:
    """One row of depth 2."""
    names = [NAMES[of], NAMES.get(minus, "")]
    (found,) = table[
        (table[["set", "minus"]] == names).all(axis=1)
        & (table[["measure", "among"]] == [measure, among]).all(axis=1)
    ].to_dict("records")
    return pd.Series(found)


def test_figures_are_those_of_the_probe(sets):
    loaded = load_model("llama-nano", vocabulary=TASK.vocabulary, device="cpu")
    readings = language.read_sets([Subject("2-shot", loaded, 2)], sets, PROCEDURE)
    table = dial(readings, PROCEDURE)
    own, of = readings[4], readings[4].examples
    assert of.name == NAMES["invented"]
    for among, heights in (("all statements", of.heights), ("rules alone", of.rules)):
        found = compare(
            **own.probed | {"heights": heights}, text={"text": text_features(of.examples)},
            settings=PROCEDURE.settings, controls=(),
        )  # fmt: skip
        scores = found.scores[found.scores.kind == "model"].set_index(["classifier", "score"])
        gains = found.gains[found.gains.measure == "F1"].set_index(["classifier", "target"])
        for measure in ("S_P1", "S_P2", "gain V", "gain G"):
            ours = row(table, measure, "invented", among=among)
            kind, _, target = measure.partition(" ")
            theirs = gains.loc["logistic", target] if target else scores.loc["kNN", kind]
            for name in ("value", "low", "high"):
                assert ours[name] == pytest.approx(theirs[name])
    answers = language_tables.accuracy_table(readings).merge(
        table[(table.measure == "accuracy") & (table.minus == "")], on=["set", "subject"]
    )
    np.testing.assert_array_equal(answers.accuracy, answers.value)
    # Differences are those of the figures.
    apart = table[table.minus != ""]
    by = table[table.minus == ""].set_index(["set", "among", "measure"]).value
    for name in ("set", "minus"):
        apart = apart.join(by.rename(f"of {name}"), on=[name, "among", "measure"])
    np.testing.assert_allclose(apart.value, apart["of set"] - apart["of minus"], atol=1e-12)
    assert len(apart) == 2 * 3 * (1 + 4 + 4)
    # At depth 1 all rules are of one height.
    flat = table[(table.depth == 1) & (table["among"] == "rules alone")]
    assert flat[flat.measure.isin(["S_P2", "gain G"])].value.isna().all()
    assert flat[flat.measure.isin(["S_P1", "gain V"])].value.notna().all()


def test_a_recaller_has_a_slope_and_a_reasoner_has_none(sets):
    n, rng = 32, np.random.default_rng(1)
    recaller = dial(planted(sets, [np.ones(n), rng.random(n) < 0.5, np.zeros(n)]), QUICK)
    assert row(recaller, "accuracy", "true").value == 1
    steps = [row(recaller, "accuracy", *x) for x in (("true", "invented"), ("true", "false"))]
    assert steps[0].low > 0 and steps[1].value == 1
    assert row(recaller, "accuracy", "false").high < 0.5
    reasoner = dial(planted(sets, [rng.random(n) < 0.9 for _ in range(3)]), QUICK)
    for world in ("invented", "false"):
        found = row(reasoner, "accuracy", "true", world)
        assert found.low < 0 < found.high
    few = np.ones(n)
    few[0] = 0
    rare = row(dial(planted(sets, [few, np.ones(n), few]), QUICK), "accuracy", "true", "false")
    assert rare.value == 0 and rare.low < 0 < rare.high and "rare events" in rare.note


def test_a_tree_that_only_the_true_world_shows_is_seen(sets):
    table = dial(planted(sets, [np.ones(32)] * 3, noise=(0.01, 0.01, 30)), SURE)
    for among in ("all statements", "rules alone"):
        for measure in ("S_P1", "S_P2", "gain V"):
            assert row(table, measure, "true", "false", among).low > 0
            same = row(table, measure, "true", "invented", among)
            assert same.low <= 0 <= same.high


def test_what_the_answers_need_stands_beside_them_tree_by_tree(sets):
    readings = planted(sets, [np.ones(32)] * 3)
    needs = [np.repeat([1.0, 0.0], 16), np.repeat([1.0, 0.0, 0.0, 0.0], 8), np.zeros(32)]
    table = dial(readings, SURE, needs)
    assert [row(table, "need", world).value for world in TASK.worlds] == [0.5, 0.25, 0.0]
    apart = row(table, "need", "true", "false")
    assert apart.value == 0.5 and 0.3 < apart.low < apart.high < 0.7
    rest = table[table.measure != "need"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, dial(readings, SURE))


def test_other_trees_are_not_compared(sets):
    one, two, three = planted(sets, [np.ones(32)] * 3)
    turned = replace(two.examples, examples=two.examples.examples[::-1])
    with pytest.raises(InputError, match=r"'depth 2, invented' and 'depth 2, true' hold different"):
        dial([one, replace(two, examples=turned), three], PROCEDURE)
