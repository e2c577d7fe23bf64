"""Sources of the notebooks: pairs in step, no outputs, thin, typed; and the strict runner."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mplib.__main__ import main
from mplib.errors import InputError
from mplib.files import ROOT
from mplib.runs.notebooks import Notebook, write_pairs

NOTEBOOKS = Notebook.all()


def test_pairs_are_in_step_and_hold_no_outputs() -> None:
    assert write_pairs(check=True) == []
    for notebook in NOTEBOOKS:
        cells = json.loads(notebook.path.with_suffix(".ipynb").read_text())["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_every_pair_has_a_source() -> None:
    stems = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert stems == {notebook.name for notebook in NOTEBOOKS}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.name)
def test_notebooks_are_thin(notebook: Notebook) -> None:
    tree = ast.parse(notebook.path.read_text())
    defined = [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    assert defined == []
    cells = notebook.read().cells
    assert cells[0].source.startswith("# ")
    assert "**Cost.**" in cells[0].source
    assert any(cell.source.startswith("## Summary") for cell in cells)
    magics = ("%", "!", "get_ipython")
    code = [line for c in cells if c.cell_type == "code" for line in c.source.splitlines()]
    assert not any(line.lstrip().startswith(magics) for line in code)
    # Own code; the parameters are a table. A cell of thirty lines is a function in disguise.
    lengths = [
        sum(bool(line.strip()) and not line.startswith("#") for line in c.source.splitlines())
        for c in cells
        if c.cell_type == "code" and "parameters" not in c.metadata.get("tags", [])
    ]
    assert max(lengths) <= 28
    assert sum(lengths) <= 60


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.name)
def test_every_parameter_is_explained(notebook: Notebook) -> None:
    assert notebook.parameters
    assert [p.name for p in notebook.parameters.values() if not p.comment] == []
    assert notebook.check({}) == {n: p.default for n, p in notebook.parameters.items()}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.name)
def test_what_a_notebook_tells_about_itself(notebook: Notebook) -> None:
    about = notebook.about(notebook.check({}))
    assert {*about} <= {"task", "label", "needs", "makes", "files", "gathers", "work"}
    assert ("gathers" in about) != ("work" in about)
    if "work" in about:
        assert {"model", "longest", "read"} <= {*about["work"]}
        assert {*about["work"]} <= {
            "model", "vocabulary", "longest", "keys", "read", "read_by_layer", "trained",
            "sets", "fitted", "models",
        }  # fmt: skip
        json.dumps(about["work"])


def test_a_notebook_is_found_by_how_its_name_alone_begins(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert Notebook.find("01").name == Notebook.find("01_finetune").name == "01_finetune"
    with pytest.raises(InputError, match=r"several .* '04': expected one of 04_causal, 04"):
        Notebook.find("04")  # and a whole name is nobody else's beginning:
    assert Notebook.find("04_causal").name == "04_causal"
    assert main(["run", "03_probe", "--help"]) == 0
    said = capsys.readouterr().out
    for parameter in Notebook.find("03_probe_ksmallest").parameters.values():
        assert f"  {parameter.name}: {parameter.kind} = {parameter.default!r}\n" in said
        assert parameter.comment in said
    assert (main(["run", "-h"]), main(["run"]), main(["run", "04", "-h"])) == (0, 2, 2)
    assert capsys.readouterr().err.startswith("mplib: several notebooks begin with '04'")


def test_telling_about_a_notebook_is_quick() -> None:
    """Every start of a run asks; loading torch for it would take seconds."""
    script = (
        "import sys; from mplib.runs.profiles import Profile\n"
        "print([job.state for job in Profile.read('smoke').jobs])\n"
        "print({'torch', 'transformers', 'sklearn'} & {*sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[1:] == ["set()"], done.stdout + done.stderr


def test_an_about_that_cannot_be_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text('# %% tags=["parameters"]\nk: int = 2  # a number\n')
    assert Notebook(path).about({"k": 2}) == {}
    path.write_text(
        path.read_text() + '\n# %% tags=["about"]\nabout = {"label": f"1 of {1 / k}"}\n'
    )
    assert Notebook(path).about({"k": 2}) == {"label": "1 of 0.5"}
    with pytest.raises(InputError, match=r"mine.py tells nothing about a run with .*: division by"):
        Notebook(path).about({"k": 0})


def test_shared_parameters_agree() -> None:
    """The same parameter has the same default and type in every notebook, but for ``examples``."""
    seen: dict[str, tuple[str, object]] = {}
    for notebook in NOTEBOOKS:
        for name, parameter in notebook.parameters.items():
            # Language pages have another model by default, and where it should reason no shots.
            if name in ("examples", "batch_size", "model", "shots", "data"):
                continue
            if (notebook.name, name) == ("01_finetune", "dtype"):  # trained weights stay float32
                continue
            assert seen.setdefault(name, (parameter.kind, parameter.default)) == (
                parameter.kind,
                parameter.default,
            ), f"{notebook.name}: {name}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kk": 3}, "Did you mean 'k'"),
        ({"k": "three"}, "expected int"),
        ({"k": 2.5}, "expected int"),
        ({"k": True}, "expected int"),
        ({"repeats": 1}, "expected bool"),
        ({"learning_rate": "fast"}, "expected float"),
        ({"model": 7}, "expected str"),
        ({"k": None}, "expected int"),
    ],
)
def test_bad_parameters_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Notebook.find("01_finetune").check(given)


def test_lists_are_checked_by_element() -> None:
    notebook = Notebook.find("02_visualization")
    assert notebook.check({"trainables": ["all"]})["trainables"] == ["all"]
    for bad in ("all", [1]):
        with pytest.raises(InputError, match="expected list"):
            notebook.check({"trainables": bad})


def test_ints_become_floats_where_floats_are_wanted() -> None:
    rate = Notebook.find("01_finetune").check({"learning_rate": 1})["learning_rate"]
    assert isinstance(rate, float)


def test_an_unknown_notebook_is_named() -> None:
    with pytest.raises(InputError, match=r"03_prob_ksmallest.*Did you mean '03_probe_ksmallest'"):
        Notebook.find("03_prob_ksmallest")
