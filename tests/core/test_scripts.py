"""Words and scripts, in languages with and without spaces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core.scripts import has_words, is_unspaced, script_of, words


def test_every_chinese_character_is_a_word_and_english_keeps_its_own():
    assert words("我用 BERT-base 模型。") == ["我", "用", "BERT", "base", "模", "型"]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("good film", "Latin"),
        ("很好的电影", "Han"),
        ("とても良い", "Hiragana"),
        ("좋은 영화", "Hangul"),
        ("... 12", "none"),
    ],
)
def test_the_script_is_the_one_of_most_letters(text: str, script: str):
    assert script_of(text) == script


@given(st.text(max_size=40), st.integers(1, 6))
def test_has_words_agrees_with_counting_them(text: str, count: int):
    assert has_words(text, count) == (len(words(text)) >= count)


@given(st.text(max_size=40))
def test_a_character_of_an_unspaced_script_is_never_inside_a_longer_word(text: str):
    assert all(len(word) == 1 for word in words(text) if any(map(is_unspaced, word)))
