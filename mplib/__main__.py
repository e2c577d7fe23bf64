"""The command line: ``python -m mplib run|book|sweep|keep|pair|check|check-model|clean``."""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mplib.errors import InputError, NotebookFailed
from mplib.files import ROOT

if TYPE_CHECKING:
    from mplib.models.cost import Cost


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns its exit status (0 done, 1 failed, 2 bad input)."""
    parser = argparse.ArgumentParser(prog="mplib", description="MechanisticProbe")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run one notebook", add_help=False)
    run.add_argument(
        "-h", "--help", action="store_true", help="show this, or NOTEBOOK's parameters"
    )
    run.add_argument("notebook", nargs="?", help="its name, or how that alone begins")
    run.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    run.add_argument("--params", default="{}", help="parameters as one JSON object")
    run.add_argument("--force", action="store_true", help="run it although it is finished")
    run.add_argument("--no-cost", action="store_true", help="do not estimate its cost first")
    book = commands.add_parser("book", help="run what a profile lacks and build the book")
    book.add_argument("--strict", action="store_true", help="warnings of the book are errors")
    sweep = commands.add_parser("sweep", help="run what a profile lacks")
    sweep.add_argument("--dry-run", action="store_true", help="only list the runs and their cost")
    for each in (book, sweep):
        each.add_argument("--profile", default="quick")
        each.add_argument("--cores", help="how many to use; all by default")
        each.add_argument("--force", action="store_true", help="run finished notebooks again")
        each.add_argument("--cluster", help="run through the batch system of cluster/NAME")
    keep = commands.add_parser("keep", help="copy a profile's tables into results/")
    keep.add_argument("--profile", default="quick")
    pair = commands.add_parser("pair", help="write the .ipynb beside every notebook")
    pair.add_argument("--check", action="store_true", help="only tell whether they are in step")
    check = commands.add_parser("check", help="tell what a file of questions holds")
    check.add_argument("file")
    model = commands.add_parser("check-model", help="try on a model what every number rests on")
    model.add_argument("name", help="preset, packaged model, folder or Hub id")
    model.add_argument("--partial-attention", action="store_true", help="read a hybrid in part")
    commands.add_parser("clean", help="remove runs, checkpoints and the built book")
    arguments = parser.parse_args(argv)
    if arguments.command == "run" and not arguments.notebook:
        run.print_help()
        return 0 if arguments.help else 2
    try:
        return _dispatch(arguments)
    except (InputError, NotebookFailed) as error:
        print(f"mplib: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print("mplib: interrupted; the same command goes on from there", file=sys.stderr)
        return 130


def _dispatch(arguments: argparse.Namespace) -> int:
    """Calls what the command stands for; imports are late, so that each starts at once."""
    # A grammar of addresses that takes a second to load, and that no notebook's format asks for.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    if arguments.command == "run" and arguments.help:
        from mplib.runs.notebooks import Notebook

        print(Notebook.find(arguments.notebook).help)
    elif arguments.command == "run":
        from mplib.runs.parameters import Typed
        from mplib.runs.runner import execute, parse_parameters

        given = parse_parameters(arguments.params) | {n: Typed(v) for n, v in arguments.p}
        if not arguments.no_cost:
            from mplib.runs.cost import line
            from mplib.runs.profiles import Job

            print(line(Job.of(arguments.notebook, given), _estimate), file=sys.stderr)
        print(execute(arguments.notebook, given, force=arguments.force))
    elif arguments.command == "pair":
        from mplib.runs.notebooks import write_pairs

        stale = write_pairs(check=arguments.check)
        for path in stale:
            print(f"{path} is not in step with its source: run `python -m mplib pair`")
        return int(bool(stale))
    elif arguments.command == "check":
        from mplib.tasks.check import check

        said, refused, status = check(arguments.file)
        print(*said, sep="\n")
        print(*refused, sep="\n", end="\n" if refused else "", file=sys.stderr)
        return status
    elif arguments.command == "check-model":
        return _check_model(arguments)
    elif arguments.command == "clean":
        from mplib.runs.clean import clean

        if left := clean():
            print("left, since this tool did not make it:", *left, sep="\n", file=sys.stderr)
    else:
        _run_profile(arguments)
    return 0


def _check_model(arguments: argparse.Namespace) -> int:
    from mplib.models.check import check_model

    said, ok = check_model(arguments.name, partial_attention=arguments.partial_attention)
    print(*said, sep="\n")
    return int(not ok)


def _run_profile(arguments: argparse.Namespace) -> None:
    """The commands on all runs of a profile."""
    from mplib.runs import engine
    from mplib.runs.parameters import Parameter, Typed
    from mplib.runs.profiles import Profile

    # Runs have working folders of their own.
    is_file = arguments.profile.endswith(".yaml")
    profile = Profile.read(os.path.abspath(arguments.profile) if is_file else arguments.profile)
    if arguments.command == "keep":
        from mplib.report import readme
        from mplib.runs import pages

        print(*pages.keep(profile), sep="\n")
        readme.update()
        return
    cores = Parameter("--cores", "int", 4, "how many to use; 1 to 4096")
    chosen = None if arguments.cores is None else cores.check(Typed(arguments.cores))
    settings = engine.Engine(chosen, arguments.force, arguments.cluster, _estimate)
    if arguments.command == "book":
        from mplib.report import answer, families, readme, verdicts, worked
        from mplib.runs import pages

        extra = {
            "verdicts.md": verdicts.verdicts_page(), "speed.md": readme.speed_page(),
            "families.md": families.families_page(),
            "answer.md": f"{answer.answer()}\n\n{answer.example()}",
            "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(), **worked.worked_page(),
        }  # fmt: skip
        print(pages.build_book(profile, settings, strict=arguments.strict, extra=extra))
    else:
        engine.sweep(profile, settings, dry_run=arguments.dry_run)


def _estimate(work: Mapping[str, Any], parameters: Mapping[str, Any]) -> "Cost | None":
    """The cost of a run; torch is imported when it is first asked for."""
    from mplib.models.cost import estimate

    return estimate(work, parameters)


if __name__ == "__main__":
    sys.exit(main())
