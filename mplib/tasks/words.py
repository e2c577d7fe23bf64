"""Words of texts in every script, and when two texts are the same."""

from unicodedata import normalize

import regex

# Letters of scripts without spaces are words of their own: Han, kana, and what Unicode calls
# "complex context" (Thai, Lao, Khmer, Myanmar and their kin), whose words only a dictionary knows.
_ALONE = r"[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{lb=SA}]"
_JOINED = r"[\w\p{M}\u200c\u200d'-]"  # the two join letters within a word, and show nothing
_WORD = regex.compile(rf"(?V1)[\w&&{_ALONE}]\p{{M}}*|[{_JOINED}--{_ALONE}]+")
_TOKEN = regex.compile(r"\w+|[^\w\s]+")


def words(text: str) -> list[str]:
    """The words of a text in any script, composed (NFC) and without case.

    Marks stay with their letters. A letter of a script that writes no spaces is a word.

    >>> words("Rex can't re-read हिन्दी."), words("玄君是"), words("ที่นี่")
    (['rex', "can't", 're-read', 'हिन्दी'], ['玄', '君', '是'], ['ที่', 'นี่'])
    """
    return _WORD.findall(_folded(text))


def tokens(text: str) -> list[str]:
    """Words and marks as the tokenizer of a model from random weights takes them, case and all."""
    return _TOKEN.findall(text)


def same(text: str) -> str:
    """The text as it is compared with others: composed, without case, spaces as one."""
    return " ".join(_folded(text).split())


def _folded(text: str) -> str:
    return normalize("NFC", normalize("NFC", text).casefold())  # case folding may take apart
