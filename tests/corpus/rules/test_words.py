"""English words as spaCy has them, on which the thresholds of the published filters were set."""

import pytest

from lathe.corpus.rules import words as module
from lathe.corpus.rules.words import LONGEST, sentences, spelled, words


@pytest.mark.parametrize(
    ("text", "parted"),
    [
        ("plain words only", "plain words only"),
        ("(See Fig. 3), he said.", "( See Fig . 3 ) , he said ."),
        ("I can't, won't and shouldn't've", "I ca n't , wo n't and should n't 've"),
        ("dont whos theyll Ill were", "do nt who s they ll Ill were"),
        ("John’s and the Smiths' house", "John ’s and the Smiths ' house"),
        ("Mr. Smith, Ph.D., of the U.S. at 5p.m.", "Mr. Smith , Ph.D. , of the U.S. at 5 p.m."),
        ("e.g. i.e. etc. vs. J. K. a.", "e.g. i.e. etc . vs. J. K. a."),
        ("well-known and/or either/or 3-4", "well - known and/or either / or 3 - 4"),
        ("$5,000 US$20 10% 5km 3kg. +5 C++", "$ 5,000 US$ 20 10 % 5 km 3 kg . +5 C++"),
        ("http://a.org/x-y?z=1 me@example.org www.b.com.", "http://a.org/x-y?z=1 me@example.org www.b.com ."),
        ("Wait... what…no ?!", "Wait ... what … no ? !"),
        ("end.Begin one,two", "end . Begin one , two"),
        ("fine :) (really):", "fine :) ( really ):"),
        ("“Quoted,” she said—twice", "“ Quoted , ” she said — twice"),
        ("____ ===", "_ _ _ _ = = ="),
    ],
)
def test_words_and_marks(text, parted):
    assert words(text) == parted.split()


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("", 0),
        ("no end at all", 1),
        ("One. Two! Three?", 3),
        ("“One.” Two.", 2),
        ("Mr. Smith of the U.S. went home.", 1),
        ("Wait... no.", 1),
        ("3.5 is a number. So is 4.", 2),
        ("... One. Two.", 2),
    ],
)
def test_sentences(line, number):
    assert sentences(line, 9) == number


def test_sentences_are_counted_no_further_than_asked():
    assert sentences("It is so. " * 50, 5) == 5


def test_a_hostile_piece_is_one_word():
    assert words("_" * LONGEST) == ["_"] * LONGEST
    assert words("_" * (LONGEST + 1)) == ["_" * (LONGEST + 1)]


def test_what_is_remembered_is_bounded_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 10)
    memory = module._Memory()
    monkeypatch.setattr(module, "_memory", lambda: memory)
    pieces = [f"word{number}," for number in range(100)]
    assert spelled(pieces) == " ".join(f"word{number} ," for number in range(100))
    assert len(memory) <= 10
    assert spelled(["x" * 65 + ",", "y,"]) == "x" * 65 + " , y ,"
    assert all(len(piece) <= 64 for piece in memory)
