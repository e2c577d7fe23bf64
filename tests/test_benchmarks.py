import json

import numpy as np
import pytest
from transformers import PreTrainedModel

from benchmarks import __main__ as command
from benchmarks import families, finetune_language, harness, units
from benchmarks.finetune import operations
from benchmarks.growth import exponent, growth_row
from benchmarks.harness import Row
from mplib.models.adapters import add_adapter
from mplib.models.loading import load_model
from mplib.report import readme
from mplib.tasks.proofwriter import ProofWriter


@pytest.mark.parametrize("power", [0, 0.5, 1, 1.2, 2])
def test_an_exact_power_has_its_exponent(power: float) -> None:
    assert exponent({n: 3 * n**power for n in (64, 128, 256, 512)}) == pytest.approx(power)


def test_a_row_of_growth_holds_both_exponents_and_the_figures_at_the_ends() -> None:
    sizes = (256, 512, 1024, 2048)
    row = growth_row("x", "s", {n: n / 256 for n in sizes}, {n: n**2 for n in sizes}, at_most=1.2)
    assert (row.ours, row.published) == pytest.approx((1, 2))
    assert row.ratio is None and row.verdict == "yes"
    assert "ours 1 to 8 s for 256 to 2,048" in row.note


@pytest.mark.parametrize(
    ("ours", "ratio", "wanted", "at_most", "verdict"),
    [
        (1, 5, None, None, ""),
        (1, None, 4, None, ""),
        (1, 4, 4, None, "yes"),
        (1, 3.9, 4, None, "NO"),
        (1.2, None, None, 1.2, "yes"),
        (1.21, None, None, 1.2, "NO"),
        (float("nan"), None, None, 1.2, "NO"),
        (1, 3.9, 4, 1.2, "NO"),
        (1.3, 5, 4, 1.2, "NO"),
        (1, 5, 4, 1.2, "yes"),
    ],
)
def test_the_verdict_asks_for_the_ratio_and_for_the_limit(
    ours: float, ratio: float | None, wanted: float | None, at_most: float | None, verdict: str
) -> None:
    assert Row("x", "s", ours, 2, ratio, wanted, at_most=at_most).verdict == verdict


def test_the_table_shows_what_is_wanted_either_way() -> None:
    least, most, both, neither = harness.table([
        Row("a", "s", 1, 5, 5, 4), Row("b", "exponent", 1.5, 2, at_most=1.2),
        Row("c", "s", 1, 5, 5, 4, at_most=1.2), Row("d", "s", 1, 5),
    ]).splitlines()[2:]  # fmt: skip
    assert ">= 4" in least and "<=" not in least and "yes" in least
    assert "<= 1.2" in most and ">=" not in most and "NO" in most
    assert ">= 4, <= 1.2" in both
    assert "=" not in neither


def test_limits_are_saved_and_stand_in_the_readme_beside_older_files(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "results" / "bench"
    monkeypatch.setattr(harness, "RESULTS", folder)
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    harness.save("growth", [Row("grows", "exponent", 1.1, 2, at_most=1.2)], 1)
    (row,) = json.loads((folder / "growth.json").read_text())["rows"]
    assert (row["at_most"], row["verdict"]) == (1.2, "yes")
    harness.save("older", [Row("older", "s", 1, 5, 5, 4)], 1)
    old = json.loads((folder / "older.json").read_text())
    del old["rows"][0]["at_most"]
    (folder / "older.json").write_text(json.dumps(old))
    (ratio,) = readme.bench_table().splitlines()[2:]
    assert ratio.split("|")[-2].strip() == "4", "growth is no ratio, and stands in the book alone"
    page = readme.speed_page()
    assert page.index("## Growth") < page.index("## Older")
    (grows,) = (line for line in page.splitlines() if line.startswith("| grows"))
    assert [cell.strip() for cell in grows.split("|")[2:5]] == ["2", "1.1", "1.2"]


@pytest.mark.parametrize("ok", [True, False])
def test_families_are_tried_by_name_and_time_nothing(
    ok: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    monkeypatch.setattr(
        families, "write_families", lambda folder: asked.append(folder) or (["gpt2: read"], ok)
    )
    monkeypatch.setattr(command, "save", lambda *_: pytest.fail("no figures are kept"))
    assert command.main(["families"]) == (0 if ok else 1)
    assert capsys.readouterr().out == "gpt2: read\n"
    assert asked == [readme.ROOT / "results" / "families"]
    assert "families" not in command.CASES, "not one of those that are done when none is named"


def test_finetuning_in_words_is_timed_on_the_same_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = ProofWriter(cases=("d0 s4", "d1 s8 hidden"))
    examples = task.splits(60, seed=0)[0][:16]
    loaded = load_model("llama-nano", vocabulary=task.vocabulary, device="cpu")
    prompts = task.prompts(examples, loaded)[0].whole()
    wrapped = add_adapter(loaded.model, 2, 4, ())
    rows = finetune_language.compare(wrapped, prompts, batch=4, rounds=1, of="a nano")
    assert [row.unit for row in rows] == ["examples/s"] * 2 + ["of the matrix peak"] * 2
    assert all(row.ours > 0 and row.published > 0 for row in rows)
    assert [row.wanted for row in rows] == [None, 3, None, None]
    # Gradients that differ are an error, and no figure.
    monkeypatch.setattr(
        finetune_language.published, "padded_gradients", lambda model, *_: model.zero_grad(False)
    )
    with pytest.raises(AssertionError, match="gradients differ"):
        finetune_language.compare(wrapped, prompts, batch=4, rounds=1, of="a nano")


def test_operations_are_counted_once_a_token_and_once_an_example() -> None:
    model = load_model("nano", vocabulary=18, device="cpu").model
    embedded, layers = 20 * 32, model.num_parameters() - 20 * 32
    lengths = np.array([3, 5])
    attention = 12 * 2 * 32 * (9 + 25) / 2
    assert operations(model, lengths) == 6 * (layers * 4 + embedded) + attention
    model.requires_grad_(False)
    assert operations(model, lengths) == 4 * (layers * 4 + embedded) + attention


def test_units_from_whole_matrices_are_ours(llama: PreTrainedModel) -> None:
    ids = np.random.default_rng(0).integers(61, size=64)
    one = units.Written(ids, ((0, 32), (32, 64)), 1)
    ours = units.read_units(llama, [one])[0]
    before = llama.config._attn_implementation
    llama.set_attn_implementation("eager")
    expected = units.whole_matrices(llama, one)
    llama.set_attn_implementation(before)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)
