"""Words in every script, and what the text baseline sees of them."""

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from mplib.studies.language_tables import by_negation
from mplib.tasks.examples import Example
from mplib.tasks.textbaseline import text_features
from mplib.tasks.trees import ReasoningTree
from mplib.tasks.words import same, tokens, words

TREE = ReasoningTree.from_edges([(0, 1)], 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Rex can't re-do 3.14 x_y, O'Hara!", "rex can't re-do 3 14 x_y o'hara"),
        ("Straße STRASSE", "strasse strasse"),
        ("e\u0301te\u0301 \u00c9T\u00c9", "\u00e9t\u00e9 \u00e9t\u00e9"),
        ("हिन्दी में है।", "हिन्दी में है"),
        ("தமிழ் மொழி", "தமிழ் மொழி"),
        ("한국어는 쉽다", "한국어는 쉽다"),
        ("می\u200cخواهم رفت", "می\u200cخواهم رفت"),
        ("玄君是干的。", "玄 君 是 干 的"),
        ("10月3日はカーディガン、々", "10 月 3 日 は カ ー デ ィ ガ ン 々"),
        ("ที่นี่ไทย", "ที่ นี่ ไ ท ย"),
        ("ພາສາລາວ", "ພ າ ສ າ ລ າ ວ"),
        ("ខ្មែរ", "ខ្ មែ រ"),
        ("မြန်မာ", "မြ န် မာ"),
        ("iPhone很贵", "iphone 很 贵"),
        ("👍🏽 … ！", ""),
        ("\ud800", ""),
    ],
)
def test_words_of_every_script(text: str, expected: str) -> None:
    assert words(text) == expected.split()


def test_texts_are_compared_composed_without_case_and_with_one_space() -> None:
    assert same(" Cafe\u0301  is\nOPEN. ") == same("caf\u00e9 is open.") != same("cafe is open.")


@pytest.mark.parametrize(
    ("statements", "question"),
    [
        (("甲君是红的。", "红的人都是大的。"), "甲君是大的吗？"),
        (("แดงเป็นแมว", "แมวทุกตัวใจดี"), "แดงใจดีไหม"),
        (("ラーメンは熱い。", "熱いものは赤い。"), "ラーメンは赤い？"),
    ],
)
def test_spaces_between_letters_change_nothing_where_a_script_has_none(
    statements: tuple[str, ...], question: str
) -> None:
    def spaced(text: str) -> str:
        return " ".join(words(text))

    plain = Example(statements, question, "是", TREE)
    apart = Example(tuple(map(spaced, statements)), spaced(question), "是", TREE)
    features = text_features([plain])
    np.testing.assert_array_equal(features, text_features([apart]))
    assert (features[..., 0] > 1).all() and (features[..., 1] > 3).all()


def test_statements_without_a_word_have_features_too() -> None:
    bare = Example(("\U0001f600", "\u202e"), "\ufeff", "yes", TREE)
    np.testing.assert_array_equal(text_features([bare]), [[[0, 0, 0, 0, 0], [0, 0, 1, 0, 0]]])


def test_a_not_is_a_word() -> None:
    def asked(question: str, answer: str) -> Example:
        return Example(("a", "b"), question, answer, TREE)

    said = [asked("Bob is not red.", "False"), asked("A knot is nothing.", "True")]
    assert by_negation(said) == 1 and by_negation([asked("Bob is not red.", "True")]) == 0


@pytest.mark.parametrize("text", ["हिन्दी में है।", "ที่นี่ ok?", "Rex can't, e\u0301 3.14", "玄君是"])
def test_tokens_are_those_of_a_model_from_random_weights(text: str) -> None:
    taken = [token for token, _ in pre_tokenizers.Whitespace().pre_tokenize_str(text)]
    assert tokens(text) == taken
