"""Words as numbers and n-grams of a stream: in C as without."""

import random

import numpy as np
import pytest

from lathe.core.native import library
from lathe.core.native.ngrams import Places
from lathe.core.native.vocabulary import WordTable
from lathe.ngrams.counts import NGRAM, PlacesOfNumpy
from lathe.ngrams.units import BOS, BREAK, EOS, WordNumbers

pytestmark = pytest.mark.skipif(library() is None, reason="no compiled operations here")
SIGNS = [*"ab!\x7f好é\u00e2\ud800", *map(chr, range(9, 14)), *"\x08\x1b\x1c\x1f  ", *"\x85\xa0\u1680\u180e\u2000\u200a"]
SIGNS += [*"\u200b\u2028\u2029\u202f\u205f\u2060\u3000\u3001", "eightsig", "ninesigns", "a" * 40]


def test_words_are_those_of_split():
    draw = random.Random(0)
    texts = ["".join(draw.choices(SIGNS, k=draw.randrange(20))) for _ in range(3000)]
    fast, plain = WordTable(), WordNumbers()
    for learns, some in ((True, texts[:2000]), (False, texts[1500:]), (True, [])):
        np.testing.assert_array_equal(fast.read(some, learns), plain.read(some, learns))
    assert fast.words == plain.words


def test_a_table_of_words_grows():
    names = [f"word{number}" for number in range(100_000)]
    table = WordTable()
    table.read([" ".join(names)], learns=True)
    assert table.words == names
    assert table.read(["word99999 word0 word"], learns=False).tolist() == [BOS, 100_002, 3, 0, EOS]


@pytest.mark.parametrize("cores", [1, 3, 7])
def test_n_grams_are_the_same_in_however_many_parts(cores, monkeypatch):
    monkeypatch.setattr("lathe.core.native.ngrams.cores", lambda: cores)
    draw = np.random.default_rng(cores)
    stream = np.concatenate([[BOS, *draw.zipf(1.5, draw.integers(9)) % 20 + 3, EOS] for _ in range(300)])
    stream[draw.integers(len(stream), size=9)] = BREAK
    stream = stream.astype(np.int32)
    ways = Places(stream, 30), PlacesOfNumpy(stream, 30)
    below = [np.zeros(30, NGRAM) for _ in ways]
    for level, way in zip(below, ways, strict=True):
        level["word"], level["count"] = range(30), way.word_counts
    for _ in range(5):
        (fast, fast_begins), (plain, begins) = (way.lengthen(level) for way, level in zip(ways, below, strict=True))
        np.testing.assert_array_equal(*below)
        np.testing.assert_array_equal(fast, plain)
        np.testing.assert_array_equal(fast_begins, begins)
        below = [fast, plain]
