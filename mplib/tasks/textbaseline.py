"""What the text alone shows of each statement: the features of the text baseline."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from mplib.tasks.examples import Example
from mplib.tasks.words import words


def text_features(examples: Sequence[Example]) -> np.ndarray:
    """Describes each statement by its text, for the baseline that any probe must beat.

    The features are: how many different words the statement shares with the question, its length
    in words (see ``mplib.tasks.words``), its position (0 first, 1 last), how many of its words
    another statement has too, how many words are told behind it, and for each kind that occurs, in
    order of the alphabet, whether it is of that kind. Nothing of the tree is used.

    Returns:
        Array of shape (examples, statements, features); NaN where an example has fewer statements.
    """
    kinds = sorted({kind for example in examples for kind in example.kinds})
    longest = max((len(example.statements) for example in examples), default=0)
    features = np.full((len(examples), longest, 5 + len(kinds)), np.nan)
    for row, example in zip(features, examples, strict=True):
        asked, told = set(words(example.question)), [words(x) for x in example.statements]
        times = Counter(word for one in told for word in {*one})
        last, behind = max(1, len(told) - 1), sum(map(len, told))
        for place, own in enumerate(told):
            behind -= len(own)
            elsewhere = sum(times[word] > 1 for word in {*own})
            of_kind = [example.kinds[place : place + 1] == (kind,) for kind in kinds]
            shared = len(asked & {*own})
            row[place] = [shared, len(own), place / last, elsewhere, behind, *of_kind]
    return features
