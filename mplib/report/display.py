"""Tables, questions and sentences as a notebook's page shows them."""

from collections.abc import Sequence
from html import escape

import pandas as pd
from IPython.display import HTML, Markdown, display

from mplib.stats import Estimate
from mplib.tasks.examples import ExampleSet

LONG = 14
"""Rows of a table above which it scrolls in a box of its own."""

SENTENCE = 80
"""Letters above which a cell is no name."""


def show(table: pd.DataFrame) -> None:
    """Shows a table on a page: no index, each figure with its interval, nothing that says nothing.

    Columns that hold the same word or count in every row, and rows without a figure, are told of
    in a line below; a long table scrolls by itself. A table without rows is not shown.
    """
    if table.empty:
        return
    told, figure, left_out = _figures(table.dropna(axis=1, how="all"))
    told = told.loc[:, [not (told[name].isna() | (told[name] == "")).all() for name in told]]
    # Words that another column has too, and what is the same in every row, say nothing.
    texts = told.select_dtypes(exclude="number")
    told = told.drop(columns=texts.columns[texts.T.duplicated()])
    words = [name for name in told.select_dtypes(exclude="float") if name != figure]
    alike = [name for name in words if len(told) > 1 and told[name].nunique(dropna=False) == 1]
    if len(alike) == len(told.columns):
        alike = alike[1:]
    notes = [f"{len(told)} rows"] if len(told) > LONG else []
    # A count that is 0 everywhere, such as a size that varies, is none.
    if same := [f"{x}: {told[x].iloc[0]}" for x in alike if told[x].iloc[0] != 0]:
        notes.append(f"in every row {', '.join(same)}")
    if left_out:
        notes.append(f"{left_out} more without a figure")
    shown = told.drop(columns=alike).rename_axis(columns=None)
    # Sentences have wider columns than names.
    kind = "sentences" if shown.map(lambda cell: len(str(cell)) > SENTENCE).any(axis=None) else ""
    look = {"classes": kind, "float_format": "{:.3f}".format}
    text = shown.to_html(index=False, na_rep="", border=0, **look)
    if len(told) > LONG:
        text = (
            f'<div class="long" role="region" tabindex="0" aria-label="table of {len(told)} rows" '
            f'style="max-height:30em;overflow:auto">{text}</div>'
        )
    line = escape("; ".join(notes))
    display(HTML(text + (f'<p class="note">{line[0].upper()}{line[1:]}.</p>' if line else "")))


def _figures(table: pd.DataFrame) -> tuple[pd.DataFrame, str, int]:
    """The table with intervals beside its figures; their column; how many rows have no figure."""
    names = [*table.columns]
    if not {"low", "high"} <= {*names} or names[0] == "low":
        return table, "", 0
    name = "value" if "value" in names else names[names.index("low") - 1]
    known = table[table[name].notna()]
    if known.empty:
        return table, name, 0
    each = known[[name, "low", "high"]].astype(float).to_numpy()
    said = [f"{Estimate(*row):.3f}" for row in each]
    told = known.assign(**{name: said}).drop(columns=["low", "high"])
    return told, name, len(table) - len(known)


def cards(sets: Sequence[ExampleSet]) -> None:
    """Shows the first example of each set as a card, with the heights of what is useful.

    Statements are numbered in the order in which the model reads them.
    """
    display(HTML(f'<div class="cards">{"".join(map(_card, sets))}</div>'))


def _card(one: ExampleSet) -> str:
    """The first example of a set; says how many were kept out of demonstrations."""
    first, heights = one.examples[0], one.examples[0].tree.heights
    told = [
        f'<li class="useful">{escape(text)} <small>height {heights[i]}</small></li>'
        if i in heights else f"<li>{escape(text)}</li>"
        for i, text in enumerate(first.statements)
    ]  # fmt: skip
    count = f"{len(one.examples)} example{'s' if len(one.examples) > 1 else ''}"
    if one.left_out:
        count += f"; {one.left_out} that are asked, and so not demonstrated"
    return (
        f"<div><p><strong>{escape(one.name)}</strong>, {count}</p><ol>{''.join(told)}</ol>"
        f"<p>{escape(first.question)} <strong>{escape(str(first.answer))}</strong></p></div>"
    )


def bullets(*sentences: str) -> None:
    """Shows sentences as the bullets of a page's summary."""
    display(Markdown("\n".join(f"- {sentence}" for sentence in sentences)))
