"""Where sentences begin, in English, Chinese and both."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core.boundaries import sentence_starts


@pytest.mark.parametrize(
    "sentences",
    [
        ["It rains.", "Mr. Smith stays."],
        ["“Why?” he asked.", '"No."', "He left... and came back!"],
        ["At 5 p.m. U.S. time, J. R. R. Tolkien (e.g. here) paid 3.14.", "Then ended it?!"],
        ["今天下雨。", "他说：“好。”", "然后走了……", "天黑了！？", "No。"],
        ["A title\n", "A line that is\nwrapped.\n\n", "a paragraph"],
        ["很好。", "it is."],
        ["one"],
        [],
    ],
)
def test_sentences_begin_where_a_reader_sees_them(sentences):
    joined = ""
    starts = []
    for sentence in sentences:
        joined += " " if joined and not joined.endswith(("\n", "。", "”", "…", "？")) else ""
        starts.append(len(joined))
        joined += sentence
    assert sentence_starts(joined) == starts


@given(st.text(alphabet="aA.。 \n”…Dr", max_size=40))
def test_starts_rise_and_each_sentence_has_a_character(text):
    starts = sentence_starts(text)
    assert starts == sorted(set(starts))
    assert all(not text[start].isspace() for start in starts)
    assert bool(starts) == bool(text.strip())
