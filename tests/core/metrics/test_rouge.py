"""ROUGE, beside rouge-score and beside its definition."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lathe.core.metrics import METRICS, rouge1, rouge2, rouge_l
from lathe.core.metrics.porter import stem
from lathe.core.metrics.rouge import longest_common, words
from lathe.core.predictions import Text

ENGLISH = st.lists(
    st.sampled_from(["the", "cats", "cat", "running", "runs", "It's", "café", "U.S.", "3.5%", "naïvely", "—", "_a"]),
    max_size=9,
).map(" ".join)
PORTERS = {
    **{"caresses": "caress", "ponies": "poni", "ties": "tie", "cats": "cat", "agreed": "agre", "plastered": "plaster"},
    **{
        "motoring": "motor",
        "sing": "sing",
        "conflated": "conflat",
        "hopping": "hop",
        "falling": "fall",
        "filing": "file",
    },
    **{"happy": "happi", "enjoy": "enjoy", "relational": "relat", "rational": "ration", "vietnamization": "vietnam"},
    **{
        "hopefulness": "hope",
        "electrical": "electr",
        "replacement": "replac",
        "adoption": "adopt",
        "controll": "control",
    },
    **{
        "dying": "die",
        "skies": "sky",
        "archaeology": "archaeolog",
        "hopefully": "hope",
        "spied": "spi",
        "rate": "rate",
    },
}


@pytest.mark.filterwarnings("ignore")  # of rouge-score's own libraries
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(ENGLISH, ENGLISH, ENGLISH), min_size=1, max_size=4))
def test_scores_of_english_equal_those_of_rouge_score(rows):
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    kinds = {"rouge1": "rouge1", "rouge2": "rouge2", "rougeL": "rouge_l"}
    rows = [row for row in rows if all(any(one.isascii() and one.isalnum() for one in gold) for gold in row[1:])]
    for stemmed, ending in (False, ""), (True, "_stemmed"):
        reference = scorer.RougeScorer([*kinds], use_stemmer=stemmed)
        for said, *golds in rows:
            theirs = reference.score_multi(golds, said)
            for kind, name in kinds.items():
                ours = METRICS[f"{name}{ending}"].metric([golds], [Text(said)])
                alone = kind == "rouge2" and any(words(said) == words(gold) for gold in golds)  # no pairs, but equal
                assert ours == pytest.approx(theirs[kind].fmeasure) or (alone and ours == 1)


@pytest.mark.parametrize("word", PORTERS)
def test_stems_are_porters(word):
    assert stem(word) == PORTERS[word]


@settings(max_examples=200, deadline=None)
@given(
    st.text("abcdefghiklmnorstuvyz", min_size=1, max_size=6),
    st.sampled_from(["", "ied", "ing", "ed", "alli", "logi", "ational", "ies", "y"]),
)
def test_stems_are_those_of_nltk(beginning, ending):
    porter = pytest.importorskip("nltk.stem.porter").PorterStemmer()
    assert stem(beginning + ending) == porter.stem(beginning + ending)


def test_words_of_chinese_are_its_characters():
    golds, predictions = [("我爱北京天安门",)], [Text("我在北京 ， 安门")]
    assert rouge1(golds, predictions) == pytest.approx(2 * 5 / (7 + 6))
    assert rouge2(golds, predictions) == pytest.approx(2 * 2 / (6 + 5))
    assert rouge_l(golds, predictions) == pytest.approx(2 * 5 / (7 + 6))


def test_words_of_mixed_text_are_words_and_characters():
    assert rouge1([("BERT-base 很好",)], [Text("bert base, 很 好!")]) == 1.0
    assert rouge1([("Привет мир",)], [Text("привет")]) == pytest.approx(2 / 3)


def test_the_nearest_of_several_references_counts():
    assert rouge1([("a b", "c d")], [Text("c d")]) == 1.0


@settings(max_examples=200, deadline=None)
@given(st.text("abc好", max_size=12), st.text("abc好", max_size=12))
def test_the_longest_common_subsequence_is_that_of_the_table(one, other):
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, left in enumerate(one):
        for j, right in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
    assert longest_common(one, other) == table[-1][-1]


def test_a_row_without_references_is_refused():
    with pytest.raises(ValueError, match="no reference"):
        rouge1([()], [Text("a")])
