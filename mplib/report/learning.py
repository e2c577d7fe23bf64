"""What a model that learned to answer has that those beside it lack: how much, where and when."""

from collections.abc import Hashable

import pandas as pd

from mplib.report.sentences import say


def learning_sentences(
    apart: pd.DataFrame, prefixes: pd.DataFrame, risen: pd.DataFrame | None = None
) -> list[str]:
    """What the last of several models shows of the proof, in which layers, and when it came.

    Args:
        apart: of ``mplib.studies.paired.contrasts``.
        prefixes: of ``mplib.studies.language_tables.prefix_table``.
        risen: of ``mplib.studies.film.rises``, for those models whose training was filmed.

    Returns:
        A headline with the figures of the last set, a sentence for the layers, one for each
        training, and one for each other model; of one model there is nothing to say.
    """
    if not (lines := contrast_sentences(apart)):
        return []
    here = apart[(apart.set == apart.set.iloc[-1]) & (apart["among"] != "rules alone")]
    where, own = here.set.iloc[0], here[here["minus"] == ""]
    last = here.subject[here["minus"] != ""].iloc[0]
    more = here[(here.subject == last) & (here["minus"] != "") & (here.measure == "gain V")]
    above = int((more.low > 0).sum())
    shows = f"shows measurably more of the proof than that of {above} of {len(more)} models"
    shows = shows if above else "does not show measurably more of the proof than that of any model"
    right, told = (own[own.measure == measure] for measure in ("accuracy", "gain V"))
    beside = dict(zip(told.subject, say(told, "", ", gain V {found:+.2f}"), strict=True))
    said = [
        line + beside.get(name, "")
        for name, line in zip(right.subject, say(right, "{subject} ", "{found:.2f}"), strict=True)
    ]
    return [
        f"**The attention of {last} {shows} beside it.** Right answers ({where}): "
        f"{'; '.join(said)}.",
        *_layers(prefixes[(prefixes.set == where) & (prefixes.subject == last)]),
        *_trainings(pd.DataFrame() if risen is None else risen),
        *lines,
    ]


def contrast_sentences(apart: pd.DataFrame) -> list[str]:
    """In which measures the last model certainly differs from each other one; see above."""
    less = apart[(apart["minus"] != "") & (apart["among"] != "rules alone")].dropna(subset="value")
    less = less[less.subject.eq(less.subject.iloc[0])] if len(less) else less
    return [_apart(minus, part) for minus, part in less.groupby("minus", sort=False)]


def _layers(prefixes: pd.DataFrame) -> list[str]:
    """With how many of the first layers half of what all of them show is there."""
    part = prefixes[(prefixes.score == "S_P1") & (prefixes.kind == "model")].sort_values("layers")
    if part.empty or not part.low.iloc[-1] > 0:
        return []
    half = part[part.value >= part.value.iloc[-1] / 2].iloc[0]
    first = part.layers[part.layers < half.layers].max()
    span = "its first layer" if pd.isna(first) else f"layers {first + 1:.0f} to {half.layers}"
    return [
        f"Half of what its attention shows of the useful statements comes with {span} of "
        f"{part.layers.iloc[-1]} (S_P1 of the first {half.layers}: {half.value:.2f}; of all: "
        f"{part.value.iloc[-1]:.2f})."
    ]


def _trainings(risen: pd.DataFrame) -> list[str]:
    """At which step of a training each quantity had come half of its way."""
    lines = []
    for name, part in risen.groupby("subject", sort=False) if len(risen) else ():
        came = part.dropna(subset="halfway").sort_values("halfway")
        steps = [f"{row.quantity} at step {row.halfway:.0f}" for row in came.itertuples()]
        still = [*part[part.halfway.isna()].quantity]
        never = f"; {', '.join(still)} did not rise measurably" if still else ""
        halfway = f"halfway stood {', '.join(steps)}" if steps else "nothing rose measurably"
        lines.append(f"While {name} was trained, {halfway}{never if steps else ''}.")
    return lines


def _apart(minus: Hashable, part: pd.DataFrame) -> str:
    """In which measures one model certainly differs from another."""
    sets, told = part.set.nunique(), []
    for measure, of in part.groupby("measure", sort=False):
        for way, sure in (("higher", of[of.low > 0]), ("lower", of[of.high < 0])):
            if len(sure):
                times = f" in {len(sure)} of {sets} sets" if sets > 1 else ""
                said = ", ".join(say(sure, "", "{found:+.2f}"))
                told.append(f"{measure} is {way}{times} ({said})")
    told.append("no other difference is certain" if told else "no difference is certain")
    return f"**{part.subject.iloc[0]} against {minus}**, the same questions: {'; '.join(told)}."
