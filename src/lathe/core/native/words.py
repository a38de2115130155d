"""Words of a text, which come as one string with a space between each two: how many of what kind, and their repeats."""

import ctypes
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.native.compiled import library

Kinds: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
"""The kind of each code point: MARK, LETTER, or 0 for others.  [0x110000]"""

MARK, LETTER = 1, 2


class Tally(NamedTuple):
    """Numbers of words."""

    words: int
    plain: int  # those with more than marks
    characters: int  # of these
    lettered: int  # those with a letter


class Frequent(NamedTuple):
    """The most frequent n-gram, of several the first."""

    times: int
    characters: int  # without the spaces in it


class Repeats(NamedTuple):
    """By n."""

    frequent: dict[int, Frequent]
    repeated: dict[int, int]  # characters of n-grams that were there before; each is skipped before the next


def tally(words: str, kinds: Kinds) -> Tally:
    """How many words of each kind there are."""
    compiled = library()
    if compiled is None:
        return _tally(words, kinds)
    text, found = words.encode("utf-8", "surrogatepass"), np.empty(4, np.int64)
    compiled.tally_words(text, ctypes.c_int64(len(text)), _at(kinds), _at(found))
    return Tally(*found.tolist())


def repeats(words: str, frequent: Sequence[int], repeated: Sequence[int]) -> Repeats:
    """The repeats for each n (2 or more) that is asked for.

    >>> repeats("so it goes and so it goes", (2,), (3,))
    Repeats(frequent={2: Frequent(times=2, characters=4)}, repeated={3: 8})
    """
    compiled = library()
    return _repeats(words, frequent, repeated) if compiled is None else _fast(compiled, words, frequent, repeated)


class _Call(ctypes.Structure):
    """`repeats` in words.c."""

    _fields_ = (
        ("text", ctypes.c_char_p),
        *((name, ctypes.c_int64) for name in ("bytes", "words", "most")),
        *((name, ctypes.c_void_p) for name in ("repeated", "frequent", "characters", "read", "hashes", "table")),
        ("size", ctypes.c_int64),
    )


def _fast(compiled: ctypes.CDLL, words: str, frequent: Sequence[int], repeated: Sequence[int]) -> Repeats:
    text, count = words.encode("utf-8", "surrogatepass"), words.count(" ") + 1 if words else 0
    most = max((*frequent, *repeated), default=0)
    size = 1 << count.bit_length() + 1
    numbers = np.zeros((3, most + 1), np.int64)
    numbers[0, list(repeated)] = 1
    numbers[1, list(frequent)] = 1
    read, hashes, table = np.empty(3 * count, np.int64), np.empty(count, np.int64), np.empty(3 * size, np.int64)
    places = (_at(array) for array in (*numbers, read, hashes, table))
    compiled.repeated_ngrams(ctypes.byref(_Call(text, len(text), count, most, *places, size)))
    again, times, characters = numbers.tolist()
    return Repeats({n: Frequent(times[n], characters[n]) for n in frequent}, {n: again[n] for n in repeated})


def _at(array: np.ndarray[Any, Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


# ---- the same in Python


def _tally(words: str, kinds: Kinds) -> Tally:
    counts = Counter(words.split(" ")) if words else Counter[str]()
    kinds_of = {word: {int(kinds[ord(character)]) for character in word} for word in counts}
    plain = {word: count for word, count in counts.items() if kinds_of[word] != {MARK}}
    lettered = sum(count for word, count in counts.items() if LETTER in kinds_of[word])
    characters = sum(len(word) * count for word, count in plain.items())
    return Tally(counts.total(), sum(plain.values()), characters, lettered)


def _repeats(words: str, frequent: Iterable[int], repeated: Iterable[int]) -> Repeats:
    parts = words.split(" ") if words else []
    return Repeats({n: _frequent(parts, n) for n in frequent}, {n: _repeated(parts, n) for n in repeated})


def _frequent(words: Sequence[str], n: int) -> Frequent:
    counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    ngram, times = counts.most_common(1)[0] if counts else ((), 0)
    return Frequent(times, sum(map(len, ngram)))


def _repeated(words: Sequence[str], n: int) -> int:
    seen: set[str] = set()
    characters = at = 0
    while at + n <= len(words):
        ngram = "".join(words[at : at + n])
        is_new = ngram not in seen
        seen.add(ngram)
        characters += 0 if is_new else len(ngram)
        at += 1 if is_new else n
    return characters
