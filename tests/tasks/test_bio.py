"""BIO tags out of a model's scores: the best sequence that is legal."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.tasks.bio import most_likely, read_tags, tags_of


def is_legal(tags):
    return all(tag == 0 or tag % 2 or before in (tag - 1, tag) for before, tag in zip([0, *tags], tags, strict=False))


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_it_is_the_best_of_all_legal_sequences(seed, words):
    scores = np.log(np.random.default_rng(seed).dirichlet(np.ones(5), words)).astype(np.float32)
    found = most_likely(scores)
    legal = filter(is_legal, product(range(5), repeat=words))
    best = max(sum(float(scores[i, tag]) for i, tag in enumerate(tags)) for tags in legal)
    assert is_legal(found)
    assert sum(float(scores[i, tag]) for i, tag in enumerate(found)) == pytest.approx(best, abs=1e-4)


def test_no_words_have_no_tags():
    assert most_likely(np.zeros((0, 3), np.float32)) == []


def test_the_outputs_stand_in_the_order_of_the_labels():
    assert tags_of(("LOC", "PER")) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_a_span_is_as_certain_as_its_least_certain_word(seed, words):
    random = np.random.default_rng(seed)
    scores = np.log(random.dirichlet(np.ones(3), words)).astype(np.float32)
    ends = np.cumsum(random.integers(1, 4, words)).tolist()
    places = tuple(zip([0, *ends], ends, strict=False)) if seed % 2 else tuple((end - 1, end) for end in ends)
    outputs = ("O", "B-X", "I-X")
    found = read_tags(scores, {"words": places, "as_tokens": True}, outputs)
    certain = [np.exp(row[outputs.index(tag)]) for row, tag in zip(scores, found.tags, strict=True)]
    for span in found.spans:
        inside = [
            one for one, (start, end) in zip(certain, places, strict=True) if start < span.end and span.start < end
        ]
        assert span.score == pytest.approx(min(inside))
