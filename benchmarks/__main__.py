"""The command line: ``python -m benchmarks [CASE ...]``."""

import argparse
import sys
from importlib import import_module
from time import perf_counter

from transformers.utils import logging

from benchmarks.harness import Row, save, table

CASES = ("features", "memory", "finetune", "causal", "language", "corruption", "growth")
"""Each is a module here with ``run() -> list[Row]``."""


def main(argv: list[str] | None = None) -> int:
    """Runs cases, prints one table and writes ``results/bench/CASE.json`` for each."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    chosen = parser.parse_args(argv).cases or CASES
    if unknown := set(chosen) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    logging.disable_progress_bar()
    rows: list[Row] = []
    for case in chosen:
        print(f"{case} ...", file=sys.stderr, flush=True)
        began = perf_counter()
        found = import_module(f"benchmarks.{case}").run()
        save(case, found, perf_counter() - began)
        rows += found
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
