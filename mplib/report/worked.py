"""A page of the book: one real problem of each task, with its gold tree drawn."""

import io

import matplotlib.pyplot as plt

from mplib.report.figures import gold_tree
from mplib.tasks.examples import Example
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.ontology import Ontology
from mplib.tasks.proofwriter.task import ProofWriter
from mplib.tasks.science.task import Science
from mplib.tasks.trees import USELESS

TITLE = """# Worked examples

One real problem of each task with its gold {term}`reasoning tree`. Statements below the dotted
line are *left out* of the tree: they are {term}`useless <useful statement>`. The others are drawn
at their {term}`height`, with the {term}`root` at the top. The probe tries to recover both from the
attention: which statements are above the line, and how high they are.
"""


def worked_page() -> dict[str, str]:
    """The page and its figures, as texts by the names of their files."""
    lists = KSmallest(k=3, m=8, pool=64)
    theories = ProofWriter(cases=("d2 s8 hidden",), negation=True, world="open")
    examples = {
        "lists": ("The k-th smallest of a list", lists.as_examples(lists.draw(1, 0))[0],
            "Which is the third smallest number? It is the root; the two smaller ones are leaves. "
            "The rest of the list is useless."),
        "theories": ("A theory in ProofWriter's style", _first(theories),
            "Facts and rules, and a question. The useful facts are at height 0, and each rule that "
            "the proof applies stands above what it is applied to."),
        "ontology": ("Kinds of things, in a true world", _first(Ontology(depths=(2,))),
            "The same tree is told in an invented and in a false world, on the page of the recall "
            "dial."),
        "science": ("A science question", _first(Science(depths=(2,))),
            "Written for this project in the format of STREET. Conclusions stand among the "
            "statements, above the facts that they follow from."),
    }  # fmt: skip
    parts, files = [TITLE], {}
    for name, (title, example, told) in examples.items():
        file = f"worked_{name}.svg"
        files[file] = _svg(example)
        parts.append(f"## {title}\n\n{told}\n\n```{{image}} {file}\n:alt: {_alt(example)}\n```\n")
    return {"worked.md": "\n".join(parts), **files}


def _first(task: ProofWriter | Ontology | Science) -> Example:
    """The first problem that a page of the task would ask."""
    return task.sets("test", 1)[0].examples[0]


def _svg(example: Example) -> str:
    """The drawn tree; the same tree gives the same text."""
    file = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "worked"}):
        figure = gold_tree(example)
        figure.savefig(file, format="svg", metadata={"Date": None})
        plt.close(figure)
    return file.getvalue()


def _alt(example: Example) -> str:
    """The tree in words: which statements stand at which height."""
    heights = example.tree.labels()
    told = [
        f"at height {height}: "
        + "; ".join(s for s, h in zip(example.statements, heights, strict=True) if h == height)
        for height in sorted({*heights.tolist()} - {USELESS})
    ]
    useless = int((heights == USELESS).sum())
    asked = f"{example.question} " if example.question else ""
    return f"{asked}Answer: {example.answer}. Gold tree, {', '.join(told)}; {useless} useless."
