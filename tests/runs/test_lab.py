"""Notebooks as `make lab` opens them: they run as they stand, and saving one changes nothing."""

import shutil
from pathlib import Path

import nbformat
import pytest
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from jupytext.sync_contentsmanager import build_sync_jupytext_contents_manager_class
from nbclient import NotebookClient

from mplib.files import ROOT
from mplib.runs.lab import plain
from mplib.runs.notebooks import Notebook
from mplib.runs.profiles import Job, Profile
from mplib.runs.runner import execute

NOTEBOOKS = [each for each in Notebook.all() if each.path.with_suffix(".ipynb").is_file()]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[each.name for each in NOTEBOOKS])
def test_as_it_stands_a_notebook_finds_what_the_default_build_leaves(notebook: Notebook) -> None:
    trained = [job for job in Profile.read("quick").jobs if job.makes]
    job = Job.of(notebook.name, {})
    if job.about.get("task") != "ksmallest":
        # In words the packaged models are asked, and finetuned ones where there are any.
        assert not job.parameters.get("finetuned") and not job.makes
        return
    (made,) = [each for each in trained if {*each.makes} & {*job.needs, *job.makes}]
    differ = {n for n, v in job.parameters.items() if made.parameters.get(n, v) != v}
    assert differ <= {"examples", "batch_size", "learning_rate"}, "its own, not the training's"


@pytest.mark.builds
def test_notebooks_run_as_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    # The default training, cut short: what it leaves has the same name, and is a worse model.
    execute("01_finetune", {"steps": 4, "evaluations": 1, "warmup_steps": 1, "film": False})
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("02_visualization", "03_probe_ksmallest"):
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        NotebookClient(
            notebook, timeout=600, resources={"metadata": {"path": str(ROOT / "notebooks")}}
        ).execute()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert any("image/png" in output.get("data", {}) for output in outputs)
        said = "".join(each.text for each in outputs if each.output_type == "stream")
        assert "Warning" not in said, "progress bars are lines of text"
        assert Job.of(name, {}).folder.is_dir(), "where the book's run of it lies"


def files(folder: Path) -> dict[str, bytes]:
    """What git would see, by path."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    seen = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    return {str(path): (folder / path).read_bytes() for path in seen}


def test_saving_in_jupyterlab_changes_nothing(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "jupytext.toml", tmp_path)
    before = files(tmp_path)
    manager = build_sync_jupytext_contents_manager_class(LargeFileManager)(
        root_dir=str(tmp_path), pre_save_hook=plain
    )
    assert len(before) > 2 * len(NOTEBOOKS)
    for notebook in NOTEBOOKS:
        path = f"notebooks/{notebook.name}.ipynb"
        model = manager.get(path)
        assert len(model["content"]["cells"]) > 5
        # As JupyterLab sends a notebook that was run.
        model["content"]["metadata"] |= {
            "language_info": {"name": "python", "version": "3.11.2"},
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3",
            },
        }  # fmt: skip
        for place, cell in enumerate(model["content"]["cells"]):
            cell["metadata"] |= {"trusted": True, "scrolled": True}
            if cell["cell_type"] == "code":
                said = nbformat.v4.new_output("stream", text="hello")
                cell.update(outputs=[said], execution_count=place + 1)
        manager.save(model, path)
    assert files(tmp_path) == before
    # A notebook of the user's own keeps what it shows.
    mine = {**model, "path": "mine.ipynb"}
    mine["content"]["cells"][-1].update(outputs=[nbformat.v4.new_output("stream", text="hello")])
    manager.save(mine, "mine.ipynb")
    assert "hello" in (tmp_path / "mine.ipynb").read_text()
