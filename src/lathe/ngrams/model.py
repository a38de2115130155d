"""An n-gram model: the probabilities of n-grams, found by their words; on disk a folder that is mapped to memory.

An n-gram is a place in the arrays of its order. Those with the same context (all words but the last) stand together,
sorted by their last word, so that it is enough to know for each context where its own begin.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np

from lathe.core.digest import file_digest, whole_file, write_json
from lathe.core.errors import BundleError
from lathe.core.native import library
from lathe.core.native.ngrams import Index
from lathe.core.recipe import dump, parse
from lathe.core.runtime import cores, keep_memory
from lathe.ngrams.counts import Counts, count
from lathe.ngrams.kneser_ney import Smoothed, estimate
from lathe.ngrams.units import BOS, BREAK, TOKENIZER, AnyUnits, Encode, Ids, Lengths, Pieces, batches

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Places: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]

FORMAT = 1
HEADER, TABLE, VOCABULARY = "ngram.json", "ngram.bin", "vocabulary.json"
ALIGNMENT = 64


class Level(NamedTuple):
    """The M n-grams of one order, in nats."""

    words: Places  # [M] the last word
    log_p: Floats  # [M] of the last word after the others; -inf of <s>
    log_backoff: Floats  # [M] as a context: the cost of going on with a shorter one; [0] of the highest order
    first: Places  # [M + 1] where the n-grams with this one as their context begin; [0] of the highest order

    def contexts_of_next(self) -> Lengths:
        """The context of each n-gram of the order above."""
        ends = self.first.astype(np.int64)
        return np.repeat(np.arange(len(self.words)), ends[1:] - ends[:-1])


class Scored(NamedTuple):
    """How likely some texts are."""

    total: np.ndarray[Any, np.dtype[np.float64]]  # [texts] sum of log p, in nats
    items: Lengths  # [texts] words predicted: all and </s>


@dataclass(frozen=True)
class NGramModel:
    """p(word | the words before it in its text).

    >>> from lathe.ngrams import Characters
    >>> model = NGramModel.learn(["abba", "abab"], 2, Characters())
    >>> round(model.mean_log_prob("abba"), 3)
    -1.06
    """

    units: AnyUnits
    vocabulary: tuple[str, ...]
    levels: tuple[Level, ...]

    @classmethod
    def learn(cls, texts: Iterable[str], order: int, units: AnyUnits) -> Self:
        """Of all n-grams of the texts, up to ``order`` words."""
        keep_memory()  # fresh pages take as long as the counting
        vocabulary, stream = units.learn(texts)
        counts = count(stream, order, len(vocabulary))
        return cls.of_counts(units, vocabulary, counts, estimate(counts))

    @classmethod
    def of_counts(
        cls, units: AnyUnits, vocabulary: tuple[str, ...], counts: Sequence[Counts], smoothed: Sequence[Smoothed]
    ) -> Self:
        begins = (*(level.begins for level in counts[1:]), np.zeros(0, np.uint32))
        levels = (
            Level(level.ngrams["word"].astype(np.uint32), found.log_p, found.log_backoff, first)
            for level, found, first in zip(counts, smoothed, begins, strict=True)
        )
        return cls(units, vocabulary, tuple(levels))

    @property
    def order(self) -> int:
        return len(self.levels)

    @cached_property
    def encode(self) -> Encode:
        """Texts to one stream of ids [L]: each text between ``<s>`` and ``</s>``."""
        return self.units.encoder(self.vocabulary)

    def log_probs(self, stream: Ids) -> Floats:
        """log p of each word of a stream after those before it, in nats; 0 where none is predicted (``<s>``).  [L]"""
        if len(stream) and stream.max() >= len(self.vocabulary):
            raise ValueError(f"{stream.max()} is no word of a vocabulary of {len(self.vocabulary)}")
        if library() is not None:
            scores: Floats = self._index.log_probs(np.ascontiguousarray(stream, np.int32))
            return scores
        return self._log_probs(stream)

    def _log_probs(self, stream: Ids) -> Floats:
        """The same without C."""
        found = stream.astype(np.int64)  # the n-gram that ends at each place; -1 where there is none  [L]
        scores = self.levels[0].log_p[np.maximum(found, 0)]
        for n in range(1, self.order):
            contexts = np.append(-1, found[:-1])
            contexts[stream == BOS] = -1
            known = np.flatnonzero((contexts >= 0) & (stream >= 0))
            places = self._find(n, contexts[known], stream[known])
            is_found = places >= 0
            scores[known] += self.levels[n - 1].log_backoff[contexts[known]]
            scores[known[is_found]] = self.levels[n].log_p[places[is_found]]
            found = np.full(len(stream), -1)
            found[known] = places
        scores[(stream == BOS) | (stream == BREAK)] = 0.0
        return scores

    def log_distributions(self, stream: Ids) -> Floats:
        """log p of every word in the place of each of a stream, after those before it there.  [L, V]"""
        scores = np.repeat(self.levels[0].log_p[None], len(stream), 0)
        found = stream.astype(np.int64)  # the n-gram that ends at each place; -1 where there is none  [L]
        for n in range(1, self.order):
            contexts = np.append(-1, found[:-1])
            contexts[stream == BOS] = -1
            known = np.flatnonzero(contexts >= 0)
            scores[known] += self.levels[n - 1].log_backoff[contexts[known], None]
            first = self.levels[n - 1].first[contexts[known]].astype(np.int64)
            sizes = self.levels[n - 1].first[contexts[known] + 1] - first
            entries = np.arange(sizes.sum()) + np.repeat(first - np.cumsum(sizes) + sizes, sizes)
            scores[np.repeat(known, sizes), self.levels[n].words[entries]] = self.levels[n].log_p[entries]
            found = np.full(len(stream), -1)
            known = known[stream[known] >= 0]
            found[known] = self._find(n, contexts[known], stream[known])
        return scores

    def score(self, texts: Iterable[str]) -> Scored:
        """The log probability of each text, its end included, and how many words it is of; on all cores."""
        self._score([""])  # what is made on first use is made once
        with ThreadPoolExecutor(cores()) as threads:
            parts = list(threads.map(self._score, batches(texts)))
        return Scored(*map(np.concatenate, zip(*parts, strict=True))) if parts else self._score([])

    def _score(self, texts: Sequence[str]) -> Scored:
        stream = self.encode(texts)
        starts = np.flatnonzero(stream == BOS)
        items = np.diff(starts, append=len(stream)) - 1
        if not len(starts):
            return Scored(np.zeros(0), items)
        return Scored(np.add.reduceat(self.log_probs(stream), starts, dtype=np.float64), items)

    def mean_log_prob(self, text: str) -> float:
        """Mean log p of the words of a text and its end, in nats; exp(-this) is its perplexity."""
        total, items = self.score([text])
        return float(total[0] / items[0])

    def distribution(self, context: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """p of every word after ``context``, ids of which the last order - 1 count; they sum to 1.  [V]"""
        p = np.exp(self.levels[0].log_p.astype(np.float64))
        for n, place in enumerate(self._contexts(context), 1):
            level = self.levels[n]
            own = slice(*self.levels[n - 1].first[place : place + 2].tolist())
            p *= np.exp(np.float64(self.levels[n - 1].log_backoff[place]))
            p[level.words[own]] = np.exp(level.log_p[own].astype(np.float64))
        return p

    def _contexts(self, context: Sequence[int]) -> Iterator[int]:
        """Places of the last word of ``context``, of its last two, ... as far as they are known."""
        for length in range(1, min(self.order - 1, len(context)) + 1):
            ids = np.array(context[len(context) - length :], np.int64)
            place = ids[:1]
            for n in range(1, length):
                place = self._find(n, place, ids[n : n + 1])
                if place[0] < 0:
                    return
            yield int(place[0])

    def _find(self, n: int, contexts: Lengths, words: Ids | Lengths) -> Lengths:
        """The (n + 1)-grams of contexts of n words and a word behind each; -1 where there is none."""
        keys, wanted = self._keys[n], contexts * len(self.vocabulary) + words
        if not len(keys):
            return np.full(len(wanted), -1)
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[places] == wanted, places, -1)

    @cached_property
    def _index(self) -> Index:
        return Index(self.levels)

    @cached_property
    def _keys(self) -> list[Lengths]:
        """Context and word of each n-gram as one number; they rise."""
        keys = [self.levels[0].words.astype(np.int64)]
        for shorter, level in zip(self.levels, self.levels[1:], strict=False):
            keys.append(shorter.contexts_of_next() * len(self.vocabulary) + level.words)
        return keys

    # ---- on disk

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write the model into a folder; returns the names of its files."""
        with whole_file(folder / TABLE) as stream:
            for array in (array for level in self.levels for array in level):
                stream.write(array.tobytes())
                stream.write(bytes(-stream.tell() % ALIGNMENT))
        (folder / VOCABULARY).write_text(json.dumps(self.vocabulary), "utf-8")
        names: tuple[str, ...] = (HEADER, TABLE, VOCABULARY)
        if isinstance(self.units, Pieces):
            text = (self.units.tokenizer / TOKENIZER).read_text("utf-8")
            (folder / TOKENIZER).write_text(text, "utf-8")
            names = (*names, TOKENIZER)
        header = {
            "format": FORMAT,
            "units": dump(self.units) | ({"tokenizer": "."} if isinstance(self.units, Pieces) else {}),
            "ngrams": [len(level.words) for level in self.levels],
            "sha256": {name: file_digest(folder / name) for name in names[1:]},
        }
        write_json(folder / HEADER, header)
        return names

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Raises ``BundleError`` where the folder holds no whole, unchanged n-gram model."""
        header = _read_header(folder)
        for name, sha256 in header["sha256"].items():
            if not (folder / name).is_file() or file_digest(folder / name) != sha256:
                raise BundleError(f"{folder / name}: missing or damaged; make the model again with `lathe ngram`")
        units = header["units"] | ({"tokenizer": folder} if "tokenizer" in header["units"] else {})
        vocabulary = tuple(json.loads((folder / VOCABULARY).read_text("utf-8")))
        table = np.memmap(folder / TABLE, np.uint8, "r")
        return cls(parse(AnyUnits, units), vocabulary, tuple(_levels(table, header["ngrams"])))


def _levels(table: np.ndarray[Any, np.dtype[np.uint8]], sizes: Sequence[int]) -> Iterator[Level]:
    at = 0

    def take(length: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        nonlocal at
        start, at = at, at + 4 * length + -4 * length % ALIGNMENT
        return table[start : start + 4 * length]

    for size, above in zip(sizes, (*sizes[1:], None), strict=True):
        words, log_p = take(size).view(np.uint32), take(size).view(np.float32)
        log_backoff = take(0 if above is None else size).view(np.float32)
        yield Level(words, log_p, log_backoff, take(0 if above is None else size + 1).view(np.uint32))


def _read_header(folder: Path) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads((folder / HEADER).read_text("utf-8"))
        if header["format"] != FORMAT:
            raise BundleError(f"{folder / HEADER}: has format {header['format']}, this version reads {FORMAT}")
        header["sha256"].items(), header["units"] | {}, list(map(int, header["ngrams"]))
    except FileNotFoundError:
        raise BundleError(f"{folder}: no n-gram model (no {HEADER}); make one with `lathe ngram`") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{folder / HEADER}: damaged ({error!r}); make the model again with `lathe ngram`") from None
    return header
