"""The C side of n-gram models (`ngrams.c`); ask `library` first whether there is any."""

import ctypes
from collections.abc import Sequence

import numpy as np

from lathe.core.native.arrays import Array, at, call
from lathe.core.native.calls import operations
from lathe.core.runtime import cores

LONGEST = 32
NGRAM = np.dtype([("word", np.int32), ("context", np.int32), ("suffix", np.int32), ("count", np.int32)])
"""Its last word; all but the last and all but the first, as numbers of n-grams of the order below; its count."""
_PLACE = np.dtype([("at", np.uint32), ("ngram", np.uint32)])
_BUCKET = np.dtype([("places", np.uint32), ("ngrams", np.uint32), ("last", np.uint32)])
_ENTRY = np.dtype([("context", np.uint32), ("word", np.uint32), ("log_p", np.float32), ("log_backoff", np.float32)])


class Places:
    """Where the n-grams of one order start in a stream, sorted by them: at first words, then longer and longer ones."""

    def __init__(self, stream: Array, vocab_size: int) -> None:
        parts = min(cores(), 1 + len(stream) // vocab_size)
        self._now, self._next = np.empty(len(stream), _PLACE), np.empty(len(stream), _PLACE)
        self._scratch = np.empty(len(stream), np.int32), np.empty((parts, vocab_size), _BUCKET)
        firsts, buckets = map(at, self._scratch)
        self._stream, self._call = (
            stream,
            _Lengthening(
                stream=at(stream), count=len(stream), firsts=firsts, vocabulary=vocab_size, parts=parts, buckets=buckets
            ),
        )
        starts = self._tally()
        call("place_words", self._call)
        self._heads = np.arange(vocab_size + 1)
        self._turn(starts)
        self.word_counts: Array = np.diff(starts)

    def lengthen(self, below: Array) -> tuple[Array, Array]:
        """n-grams from (n-1)-grams, and where those of each context begin.  [M] NGRAM, [contexts + 1] uint32

        The counts of those (n-1)-grams that have words before them become the number of these words.
        """
        lower, starts = self._heads, self._tally()
        ngrams, begins = np.empty(self._heads[-1], NGRAM), np.empty(len(below) + 1, np.uint32)
        for name, array in (("lower", lower), ("below", below), ("ngrams", ngrams), ("begins", begins)):
            setattr(self._call, name, at(array))
        call("lengthen_ngrams", self._call)
        begins[-1] = len(ngrams)
        self._turn(starts)
        return ngrams, begins

    def _tally(self) -> Array:
        starts, self._heads = (np.empty(self._call.vocabulary + 1, np.int64) for _ in range(2))
        self._call.starts, self._call.heads, self._call.to = at(starts), at(self._heads), at(self._next)
        call("tally_ngrams", self._call)
        return starts

    def _turn(self, starts: Array) -> None:
        self._now, self._next = self._next, self._now
        setattr(self._call, "from", at(self._now))
        self._call.count = int(starts[-1])


def counts_of_counts(ngrams: Array) -> Array:
    """How many n-grams have the counts 1, 2, 3 and 4."""
    tally = np.empty(4, np.int64)
    operations().tally_counts(at(ngrams), ctypes.c_int64(len(ngrams)), at(tally))
    return tally


def smoothed(ngrams: Array, begins: Array, discounts: Array, lower: Array) -> tuple[Array, Array]:
    """p of n-grams, and the weight that each context gives to shorter ones.  float32"""
    p, gamma = np.empty(len(ngrams), np.float32), np.empty(len(begins) - 1, np.float32)
    results = map(at, (discounts, lower, p, gamma))
    call("smooth_ngrams", _Smoothing(at(ngrams), at(begins), len(gamma), *results))
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
            backoff = at(log_backoff) if len(log_backoff) else None
            arrays = at(first), at(places), at(words), at(log_p), backoff
            call("index_ngrams", _Indexing(*arrays, len(places), at(table), len(table), at(own)))
            self._tables.append(table)
            places = own

    def log_probs(self, stream: Array) -> Array:
        """log p of each word of an int32 stream.  [L]"""
        scores = np.empty(len(stream), np.float32)
        _, log_p, log_backoff, _ = self._unigrams
        scoring = _Scoring(at(stream), len(stream), 1 + len(self._tables), at(scores), at(log_p), at(log_backoff))
        for number, table in enumerate(self._tables):
            scoring.tables[number], scoring.sizes[number] = table.ctypes.data, len(table)
        call("score_ngrams", scoring)
        return scores


class _Lengthening(ctypes.Structure):
    """`lengthening` in ngrams.c."""

    _fields_ = (
        ("stream", ctypes.c_void_p),
        ("from", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("firsts", ctypes.c_void_p),
        ("vocabulary", ctypes.c_int64),
        ("parts", ctypes.c_int64),
        *(
            (name, ctypes.c_void_p)
            for name in ("buckets", "starts", "heads", "lower", "to", "below", "ngrams", "begins")
        ),
    )


class _Smoothing(ctypes.Structure):
    """`smoothing` in ngrams.c."""

    _fields_ = (
        ("ngrams", ctypes.c_void_p),
        ("begins", ctypes.c_void_p),
        ("contexts", ctypes.c_int64),
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
