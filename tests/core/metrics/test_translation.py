"""BLEU, chrF and TER, beside sacrebleu's corpus scores."""

import sys

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lathe.core.errors import LatheError
from lathe.core.metrics import METRICS, bleu, bleu_13a, bleu_zh, chrf, ter, translation
from lathe.core.predictions import Text

ENGLISH = st.lists(
    st.sampled_from(["the", "cat", "sat", "on", "a", "mat,", "mat.", "isn't", "3.5%", "&amp;", "Cat"]), max_size=12
).map(" ".join)
CHINESE = st.text("我你他去看北京长城了的。，！ aB1.5", min_size=4, max_size=16).map("好{}".format)


def rows_of(texts):
    """A set in which all rows have two references."""
    return st.lists(st.tuples(texts, texts.filter(bool), texts.filter(bool)), min_size=1, max_size=5)


def parted(rows):
    said, *references = map(list, zip(*rows, strict=True))
    return [*zip(*references, strict=True)], [*map(Text, said)], said, references


@settings(max_examples=60, deadline=None)
@given(rows_of(ENGLISH))
def test_scores_of_english_equal_sacrebleus(rows):
    reference = pytest.importorskip("sacrebleu.metrics")
    golds, predictions, said, references = parted(rows)
    assert chrf(golds, predictions) == pytest.approx(reference.CHRF().corpus_score(said, references).score)
    assert ter(golds, predictions) == pytest.approx(reference.TER().corpus_score(said, references).score)
    assume(any(len(one.split()) >= 4 for one in said))  # sacrebleu gives 0 to a set without 4-grams
    expected = reference.BLEU(tokenize="13a").corpus_score(said, references).score
    assert bleu(golds, predictions) == pytest.approx(expected)
    assert bleu_13a(golds, predictions) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(rows_of(CHINESE))
def test_scores_of_chinese_equal_sacrebleus(rows):
    reference = pytest.importorskip("sacrebleu.metrics")
    golds, predictions, said, references = parted(rows)
    expected = reference.BLEU(tokenize="zh", effective_order=True).corpus_score(said, references).score
    assert bleu(golds, predictions) == pytest.approx(expected)
    assert bleu_zh(golds, predictions) == pytest.approx(expected)
    assert chrf(golds, predictions) == pytest.approx(reference.CHRF().corpus_score(said, references).score)
    asian = reference.TER(normalized=True, asian_support=True)
    assert ter(golds, predictions) == pytest.approx(asian.corpus_score(said, references).score)


def test_each_row_is_cut_by_its_language():
    pytest.importorskip("sacrebleu")
    golds = [("我们去北京看长城。",), ("We go to see &quot;the wall&quot;.",)]
    predictions = [Text("我们去北京看城。"), Text('We go to see "the wall".')]
    chinese, english = ([[one[row]] for one in (golds, predictions)] for row in (0, 1))
    assert bleu(*chinese) == bleu_zh(*chinese) > 50 > bleu_13a(*chinese)
    assert bleu(*english) == bleu_13a(*english) > 99 > bleu_zh(*english)


def test_chrf_of_one_text_is_the_mean_of_its_orders():
    golds, predictions = [("abcd",)], [Text("ab d")]  # 1: 3 of 3 and 4; 2: ab of 2 and 3; 3: none of 1 and 2
    precision, recall = (3 / 3 + 1 / 2 + 0) / 3, (3 / 4 + 1 / 3 + 0) / 3
    assert chrf(golds, predictions) == pytest.approx(100 * 5 * precision * recall / (4 * precision + recall))


def test_a_row_without_references_is_named():
    with pytest.raises(ValueError, match="row 2 has no reference"):
        chrf([("a",), ()], [Text("a"), Text("b")])


@pytest.mark.parametrize("name", ["bleu", "ter"])
def test_without_sacrebleu_the_way_to_it_is_told(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    for made in (translation._bleu, translation._ter):
        made.cache_clear()
    with pytest.raises(LatheError, match=r"pip install 'lathe\[text\]'"):
        METRICS[name].metric([("a",)], [Text("a")])
