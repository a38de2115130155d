"""BM25: what a model that searches has to beat. It knows words alone, and is hard to beat with few rows."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch

from lathe.core.metrics.sums import Floats
from lathe.core.predictions import Prediction, Ranking
from lathe.core.search import DEPTH, Best, Collection
from lathe.core.types import Predictor, Row, as_row
from lathe.models.baselines.numbers import tfidf_ridge
from lathe.models.baselines.words import words_of


class BM25:
    """Sum over the words of a query of idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length)).

    idf = log(1 + (N - n + 0.5) / (n + 0.5)), of N texts n have the word (Robertson and Zaragoza, 2009, *The
    Probabilistic Relevance Framework*; idf as Lucene has it, never below 0).
    """

    def __init__(self, texts: Sequence[str], k1: float = 1.2, b: float = 0.75) -> None:
        self.size = len(texts)
        counted = [Counter(search_terms(text)) for text in texts]
        lengths = np.array([found.total() for found in counted], np.float64)  # [N]
        norms = k1 * (1 - b + b * lengths / max(lengths.mean() if self.size else 0.0, 1e-9))  # [N]
        postings: defaultdict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for place, found in enumerate(counted):
            for term, count in found.items():
                postings[term][0].append(place)
                postings[term][1].append(count)
        self._postings = {
            term: (np.array(places), _idf(self.size, len(places)) * tf * (k1 + 1) / (tf + norms[places]))
            for term, (places, counts) in postings.items()
            for tf in [np.array(counts, np.float64)]
        }

    def scores(self, query: str) -> Floats:
        """Of each text; 0 where it shares no word with the query.  [N]"""
        scores = np.zeros(self.size)
        for term, count in Counter(search_terms(query)).items():
            if term in self._postings:
                places, weights = self._postings[term]
                scores[places] += count * weights
        return scores


class BM25Search:
    """Rankings of a collection, or of the candidates of a row; nothing is learnt from rows."""

    def __call__(self, rows: Sequence[Row | str]) -> list[Prediction]:
        return [_ranked(as_row(row)) for row in rows]

    def search(self, rows: Sequence[Row], collection: Collection, depth: int = DEPTH) -> list[Ranking]:
        """Of each row the texts that share a word with its query, the best first."""
        index = _index(collection)
        found = []
        for row in rows:
            scores = torch.from_numpy(index.scores(row["query"]))
            scores[scores == 0] = -math.inf
            scores[collection.itself(row)] = -math.inf
            best = Best(1, depth)
            best.add(scores[None], 0)
            found += best.rankings(collection.names)
        return found


def bm25_or_ridge(rows: Sequence[Row]) -> Predictor:
    """BM25 for rows that search; for pairs with a score ridge regression over TF-IDF and their cosine."""
    return tfidf_ridge(rows) if "score" in rows[0] else BM25Search()


def search_terms(text: str) -> list[str]:
    """Words in lower case, of Chinese single characters and their pairs.

    >>> search_terms("The film, 很好")
    ['the', 'film', '很', '好', '很好']
    """
    words = [(start, end, text[start:end].lower()) for start, end in words_of({"text": text}) if text[start].isalnum()]
    pairs = [
        a + b for (_, end, a), (start, _, b) in pairwise(words) if end == start and not (a.isascii() or b.isascii())
    ]
    return [word for *_, word in words] + pairs


@lru_cache(maxsize=1)
def _index(collection: Collection) -> BM25:
    return BM25(collection.texts)


def _idf(texts: int, having: int) -> float:
    return math.log(1 + (texts - having + 0.5) / (having + 0.5))


def _ranked(row: Row) -> Ranking:
    return Ranking.of(row["candidates"], BM25(row["candidates"]).scores(row["query"]).tolist())
