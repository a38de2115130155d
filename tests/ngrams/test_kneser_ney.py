"""The estimate against the formulas as they stand in the paper, over dictionaries; and every distribution sums to 1."""

from collections import Counter, defaultdict
from itertools import product

import numpy as np
import pytest

from lathe.ngrams import BOS, EOS, UNK, Characters, NGramModel, Words, count, estimate
from lathe.ngrams.kneser_ney import FALLBACK

ENGLISH = ["the film is good", "the film is not bad", "a film", "the plot is good", "", "the the the film is"]
CHINESE = ["影片很好", "影片不好", "这部影片很好看", "好"]


def reference(sentences: list[list[int]], order: int, vocab_size: int, discounts: list[tuple[float, float, float]]):
    """p(word | context) of any context, straight from the definition."""
    raw = [Counter(tuple(s[i : i + n]) for s in sentences for i in range(len(s) - n + 1)) for n in range(order + 1)]
    adjusted = [defaultdict(int) for _ in range(order + 1)]
    adjusted[order] |= raw[order]
    for n in range(1, order):
        for longer in raw[n + 1]:
            adjusted[n][longer[1:]] += 1
        adjusted[n] |= {g: c for g, c in raw[n].items() if g[0] == BOS}
    adjusted[1].pop((BOS,), None)

    def p(word: int, context: tuple[int, ...]) -> float:
        n = len(context) + 1
        lower = p(word, context[1:]) if context else 1 / (vocab_size - 1)
        own = {g[-1]: a for g, a in adjusted[n].items() if g[:-1] == context}
        if not own:
            return lower
        taken = {w: discounts[n - 1][min(a, 3) - 1] for w, a in own.items()}
        gamma = sum(taken.values()) / sum(own.values())
        return (own.get(word, 0) - taken.get(word, 0)) / sum(own.values()) + gamma * lower

    return p


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize(("texts", "units"), [(ENGLISH, Words()), (CHINESE, Characters()), (ENGLISH, Characters())])
def test_probabilities_are_those_of_the_formulas(texts, units, order):
    vocabulary, stream = units.learn(texts)
    counts = count(stream, order, len(vocabulary))
    smoothed = estimate(counts)
    model = NGramModel.of_counts(units, vocabulary, counts, smoothed)
    starts = np.append(np.flatnonzero(stream == BOS), len(stream))
    sentences = [stream[a:b].tolist() for a, b in zip(starts, starts[1:], strict=False)]
    p = reference(sentences, order, len(vocabulary), [level.discounts for level in smoothed])
    for text in [*texts, "the good plot", "坏 film", "影片 is好"]:
        ids = model.encode([text]).tolist()
        found = model.log_probs(model.encode([text]))
        for i in range(1, len(ids)):
            context = tuple(ids[max(0, i - order + 1) : i])
            assert np.exp(found[i]) == pytest.approx(p(ids[i], context), rel=1e-5)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_every_distribution_sums_to_1(order):
    model = NGramModel.learn(ENGLISH, order, Words())
    words = range(len(model.vocabulary))
    contexts = [(), *((w,) for w in words), *product(words, repeat=2), (BOS, 3, 4), (9, 8, 7, 6)]
    sums = [model.distribution(context).sum() for context in contexts]
    np.testing.assert_allclose(sums, 1.0, atol=1e-6)


def test_unknown_words_and_the_end_are_predicted_and_the_start_is_not():
    model = NGramModel.learn(ENGLISH, 3, Words())
    p = model.distribution([BOS])
    assert p[UNK] > 0 and p[EOS] > 0 and p[BOS] == 0


def test_discounts_are_those_of_the_counts_of_counts():
    """Of unigrams of a model of one order: 4 words once, 3 twice, 2 three times, 1 four times."""
    texts = [" ".join(f"w{i}" for i in range(10)), "w4 w5 w6 w7 w8 w9", "w7 w8 w9", "w9"]
    vocabulary, stream = Words().learn(texts)
    stream = stream[stream != EOS]
    (level,) = estimate(count(stream, 1, len(vocabulary)))
    y = 4 / (4 + 2 * 3)
    assert level.discounts == pytest.approx((1 - 2 * y * 3 / 4, 2 - 3 * y * 2 / 3, 3 - 4 * y * 1 / 2))
    assert not level.is_fallback


def test_a_text_too_regular_for_discounts_gets_fixed_ones_and_it_is_said():
    vocabulary, stream = Words().learn(["a b"] * 3)
    assert all(level.discounts == FALLBACK and level.is_fallback for level in estimate(count(stream, 2, 5)))
