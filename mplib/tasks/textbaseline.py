"""What the text alone shows of each statement: the features of the text baseline."""

from collections.abc import Sequence

import numpy as np

from mplib.tasks.examples import Example
from mplib.tasks.words import words


def text_features(examples: Sequence[Example]) -> np.ndarray:
    """Describes each statement by its text, for the baseline that any probe must beat.

    The features are: how many different words the statement shares with the question, its length
    in words (see ``mplib.tasks.words``), its position (0 first, 1 last), and for each kind that
    occurs, in order of the alphabet, whether it is of that kind. Nothing of the tree is used.

    Returns:
        Array of shape (examples, statements, features); NaN where an example has fewer statements.
    """
    kinds = sorted({kind for example in examples for kind in example.kinds})
    longest = max((len(example.statements) for example in examples), default=0)
    features = np.full((len(examples), longest, 3 + len(kinds)), np.nan)
    for row, example in zip(features, examples, strict=True):
        asked = set(words(example.question))
        last = max(1, len(example.statements) - 1)
        for place, statement in enumerate(example.statements):
            told = words(statement)
            of_kind = [example.kinds[place : place + 1] == (kind,) for kind in kinds]
            row[place] = [len(asked & {*told}), len(told), place / last, *of_kind]
    return features
