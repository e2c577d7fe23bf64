"""What readers see: figures, sentences, tables of a page, the summary of many runs, the README.

``figures`` draw tables, ``sentences`` say what is in them, ``display`` shows both in a notebook,
``paper`` holds the published numbers, ``summary`` gathers a profile's runs, ``readme`` writes the
tables of the README and the book's page on speed. Results come in as tables; no model is run here.

>>> float(paper_table("table1", k=2, source="finetuned").set_index("quantity").value["accuracy"])
0.9942
"""

from mplib.report.columns import contrasted, gained, gains_overview, in_words
from mplib.report.display import bullets, cards, show
from mplib.report.paper import paper_curves, paper_figures, paper_table, paper_tables
