"""Tables and sentences as a notebook's page shows them."""

import pandas as pd
from IPython.display import HTML, Markdown, display


def show(table: pd.DataFrame) -> None:
    """Shows a table on a page: three digits, no index, no column that holds nothing.

    A table without rows is not shown.
    """
    if not table.empty:
        table = table.dropna(axis=1, how="all").rename_axis(columns=None)
        words = table.to_html(index=False, na_rep="", float_format="{:.3f}".format, border=0)
        display(HTML(words))


def bullets(*sentences: str) -> None:
    """Shows sentences as the bullets of a page's summary."""
    display(Markdown("\n".join(f"- {sentence}" for sentence in sentences)))
