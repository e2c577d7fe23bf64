"""A page of the book: which families of models can be read, and how that was tried."""

import json

import pandas as pd

from mplib.files import ROOT


def families_page() -> str:
    """The table of ``results/families`` as Markdown, what is refused with its reason."""
    folder = ROOT / "results" / "families"
    table = pd.read_csv(folder / "families.csv", keep_default_na=False)
    about = json.loads((folder / "manifest.json").read_text())
    tried = [*table.columns[table.columns.get_loc("class") + 1 : -1]]
    hybrid = (table.verdict == "refused") & (table.layers != "")
    parts = [
        "# Families of models",
        "A tiny random model of every family that transformers has a causal decoder of, and the "
        "largest difference found in each check. `python -m mplib check-model NAME` does the same "
        "for a model of yours, and `python -m benchmarks families` makes this table. "
        f"Of {len(table)} families {(table.verdict == 'read').sum()} are read. "
        f"*(transformers {about['transformers']}, torch {about['torch']}, float32 on a CPU, "
        f"{about['seconds']} s.)*",
        "## Read",
        _markdown(table[table.verdict == "read"], ["family", "layers", *tried, "seconds"]),
        "## Refused, their attention layers readable on request",
        "Other layers mix tokens too, so nothing is cut or switched off here, and the attention is "
        "a part of what the model does. The layers are those read with `partial_attention=True`, "
        "counted from 0.",
        _markdown(table[hybrid], ["family", "layers", *tried]),
        "## Refused",
        _by_reason(table[(table.verdict == "refused") & ~hybrid]),
        "## Not tried",
        "No tiny model of these could be made.",
        _by_reason(table[table.verdict == "not built"]),
    ]
    if (broken := table[table.verdict == "broken"]).size:
        parts += ["## Broken", _markdown(broken, ["family", "layers", "reason"])]
    return "\n\n".join(parts) + "\n"


def _by_reason(table: pd.DataFrame) -> str:
    """Families below the reason that they share, as a list of definitions."""
    reasons = [
        reason.removeprefix(f"{name} ")
        for name, reason in zip(table["class"], table.reason, strict=True)
    ]
    return "\n\n".join(
        f"{reason[:1].upper()}{reason[1:]}\n: {', '.join(families)}"
        for reason, families in table.family.groupby(reasons, sort=False)
    )


def _markdown(table: pd.DataFrame, columns: list[str]) -> str:
    """Some columns, as they are; no bar may end a cell early."""
    texts = table[columns].astype(str).replace(r"\|", r"\\|", regex=True)
    return texts.to_markdown(index=False, disable_numparse=True)
