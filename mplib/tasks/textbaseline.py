"""What the text alone shows of each statement: the features of the text baseline."""

import re
from collections.abc import Sequence

import numpy as np

from mplib.tasks.examples import Example


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower())


def feature_names(examples: Sequence[Example]) -> tuple[str, ...]:
    """Names of the features, one of them for each kind that occurs in the examples."""
    kinds = sorted({kind for example in examples for kind in example.kinds})
    return ("shared words", "length", "position", *kinds)


def text_features(examples: Sequence[Example]) -> np.ndarray:
    """Describes each statement by its text, for the baseline that any probe must beat.

    The features are: how many different words the statement shares with the question, its length
    in words, its position (0 first, 1 last), and a 1 for its kind. Nothing of the tree is used.

    Returns:
        Array of shape (examples, statements, features) in the order of ``feature_names``; NaN
        where an example has fewer statements.
    """
    names = feature_names(examples)
    longest = max((len(example.statements) for example in examples), default=0)
    features = np.full((len(examples), longest, len(names)), np.nan)
    for row, example in zip(features, examples, strict=True):
        asked = set(_words(example.question))
        last = max(1, len(example.statements) - 1)
        for place, statement in enumerate(example.statements):
            words = _words(statement)
            kind = [float(example.kinds[place : place + 1] == (name,)) for name in names[3:]]
            row[place] = [len(asked & {*words}), len(words), place / last, *kind]
    return features
