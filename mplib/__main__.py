"""The command line: ``python -m mplib run|book|keep|pair``."""

import argparse
import sys

from mplib.errors import InputError, NotebookFailed


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns its exit status (0 done, 1 failed, 2 bad input)."""
    parser = argparse.ArgumentParser(prog="mplib", description="MechanisticProbe")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run one notebook")
    run.add_argument("notebook")
    run.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    run.add_argument("--params", default="{}", help="parameters as one JSON object")
    run.add_argument("--force", action="store_true", help="run it although it is finished")
    book = commands.add_parser("book", help="run what a profile lacks and build the book")
    book.add_argument("--profile", default="quick")
    book.add_argument("--strict", action="store_true", help="warnings of the book are errors")
    book.add_argument("--cores", type=int)
    book.add_argument("--force", action="store_true", help="run finished notebooks again")
    keep = commands.add_parser("keep", help="copy a profile's tables into results/")
    keep.add_argument("--profile", default="quick")
    pair = commands.add_parser("pair", help="write the .ipynb beside every notebook")
    pair.add_argument("--check", action="store_true", help="only tell whether they are in step")
    arguments = parser.parse_args(argv)
    try:
        return _dispatch(arguments)
    except (InputError, NotebookFailed) as error:
        print(f"mplib: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1


def _dispatch(arguments: argparse.Namespace) -> int:
    """Calls what the command stands for; imports are late, so that each starts at once."""
    if arguments.command == "run":
        from mplib.run import execute, parse_parameters, parse_value

        given = parse_parameters(arguments.params) | {n: parse_value(v) for n, v in arguments.p}
        print(execute(arguments.notebook, given, force=arguments.force))
    elif arguments.command == "pair":
        from mplib.notebooks import write_pairs

        stale = write_pairs(check=arguments.check)
        for path in stale:
            print(f"{path} is not in step with its source: run `python -m mplib pair`")
        return int(bool(stale))
    else:
        from mplib import pipeline

        if arguments.command == "keep":
            print(*pipeline.keep(arguments.profile), sep="\n")
            return 0
        print(pipeline.build_book(
            arguments.profile, strict=arguments.strict, cores=arguments.cores, force=arguments.force
        ))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
