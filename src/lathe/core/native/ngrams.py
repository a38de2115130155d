"""The C side of n-gram models (`ngrams.c`): words to numbers, longer n-grams from shorter, log probabilities."""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lathe.core.native.compiled import library

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
LONGEST = 32
_ENTRY = np.dtype([("context", np.uint32), ("word", np.uint32), ("log_p", np.float32), ("log_backoff", np.float32)])
_FIRST_WORDS = 1 << 14


class WordTable:
    """Numbers of words, in the order in which they come; a word that is not known has -1, or gets the next number."""

    def __init__(self) -> None:
        self._names, self._ends = np.empty(1 << 16, np.uint8), np.zeros(_FIRST_WORDS + 1, np.int64)
        self._slots = np.zeros(2 * _FIRST_WORDS, np.int64)
        self._known = 0

    def read(self, texts: Sequence[str], learns: bool) -> tuple[Array, Array]:
        """The words of some texts, which stand between white space: ids [words], and how many each has [texts].

        Texts may be read in several threads where nothing is learnt.
        """
        parts = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)))
        content = b"".join(parts)
        if learns:
            self._make_room(len(content))
        lengths, ids = np.empty(len(parts), np.int64), np.empty(len(content) // 2 + len(parts) + 1, np.int32)
        call = _Reading(content, _at(ends), len(parts), 0, _at(ids), _at(lengths), learns=learns)
        while True:
            self._describe(call)
            _called("read_words", call)
            self._known = call.known
            if call.done == len(parts):
                return ids[: int(lengths.sum())], lengths
            call.ids = _at(ids[int(lengths[: call.done].sum()) :])
            self._grow()

    @property
    def words(self) -> list[str]:
        """All that is known, by number."""
        names, ends = self._names.tobytes(), self._ends[: self._known + 1].tolist()
        pairs = zip(ends, ends[1:], strict=False)
        return [names[start:end].decode("utf-8", "surrogatepass") for start, end in pairs]

    def __len__(self) -> int:
        return self._known

    def _describe(self, call: "_Reading") -> None:
        call.names, call.name_ends, call.slots = _at(self._names), _at(self._ends), _at(self._slots)
        call.known, call.most, call.size = self._known, len(self._ends) - 1, len(self._slots)

    def _make_room(self, more: int) -> None:
        used = int(self._ends[self._known])
        if len(self._names) < used + more:
            self._names = np.concatenate([self._names[:used], np.empty(used + 2 * more, np.uint8)])

    def _grow(self) -> None:
        self._ends = np.concatenate([self._ends, np.zeros(3 * (len(self._ends) - 1), np.int64)])
        self._slots = np.zeros(4 * len(self._slots), np.int64)
        call = _Reading()
        self._describe(call)
        _called("place_words", call)


class Lengthened(NamedTuple):
    """The n-grams of one order, sorted."""

    words: Array  # [M]
    contexts: Array  # [M]
    order: Array  # [positions] where they start
    starts: Array  # [M + 1] where each begins in ``order``
    at: Array  # [L] the n-gram that starts at each position; -1 where none does


def lengthened(stream: Array, n: int, order: Array, starts: Array) -> Lengthened:
    """n-grams of a stream from its (n-1)-grams: positions sorted by them, and where each begins."""
    size = len(order)
    keys, new_order = np.empty(size, np.uint64), np.empty(size, np.int32)
    new_starts, contexts, words = np.empty(size + 1, np.int64), np.empty(size, np.int32), np.empty(size, np.int32)
    at = np.full(len(stream), -1, np.int32)
    inner = (_at(stream), len(stream), n, _at(order), _at(starts), len(starts) - 1)
    arrays: tuple[Array, ...] = (keys, new_order, new_starts, contexts, words, at)
    call = _Refinement(*inner, *map(_at, arrays))
    _called("lengthen_ngrams", call)
    found = int(call.found)
    return Lengthened(words[:found], contexts[:found], new_order[: new_starts[found]], new_starts[: found + 1], at)


def smoothed(
    counts: Array, contexts: Array, suffixes: Array, discounts: Array, lower: Array, size: int
) -> tuple[Array, Array]:
    """p of n-grams whose contexts rise, and the weight that each of ``size`` contexts gives to shorter ones."""
    p, gamma = np.empty(len(counts)), np.ones(size)
    call = _Smoothing(
        _at(counts), _at(contexts), _at(suffixes), len(counts), _at(discounts), _at(lower), _at(p), _at(gamma)
    )
    _called("smooth_ngrams", call)
    return p, gamma


class Index:
    """n-grams in hash tables, one for each order above 1."""

    def __init__(self, levels: Sequence[tuple[Array, Array, Array, Array]]) -> None:
        """``levels``: words, log p, log backoff, and where the n-grams of each as a context begin, by order."""
        self._unigrams, self._tables = levels[0], []
        places = np.arange(len(levels[0][0]), dtype=np.uint32)
        for (_, _, _, first), (words, log_p, log_backoff, _) in zip(levels, levels[1:], strict=False):
            table = np.empty(1 << (len(words) * 3 // 2).bit_length(), _ENTRY)
            own = np.empty(len(words), np.uint32)
            backoff = _at(log_backoff) if len(log_backoff) else None
            call = _Indexing(
                _at(first), _at(places), _at(words), _at(log_p), backoff, len(places), _at(table), len(table), _at(own)
            )
            _called("index_ngrams", call)
            self._tables.append(table)
            places = own

    def log_probs(self, stream: Array) -> Array:
        """log p of each word of an int32 stream.  [L]"""
        scores = np.empty(len(stream), np.float32)
        _, log_p, log_backoff, _ = self._unigrams
        call = _Scoring(_at(stream), len(stream), 1 + len(self._tables), _at(scores), _at(log_p), _at(log_backoff))
        for number, table in enumerate(self._tables):
            call.tables[number], call.sizes[number] = table.ctypes.data, len(table)
        _called("score_ngrams", call)
        return scores


class _Reading(ctypes.Structure):
    """`reading` in ngrams.c."""

    _fields_ = (
        ("text", ctypes.c_char_p),
        ("ends", ctypes.c_void_p),
        ("texts", ctypes.c_int64),
        ("done", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("ids", "lengths", "names", "name_ends")),
        *((name, ctypes.c_int64) for name in ("known", "most", "learns")),
        ("slots", ctypes.c_void_p),
        ("size", ctypes.c_int64),
    )


class _Refinement(ctypes.Structure):
    """`refinement` in ngrams.c."""

    _fields_ = (
        ("stream", ctypes.c_void_p),
        ("length", ctypes.c_int64),
        ("n", ctypes.c_int64),
        ("order", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("groups", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("keys", "new_order", "new_starts", "contexts", "words", "at")),
        ("found", ctypes.c_int64),
    )


class _Smoothing(ctypes.Structure):
    """`smoothing` in ngrams.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("counts", "contexts", "suffixes")),
        ("ngrams", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("discounts", "lower", "p", "gamma")),
    )


class _Indexing(ctypes.Structure):
    """`indexing` in ngrams.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("first", "places", "words", "log_p", "log_backoff")),
        ("contexts", ctypes.c_int64),
        ("table", ctypes.c_void_p),
        ("size", ctypes.c_int64),
        ("own", ctypes.c_void_p),
    )


class _Scoring(ctypes.Structure):
    """`scoring` in ngrams.c."""

    _fields_ = (
        ("stream", ctypes.c_void_p),
        ("length", ctypes.c_int64),
        ("order", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("scores", "log_p", "log_backoff")),
        ("tables", ctypes.c_void_p * (LONGEST - 1)),
        ("sizes", ctypes.c_int64 * (LONGEST - 1)),
    )


def _called(name: str, call: ctypes.Structure) -> None:
    compiled = library()
    if compiled is None:
        raise RuntimeError(f"{name} is called without compiled operations")
    getattr(compiled, name)(ctypes.byref(call))


def _at(array: Array) -> int:
    """Where a contiguous array begins; whoever calls keeps it alive."""
    return int(array.ctypes.data)
