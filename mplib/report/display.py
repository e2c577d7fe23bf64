"""Tables and sentences as a notebook's page shows them."""

import pandas as pd
from IPython.display import HTML, Markdown, display


def show(table: pd.DataFrame) -> HTML:
    """A table for a page: three digits, no index, no column that holds nothing; none of no rows."""
    if table.empty:
        return HTML("")
    table = table.dropna(axis=1, how="all").rename_axis(columns=None)
    return HTML(table.to_html(index=False, na_rep="", float_format="{:.3f}".format, border=0))


def bullets(*sentences: str) -> None:
    """Shows sentences as the bullets of a page's summary."""
    display(Markdown("\n".join(f"- {sentence}" for sentence in sentences)))
