"""The command line: ``python -m benchmarks [CASE ...]``."""

import argparse
import sys
from importlib import import_module
from time import perf_counter

from transformers.utils import logging

from benchmarks.harness import Row, save, table
from mplib.files import ROOT

CASES = (
    "features", "memory", "finetune", "finetune_language", "causal", "language", "corruption",
    "growth", "units",
)  # fmt: skip
"""Each is a module here with ``run() -> list[Row]``."""

KNOWN = (*CASES, "families")
"""What may be asked for: ``families`` compares nothing, and is done by its name alone."""


def main(argv: list[str] | None = None) -> int:
    """Runs cases, prints one table and writes ``results/bench/CASE.json`` for each.

    ``families``, when asked for, writes ``results/families`` and is 1 where a family is broken.
    """
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(KNOWN))
    chosen = parser.parse_args(argv).cases or CASES
    if unknown := set(chosen) - set(KNOWN):
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(KNOWN)}")
    logging.disable_progress_bar()
    rows: list[Row] = []
    ok = True
    for case in chosen:
        print(f"{case} ...", file=sys.stderr, flush=True)
        if case == "families":
            from benchmarks.families import write_families

            said, ok = write_families(ROOT / "results" / "families")
            print(*said, sep="\n")
            continue
        began = perf_counter()
        found = import_module(f"benchmarks.{case}").run()
        save(case, found, perf_counter() - began)
        rows += found
    if rows:
        print(table(rows))
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
