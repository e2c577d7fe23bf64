"""MechanisticProbe: does a language model reason step by step, or does it recall?

The names below are what a researcher types; each is loaded when it is first used.

>>> import mplib
>>> task = mplib.KSmallest(k=2, m=4, pool=16)
>>> numbers = task.draw(3, seed=0)
>>> loaded = mplib.load_model("nano", vocabulary=task.vocabulary, device="cpu")
>>> prompts, _ = task.prompts(numbers, loaded)
>>> mplib.attention_features(loaded.model, prompts).shape  # lists, numbers, layers
(3, 4, 2)
"""

import warnings
from pkgutil import resolve_name
from typing import Any

# Progress bars are lines of text in JupyterLab too, and need no widgets.
warnings.filterwarnings("ignore", "IProgress not found")

__version__ = "0.1.0"

NAMES = {
    "KSmallest": "mplib.tasks.ksmallest:KSmallest",
    "ProofWriter": "mplib.tasks.proofwriter.task:ProofWriter",
    "Science": "mplib.tasks.science.task:Science",
    "Ontology": "mplib.tasks.ontology:Ontology",
    "load_model": "mplib.models.loading:load_model",
    "random_twins": "mplib.models.loading:random_twins",
    "Reduction": "mplib.models.attention:Reduction",
    "Intervention": "mplib.models.attention:Intervention",
    "attention_features": "mplib.models.inference:attention_features",
    "answers": "mplib.models.inference:answers",
    "probe": "mplib.probe",
    "studies": "mplib.studies",
    "figures": "mplib.report.figures",
    "report": "mplib.report",
    "start_run": "mplib.runs.record:start_run",
}
"""Where each name is found."""


def __getattr__(name: str) -> Any:
    if name in NAMES:
        return resolve_name(NAMES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *NAMES})
