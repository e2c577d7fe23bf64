"""ProofWriter: the official release as examples with gold trees (paper, section 4.2, appendix C.3).

    python -m mplib.tasks.proofwriter check FILE      truth of every question, from its text alone
    python -m mplib.tasks.proofwriter count FOLDER    questions left by the cleaning (Table 6)

The release (ProofWriter V2020.12.3, Tafjord et al. 2021) is a folder with
``{CWA,OWA}/depth-{0,1,2,3,3ext,5}/meta-{train,dev,test}.jsonl``, one theory a line.
"""

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from mplib.errors import InputError
from mplib.tasks.examples import Example
from mplib.tasks.proofwriter.logic import NAF, Proof, read_fact, read_theory

SPLITS = ("train", "dev", "test")


DEPTH_FOLDERS = ("depth-0", "depth-1", "depth-2", "depth-3", "depth-5")
"""The folders that the paper's source reads; ``depth-3ext`` repeats theories of the others."""


TABLE_6 = {
    "train": (84_568, 41_718, 25_021, 14_042, 6_078, 5_998),
    "dev": (12_227, 6_101, 3_712, 2_079, 891, 874),
    "test": (24_270, 12_044, 7_215, 4_132, 1_765, 1_756),
}
"""The paper's number of questions for each split and depth."""


REASONS = ("no proof", "NAF", "OR", "loop", "wrong depth", "kept")
"""What becomes of a question, in the order of the checks."""


def parse_proofs(text: str, names: Sequence[str], first: bool = False) -> list[Proof]:
    """Reads a proof string of the release, such as ``[(((triple1) -> rule2) OR (triple3))]``.

    Args:
        text: the value of ``proofs``.
        names: names of the statements, in the order in which proofs are to number them.
        first: whether to take the first alternative wherever there are several.

    Returns:
        One proof for each way of choosing among the alternatives; every premise of a step is kept.

    Raises:
        InputError: the string names an unknown statement or is not well-formed.
    """
    index = {name: i for i, name in enumerate(names)}
    tokens = re.findall(r"[()]|[^\s()]+", text.strip().removeprefix("[").removesuffix("]"))
    tokens.reverse()

    def proof(token: str) -> Proof:
        if token == "NAF":
            return NAF
        if token not in index:
            raise InputError(
                f"unknown token {token!r} in the proof {text!r}: it names no statement"
            )
        return Proof(index[token])

    def group() -> list[tuple[Proof, ...]]:
        """The alternatives up to the closing bracket, each a row of proofs side by side."""
        done: list[tuple[Proof, ...]] = []
        rows: list[tuple[Proof, ...]] = [()]
        while tokens:
            token = tokens.pop()
            if token == ")":
                return (done + rows)[: 1 if first else None]
            if token == "OR":
                done, rows = done + rows, [()]
            elif token == "->":
                rule = proof(tokens.pop() if tokens else "")
                rows = [(Proof(rule.statement, premises),) for premises in rows if premises]
            else:
                more = group() if token == "(" else [(proof(token),)]
                rows = [(*row, *further) for row, further in product(rows, more)]
        raise InputError(f"the proof {text!r} lacks a closing bracket")

    alternatives = group() if tokens and tokens.pop() == "(" else []
    if tokens or not alternatives or any(len(row) != 1 for row in alternatives):
        raise InputError(f"cannot read the proof {text!r}: expected e.g. '[((triple1) -> rule2)]'")
    return [row[0] for row in alternatives]


def clean(
    record: dict[str, Any], alternatives: str = "drop"
) -> Iterator[tuple[str, str, Proof | None]]:
    """Goes through the questions of a theory and keeps those whose tree is known (appendix C.3).

    A question is dropped where the release has no proof; where any proof of it uses negation as
    failure (``NAF``); where it has several proofs (``OR``); where a rule stands above itself, so
    that the statements form no tree (``loop``); where the tree is not as high as ``QDep`` says
    (``wrong depth``).

    Args:
        record: a line of the release.
        alternatives: ``drop`` questions with several proofs, or take the ``first`` one.

    Yields:
        (name of the question, one of ``REASONS``, its proof if it is kept).
    """
    if alternatives not in ("drop", "first"):
        raise InputError(f"alternatives={alternatives!r}: expected 'drop' or 'first'")
    names = [*record["triples"], *record["rules"]]
    for name, question in record["questions"].items():
        text = question["proofs"]
        if question["QLen"] == "":
            yield name, "no proof", None
            continue
        try:
            parsed = parse_proofs(text, names, first=True)[0]
        except InputError as error:
            raise InputError(f"question {name}: {error}") from None
        words = re.findall(r"[A-Z]+", text)
        try:
            depth = parsed.tree(len(names)).depth if "NAF" not in words else 0
        except InputError:
            depth = None
        if "NAF" in words:
            yield name, "NAF", None
        elif "OR" in words and alternatives == "drop":
            yield name, "OR", None
        elif depth != question["QDep"]:
            yield name, "loop" if depth is None else "wrong depth", None
        else:
            yield name, "kept", parsed


def to_examples(
    record: dict[str, Any], alternatives: str = "drop", order: str = "random", seed: int = 0
) -> Iterator[Example]:
    """Turns a line of the release into examples, one for each question that ``clean`` keeps.

    Args:
        record: a line of the release.
        alternatives: see ``clean``.
        order: of the statements: ``random``, drawn anew for each question from the seed and the
            names of theory and question alone, or ``given``, facts before rules. The given order
            tells a statement's kind by its position.
        seed: of the order.
    """
    if order not in ("random", "given"):
        raise InputError(f"order={order!r}: expected 'random' or 'given'")
    told = [*record["triples"].values(), *record["rules"].values()]
    kinds = ["fact"] * len(record["triples"]) + ["rule"] * len(record["rules"])
    choices = ("True", "False", "Unknown") if "-OWA-" in record["id"] else ("True", "False")
    for name, _, proof in clean(record, alternatives):
        if proof is None:
            continue
        places = list(range(len(told)))
        if order == "random":
            random.Random(f"{seed} {record['id']} {name}").shuffle(places)
        new = {old: place for place, old in enumerate(places)}
        question = record["questions"][name]
        yield Example(
            statements=tuple(told[old]["text"] for old in places),
            question=question["question"],
            answer=str(question["answer"]),
            tree=_renumber(proof, new).tree(len(told)),
            group=record["id"],
            choices=choices,
            kinds=tuple(kinds[old] for old in places),
        )


def _renumber(proof: Proof, new: dict[int, int]) -> Proof:
    return Proof(new[proof.statement], tuple(_renumber(p, new) for p in proof.premises))


def files(path: Path | str, world: str = "CWA", splits: Sequence[str] = SPLITS) -> list[Path]:
    """The files of a release that hold theories, or the one file that was named.

    Args:
        path: the release's folder (it holds ``CWA`` and ``OWA``) or one ``.jsonl`` file.
        world: ``CWA`` (closed world, as the paper) or ``OWA`` (open world).
        splits: which of ``SPLITS``.

    Raises:
        InputError: there is no such file, or the folder is not the release.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    found = [path / world / d / f"meta-{s}.jsonl" for d in DEPTH_FOLDERS for s in splits]
    found = [file for file in found if file.is_file()]
    if not found:
        raise InputError(
            f"{path} is not the ProofWriter release: expected {world}/depth-*/meta-*.jsonl in it "
            "(or one such file); unpack proofwriter-dataset-V2020.12.3.zip and name its folder"
        )
    return found


def records(
    path: Path | str, world: str = "CWA", splits: Sequence[str] = SPLITS
) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """Streams (file, line number, theory) from the release or one file; see ``files``.

    Progress is shown on standard error, unless the environment variable TQDM_DISABLE is set.

    Raises:
        InputError: a line is cut off or is not a theory of the release; names file and line.
    """
    for file in files(path, world, splits):
        with (
            file.open(encoding="utf-8") as lines,
            tqdm(total=file.stat().st_size, desc=str(file), unit="B", unit_scale=True) as bar,
        ):
            for number, line in enumerate(lines, start=1):
                bar.update(len(line.encode()))
                if line.strip():
                    yield file, number, _record(line, f"{file}, line {number}")


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where}: not a whole JSON object ({error}); fetch the file again"
        ) from None
    wanted = {"id": str, "triples": dict, "rules": dict, "questions": dict}
    for key, kind in wanted.items():
        if not isinstance(record, dict) or not isinstance(record.get(key), kind):
            raise InputError(f"{where}: no {key!r} as in the release's meta-*.jsonl files")
    texts = [*record["triples"].values(), *record["rules"].values()]
    keys = ("question", "answer", "QDep", "QLen", "proofs")
    if not all(isinstance(x, dict) and "text" in x for x in texts):
        raise InputError(f"{where}: a triple or rule without 'text'")
    for name, question in record["questions"].items():
        if missing := [key for key in keys if key not in question]:
            raise InputError(f"{where}: question {name} has no {missing[0]!r}")
    return record


def examples(
    path: Path | str,
    world: str = "CWA",
    splits: Sequence[str] = SPLITS,
    alternatives: str = "drop",
    order: str = "random",
    seed: int = 0,
) -> Iterator[Example]:
    """Streams the cleaned questions; see ``files``, ``clean`` and ``to_examples``.

    Raises:
        InputError: the folder is not the release, or a line of it cannot be used.
    """
    for file, number, record in records(path, world, splits):
        try:
            yield from to_examples(record, alternatives, order, seed)
        except InputError as error:
            raise InputError(f"{file}, line {number}: {error}") from None


def counts(
    path: Path | str,
    world: str = "CWA",
    splits: Sequence[str] = SPLITS,
    alternatives: str = "drop",
) -> pd.DataFrame:
    """Counts the questions by split and depth, and what the cleaning made of them.

    Where the whole closed-world release is given, the paper's Table 6 stands beside. Its source
    drops only proofless and NAF questions before it counts, so compare the column ``no NAF``.

    Returns:
        Table with a row for each split and depth: all questions, those with a proof and no NAF,
        those dropped for each later reason, those kept, and the paper's number.
    """
    number: dict[tuple[str, int], Counter[str]] = {}
    for file, line, record in records(path, world, splits):
        split = file.stem.removeprefix("meta-")
        try:
            for name, reason, _ in clean(record, alternatives):
                depth = record["questions"][name]["QDep"]
                number.setdefault((split, depth), Counter())[reason] += 1
        except InputError as error:
            raise InputError(f"{file}, line {line}: {error}") from None
    whole = world == "CWA" and len(files(path, world)) == len(DEPTH_FOLDERS) * len(SPLITS)
    rows = []
    for split, depth in sorted(
        number, key=lambda key: (*SPLITS, key[0]).index(key[0]) * 100 + key[1]
    ):
        count = number[split, depth]
        row = {"split": split, "depth": depth, "questions": count.total()}
        row["no NAF"] = count.total() - count["no proof"] - count["NAF"]
        row |= {reason: count[reason] for reason in REASONS[2:]}
        if whole:
            row["paper"] = TABLE_6[split][depth]
        rows.append(row)
    return pd.DataFrame(rows)


def check(path: Path | str) -> tuple[int, list[str]]:
    """Answers the questions of a file from their text alone, by the theory engine.

    Args:
        path: a list of objects with ``context`` (the theory), ``question`` (ends with the
            statement in question), ``options`` ("A) True", ...) and ``answer`` (its letter), as in
            Logic-LLM's selection of ProofWriter. The world is open if "Unknown" is an option.

    Returns:
        How many questions there are, and the ids of those where engine and file disagree.

    Raises:
        InputError: the file is not of this form, or a sentence of it is not ProofWriter's.
    """
    try:
        questions = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not a JSON file with a list of questions: {error}") from None
    wrong = []
    for place, item in enumerate(questions if isinstance(questions, list) else [questions]):
        try:
            options = dict(option.split(") ", 1) for option in item["options"])
            theory = read_theory(
                item["context"], "open" if "Unknown" in options.values() else "closed"
            )
            truth = theory.truth(read_fact(item["question"].split("?")[-1]))
            if options[item["answer"]] != truth:
                wrong.append(str(item.get("id", place)))
        except InputError as error:
            raise InputError(f"{path}, question {place + 1}: {error}") from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}, question {place + 1}: expected an object with context, question, "
                f"options and answer ({error!r})"
            ) from None
    return len(questions), wrong


def main(arguments: Sequence[str]) -> int:
    """Runs ``check FILE`` or ``count FOLDER [CWA|OWA]``; returns the exit status."""
    say = sys.stdout.write
    try:
        match arguments:
            case ["check", path]:
                total, wrong = check(path)
                say(f"agree {total - len(wrong)} of {total}\n")
                say("".join(f"  disagrees: {name}\n" for name in wrong[:10]))
                return int(bool(wrong))
            case ["count", path, *world]:
                say(counts(path, *world).to_string(index=False) + "\n")
                return 0
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stderr.write(f"{(__doc__ or '').split(chr(10) * 2)[1]}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
