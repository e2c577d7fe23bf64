"""Sentences on what corruptions of the problems do, and on what goes with it."""

from collections.abc import Mapping

import pandas as pd

from mplib.report.sentences import noted, say


def corruption_sentences(
    effects: pd.DataFrame, drawn: pd.DataFrame, clean: Mapping[str, float]
) -> list[str]:
    """What corruptions do, and how accuracy and scores move together over draws.

    Args:
        effects: of the corruptions; no ``minus`` is an empty text; of several models, with a column
            ``subject``.
        drawn: correlations over draws.
        clean: accuracy on the examples as they are, by model, of which the last comes first, in
            full, and of the others the first difference; an empty name for one alone.
    """
    changes = effects[(effects.measure == "change in accuracy") & effects.value.notna()]
    minus = changes.minus.map(lambda name: f" minus that of *{name}*" if name else "")
    # What a corruption does beyond one that changes equally much comes first.
    order = (changes.minus == "").argsort(kind="stable")
    changes = changes.assign(minus=minus, also=noted(changes)).iloc[order]
    form = "change in accuracy by *{corruption}*{minus}: {found:**+.3f}, {examples} examples{also}."
    lines, last = [], [*clean][-1]
    for subject, accuracy in reversed([*clean.items()]):
        own = changes[changes.subject == subject] if subject else changes
        own = own if subject in (last, "") else own[:1]
        said = [f"accuracy on the clean examples: {accuracy * 100:.1f} %.", *say(own, form)]
        lines += [f"{subject}: {x}" if subject else x[0].upper() + x[1:] for x in said]
    return lines + say(
        drawn.assign(also=noted(drawn)),
        "Correlation of {first} and {second}",
        " over {over}: {found:**+.2f}; treating draws as independent, as the paper does, would "
        "give [{naive_low:+.2f}, {naive_high:+.2f}]{also}.",
        ": {note}.",
    )


def link_sentences(regressed: pd.DataFrame) -> list[str]:
    """Which outcomes go with the probe's correctness, example by example.

    Args:
        regressed: of ``robustness.per_example``.
    """
    tested = regressed[regressed.p.notna()]
    lines = [
        f"Example by example, {len(tested)} of {len(regressed)} links to the probe's correctness "
        f"can be tested; {(tested.q < 0.05).sum()} remain after false discovery control at 5 %."
    ]
    return lines + say(
        tested[tested.q < 0.05],
        "*{outcome}* goes with *{measure}*: ",
        "log-odds {found:**+.2f} for one standard deviation, p = {p:.3f}.",
        "p = {p:.3f}; {note}.",
    )
