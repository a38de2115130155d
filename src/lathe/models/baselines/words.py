"""Words for baselines: as they stand in English, single characters in Chinese, since nothing parts the words there."""

import re
from itertools import pairwise

from lathe.core.tagging import Offsets
from lathe.core.types import Row

_WORD = re.compile(r"[^\W_]+|_+|[^\w\s]")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def terms(text: str) -> list[str]:
    """Words and their pairs, in lower case."""
    words = [w for part in _WORD.findall(text.lower()) for w in (list(part) if _CJK.search(part) else [part])]
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def terms_of(row: Row) -> list[str]:
    """Words and their pairs of a row; of two texts which one they stand in, and those that stand in both.

    >>> terms_of({"text": "good", "text_pair": "good film"})
    ['1 good', '2 good', '2 film', '2 good film', '= good']
    """
    if "text_pair" not in row:
        return terms(row["text"])
    first, second = terms(row["text"]), terms(row["text_pair"])
    both = [term for term in dict.fromkeys(first) if term in set(second)]
    return [f"{mark} {term}" for mark, found in (("1", first), ("2", second), ("=", both)) for term in found]


def words_of(row: Row) -> Offsets:
    """Where the words of a row stand: its tokens, where it came as tokens."""
    if "offsets" in row:
        return tuple(row["offsets"])
    found = [(m.start(), m.end()) for m in _WORD.finditer(row["text"])]
    return tuple(
        piece
        for start, end in found
        for piece in (
            [(i, i + 1) for i in range(start, end)] if _CJK.search(row["text"][start:end]) else [(start, end)]
        )
    )
