"""The film of a training: its figures are those of the probe, and what comes first is said so."""

import numpy as np
import pandas as pd
import pytest
from conftest import predicted_tokens

from mplib.models.inference import attention_features, scale_examples, twin_features
from mplib.models.loading import load_model
from mplib.probe.knn import ProbeSettings
from mplib.probe.scores import compare
from mplib.studies.film import QUANTITIES, Film, films, frames, rises
from mplib.studies.finetune import Training, finetune, split_prompts
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.proofwriter import ProofWriter


def history(*rows: dict[str, float]) -> pd.DataFrame:
    return pd.DataFrame([{"step": 10 * i, **row} for i, row in enumerate(rows)])


@pytest.mark.parametrize(
    ("task", "name"),
    [(KSmallest(3, m=6, pool=20), "nano"), (ProofWriter(cases=("d2 s8 hidden",)), "llama-nano")],
    ids=["numbers", "theories"],
)
def test_a_picture_is_the_probes_own_comparison(task, name):
    loaded = load_model(name, vocabulary=task.vocabulary, device="cpu")
    problems = task.splits(3000, seed=0)[1][:16]
    found = Film(task, loaded, problems, twins=2, seed=4)(loaded.model)
    prompts, choices = task.prompts(problems, loaded)
    right = predicted_tokens(loaded.model, prompts, choices=choices) == prompts.answers
    assert found["accuracy"] == right.mean()
    scaled = scale_examples if task.scales else np.asarray
    table = compare(
        {"model": scaled(attention_features(loaded.model, prompts))}, task.heights(problems),
        twins=[scaled(values) for values in twin_features(loaded.model, prompts, 2, seed=4)],
        text={"text": task.text_baseline(problems)["text"]}, groups=task.groups(problems),
        settings=ProbeSettings(metric_power=task.metric_power, seed=4), controls=(),
    )  # fmt: skip
    scores = table.scores[(table.scores.kind == "model") & (table.scores.classifier == "kNN")]
    gains = table.gains[(table.gains.measure == "F1") & (table.gains.classifier == "logistic")]
    rows = {**scores.set_index("score").T, **gains.set_index("gain " + gains.target).T}
    for quantity in QUANTITIES[1:]:
        own = [found[quantity], found[f"{quantity} low"], found[f"{quantity} high"]]
        np.testing.assert_allclose(own, [rows[quantity][x] for x in ("value", "low", "high")])


def test_a_film_runs_in_the_precision_that_is_trained_in(tmp_path):
    task = KSmallest(1, m=5, pool=20)
    loaded = load_model("tiny", vocabulary=task.vocabulary, device="cpu")
    problems = task.draw(40, seed=0)
    prompts, _ = task.prompts(problems, loaded)
    training = Training(2, batch_size=8, trainable="attention", precision="bfloat16", evaluations=1)
    film = Film(task, loaded, problems, twins=1)
    history = finetune(loaded, prompts, prompts, training, tmp_path / "made", {}, film)
    assert history["gain V"].notna().all() and len(history) == 2


def test_where_there_is_one_height_only_usefulness_is_filmed():
    task = KSmallest(1, m=5, pool=20)
    loaded = load_model("nano", vocabulary=task.vocabulary, device="cpu")
    found = Film(task, loaded, task.draw(20, seed=0))(loaded.model)
    film = frames(history(found, found))
    assert list(film.quantity.unique()) == ["accuracy", "S_P1", "gain V"]
    assert film[film.quantity == "S_P1"].step.tolist() == [0, 10]


def test_what_rises_first_is_seen_and_what_does_not_rise_is_no_figure():
    values = {
        "accuracy": [0, 0, 0.2, 0.8, 0.8],
        "S_P1": [0.1, 0.9, 0.9, 0.9, 0.9],
        "S_P2": [-0.2, -0.2, 0.2, 0.6, 0.6],
        "gain V": [0.02, 0, 0.01, 0, 0.05],
        "gain G": [0.3, 0.2, 0.1, 0.1, 0.1],
    }
    rows = [
        {
            f"{name}{end}": of[i] + away
            for name, of in values.items()
            for end, away in (("", 0), (" low", -0.05), (" high", 0.05))
        }
        for i in range(5)
    ]
    film = frames(history(*rows))
    assert film.low.eq(film.value - 0.05).all() and len(film) == 25
    found = rises(film).set_index("quantity")
    np.testing.assert_allclose(found.halfway, [10 * (2 + 1 / 3), 5, 20, np.nan, np.nan])
    np.testing.assert_allclose(found.loc["S_P2", ["first", "last"]].astype(float), [-0.2, 0.6])


def test_a_model_brings_the_film_of_its_own_training(tmp_path):
    task = KSmallest(2, m=5, pool=20)
    start = load_model("nano", vocabulary=task.vocabulary, device="cpu")
    parts = split_prompts(task, start, 300, seed=0)
    training = Training(steps=2, batch_size=4, evaluations=2)
    watch = Film(task, start, task.draw(20, seed=0), twins=1)
    made = finetune(start, parts.train, parts.dev, training, tmp_path / "made", {}, watch)
    loaded = load_model(str(tmp_path / "made"), device="cpu")
    unfilmed = load_model("nano", vocabulary=task.vocabulary, device="cpu")
    found = films([unfilmed, loaded, loaded])
    assert set(found.subject) == {str(tmp_path / "made")}
    pd.testing.assert_frame_equal(found.drop(columns="subject"), frames(made))
    risen = rises(found)
    assert risen.drop(columns="subject").equals(rises(frames(made)))
    assert films([unfilmed]).empty and rises(films([unfilmed])).empty
