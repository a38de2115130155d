"""Writing systems: which characters stand alone as words, and what script a text is in.

A word is a run of letters and digits where a script puts spaces between words; in the others each character is one.
"""

import re
import unicodedata
from collections import Counter
from functools import cache
from itertools import islice

UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic iteration mark, closing mark, zero
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana phonetic extensions
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han, compatibility
    (0x20000, 0x3FFFF),  # Han, further extensions
)
"""Code points of scripts that do not put spaces between words, first and last."""

UNSPACED_CLASS = "[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED) + "]"
"""The same as a class of a regular expression, for ``re`` and for the ``tokenizers`` library alike."""

WORD = re.compile(rf"{UNSPACED_CLASS}|(?:(?!{UNSPACED_CLASS})[^\W_])+")

SAMPLE = 1000
"""Characters of a text that tell its script."""


def is_unspaced(character: str) -> bool:
    """Whether a character belongs to a script without spaces between words.

    >>> is_unspaced("好"), is_unspaced("한"), is_unspaced("e")
    (True, False, False)
    """
    code = ord(character)
    return any(first <= code <= last for first, last in UNSPACED)


def words(text: str) -> list[str]:
    """The words of a text in any script.

    >>> words("BERT 很好, isn't it?")
    ['BERT', '很', '好', 'isn', 't', 'it']
    """
    return WORD.findall(text)


def has_words(text: str, count: int) -> bool:
    """Whether a text has at least ``count`` words; reads no more of it than it must."""
    return sum(1 for _ in islice(WORD.finditer(text), count)) == count


def script_of(text: str) -> str:
    """The script that most letters at the start of a text belong to, by its Unicode name; "none" without letters.

    >>> script_of("Attention is all you need"), script_of("今天天气 very 好啊"), script_of("42")
    ('Latin', 'Han', 'none')
    """
    counts = Counter[str]()
    for character, count in Counter(text[:SAMPLE]).items():  # few are different, and a Counter is quick on a string
        counts[_script(character)] += count
    del counts[""]
    return min(counts, key=lambda script: (-counts[script], script)) if counts else "none"


@cache
def _script(character: str) -> str:
    if not character.isalpha():
        return ""
    first = unicodedata.name(character, "OTHER").split()[0]
    return "Han" if first == "CJK" else first.capitalize()
