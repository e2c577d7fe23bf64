"""ProofWriter: the official release as examples with gold trees (paper, section 4.2, appendix C.3).

The release (ProofWriter V2020.12.3, Tafjord et al. 2021) is a folder with
``{CWA,OWA}/depth-{0,1,2,3,3ext,5}/meta-{train,dev,test}.jsonl``, one theory a line.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import pandas as pd

from mplib.errors import InputError
from mplib.tasks.examples import Example, ordered
from mplib.tasks.jsonl import Record, field, load_jsonl
from mplib.tasks.proofwriter.logic import NAF, Proof

SPLITS = ("train", "dev", "test")


DEPTH_FOLDERS = ("depth-0", "depth-1", "depth-2", "depth-3", "depth-5")
"""The folders that the paper's source reads; ``depth-3ext`` repeats theories of the others."""


TABLE_6 = {
    "train": (84_568, 41_718, 25_021, 14_042, 6_078, 5_998),
    "dev": (12_227, 6_101, 3_712, 2_079, 891, 874),
    "test": (24_270, 12_044, 7_215, 4_132, 1_765, 1_756),
}
"""The paper's number of questions for each split and depth."""


FIELDS: dict[str, tuple[type, ...]] = {
    "question": (str,), "answer": (bool, str), "QDep": (int,), "QLen": (int, str), "proofs": (str,),
}  # fmt: skip
"""Fields of a question that are read."""


REASONS = ("no proof", "NAF", "OR", "loop", "wrong depth", "kept")
"""What becomes of a question, in the order of the checks."""


def first_proof(text: str, names: Sequence[str]) -> Proof:
    """Reads a proof string of the release, such as ``[(((triple1) -> rule2) OR (triple3))]``.

    Args:
        text: the value of ``proofs``.
        names: names of the statements, in the order in which proofs are to number them.

    Returns:
        The proof, by the first alternative wherever there are several; every premise of a step is
        kept.

    Raises:
        InputError: the string names an unknown statement or is not well-formed.
    """
    index = {name: i for i, name in enumerate(names)}
    tokens = re.findall(r"[()]|[^\s()]+", text.strip().removeprefix("[").removesuffix("]"))[::-1]

    def proof(token: str) -> Proof:
        if token not in {*index, "NAF"}:
            raise InputError(f"unknown token {token!r} in the proof {text!r}: no statement's name")
        return NAF if token == "NAF" else Proof(index[token])

    def group() -> list[Proof]:
        """What stands side by side up to the closing bracket, in the first alternative."""
        rows: list[list[Proof]] = [[]]
        while tokens:
            token = tokens.pop()
            if token == ")":
                return rows[0]
            if token == "OR":
                rows.append([])
            elif token == "->" and rows[-1]:
                rule = proof(tokens.pop() if tokens else "")
                rows[-1] = [Proof(rule.statement, tuple(rows[-1]))]
            else:
                rows[-1] += group() if token == "(" else [proof(token)]
        raise InputError(f"the proof {text!r} lacks a closing bracket")

    found = group() if tokens and tokens.pop() == "(" else []
    if tokens or len(found) != 1:
        raise InputError(f"cannot read the proof {text!r}: expected e.g. '[((triple1) -> rule2)]'")
    return found[0]


def theory(record: Record) -> Record:
    """Checks that a record has what is read of a line of the release, and returns it.

    Raises:
        InputError: a field is missing or of another kind.
    """
    for key, kind in {"id": str, "triples": dict, "rules": dict, "questions": dict}.items():
        field(record, key, kind)
    for told in (record["triples"], record["rules"]):
        for name in told:
            field(field(told, name, dict), "text", str, filled=True, of=name)
    for name in record["questions"]:
        question = field(record["questions"], name, dict)
        for key, kinds in FIELDS.items():
            field(question, key, *kinds, of=name)
    return record


def clean(record: Record) -> Iterator[tuple[str, str, Proof | None]]:
    """Goes through the questions of a theory and keeps those whose tree is known (appendix C.3).

    A question is dropped where the release has no proof; where any proof of it uses negation as
    failure (``NAF``); where it has several proofs (``OR``); where a rule stands above itself, so
    that the statements form no tree (``loop``); where the tree is not as high as ``QDep`` says
    (``wrong depth``).

    Yields:
        (name of the question, one of ``REASONS``, its proof if it is kept).
    """
    names = [*record["triples"], *record["rules"]]
    for name, question in record["questions"].items():
        if question["QLen"] == "":
            yield name, "no proof", None
            continue
        try:
            proof = first_proof(question["proofs"], names)
        except InputError as error:
            raise InputError(f"question {name}: {error}") from None
        verdict = judge(proof, question["proofs"], question["QDep"], len(names))
        yield name, verdict, proof if verdict == "kept" else None


def judge(proof: Proof, text: str, depth: int, n_statements: int) -> str:
    """Which of ``REASONS`` holds for a proof that the release writes as ``text``."""
    for word in ("NAF", "OR"):
        if re.search(rf"\b{word}\b", text):
            return word
    try:
        height = proof.tree(n_statements).depth
    except InputError:
        return "loop"
    return "kept" if height == depth else "wrong depth"


def to_examples(record: Record, order: str = "random", seed: int = 0) -> Iterator[Example]:
    """Turns a line of the release into examples, one for each question that ``clean`` keeps.

    Args:
        record: a line of the release.
        order: of the statements: ``random``, drawn anew for each question from the seed and the
            names of theory and question alone, or ``given``, facts before rules. The given order
            tells a statement's kind by its position.
        seed: of the order.
    """
    told = tuple(x["text"] for x in (*record["triples"].values(), *record["rules"].values()))
    kinds = ("fact",) * len(record["triples"]) + ("rule",) * len(record["rules"])
    choices = ("True", "False", "Unknown") if "-OWA-" in record["id"] else ("True", "False")
    for name, _, proof in clean(record):
        if proof:
            asked, answer = (record["questions"][name][key] for key in ("question", "answer"))
            tree, group = proof.tree(len(told)), record["id"]
            example = Example(told, asked, str(answer), tree, group, choices, kinds)
            yield example.arranged(ordered(len(told), order, f"{seed} {group} {name}"))


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
    named = (path / world / d / f"meta-{s}.jsonl" for d in DEPTH_FOLDERS for s in splits)
    if not (found := [file for file in named if file.is_file()]):
        wanted = f"{world}/depth-*/meta-*.jsonl in it; unpack proofwriter-dataset-V2020.12.3.zip"
        raise InputError(f"{path} is not the ProofWriter release: expected {wanted}")
    return found


def examples(paths: Iterable[Path], order: str = "random", seed: int = 0) -> Iterator[Example]:
    """Streams the cleaned questions of files; see ``files``, ``clean`` and ``to_examples``.

    Raises:
        InputError: a file or a line of it cannot be used.
    """
    for path in paths:
        parsed = load_jsonl(path, lambda r: [*to_examples(theory(r), order, seed)], progress=True)
        for _, found in parsed:
            yield from found


def glance(paths: Iterable[Path]) -> list[Example]:
    """Questions of every fifth theory of some files, to go by.

    Raises:
        InputError: a file or a line of it cannot be used.
    """

    def fifth(place: Iterator[int], record: Record) -> list[Example]:
        return [] if next(place) % 5 else [*to_examples(theory(record))]

    parsed = (load_jsonl(path, partial(fifth, count())) for path in paths)
    return [x for file in parsed for _, found in file for x in found]


def table(number: Mapping[tuple[str, int, str], int], whole: bool = False) -> pd.DataFrame:
    """Questions by split and depth, and what the cleaning made of them.

    Args:
        number: of questions, by split, depth and reason.
        whole: whether they are the whole closed-world release: then the paper's Table 6 stands
            beside. Its source drops only proofless and NAF questions before it counts, so compare
            the column ``no NAF``.

    Returns:
        Table with a row for each split and depth: all questions, those with a proof and no NAF,
        those dropped for each later reason, those kept, and the paper's number.
    """
    counts = pd.Series(number).unstack(fill_value=0).reindex(columns=REASONS, fill_value=0)
    counts = counts.loc[sorted(counts.index, key=lambda at: (*SPLITS, at[0]).index(at[0]))]
    found = counts[list(REASONS[2:])]
    found.insert(0, "questions", counts.sum(axis=1))
    found.insert(1, "no NAF", counts[list(REASONS[2:])].sum(axis=1))
    if whole:
        found["paper"] = [dict(enumerate(TABLE_6[split])).get(d) for split, d in found.index]
    return found.reset_index(names=["split", "depth"])
