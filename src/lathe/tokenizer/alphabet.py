"""The characters that stand inside words, in a fixed order.

The ``tokenizers`` library numbers the pieces ``##a``, ``##b``, ... as it meets them while it walks a hash table, whose
order differs from process to process; ties between merges are broken by these numbers, so the vocabulary would differ
too. Naming the pieces beforehand makes it a function of the text.
"""

import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from tokenizers import normalizers

from lathe.core.scripts import is_unspaced

Codes: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]

TEXTS_AT_ONCE = 1024


def inner_characters(texts: Sequence[str], normalizer: normalizers.Normalizer, limit: int) -> list[str]:
    """The ``limit`` most frequent characters that can follow another one in a word after normalising, in code order.

    One that is listed and never does so costs a place in the vocabulary and nothing else.
    """
    counts = Counter[str]()
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        codes = _codes("\n".join(texts[start : start + TEXTS_AT_ONCE]))
        inside = ~_is_break()[codes]
        follows = inside & np.concatenate(([False], inside[:-1]))
        for mask, skipped in ((follows, 0), (inside & ~follows, 1)):  # a first character may become several
            found, times = np.unique(codes[mask], return_counts=True)
            for code, count in zip(found.tolist(), times.tolist(), strict=True):
                for character in _normalised(normalizer, chr(code))[skipped:]:
                    counts[character] += count
    kept = sorted(counts, key=lambda character: (-counts[character], character))[:limit]
    return sorted(kept)


def _codes(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _normalised(normalizer: normalizers.Normalizer, character: str) -> str:
    return str(normalizer.normalize_str(character)).strip()


@cache
def _is_break() -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which code points are never inside a word of several characters: blanks, punctuation, unspaced scripts."""
    table = np.zeros(0x110000, np.bool_)
    table[:0x20000] = [_separates(chr(code)) for code in range(0x20000)]
    table[0x20000:0x40000] = True  # rare Han
    return table


def _separates(character: str) -> bool:
    if character in string.punctuation or unicodedata.category(character)[0] in "ZP":
        return True
    return character.isspace() or is_unspaced(character)
