"""The ruler: models whose way to the answer is known, for the probe to be measured by.

On the k-th smallest, a *recaller* learns by heart lists whose answers were dealt at random among
each list's own numbers, and is probed on these very lists. A *shortcut* learns from lists whose
answer always stands at one place. Neither goes by the order of the numbers: their attention should
add nothing to the text. Beside them stand noise in place of attention, and noise in which the tree
is planted as clearly as is stated.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

from mplib.errors import InputError
from mplib.models.inference import all_answers, attention_features, scale_examples, twin_features
from mplib.models.loading import LoadedModel, load_model
from mplib.probe.knn import DEFAULT, ProbeSettings
from mplib.probe.scores import Comparison, compare
from mplib.stats import accuracy, over_seeds
from mplib.studies.finetune import Training, finetune
from mplib.tasks.ksmallest import KSmallest

MIDDLE, SPREAD = 0.5, 0.2
"""Mean and standard deviation of the noise: attention lies between 0 and 1 once it is scaled."""

KEYS = ["source", "target", "measure", "classifier", "over"]
"""What a score or gain is of, and how it is found."""


@dataclass(frozen=True)
class Ruler:
    """How models whose way is known are made and measured.

    Attributes:
        task: the k-th smallest.
        training: of the recaller and of the shortcut.
        place: where the answer stands in the shortcut's lists, counted from 1.
        settings: of the probe; its seed is that of all lists and answers.
        twins: how many random twins.
        gaps: of the planted trees, see ``planted``.
        own: whether the shortcut is also probed on lists like its own.
    """

    task: KSmallest
    training: Training
    place: int = 4
    settings: ProbeSettings = DEFAULT
    twins: int = 3
    gaps: tuple[float, ...] = ()
    own: bool = True

    def __post_init__(self) -> None:
        """Checks the place.

        Raises:
            InputError: no such place in a list.
        """
        if not 1 <= self.place <= self.task.m:
            raise InputError(f"place={self.place}: a list has the places 1 to {self.task.m}")


SMALL = Ruler(
    KSmallest(2, m=8, pool=32),
    Training(150, 64, learning_rate=5e-3, warmup_steps=20, evaluations=3, schedule="cosine"),
    settings=ProbeSettings(folds=3, fold_seeds=2),
    gaps=(0.5, 1.0),
    own=False,
)
"""Sizes at which twenty rulers take a minute on two cores, for error rates."""


@dataclass(frozen=True)
class Measured:
    """What the probe says of models whose way is known.

    Attributes:
        answers: a row for each model and answer: how often the model gives it.
        scores: of all models over the random twins, as ``compare`` has them.
        gains: of all models over text and twins, as ``compare`` has them.
    """

    answers: pd.DataFrame
    scores: pd.DataFrame
    gains: pd.DataFrame


def dealt_answers(lists: np.ndarray, seed: int) -> np.ndarray:
    """One of each list's own numbers, at random; shape (lists,)."""
    return np.random.default_rng(seed).permuted(lists, axis=1)[:, 0]


def arranged(task: KSmallest, lists: np.ndarray, place: int) -> np.ndarray:
    """The lists with the k-th smallest number at one place, changed with the number there.

    >>> arranged(KSmallest(k=2, m=4, pool=16), np.array([[5, 9, 0, 7]]), place=4).tolist()
    [[7, 9, 0, 5]]
    """
    row = np.arange(len(lists))
    root = (lists == task.answers(lists)[:, None]).argmax(axis=1)
    changed = lists.copy()
    changed[row, root], changed[:, place - 1] = lists[:, place - 1], lists[row, root]
    return changed


def planted(
    heights: np.ndarray, layers: int, gaps: Sequence[float], seed: int
) -> dict[str, np.ndarray]:
    """Noise in place of attention, and the same noise with the tree planted in its first layer.

    Args:
        heights: gold heights, shape (examples, statements).
        layers: how many there are.
        gaps: between useless statements, leaves and roots, in standard deviations of the noise.
        seed: of the noise.

    Returns:
        Features by name, ``noise`` and ``planted GAP``, shape (examples, statements, layers).
    """
    noise = np.random.default_rng(seed).normal(MIDDLE, SPREAD, (*heights.shape, layers))
    tree = SPREAD * heights[..., None] * (np.arange(layers) == 0)
    return {"noise": noise, **{f"planted {gap:g}": noise + gap * tree for gap in gaps}}


def taught(start: LoadedModel, lists: np.ndarray, answers: np.ndarray, ruler: Ruler) -> LoadedModel:
    """A copy of a model, finetuned to give these answers to these lists, known by heart or not."""
    fresh = replace(start, model=copy.deepcopy(start.model))
    prompts, _ = start.write_numbers(lists, answers, ruler.task.pool)
    about = {"task": ruler.task.identity, "model": start.name}
    with TemporaryDirectory() as folder:
        place = Path(folder) / "taught"
        finetune(fresh, prompts, prompts[:1024], ruler.training, place, about)
    return fresh


def measure(
    ruler: Ruler, start: LoadedModel, lists: np.ndarray,
    reasoners: Mapping[str, LoadedModel] | None = None,
) -> Measured:  # fmt: skip
    """Teaches a recaller and a shortcut, and probes both, noise and others on the same lists.

    On ``arranged`` lists, the shortcut's own, the place tells the root, and so does the shortcut's
    attention: a trap for the probe, since the text tells the place already.

    Args:
        ruler: how they are made and measured.
        start: the model to begin with, left as it is.
        lists: what the recaller learns by heart and all are probed on, shape (lists, m).
        reasoners: finetuned models to stand beside.
    """
    task, seed, place = ruler.task, ruler.settings.seed, ruler.place
    dealt, moved = dealt_answers(lists, seed), arranged(task, lists, place)
    drawn = task.draw(ruler.training.steps * ruler.training.batch_size, seed + 1)
    lessons = arranged(task, drawn, place)
    shortcut = taught(start, lessons, task.answers(lessons), ruler)
    models = {
        **(reasoners or {}), "recaller": taught(start, lists, dealt, ruler), "shortcut": shortcut,
    }  # fmt: skip
    probes: list[tuple[Mapping[str, LoadedModel], np.ndarray, tuple[float, ...] | None]]
    probes = [(models, lists, ruler.gaps)]
    if ruler.own:
        probes.append(({"shortcut, arranged": shortcut}, moved, None))
    found = [_probe(ruler, start, *each) for each in probes]
    answers = [_answers(ruler, each, asked, dealt) for each, asked, _ in probes]
    scores = pd.concat([one.scores for one in found])
    return Measured(
        pd.concat(answers, ignore_index=True),
        scores[scores.kind == "model"].reset_index(drop=True),
        pd.concat([one.gains for one in found], ignore_index=True),
    )


def _probe(
    ruler: Ruler, start: LoadedModel, models: Mapping[str, LoadedModel], lists: np.ndarray,
    gaps: Sequence[float] | None,
) -> Comparison:  # fmt: skip
    """Compares models, noise and planted trees with twins and text on some lists."""
    task, seed = ruler.task, ruler.settings.seed
    prompts, _ = task.prompts(lists, start)
    heights = task.heights(lists)
    features = {
        name: scale_examples(attention_features(loaded.model, prompts))
        for name, loaded in models.items()
    }
    if gaps is not None:
        features |= planted(heights, len(start.attention_layers), gaps, seed)
    twins = twin_features(start.model, prompts, ruler.twins, seed)
    return compare(
        features, heights, twins=[scale_examples(each) for each in twins],
        text={"text": task.text_baseline(lists)["text"]}, controls=(), settings=ruler.settings,
    )  # fmt: skip


def _answers(
    ruler: Ruler, models: Mapping[str, LoadedModel], lists: np.ndarray, dealt: np.ndarray
) -> pd.DataFrame:
    """How often each model gives the right number, the dealt one, and the one at the place."""
    task, rows = ruler.task, []
    expected = {
        "right answer": task.answers(lists), "dealt answer": dealt,
        "number at the place": lists[:, ruler.place - 1],
    }  # fmt: skip
    for name, loaded in models.items():
        written = {of: loaded.write_numbers(lists, a, task.pool)[0] for of, a in expected.items()}
        tokens = {of: prompts.answers for of, prompts in written.items()}
        given = all_answers(loaded.model, next(iter(written.values())), expected=tokens)
        rows += [
            {"source": name, "answer": of, **accuracy(found.correct).columns("share")}
            for of, found in given.items()
        ]
    return pd.DataFrame(rows)


def simulated(seeds: int, ruler: Ruler = SMALL, model: str = "nano", n: int = 128) -> pd.DataFrame:
    """Scores and gains of many small rulers, a seed each: models, lists, twins and noise.

    Args:
        seeds: how many.
        ruler: how their models are made and measured.
        model: the preset to begin with.
        n: lists that the recaller learns by heart and all are probed on.

    Returns:
        A row for each seed, source, target (of gains ``V``, ``G``; of scores ``S_P1``, ...),
        measure (F1 or bits; score) and classifier, with value, low, high, and the share of its
        lists that the seed's recaller knows ``by_heart``.
    """
    # A process each, but few: every one of them loads torch.
    workers = Parallel(n_jobs=min(4, seeds, torch.get_num_threads()))
    parts = workers(delayed(_simulated)(seed, ruler, model, n) for seed in range(seeds))
    return pd.concat(parts, ignore_index=True)


def _simulated(seed: int, ruler: Ruler, model: str, n: int) -> pd.DataFrame:
    """Those of one seed."""
    ruler = replace(ruler, settings=replace(ruler.settings, seed=seed))
    start = load_model(model, vocabulary=ruler.task.vocabulary, seed=seed, device="cpu")
    found = measure(ruler, start, ruler.task.draw(n, seed))
    scores = found.scores.rename(columns={"score": "target"}).assign(measure="score")
    both = pd.concat([found.gains, scores])[[*KEYS, "value", "low", "high"]]
    heart = found.answers.set_index(["source", "answer"]).share["recaller", "dealt answer"]
    return both.assign(seed=seed, by_heart=heart)


def error_rates(figures: pd.DataFrame) -> pd.DataFrame:
    """How often scores and gains leave 0: error rates where there is no tree, else power.

    Args:
        figures: of ``simulated``.

    Returns:
        A row for each source, target, measure and classifier: the mean ``value`` over seeds with
        its 95 % t-interval, in how many ``seeds`` it is defined, and the share of these in which
        the interval lies ``above`` 0 and ``below`` it; 95 % intervals promise 0.025 each. Shares
        have Wilson's intervals, ``above_low`` and so on.
    """
    rows = []
    for key, part in figures.dropna(subset="low").groupby(KEYS, sort=False):
        row = dict(zip(KEYS, key, strict=True)) | {"seeds": len(part)}
        row |= over_seeds(part.value, part.low, part.high).columns()
        row["by_heart"] = part.by_heart.min()
        for side, left in (("above", part.low > 0), ("below", part.high < 0)):
            found = accuracy(left.to_numpy())
            row |= {side: found.value, f"{side}_low": found.low, f"{side}_high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)
