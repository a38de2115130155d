"""Exact match and F1 of answers, beside the official rules of SQuAD and CMRC 2018 written down in the plainest way."""

import re
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lathe.core.metrics import (
    answer_f1,
    cmrc_exact_match,
    cmrc_f1,
    exact_match,
    squad_exact_match,
    squad_f1,
)
from lathe.core.predictions import Answer, Text

WORDS = st.lists(
    st.sampled_from(["the", "The", "a", "an", "cat", "Cat", "sat.", "U.S.", "3.5%", "-", "theatre", "don't", "(x)"]),
    max_size=6,
).map(" ".join)
CHINESE = st.text("北京天安门一二年月，。《》·12 ab-.%", max_size=10)


# ---- SQuAD, step by step
def squad_plain(text: str) -> str:
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(word for word in re.split(r"\s+", re.sub(r"\b(a|an|the)\b", " ", text)) if word)


def squad_pair(gold: str, said: str) -> float:
    wanted, given_ = squad_plain(gold).split(), squad_plain(said).split()
    if wanted == [] or given_ == []:
        return float(wanted == given_)
    left, same = list(wanted), 0
    for word in given_:
        if word in left:
            left.remove(word)
            same += 1
    if same == 0:
        return 0.0
    precision, recall = same / len(given_), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


# ---- CMRC, step by step
MARKS = list("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")


def cmrc_plain(text: str) -> str:
    return "".join(character for character in text.lower().strip() if character not in MARKS)


def cmrc_tokens(text: str, cut) -> list[str]:
    tokens, run = [], ""
    for character in cmrc_plain(text):
        if "\u4e00" <= character <= "\u9fa5":
            tokens += [*cut(run), character]
            run = ""
        else:
            run += character
    return tokens + list(cut(run))


def cmrc_pair(gold: str, said: str, cut) -> float:
    wanted, given_ = cmrc_tokens(gold, cut), cmrc_tokens(said, cut)
    runs = [tuple(wanted[i:j]) for i in range(len(wanted)) for j in range(i + 1, len(wanted) + 1)]
    shared = {tuple(given_[i:j]) for i in range(len(given_)) for j in range(i + 1, len(given_) + 1)}
    longest = max((len(run) for run in runs if run in shared), default=0)
    if longest == 0:
        return 0.0
    precision, recall = longest / len(given_), longest / len(wanted)
    return 2 * precision * recall / (precision + recall)


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=3), WORDS)
@example(["the"], "")
@example([], "the")
@example([], "cat")
def test_english_answers_are_judged_as_squad_does(golds, said):
    texts = [gold for gold in golds if squad_plain(gold)] or [""]
    f1 = max(squad_pair(gold, said) for gold in texts)
    exact = float(any(squad_plain(gold) == squad_plain(said) for gold in texts))
    for metric_f1, metric_exact in (squad_f1, squad_exact_match), (answer_f1, exact_match):
        assert metric_f1([golds], [Text(said)]) == pytest.approx(f1)
        assert metric_exact([golds], [Text(said)]) == exact


@settings(max_examples=150, deadline=None)
@given(st.lists(CHINESE.filter(cmrc_plain), min_size=1, max_size=3), CHINESE.filter(cmrc_plain))
def test_chinese_answers_are_judged_as_cmrc_does(golds, said):
    treebank = pytest.importorskip("nltk.tokenize.destructive").NLTKWordTokenizer().tokenize
    f1 = max(cmrc_pair(gold, said, treebank) for gold in golds)
    exact = float(any(cmrc_plain(gold) == cmrc_plain(said) for gold in golds))
    if not all(cmrc_tokens(text, str.split) for text in (*golds, said)):
        return  # white space alone: the official script has no tokens to compare
    assert cmrc_f1([golds], [Text(said)]) == pytest.approx(f1)
    assert cmrc_exact_match([golds], [Text(said)]) == exact


@pytest.mark.parametrize(
    "golds, said, value",
    [
        (["北京天安门"], "天安门", 2 * 3 / (5 + 3)),
        (["北京天安门"], "北京的天安门", 2 * 3 / (5 + 6)),  # the longest run, not all that is shared
        (["1994年3.5%"], "1994年", 2 * 2 / (4 + 2)),
        (["Windows 95 系统"], "windows 95", 2 * 2 / (4 + 2)),
        (["上海", "北京（首都）"], "北京首都", 1.0),
        (["《红楼梦》"], "红楼梦。", 1.0),
    ],
)
def test_f1_of_chinese_answers_is_of_the_longest_run_of_characters(golds, said, value):
    assert answer_f1([golds], [Text(said)]) == cmrc_f1([golds], [Text(said)]) == pytest.approx(value)


def test_each_row_goes_by_the_rules_of_its_language():
    golds, predictions = [["the Seine"], ["北京天安门"]], [Text("Seine"), Text("天安门")]
    assert answer_f1(golds, predictions) == pytest.approx((1.0 + 0.75) / 2)
    assert squad_f1(golds, predictions) == pytest.approx(0.5)
    assert cmrc_f1(golds, predictions) == pytest.approx((2 / 3 + 0.75) / 2)


def test_no_answer_is_right_where_there_is_none():
    nothing = Answer("", None, None, 0.9)
    assert exact_match([(), ("Paris",)], [nothing, nothing]) == 0.5
    assert answer_f1([(), ()], [nothing, Answer("Paris", 0, 5, 0.9)]) == 0.5


def test_words_are_those_of_the_penn_treebank():
    treebank = pytest.importorskip("nltk.tokenize.destructive").NLTKWordTokenizer().tokenize
    from lathe.core.metrics.answers import CMRC

    for text in [
        "andrew w. mellon foundation",
        "s.g. tallentyre",
        "st. john of matha",
        "r&b",
        ".net framework",
        "4×50",
        "90°f",
    ] + [
        "it's what they've got, isn't it?",
        "1,234.5 (about 30%)",
        "inc.",
        "u.s.",
        "1990,1991",
        "a, b",
        "{t|gtk#}",
        "1—2 ——",
        "the 'loose talk' of",
    ]:
        assert CMRC.tokens(text) == treebank(text)
