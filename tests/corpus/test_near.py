"""Near duplicates: found in any script, verified exactly, in about linear work."""

import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core.scripts import words
from lathe.corpus.near import clusters, jaccard, near_duplicates
from lathe.corpus.shingles import SIZE, shingles

MIXED = st.text(alphabet="ab c,. 好北京ก\n😀é", max_size=40)


def reference(text: str) -> set[tuple[str, ...]]:
    found = words(text.lower())
    return {tuple(found[i : i + SIZE]) for i in range(max(1, len(found) - SIZE + 1))} if found else set()


def sentence(seed: int, length: int, alphabet: list[str], space: str = " ") -> str:
    chance = random.Random(seed)
    return space.join(chance.choice(alphabet) for _ in range(length))


ENGLISH = [f"word{i}" for i in range(500)]
CHINESE = [chr(0x4E00 + i) for i in range(500)]


@given(st.lists(st.text(alphabet="ab c,. 好北京ก\n", max_size=40), max_size=6))
def test_shingles_are_the_word_5_grams_of_each_text(texts: list[str]):
    values, counts = shingles(texts)
    assert len(values) == counts.sum()
    pieces = np.split(values, np.cumsum(counts)[:-1]) if texts else []
    for piece, text in zip(pieces, texts, strict=True):
        assert len(set(piece.tolist())) == len(reference(text))


@given(st.lists(MIXED, min_size=1, max_size=6))
def test_equal_sets_of_words_have_equal_shingles_wherever_the_texts_stand(texts: list[str]):
    alone = [shingles([text]).values.tolist() for text in texts]
    together = shingles(texts)
    split = np.split(together.values, np.cumsum(together.counts)[:-1])
    assert [piece.tolist() for piece in split] == alone


@pytest.mark.parametrize(("alphabet", "space"), [(ENGLISH, " "), (CHINESE, "")], ids=["English", "Chinese"])
def test_the_jaccard_similarity_of_shingles_is_that_of_the_sets(alphabet: list[str], space: str):
    a = sentence(1, 60, alphabet, space)
    b = a + space + sentence(2, 12, alphabet, space)
    sets = [np.unique(shingles([text]).values) for text in (a, b)]
    expected = len(reference(a) & reference(b)) / len(reference(a) | reference(b))
    assert jaccard(*sets) == expected


@pytest.mark.parametrize(("alphabet", "space"), [(ENGLISH, " "), (CHINESE, "")], ids=["English", "Chinese"])
def test_a_text_with_a_few_more_words_is_found_and_other_texts_are_kept(alphabet: list[str], space: str):
    texts = [sentence(i, 80, alphabet, space) for i in range(50)]
    copies = [text + space + alphabet[0] for text in texts[:10]]
    assert near_duplicates([*texts, *copies], 0.8) == {50 + i: i for i in range(10)}


def test_case_and_punctuation_do_not_make_a_difference():
    text = sentence(1, 30, ENGLISH)
    assert near_duplicates([text, text.upper().replace(" ", ", ") + "!"], 1.0) == {1: 0}


def test_texts_without_words_are_no_duplicates_of_each_other():
    assert near_duplicates(["---", "!!!", "", "..."], 0.8) == {}


def test_short_texts_are_duplicates_only_when_their_words_are_equal():
    assert near_duplicates(["good film", "Good film!", "good films", "很好", "很好。", "很坏"], 0.8) == {1: 0, 4: 3}


def test_what_is_kept_agrees_with_comparing_every_pair():
    chance = random.Random(3)
    texts = [sentence(i, 60, ENGLISH).split() for i in range(30)]
    for base in range(30):  # variants of each text, from nearly equal to half new
        for new in (1, 3, 8, 20):
            texts.append([*texts[base][new:], *(chance.choice(ENGLISH) for _ in range(new))])
    joined = [" ".join(text) for text in texts]
    sets, kept = [reference(text) for text in joined], list[int]()
    for i, mine in enumerate(sets):
        if not any(len(mine & sets[j]) / len(mine | sets[j]) >= 0.8 for j in kept):
            kept.append(i)
    twins = near_duplicates(joined, 0.8)
    assert [i for i in range(len(joined)) if i not in twins] == kept
    assert clusters(twins) == len(set(twins.values()))


def test_thousands_of_equal_texts_do_not_take_quadratic_time():
    started_s = time.process_time()
    twins = near_duplicates([sentence(0, 30, ENGLISH)] * 20_000, 0.8)
    assert len(twins) == 19_999
    assert time.process_time() - started_s < 20
