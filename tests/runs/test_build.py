"""Profile, Snakemake, papermill, notebooks, book, for real; killed and taken up again."""

import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import browser
import nbformat
import psutil
import pytest
import yaml
from conftest import command, mplib

from mplib.files import ROOT
from mplib.runs.notebooks import Notebook
from mplib.runs.profiles import Profile

# These share a build; make test keeps a file on one worker.
pytestmark = pytest.mark.builds


def tables(home: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(home)): p.read_bytes() for p in home.glob("runs/*/*/*.csv")}
    assert found
    return found


PROFILE = "a #b {c}.yaml"
"""Of the smoke book."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke book, built where everything is odd: braces, blanks and a # in the paths of
    checkout, profile and home, which is relative; no HOME, no git and next to nothing on the PATH,
    a long TMPDIR, another environment's python3, another backend."""
    place = tmp_path_factory.mktemp("odd")
    checkout, profile, long = place / "c {x} #1", place / PROFILE, place / ("long_" * 20)
    for name in ("mplib", "notebooks", "profiles", "results", "book"):
        hidden = shutil.ignore_patterns("_build", "__pycache__")
        shutil.copytree(ROOT / name, checkout / name, ignore=hidden)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, checkout)
    shutil.copy(ROOT / "profiles" / "smoke.yaml", profile)
    kernel = {"argv": ["/bin/false"], "display_name": "other", "language": "python"}
    kernels = place / "jupyter" / "kernels" / "python3"
    for folder in (kernels, long, place / "tools"):
        folder.mkdir(parents=True)
    (kernels / "kernel.json").write_text(json.dumps(kernel))
    for name in ("bash", "sh", "which", "uname"):
        (place / "tools" / name).symlink_to(str(shutil.which(name)))
    environment = {name: value for name, value in os.environ.items() if name != "HOME"} | {
        "PATH": str(place / "tools"), "TMPDIR": str(long), "MPLBACKEND": "Agg",
        "PYTHONPATH": str(checkout), "JUPYTER_PATH": str(place / "jupyter"),
        "MPLIB_HOME": "h {x} #1", "TQDM_DISABLE": "1",
    }  # fmt: skip
    line = [sys.executable, "-m", "mplib", "book", "--profile", PROFILE, "--strict"]
    done = subprocess.run(line, env=environment, cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(long.iterdir())
    return place / "h {x} #1"


def html(built: Path) -> Path:
    return built / "book" / "_build" / "html"


def test_trainings_are_kept_apart_and_no_commit_is_known_without_git(built: Path) -> None:
    weights = [path.read_bytes() for path in built.glob("checkpoints/**/model.safetensors")]
    assert len(weights) == len({*weights}) == 3
    for path in built.glob("runs/*/*/manifest.json"):
        assert json.loads(path.read_text())["commit"] == "unknown"
        assert json.loads(path.read_text())["parameters"]


def test_every_notebook_has_a_page_with_results(built: Path) -> None:
    for notebook in Notebook.all():
        page = nbformat.read(built / "book" / "pages" / f"{notebook.name}.ipynb", as_version=4)
        outputs = [output for cell in page.cells for output in cell.get("outputs", [])]
        assert any("image/png" in output.get("data", {}) for output in outputs)
        assert not [o for o in outputs if o.output_type in ("error", "stream")], notebook.name
        assert 'id="summary"' in (html(built) / "pages" / f"{notebook.name}.html").read_text()


def test_pages_fetch_no_picture_from_elsewhere(built: Path) -> None:
    for page in html(built).rglob("*.html"):
        text = page.read_text()
        assert 'src="http' not in text.replace('src="https://unpkg.com/thebe', ""), page.name
        assert '<link rel="stylesheet" type="text/css" href="http' not in text


def test_every_run_has_a_page(built: Path) -> None:
    made = [path.stem.split("-")[0] for path in (html(built) / "pages").glob("[0-9]*.html")]
    jobs = Profile.read(str(built.parent / PROFILE)).jobs
    assert sorted(made) == sorted(job.notebook.name for job in jobs)


@pytest.fixture(scope="module")
def faults(built: Path) -> browser.Faults:
    """What a browser finds wrong with the smoke book."""
    with browser.browser() as chromium:
        return browser.look(html(built), chromium)


@pytest.mark.parametrize("kind", browser.KINDS)
def test_a_browser_finds_nothing_wrong(faults: browser.Faults, kind: str) -> None:
    assert not faults[kind], "\n" + "\n".join(faults[kind])


def test_the_flow_of_attention_answers_clicks_and_arrow_keys(built: Path) -> None:
    path = next(x for x in html(built).rglob("*.html") if "Attention flow" in x.read_text())
    with browser.browser() as chromium:
        page = chromium.new_page()
        page.goto(path.as_uri())
        flow = page.frame_locator('iframe[title="Attention flow"]')
        told = flow.locator("p")
        dot = flow.locator('circle[aria-label^="Position 2"][aria-label$="after layer 1"]')
        hint = told.inner_text()
        dot.click()
        page.mouse.move(0, 0)
        assert dot.get_attribute("aria-pressed") == "true"
        assert re.match(r"Position 2\b.* after layer 1 looks at ", told.inner_text())
        for key, place in (("Right", 3), ("Left", 2), ("Left", 1), ("Left", 1)):
            page.keyboard.press(f"Arrow{key}")
            assert re.match(rf"Position {place}\b.* after layer 1", told.inner_text())
        page.keyboard.press("ArrowDown")
        assert re.fullmatch(r"Position 1( \(\w+\))?", told.inner_text())
        page.keyboard.press("Escape")
        assert dot.get_attribute("aria-pressed") == "false"
        assert told.inner_text() == hint


def test_a_second_build_runs_no_notebook(built: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in built.glob("runs/*/*/executed.ipynb")}
    book = html(built)
    stale, mine = book / "pages" / "of_another_profile.html", book / "mine.html"
    stale.touch()
    mine.write_text("a reader's own")
    seal = book.with_name("built.json")
    files = json.loads(seal.read_text())["files"]
    seal.write_text(json.dumps({"files": files | {str(stale.relative_to(book.parent)): 0}}))
    line, environment = command("book", "--profile", PROFILE, home=built)
    done = subprocess.run(line, env=environment, cwd=built.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "started" not in done.stderr
    assert not stale.exists()
    assert len([*stale.parent.glob("*.html")]) == len(before) + 5, (
        "and the pages of speed, families, verdicts, worked examples and contributing"
    )
    # What the tool did not build is not removed with what it did.
    kept = book.with_name("html.kept")
    assert [p for p in kept.rglob("*") if p.is_file()] == [kept / "mine.html"]
    assert before == {p: p.stat().st_mtime_ns for p in built.glob("runs/*/*/executed.ipynb")}


def kill(tree: psutil.Process) -> None:
    """A process and all that it started, at once."""
    for victim in [tree, *tree.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()


def test_killed_builds_end_with_the_same_tables(built: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("MPLIB_SEED", time.time_ns()))
    print(f"MPLIB_SEED={seed} repeats this")
    draw = random.Random(seed)
    # First when a checkpoint is being published, which no waiting would hit.
    waits = [0, *(draw.uniform(2, 15) for _ in range(3))]
    # All trainings and one more notebook, so that kills hit every kind in the long run; but for
    # the summary, which tells of all notebooks that there are.
    smoke = yaml.safe_load((ROOT / "profiles" / "smoke.yaml").read_text())
    training, *others = (name for name in smoke["notebooks"] if name != "08_summary")
    other = os.environ.get("MPLIB_NOTEBOOK", draw.choice(others))
    smoke["notebooks"] = {name: smoke["notebooks"][name] for name in (training, other)}
    profile = tmp_path / "some.yaml"
    profile.write_text(yaml.safe_dump(smoke))
    home = tmp_path / "home"
    line, environment = command("sweep", "--profile", str(profile), home=home)
    for wait in waits:
        process = subprocess.Popen(
            line, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(wait)
        while not wait and not [*home.glob("checkpoints/*/*.partial/checkpoint")]:
            assert process.poll() is None, "it ended before it published anything"
            time.sleep(0.001)
        kill(psutil.Process(process.pid))
        process.wait()
    done = mplib("sweep", "--profile", str(profile), home=home)
    told = f"MPLIB_SEED={seed}, {[*smoke['notebooks']]} killed after {waits}"
    assert done.returncode == 0, f"{told}: {done.stdout}{done.stderr}"
    found, unbroken = tables(home), tables(built)
    names = {
        f"runs/{job.notebook.name}/{job.folder.name}" for job in Profile.read(str(profile)).jobs
    }
    assert {str(Path(path).parent) for path in found} == names
    assert found == {path: unbroken[path] for path in found}, told


def test_plain_papermill_gives_the_same_tables(built: Path, tmp_path: Path) -> None:
    job = next(
        job for job in Profile.read("smoke").jobs if job.notebook.name == "03_probe_ksmallest"
    )
    folder = built / "runs" / job.notebook.name / job.folder.name
    expected = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(job.parameters))
    papermill = Path(sys.executable).with_name("papermill")
    source = job.notebook.path.with_suffix(".ipynb")
    done = subprocess.run(
        [papermill, source, tmp_path / "out.ipynb", "-f", tmp_path / "values.yaml"],
        env=os.environ | {"MPLIB_HOME": str(built), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # By hand the tables are written anew, in the same place.
    assert not (folder / "executed.ipynb").exists()
    assert {path.name: path.read_bytes() for path in folder.glob("*.csv")} == expected
