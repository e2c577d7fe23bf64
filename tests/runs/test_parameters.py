"""Parameters: ranges checked before a kernel starts, and text read by the declared type."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import FUZZ
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import get_scheduler

from mplib.__main__ import main
from mplib.errors import InputError
from mplib.runs import record, runner
from mplib.runs.notebooks import Notebook
from mplib.runs.parameters import MOST_BYTES, Parameter, Typed, read_yaml
from mplib.runs.profiles import Job, Profile
from mplib.studies.checkpoints import TRAINABLE
from mplib.tasks.proofwriter.generator import STYLES
from mplib.tasks.proofwriter.logic import WORLDS
from mplib.tasks.task import TEMPLATES

NOTEBOOKS = Notebook.all()
ALL = [(n, p) for n in NOTEBOOKS for p in n.parameters.values()]
OPEN = {
    "task", "data", "cases", "model", "checkpoint", "layers", "device", "questions", "profile",
    "train_questions", "corruptions", "lora_targets", "beside", "lexicon", "models",
}  # fmt: skip
"""Texts whose choices hang on files, on models or on what is registered."""

CLOSED = {
    "trainable": TRAINABLE, "trainables": TRAINABLE, "style": STYLES, "world": WORLDS,
    "template": (*TEMPLATES,), "order": ("random", "given"), "ablation": ("zero", "mean"),
    "dtype": ("auto", "float32", "bfloat16", "float16"),
    "precision": ("auto", "float32", "bfloat16"),
}  # fmt: skip

OUT_OF_RANGE = [
    ("01_finetune", "k", 0), ("01_finetune", "m", 1), ("01_finetune", "pool", 1),
    ("01_finetune", "lists", 2), ("01_finetune", "theory_questions", 0),
    ("01_finetune", "seed", 2**70), ("01_finetune", "seed", -1), ("01_finetune", "seed", 2**32),
    ("01_finetune", "steps", 0), ("01_finetune", "batch_size", 0),
    ("01_finetune", "micro_batch_size", -1), ("01_finetune", "learning_rate", -1),
    ("01_finetune", "learning_rate", 0), ("01_finetune", "learning_rate", float("nan")),
    ("01_finetune", "learning_rate", float("inf")), ("01_finetune", "learning_rate", 10**400),
    ("01_finetune", "weight_decay", -0.1), ("01_finetune", "warmup_steps", -1),
    ("01_finetune", "evaluations", 0), ("01_finetune", "schedule", "foo"),
    ("01_finetune", "lora_rank", 0), ("01_finetune", "lora_alpha", 0),
    ("01_finetune", "precision", "foo"), ("01_finetune", "trainable", "foo"),
    ("01_finetune", "style", "foo"), ("01_finetune", "world", "Closed"),
    ("01_finetune", "order", "foo"), ("02_visualization", "trainables", ["all", "foo"]),
    ("02_visualization", "examples", -1), ("03_probe_ksmallest", "twins", 0),
    ("03_probe_ksmallest", "neighbours", 0), ("03_probe_ksmallest", "folds", 1),
    ("03_probe_ksmallest", "halves", 0), ("03_probe_ksmallest", "resamples", 0),
    ("04_causal", "percentages", [0, 101]),
    ("04_causal", "percentages", [-1]), ("04_causal", "percentages", []),
    ("04_causal", "draws", -1), ("04_causal", "flow_percentage", 101),
    ("04_causal", "window_sizes", [0]), ("04_causal", "window_sizes", []),
    ("04_causal", "ablation", "foo"), ("04_causal", "smallest_at", -1),
    ("04_causal_proofwriter", "windows", 0), ("04_causal_proofwriter", "queries", "some"),
    ("05_probe_proofwriter", "dtype", "int8"), ("05_probe_proofwriter", "shots", -1),
    ("05_probe_proofwriter", "shot_counts", [-1]), ("05_probe_proofwriter", "shot_examples", 0),
    ("06_probe_arc", "template", "foo"), ("06_probe_arc", "depths", []),
    ("07_corruption_ksmallest", "draw_count", 0), ("07_corruption_ksmallest", "draw_sizes", [64]),
    ("07_corruption_ksmallest", "draw_sizes", [0, 4]), ("07_corruption_ksmallest", "bins", 0),
    ("01_finetune", "model", "a\0b"), ("01_finetune", "data", "a\nb"),
    ("01_finetune", "model", "\udc80"),
]  # fmt: skip


@pytest.mark.parametrize(("notebook", "parameter"), ALL, ids=lambda x: x.name)
def test_every_parameter_states_its_range(notebook: Notebook, parameter: Parameter) -> None:
    assert parameter.check(parameter.default) == parameter.default
    free = parameter.element == "bool" or parameter.name in OPEN
    assert (parameter.range is None) == free
    if names := {*CLOSED.get(parameter.name, ())}:
        if (notebook.name, parameter.name) == ("01_finetune", "dtype"):
            names -= {"auto"}  # on a GPU a training would lose its small steps without a word
        assert parameter.range and {*parameter.range["names"].split(", ")} == names


@pytest.mark.parametrize(("name", "parameter", "value"), OUT_OF_RANGE)
def test_values_out_of_range(name: str, parameter: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"^{parameter}.*(expected|character)") as said:
        Job.of(name, {parameter: value})
    assert "\n" not in str(said.value)
    scope = Notebook.find(name).check({}) | {parameter: value}
    with pytest.raises(InputError, match=f"^{parameter}"):
        record.start_run(name, scope)


def test_values_at_the_ends_of_a_range() -> None:
    given = {"seed": 2**32 - 1, "k": 1, "m": 2, "weight_decay": 0, "learning_rate": 1e-30}
    assert Notebook.find("01_finetune").check(given)["seed"] == 2**32 - 1
    ends = {"percentages": [0, 100], "flow_percentage": 100, "window_sizes": [1]}
    assert Notebook.find("04_causal").check(ends)["percentages"] == [0, 100]


def test_every_schedule_that_may_be_named_runs() -> None:
    found = Notebook.find("01_finetune").parameters["schedule"].range
    assert found
    for name in found["names"].split(", "):
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=0.1)
        optimizer.step()
        get_scheduler(name, optimizer, 2, 10).step()


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("str", "5", "5"), ("str", "2024", "2024"), ("str", "7b", "7b"), ("str", "1-5", "1-5"),
        ("str", "010", "010"), ("str", "1e3", "1e3"), ("str", "true", "true"), ("str", "no", "no"),
        ("str", "1:30", "1:30"), ("str", "2020-01-01", "2020-01-01"), ("str", "[1]", "[1]"),
        ("str", "", ""), ("int", "5", 5), ("int", "-3", -3), ("int", "010", 10),
        ("float", "1e-3", 1e-3), ("float", "5", 5.0), ("float", ".5", 0.5), ("bool", "true", True),
        ("bool", "FALSE", False), ("bool", "True", True), ("list[int]", "[1, 2]", [1, 2]),
        ("list[str]", '["d1 s4", "d1 s8"]', ["d1 s4", "d1 s8"]),
        ("list[str]", "[d1 s4, 010, yes]", ["d1 s4", "010", "yes"]), ("list[str]", "[]", []),
    ],
)  # fmt: skip
def test_a_declared_type_decides_how_text_is_read(kind: str, text: str, value: Any) -> None:
    found = Parameter("x", kind, None).check(Typed(text))
    assert (found, type(found)) == (value, type(value))
    assert not isinstance(found, list) or {type(each) for each in found} <= {int, str}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("int", "three"), ("int", "1:30"), ("int", "1_000"), ("int", "5.0"), ("int", "true"),
        ("int", ""), ("int", "9" * 5000), ("int", "٣"), ("float", "nan"), ("float", ".inf"),
        ("float", "1e999"), ("float", "fast"), ("bool", "yes"), ("bool", "1"), ("bool", "on"),
        ("list[int]", "1"), ("list[int]", "[1, two]"), ("list[int]", "[[1]]"), ("list[int]", "[1"),
        ("list[str]", "all"), ("list[str]", "{a: b}"), ("list[str]", "[null]"),
        ("list[int]", "[" * 5000),
    ],
)  # fmt: skip
def test_text_that_is_nothing_of_a_type(kind: str, text: str) -> None:
    with pytest.raises(InputError, match=r"^x[ =]") as said:
        Parameter("x", kind, None, "a comment").check(Typed(text))
    assert len(str(said.value)) < 400


def test_values_with_quotes_or_from_json_keep_their_types() -> None:
    layers = Notebook.find("06_probe_arc").parameters["layers"]
    assert layers.check("5") == "5"
    for parameter, value in ((layers, 5), (Parameter("k", "int", 2), "5")):
        with pytest.raises(InputError, match="expected"):
            parameter.check(value)


def test_the_command_line_reads_text_by_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[Job] = []

    def execute(name: str, given: dict[str, Any], *, force: bool) -> Path:
        found.append(Job.of(name, given))
        return found[-1].folder

    monkeypatch.setattr(runner, "execute", execute)
    command = ["run", "06_probe_arc", "--no-cost", "-p", "layers", "5", "-p", "questions", "2024"]
    assert main([*command, "-p", "depths", "[1, 3]", "-p", "conclusions", "False"]) == 0
    assert [found[0].parameters[name] for name in ("layers", "questions", "depths")] == [
        "5", "2024", [1, 3],
    ]  # fmt: skip
    assert found[0].parameters["conclusions"] is False
    assert main(["run", "01_finetune", "--no-cost", "-p", "micro_batch_size", "-1"]) == 2
    assert capsys.readouterr().err == "mplib: micro_batch_size=-1: expected 0 or more.\n"


@pytest.mark.parametrize("cores", ["-1", "0", "two", "1.5", "", "9" * 30])
def test_cores_that_cannot_be(cores: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--dry-run", "--profile", "smoke", "--cores", cores]) == 2
    said = capsys.readouterr().err
    assert said.startswith("mplib: --cores")
    assert said.count("\n") == 1


def test_cells_that_declare_no_parameters(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    for line in ("k = 2", "k: int", "k: int = 1 + a", "k: dict = {}", "k: int = ", "print(1)"):
        path.write_text(f'# %% tags=["parameters"]\n{line}\n')
        with pytest.raises(InputError, match=r"mine\.py.*a parameter is a line such as"):
            assert Notebook(path).parameters
    path.write_text(
        '# %% tags=["parameters"]\nk: str = "a"  # which; one of\n# a, b\n# %%\nx = 1\n'
    )
    assert Notebook(path).parameters["k"].comment == "which; one of a, b"
    with pytest.raises(InputError, match="k='c': expected one of a, b"):
        Notebook(path).check({"k": "c"})


NAMES = sorted({p.name for _, p in ALL})
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["auto", "all", "d1 s4", "1e-3", "010", "{k}", "~", "yes", "10" * 300]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)
PIECES = st.sampled_from(
    [
        *("all: ", "notebooks:", "01_finetune", "08_summary", "k: ", "steps: ", "cases: ", "<<: "),
        *(
            "&a ",
            "*a",
            "[",
            "]",
            "{",
            "}",
            ", ",
            ": ",
            "\n",
            "\n  ",
            "- ",
            "? ",
            "!!int ",
            "| ",
            "'",
        ),
        *(
            "1",
            "null",
            "-",
            "'",
            '"',
            "\t",
            "#",
            "---\n",
            "%YAML 9\n",
            "\ufeff",
            "é",
            "\x00",
            "\x85",
        ),
    ]
)


def planned(text: bytes, path: Path) -> None:
    """A profile's text gives its runs, or one line."""
    path.write_bytes(text)
    try:
        for job in Profile.read(str(path)).jobs:
            assert job.folder.name and job.inputs is not None
    except InputError as error:
        assert len(str(error).splitlines()) == 1
        assert len(str(error)) < 3000


def test_any_text_is_a_profile_or_an_error(tmp_path: Path) -> None:
    @settings(max_examples=FUZZ, derandomize=FUZZ < 1000)
    @given(st.lists(PIECES, max_size=25).map("".join).map(str.encode) | st.binary(max_size=30))
    def check(text: bytes) -> None:
        planned(text, tmp_path / "mine.yaml")

    check()


def test_any_parameters_are_runs_or_an_error(tmp_path: Path) -> None:
    @settings(max_examples=FUZZ, derandomize=FUZZ < 1000)
    @given(
        st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3),
        st.sampled_from([n.name for n in NOTEBOOKS[:-1]]),
        st.booleans(),
    )
    def check(values: dict[str, Any], notebook: str, common: bool) -> None:
        shape = {"all": values, "notebooks": {notebook: None}}
        shape = shape if common else {"notebooks": {notebook: values}}
        text = yaml.dump(shape, allow_unicode=False)
        planned(text.encode(), tmp_path / "mine.yaml")

    check()


def test_any_value_is_checked() -> None:
    @settings(max_examples=FUZZ, derandomize=FUZZ < 1000)
    @given(st.sampled_from(ALL), VALUES | st.text(), st.booleans())
    def check(pair: tuple[Notebook, Parameter], value: Any, typed: bool) -> None:
        value = Typed(value) if typed and isinstance(value, str) else value
        try:
            found = pair[1].check(value)
        except InputError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert pair[1].check(found) == found

    check()


def test_texts_that_would_take_for_ever() -> None:
    with pytest.raises(InputError, match="too many"):
        read_yaml("a" * (MOST_BYTES + 1))
    with pytest.raises(InputError, match="nested too deeply"):
        read_yaml("[" * 10_000)
    merges = "\n".join(
        f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert read_yaml(f"a: &a {{x: 1}}\n{merges}")["i"] == {"x": "1"}
    assert read_yaml("a: &a {<<: *a, k: 2}")["a"] == {"k": "2"}
