"""Verdicts: they follow from tables by the rule, whatever the tables say."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from mplib.errors import InputError
from mplib.report.claims import CLAIMS, Claim
from mplib.report.evidence import Evidence, Found, figure, find, kept, less, verdict
from mplib.report.readings import both_low, gain, head_start, later, score
from mplib.report.verdicts import judge, leading, verdicts_page
from mplib.stats import Estimate, over_seeds

CLAIM = Claim(
    "Table 1", "it shows", [Evidence("S_P1", score("S_P1"))], [Evidence("gain V", gain("V"))], ""
)


def keep(root: Path, run: str, task: str = "ksmallest", **tables: pd.DataFrame) -> Path:
    """Keeps a run's tables; gives the folder of all results."""
    folder = root / run
    folder.mkdir(parents=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "manifest.json").write_text(json.dumps({"task": task}))
    return root


def scores(value: float, seed: int, k: int = 2) -> pd.DataFrame:
    """The row of a model's S_P1 between those of a twin and of another classifier."""
    own = {"kind": "model", "source": "finetuned", "score": "S_P1", "classifier": "kNN"}
    about = {"low": value - 0.1, "high": value + 0.1, "k": k, "trainable": "all", "seed": seed}
    others = [{"kind": "twin", "value": 9.0}, {"classifier": "logistic", "value": 9.0}]
    return pd.DataFrame([own | about | {"value": value}, *(own | about | one for one in others)])


def gains(value: float, seed: int) -> pd.DataFrame:
    """The row of a gain, and that of one in bits."""
    row = {
        "kind": "model", "source": "finetuned", "target": "V", "over": "text and twins",
        "classifier": "logistic", "value": value, "low": value - 0.1, "high": value + 0.1,
        "k": 2, "trainable": "all", "seed": seed,
    }  # fmt: skip
    return pd.DataFrame([row | {"measure": "F1"}, row | {"measure": "bits", "value": 9.0}])


@pytest.mark.parametrize(
    ("low", "high", "bound", "below", "speaks"),
    [
        (0.1, 0.3, 0, False, "for"),
        (0.1, 0.3, 0, True, "against"),
        (-0.3, -0.1, 0, True, "for"),
        (-0.1, 0.3, 0, False, "open"),
        (-0.04, 0.3, -0.05, False, "for"),
        (0.1, 0.3, 0.2, False, "open"),
        (np.nan, np.nan, 0, False, "open"),
    ],
)
def test_an_interval_speaks(
    low: float, high: float, bound: float, below: bool, speaks: str
) -> None:
    evidence = Evidence("", figure("", ""), bound, below)
    assert Found(evidence, Estimate(0.2, low, high), 1, (0,)).speaks == speaks
    assert Found(evidence, Estimate(0.2, low, high)).speaks == "missing"


@pytest.mark.parametrize(
    ("main", "controls", "word"),
    [
        (["for", "for"], ["for"], "holds"),
        (["for"], [], "holds"),
        (["for"], ["against"], "holds partly"),
        (["for"], ["missing"], "holds partly"),
        (["for", "against"], ["for"], "holds partly"),
        (["against", "open"], ["for"], "does not hold"),
        (["open", "missing"], ["for"], "undecided"),
        (["missing"], ["for"], "untested"),
    ],
)
def test_the_rule(main: list[str], controls: list[str], word: str) -> None:
    assert verdict(main, controls) == word


def test_means_over_seeds_have_t_intervals() -> None:
    values = [0.83, 0.81, 0.89]
    found = over_seeds(values)
    low, high = student.interval(0.95, 2, np.mean(values), np.std(values, ddof=1) / 3**0.5)
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    alone = over_seeds([0.5])
    assert alone.value == 0.5
    assert np.isnan([alone.low, alone.high]).all()


def test_a_claim_is_judged_over_seeds_and_by_its_control(tmp_path: Path) -> None:
    for seed, value in enumerate([0.83, 0.81, 0.89]):
        keep(tmp_path, f"claims/03/seed{seed}", scores=scores(value, seed))
        keep(tmp_path, f"claims/03/other{seed}", scores=scores(0.1, seed, k=4))
    keep(tmp_path, "quick/03", scores=scores(0.2, 0), gains=gains(0.3, 0))
    (one,) = judge([CLAIM], tmp_path)
    assert one.main[0].estimate == over_seeds([0.83, 0.81, 0.89]), "claims, not quick"
    assert one.controls[0].estimate == Estimate(0.3, pytest.approx(0.2), pytest.approx(0.4))
    assert one.word == "holds"
    assert one.overs == {"over 3 seeds": {"claims/03"}, "over examples of one run": {"quick/03"}}
    keep(tmp_path, "claims/04", gains=gains(-0.3, 0))
    (one,) = judge([CLAIM], tmp_path)
    assert one.word == "holds partly"
    assert "(fails)" in one.control


def test_differences_are_paired_by_seed(tmp_path: Path) -> None:
    near, far = [0.8, 0.6, 0.9], [0.7, 0.5, 0.8]
    for seed, (one, other) in enumerate(zip(near, far, strict=True)):
        keep(tmp_path, f"claims/03/near{seed}", scores=scores(one, seed))
        keep(tmp_path, f"claims/03/far{seed}", scores=scores(other, seed, k=4))
    keep(tmp_path, "claims/03/unpaired", scores=scores(9, 7))
    falls = Evidence("falls", less(score("S_P1"), score("S_P1", k=4)))
    found = find(falls, [kept("claims", tmp_path)])
    assert found.seeds == (0, 1, 2)
    # All three agree: the interval is then that over examples.
    assert found.estimate.value == pytest.approx(0.1)
    assert found.estimate.high - 0.1 == pytest.approx(0.1 * 2**0.5)
    single = keep(
        tmp_path / "one", "quick/03", scores=pd.concat([scores(0.8, 0), scores(0.7, 0, 4)])
    )
    alone = find(falls, [kept("quick", single)]).estimate
    assert alone.low == pytest.approx(0.1 - 0.1 * 2**0.5), "as if the two were independent"


def test_what_is_not_defined_is_not_taken_from_elsewhere(tmp_path: Path) -> None:
    keep(tmp_path, "quick/03", scores=scores(0.9, 0))
    for seed in (0, 1, 2):
        keep(tmp_path, f"claims/03/{seed}", scores=scores(np.nan, seed))
    (one,) = judge([CLAIM], tmp_path)
    assert (one.word, one.number) == ("undecided", "S_P1: not defined")
    keep(tmp_path, "claims/03/3", scores=scores(0.5, 3))
    keep(tmp_path, "claims/03/4", scores=scores(0.7, 4))
    (one,) = judge([CLAIM], tmp_path)
    assert one.main[0].estimate == over_seeds([0.5, 0.7])
    assert one.main[0].over == "over 2 of 5 seeds"


def test_a_figure_that_is_not_one_row_is_an_error(tmp_path: Path) -> None:
    keep(tmp_path, "quick/03", scores=pd.concat([scores(0.8, 0), scores(0.7, 0)]))
    with pytest.raises(InputError, match=r"2 kept rows of 'scores' \(quick/03\) agree"):
        judge([CLAIM], tmp_path)


def test_a_head_start_is_the_share_that_is_reached() -> None:
    values = {"a": [0.4, 0.6, 0.8], "b": [0.0, 0.2, 0.4]}
    rows = [(name, 1 + i, v) for name, own in values.items() for i, v in enumerate(own)]
    curves = pd.DataFrame(rows, columns=["score", "layers", "value"]).assign(low=0.1)
    assert head_start("a", "b")(curves) == pytest.approx((0.5 + 0.25) / 2)
    assert head_start("b", "a")(curves) == pytest.approx(-(0.5 + 0.25) / 2)
    unclear = curves.assign(low=curves.low.where(curves.score == "a", -0.1))
    assert np.isnan(head_start("a", "b")(unclear)), "b ends at nothing that is clear of 0"


def test_attention_on_the_root_lies_later() -> None:
    looks = pd.DataFrame({"layer": [1, 2, 3], "1": [1, 0, 0], "2": [0, 1, 1]})
    tidy = looks.melt("layer", var_name="rank", value_name="attention")
    assert later(tidy.assign(rank=tidy["rank"].astype(int), k=2)) == 1.5


def test_heads_with_both_entropies_low() -> None:
    heads = pd.DataFrame({"position_entropy": [0.6, 0.6, 0.9], "size_entropy": [0.5, 0.9, 0.1]})
    assert both_low(heads) == pytest.approx(1 / 3)


def test_without_tables_nothing_is_tested(tmp_path: Path) -> None:
    assert {one.word for one in judge(results=tmp_path)} == {"untested"}
    assert f"{len(CLAIMS)} are untested" in verdicts_page(tmp_path)


def test_claims_at_the_papers_size_rest_on_its_runs_alone(tmp_path: Path) -> None:
    keep(tmp_path, "claims/03", scores=scores(0.8, 0))
    keep(tmp_path, "scratch-h200/k2", scores=scores(0.3, 0))
    found = {one.claim.sentence: one.main[0] for one in judge(results=tmp_path)}
    says = next(claim.sentence for claim in CLAIMS if claim.at_size)
    small, large = found[says], found[f"At GPT-2 small's size, {says[0].lower()}{says[1:]}"]
    assert (small.estimate.value, large.estimate.value) == (0.8, 0.3)
    assert small.runs == ("claims/03",) and large.runs == ("scratch-h200/k2",)


def test_the_page_of_what_is_committed() -> None:
    page, found = verdicts_page(), judge()
    parts = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    for one in found:
        assert f"**{one.claim.sentence}**\n: " in parts[one.word.capitalize()]
    assert page.count("\n**") == len(CLAIMS)
    assert "nan" not in page.lower()
    words = {one.claim.sentence: one.word for one in found}
    assert "holds" in words.values(), "the committed tables are found"
    assert all(one.claim.settles for one in found if one.word != "holds"), "what would settle it"
    assert len(leading().splitlines()) == 5
