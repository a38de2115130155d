"""ARPA files: ours, and those of other programs."""

import math

import numpy as np
import pytest

from lathe.core.errors import DataError
from lathe.ngrams import Characters, NGramModel, Words, read_arpa, write_arpa
from lathe.ngrams.arpa import read, written

TEXTS = ["the film is good", "影片很好", "a great film\tin Paris", "</s> <U+0020> 影片不好"] * 2

BY_HAND = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.5
-0.5\t</s>
-0.25\ta\t-0.125

\\2-grams:
-0.0625 <s> a
-0.75 a </s>

\\end\\
"""


@pytest.mark.parametrize("units", [Words(), Characters()])
def test_a_model_written_and_read_scores_the_same(tmp_path, units):
    model = NGramModel.learn(TEXTS, 3, units)
    write_arpa(model, tmp_path / "model.arpa")
    again = read_arpa(tmp_path / "model.arpa")
    assert again.vocabulary == model.vocabulary and again.units.kind == units.kind
    stream = model.encode([*TEXTS, "unseen is good 坏"])
    np.testing.assert_allclose(again.log_probs(stream), model.log_probs(stream), atol=1e-5)


def test_a_file_of_another_program_is_read(tmp_path):
    (tmp_path / "model.arpa").write_text(BY_HAND, "utf-8")
    model = read_arpa(tmp_path / "model.arpa")
    found = model.log_probs(model.encode(["a a b"])) / math.log(10)
    np.testing.assert_allclose(found, [0, -0.0625, -0.25 - 0.125, -1.0 - 0.125, -0.5], atol=1e-6)


@pytest.mark.parametrize("word", [" ", "\n", "　", "a", "<U+0020>", "x<U+0020>", "</s>", "<s>", "<unk>", "好"])
def test_words_come_back_and_have_no_white_space(word):
    assert read(written(word, 7)) == word
    assert not any(map(str.isspace, written(word, 7)))
    assert written(word, 7) not in ("<unk>", "<s>", "</s>")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "data", r":1: 'data' where \\data\\ should be"),
        ("ngram 2=2", "ngram 3=2", ":3: 'ngram 3=2' where the number of 2-grams"),
        ("-0.25\ta", "x\ta", ":9: 'x'"),
        ("-0.75 a </s>", "-0.75 a", ":13: has 2 fields"),
        ("-0.75 a </s>", "-0.75 b </s>", "the word 'b' is in an n-gram"),
        ("-0.75 a </s>", "-0.75 <s> a", "has '<s> a' twice"),
        ("ngram 2=2", "ngram 2=3", r":15: has 1 fields"),
        ("\\end\\\n", "", "the file ends early"),
    ],
)
def test_a_broken_file_is_refused_where_it_breaks(tmp_path, old, new, message):
    (tmp_path / "model.arpa").write_text(BY_HAND.replace(old, new), "utf-8")
    with pytest.raises(DataError, match=message):
        read_arpa(tmp_path / "model.arpa")


def test_an_n_gram_whose_beginning_is_missing_is_refused(tmp_path):
    text = BY_HAND.replace("ngram 2=2\n", "ngram 2=2\nngram 3=1\n")
    (tmp_path / "model.arpa").write_text(text.replace("\\end\\", "\\3-grams:\n-1 a a a\n\n\\end\\"), "utf-8")
    with pytest.raises(DataError, match="has 'a a a', but not its first 2 words"):
        read_arpa(tmp_path / "model.arpa")
