"""Studies of examples in words: sets asked, read and probed, and what the tables say."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from mplib.errors import InputError
from mplib.models.inference import Answers, Reading, answers, attention_features
from mplib.models.loading import load_model, random_twin
from mplib.probe.knn import ProbeSettings
from mplib.report.columns import gained
from mplib.studies import language, language_tables, layers
from mplib.studies.finetune import Training, finetune, split_prompts
from mplib.studies.language import Procedure, Readings, Subject
from mplib.studies.layers import published_layers
from mplib.studies.paired import contrasts
from mplib.studies.published import ask, read_published
from mplib.tasks.examples import ExampleSet
from mplib.tasks.proofwriter.task import ProofWriter
from mplib.tasks.trees import PADDING, USELESS

TASK = ProofWriter(cases=("d1 s4", "d2 s8"))
SETTINGS = ProbeSettings(metric_power=1, halves=3, fold_seeds=2)
PROCEDURE = Procedure("proofwriter", twins=2, settings=SETTINGS)


@pytest.fixture(scope="module")
def sets():
    return language.chosen_sets(TASK, "test", 30)


@pytest.fixture(scope="module")
def loaded():
    return load_model("llama-nano", vocabulary=TASK.vocabulary, device="cpu")


@pytest.fixture(scope="module")
def readings(sets, loaded):
    return language.read_sets([Subject("2-shot", loaded, 2)], sets, PROCEDURE)


def planted(one: ExampleSet, subject: str = "planted") -> Readings:
    """Readings in which the attention shows every height."""
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.01, size=(*one.heights.shape, 3))
    right = Answers(np.ones(len(one.examples), dtype=bool), np.zeros(len(one.examples)))
    reading = Reading(one.heights[..., None] + noise, right)
    return Readings(subject, one, reading, (rng.normal(size=noise.shape),))


def test_model_and_twins_read_the_same_prompts(readings, sets, loaded):
    prompts, _ = PROCEDURE.ask(Subject("2-shot", loaded, 2), sets[1])
    twin = random_twin(loaded.model, 1001)
    np.testing.assert_array_equal(
        readings[1].twins[1], attention_features(twin, prompts, batch_size=16)
    )
    assert not np.array_equal(readings[1].twins[0], readings[1].twins[1])
    assert readings[1].model.features.shape == (30, 8, 2)


def test_a_set_is_divided_without_another_run(readings, sets):
    part = replace(sets[1], name="part", examples=sets[1].examples[3:9])
    (found,) = language.divide(readings[1], [part])
    np.testing.assert_array_equal(found.model.features, readings[1].model.features[3:9])
    np.testing.assert_array_equal(found.twins[1], readings[1].twins[1][3:9])
    for name in ("correct", "log_probability"):
        np.testing.assert_array_equal(
            getattr(found.model.answers, name), getattr(readings[1].model.answers, name)[3:9]
        )


def test_layers_are_left_out_of_model_and_twins_alike(readings, sets, loaded):
    second_alone = replace(PROCEDURE, layers=(2,))
    (second,) = language.read_sets([Subject("2-shot", loaded, 2)], sets[:1], second_alone)
    np.testing.assert_array_equal(second.model.features, readings[0].model.features[..., 1:])
    np.testing.assert_array_equal(second.twins[1], readings[0].twins[1][..., 1:])


def test_among_rules_alone_facts_are_no_statements(sets):
    rules, heights = sets[1].rules, sets[1].heights
    for row, label, example in zip(rules, heights, sets[1].examples, strict=True):
        for place, kind in enumerate(example.kinds):
            assert row[place] == (label[place] if kind == "rule" else PADDING)
    # At depth 2 the useful rules are of heights 1 and 2; useless ones are there too.
    assert set(np.unique(rules)) == {PADDING, USELESS, 1, 2}


def test_a_planted_tree_is_found_and_rules_are_asked_from_depth_two_on(sets):
    f1, scores, gains = language_tables.probe_tables([planted(one) for one in sets], PROCEDURE)
    model = f1[f1.kind == "model"]
    assert (model[~model.target.str.contains("bits")].f1 > 0.99).all()
    rules = "rules alone"
    for table in (f1, scores, gains):
        assert set(table[table["among"] == rules].set) == {"depth 2, |S| = 8"}
    own = scores[scores.kind == "model"]
    assert (own.value > 0.95).all() and set(own.score) == {"S_P1", "S_P2", "S_P2_root"}
    found = gained(gains)
    assert len(found) == 2 * 3
    assert (found[found.target == "V"].low > 0).all()
    # At depth 1 heights are kinds, and the text tells them.
    assert found[(found.set == "depth 1, |S| = 4") & (found.target == "G")].value.item() == 0
    # One family holds both sets, and rules alone.
    family = gains[(gains.measure == "bits") & (gains.classifier == "kNN")]
    np.testing.assert_allclose(family.q, false_discovery_control(family.p))
    assert len(family) == 2 * 3
    overview = language_tables.f1_overview(f1)
    assert {"model", "twin", "text", "permuted"} <= set(overview)
    assert (overview.permuted < 0.75).all()
    heights = language_tables.height_table([planted(sets[1])], PROCEDURE)
    assert set(heights.height) == {0, 1, 2} and (heights.f1 > 0.95).all()
    published = language_tables.published_table([planted(sets[1])])
    assert published[published.source == "planted"][["F1 of V", "F1 of G"]].min().min() > 0.99


def test_what_is_planted_transfers_between_sets_and_twins_do_not(sets):
    table = language_tables.transfer_table([planted(one) for one in sets], PROCEDURE)
    assert len(table) == 3 * 2 * 2 * 4 and set(table.subject) == {"planted"}
    across = table[table["fitted on"] != table["scored on"]]
    by_kind = across[across.target == "V"].groupby("kind").f1
    assert by_kind.min()["model"] > 0.95 and by_kind.max()["twin"] < 0.65
    # Words shared with the question tell useful facts at either depth.
    assert 0.55 < by_kind.min()["text"] < 1


def test_theories_that_are_told_in_two_sets_never_transfer(sets):
    # The same name is not yet the same theory, another name and question are not yet another one.
    renamed = [replace(x, group=f"{x.group} anew", question="Why?") for x in sets[0].examples]
    pairs = zip(sets[1].examples, sets[0].examples, strict=True)
    other = replace(sets[1], examples=[replace(x, group=y.group) for x, y in pairs])
    for one, expected in ((replace(sets[0], name="anew", examples=renamed), 2), (other, 4)):
        table = language_tables.transfer_table([planted(sets[0]), planted(one)], PROCEDURE)
        assert len(table[["fitted on", "scored on"]].drop_duplicates()) == expected


def test_answers_stand_beside_what_needs_no_reasoning(readings):
    table = language_tables.accuracy_table(readings)
    assert list(table.set) == ["depth 1, |S| = 4", "depth 2, |S| = 8"]
    assert (table.guess == 0.5).all() and (table.by_negation == 1).all()
    assert table.accuracy.between(table.low, table.high).all()


def test_models_of_one_shape_that_see_the_same_prompts_have_the_same_twins(sets, loaded):
    other = load_model("llama-nano", vocabulary=TASK.vocabulary, seed=1, device="cpu")
    subjects = [Subject("0-shot", loaded, 0), Subject("2-shot", loaded, 2), Subject("b", other, 0)]
    readings = language.read_sets(subjects, sets[:1], PROCEDURE)
    own, shown, beside = (
        next(one for one in readings if one.subject == name)
        for name in ("0-shot", "2-shot", "b")
    )  # fmt: skip
    for i in range(2):
        twin = random_twin(other.model, 1000 + i)
        prompts, _ = PROCEDURE.ask(subjects[2], sets[0])
        seen = attention_features(twin, prompts, batch_size=16)
        np.testing.assert_array_equal(beside.twins[i], seen)
        np.testing.assert_array_equal(own.twins[i], seen)
        assert not np.array_equal(shown.twins[i], seen)
    assert not np.array_equal(own.model.features, beside.model.features)


def test_models_beside_are_asked_without_demonstrations_on_the_same_trees(sets):
    parameters = {"model": "llama-nano", "device": "cpu", "seed": 0, "shots": 2}
    parameters["beside"] = ["llama-tiny", "llama-nano"]
    shown, other, own = language.asked_subjects(parameters, TASK)
    assert [x.name for x in (shown, other, own)] == ["2-shot", "llama-tiny", "0-shot"]
    assert [x.shots for x in (shown, other, own)] == [2, 0, 0]
    assert own.loaded is shown.loaded and other.loaded.layers == 6
    alone = [x.name for x in language.asked_subjects(parameters | {"shots": 0}, TASK)]
    assert alone == ["0-shot", "llama-tiny"]
    more = language.asked_subjects(parameters | {"more_shots": [4, 0]}, TASK)
    assert [x.name for x in more] == ["2-shot", "4-shot", "0-shot", "llama-tiny"]
    assert more[1].loaded is more[0].loaded and more[1].shots == 4
    with pytest.raises(InputError, match=r"more_shots=\[2\] beside shots=2"):
        language.asked_subjects(parameters | {"more_shots": [2]}, TASK)
    with pytest.raises(InputError, match="named twice"):
        language.asked_subjects(parameters | {"beside": ["nano", "nano"]}, TASK)
    missing = parameters | {"finetuned": True, "trainable": "all", "checkpoint": "checkpoints/none"}
    with pytest.raises(InputError, match="checkpoints/none"):
        language.asked_subjects(missing, TASK)
    table = contrasts([planted(sets[0], "a"), planted(sets[0], "b")], PROCEDURE)
    apart = table[table["minus"] != ""].dropna(subset="value")
    assert (apart[["subject", "minus"]] == ["b", "a"]).all(axis=None)
    assert (apart.value == 0).all() and {"accuracy", "gain V"} <= {*apart.measure}
    # Where the tree is a fact, no rule is useful: there is nothing to tell among rules alone.
    (shallow,) = language.chosen_sets(ProofWriter(cases=("d0 s4",)), "test", 20)
    table = contrasts([planted(shallow, "a"), planted(shallow, "b")], PROCEDURE)
    told = table[table["minus"] != ""]
    assert {*told.among} == {"", "all statements"}
    assert told[told.measure == "gain V"].value.notna().all()


def test_shortcuts_are_looked_for_in_parts_of_the_questions_and_in_edited_ones(loaded):
    task = ProofWriter(cases=("d1 s4 hidden", "d0 s4"), negation=True, world="open")
    sets = language.chosen_sets(task, "test", 20)
    subjects = [Subject("0-shot", loaded, 0), Subject("2-shot", loaded, 2)]
    readings = language.read_sets(subjects, sets, PROCEDURE)
    found = language_tables.shortcut_table(subjects, readings, 5, PROCEDURE)
    assert {*found.subject} == {"0-shot"}
    one = found[found.set == "depth 1, |S| = 4, hidden"].set_index("of")
    assert (one.examples[["answer True", "answer False"]] == 10).all()
    assert one.examples[['question says "not"', 'question without "not"']].sum() == 20
    edits = ["height 0 removed", "height 1 removed", "useless removed", "shuffled"]
    assert list(one.index[-4:]) == edits and (one.examples[edits] == 5).all()
    # The only statement of a tree cannot be removed.
    assert "height 0 removed" not in {*found[found.depth == 0].of}
    whole = language_tables.accuracy_table(readings).accuracy[0]
    assert one.accuracy[["answer True", "answer False"]].mean() == pytest.approx(whole)
    for height in range(2):
        left = []
        for x in sets[0].examples[:5]:
            (hit,) = (i for i, own in x.tree.heights.items() if own == height)
            left.append(x.arranged([i for i in range(4) if i != hit]))
        prompts, of = PROCEDURE.ask(subjects[0], replace(sets[0], examples=left))
        given = answers(loaded.model, prompts, choices=of).correct
        assert one.accuracy[f"height {height} removed"] == given.mean()


def test_demonstrations_are_compared_depth_by_depth(sets, loaded):
    table = language_tables.shots_table(
        Subject("", loaded, 0), [*sets, sets[0]], [0, 2], 5, PROCEDURE
    )
    assert list(table.subject) == ["0-shot"] * 2 + ["2-shot"] * 2
    assert list(table.examples) == [10, 5, 10, 5]


def test_prefixes_end_with_the_scores_of_all_layers(readings):
    prefixes = language_tables.prefix_table(readings, PROCEDURE)
    once = replace(PROCEDURE, settings=replace(SETTINGS, fold_seeds=1))
    _, scores, _ = language_tables.probe_tables(readings, once)
    scores = scores[scores.classifier == "kNN"]
    for row in scores[scores.kind == "model"].itertuples():
        if row[scores.columns.get_loc("among") + 1] != "all statements":
            continue
        (last,) = prefixes[
            (prefixes.set == row.set) & (prefixes.score == row.score)
            & (prefixes.layers == 2) & (prefixes.kind == "model")
        ].value  # fmt: skip
        assert last == pytest.approx(row.value)


def test_layers_are_chosen_by_number_or_left_alone_where_the_answers_say_nothing(loaded):
    subject = Subject("2-shot", loaded, 2)
    chosen, table, found = language.choose_layers(subject, [], "2", PROCEDURE)
    assert chosen.layers == (2,) and list(table.layer) == [2] and found is None
    assert language.choose_layers(subject, [], "all", PROCEDURE)[0].layers is None
    dev = language.chosen_sets(TASK, "dev", 10)
    chosen, table, found = language.choose_layers(subject, dev, "selected", PROCEDURE)
    assert chosen.layers is None and len(table) == 2 and not found.meaningful
    with pytest.raises(InputError, match="layers='9'"):
        language.choose_layers(subject, [], "9", PROCEDURE)


def test_the_published_protocol_asks_and_reads_in_the_sources_way(loaded):
    subjects = [Subject("2-shot", loaded, 2, (2,)), Subject("finetuned (all)", loaded, 0)]
    theories = TASK.published_sets(12)
    asked = theories[0].examples[0]
    assert [kind == "rule" for kind in asked.kinds] == sorted(k == "rule" for k in asked.kinds)
    prompts = ask(subjects[0], theories[0], PROCEDURE, 2).whole()
    text = loaded.tokenizer.decode(prompts.input_ids[0][prompts.attention_mask[0]])
    assert text.count("True or False ?") == 3 and text.endswith("True or False ?")
    start, end = prompts.question[0]
    told = loaded.tokenizer.decode(prompts.input_ids[0][start:end])
    assert told.split() == f"{asked.question[:-1]} . True or False ?".split()
    shots, tuned = read_published(subjects, theories[:1], PROCEDURE)
    assert shots.model.features.shape == (12, 4, 1) and tuned.model.features.shape == (12, 4, 2)
    # The baseline is asked without demonstrations, all its layers read, whoever the model is.
    assert len(shots.twins) == 2 and shots.twins[0].shape == (12, 4, 2)
    np.testing.assert_array_equal(shots.twins[0], tuned.twins[0])
    ours = replace(shots, model=planted(theories[0]).model)
    table = language_tables.published_table([planted(theories[0])], [ours])
    assert set(table.labels) == {"whole tree", "the source's"}
    assert set(table.pooling) == {"the paper's", "the source's"}


def test_the_papers_layers_are_taken_by_name(loaded, monkeypatch):
    assert published_layers("arc", 30) == tuple(range(1, 18))
    assert published_layers("finetuned", 32) == (*range(1, 9), 10, 11, 12, 14, 15, 16)
    subject = Subject("2-shot", loaded, 2)
    assert language.choose_layers(subject, [], "published", PROCEDURE)[0].layers is None
    monkeypatch.setitem(layers.LEFT_OUT, "proofwriter", "1,9-30")
    chosen, table, _ = language.choose_layers(subject, [], "published", PROCEDURE)
    assert chosen.layers == (2,) and list(table.layer) == [2]
    with pytest.raises(InputError, match="layers='published' for 'plain'"):
        language.choose_layers(subject, [], "published", replace(PROCEDURE, template="plain"))


def test_the_vocabulary_of_words_covers_every_theory(loaded):
    for style in ("attribute", "relation"):
        for negation, world in ((False, "closed"), (True, "open")):
            task = ProofWriter(cases=("d2 s10",), style=style, negation=negation, world=world)
            parts = split_prompts(task, loaded, 100, seed=0)
            ids = parts.train.input_ids[parts.train.attention_mask]
            assert not (ids == loaded.tokenizer.unk_token_id).any()


def test_finetuning_on_theories_trains_attention_alone_and_learns(loaded, tmp_path):
    # By negation the answers of a closed world are easy to learn.
    start = load_model("llama-nano", vocabulary=TASK.vocabulary, device="cpu", seed=1)
    before = {name: value.clone() for name, value in start.model.state_dict().items()}
    parts = split_prompts(TASK, start, 300, seed=0)
    assert len(parts.test) == 8 and len(parts.choices) == 2
    training = Training(
        30, 32, learning_rate=5e-3, warmup_steps=2, trainable="attention", evaluations=2
    )
    history = finetune(start, parts.train, parts.dev, training, tmp_path / "ck", {"task": "x"})
    assert history.loss.iloc[-1] < 0.95 * history.loss.iloc[0]
    for name, value in start.model.state_dict().items():
        assert np.array_equal(before[name], value) != ("self_attn" in name), name


def test_models_side_by_side_are_called_by_the_end_of_their_names(tmp_path, loaded):
    for folder in ("a/mine", "b/mine", "b/other"):
        loaded.model.save_pretrained(tmp_path / folder)
        loaded.tokenizer.save_pretrained(tmp_path / folder)
    first, second, other = (str(tmp_path / x) for x in ("a/mine", "b/mine", "b/other/"))
    found = language.side_by_side([first, other, "llama-tiny"], 2, TASK, device="cpu")
    assert [(x.name, x.shots) for x in found] == [("mine", 2), ("other", 2), ("llama-tiny", 2)]
    assert [x.loaded.layers for x in found] == [2, 2, 6]
    alike = language.side_by_side([first, second], 0, TASK, device="cpu")
    assert [x.name for x in alike] == [first, second]
    with pytest.raises(InputError, match=r"models=.* is named twice"):
        language.side_by_side([first, first], 0, TASK)


def test_a_procedure_fits_the_size_of_a_set(sets):
    few = replace(sets[0], examples=sets[0].examples[:3])
    assert Procedure.fitting("plain", few).settings.folds == len({*few.groups}) < 5
    assert Procedure.fitting("plain", sets[0], seed=4).settings == ProbeSettings(
        metric_power=1, folds=5, seed=4
    )
    root = [x.arranged([x.tree.root]) for x in sets[0].examples]
    with pytest.raises(InputError, match=r"useful and of one height.*: add statements"):
        Procedure.fitting("plain", replace(sets[0], examples=root))


def test_attention_by_height_is_measured_in_even_shares(sets):
    one = planted(sets[1])
    seen = np.where(one.examples.heights == 0, 3.0, 1.0)[..., None].repeat(2, axis=2)
    even = tuple(np.full_like(seen, 0.2) for _ in range(2))
    shown = replace(one, model=Reading(seen), twins=even)
    found = language_tables.attention_by_height([shown])
    model, twins = found["planted"], found["twins of planted"]
    sizes = {h: (one.examples.heights == h).sum() for h in (2, 1, 0, USELESS)}
    heights = [f"{f'height {h}' if h >= 0 else 'useless'} ({n})" for h, n in sizes.items()]
    assert [*model.index] == [*twins.index] == heights
    assert [*model.columns] == [1, 2]
    np.testing.assert_allclose(twins, 1)
    share = (3 / seen[..., 0].mean(axis=1))[:, None] * (one.examples.heights == 0)
    np.testing.assert_allclose(model.iloc[2], share[share > 0].mean())
    assert (model.iloc[3] < 1).all()
