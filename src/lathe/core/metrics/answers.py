"""Metrics of answers in words, by the rules of SQuAD and, for Chinese, of CMRC 2018.

Golds are all texts that are right; none for a question without an answer, as the empty text is for a prediction.
A row whose golds have a Chinese character goes by CMRC's rules, all others by SQuAD's; ``squad_*`` and ``cmrc_*`` are
the figures of the official scripts, whatever a row is written in.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from lathe.core.metrics.sums import Floats, mean_of, paired, total
from lathe.core.predictions import Answer, Text

Texts: TypeAlias = Sequence[Sequence[str]]
Said: TypeAlias = Answer | Text

_HAN = "[\u4e00-\u9fa5]"  # what CMRC's and other scripts of Chinese evaluation take for a Chinese character
_CHINESE = re.compile(_HAN)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CMRC_MARKS = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_WORD_END = r"(?![^\s\u4e00-\u9fa5])"
_MARK = (  # where the Penn Treebank cuts a word
    rf"n't{_WORD_END}|(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)|'(?:s|m|d|ll|re|ve)?{_WORD_END}|\.{{2,}}|[,:](?!\d)"
    rf"|[;@#$%&?!()\[\]{{}}<>\"“”‘’«»„\u2012-\u2015]|\.(?=[\])}}>\"'”’» ]*(?:$|{_HAN}))"
)
_CMRC_TOKEN = re.compile(rf"{_HAN}|{_MARK}|(?:(?!{_MARK}|{_HAN})\S)+")


class Rules(NamedTuple):
    """When two answers are the same, and what they share otherwise."""

    plain: Callable[[str], str]  # what is compared as a whole
    tokens: Callable[[str], list[str]]
    shared: Callable[[list[str], list[str]], int]  # tokens of two texts


Value: TypeAlias = Callable[[Rules, str, str], float]  # of a gold and an answer


def exact_match(golds: Texts, predictions: Sequence[Said]) -> float:
    """Share of answers that are one of the golds, but for case, punctuation, white space and, in English, articles.

    >>> exact_match([("the Seine",), ("《红楼梦》",), ()], [Text("Seine."), Text("红楼梦"), Text("")])
    1.0
    """
    return float(mean_of(total(exact_rows, golds, predictions)))


def answer_f1(golds: Texts, predictions: Sequence[Said]) -> float:
    """Mean F1 of words (Chinese: of the longest run of characters that both have), each with its nearest gold."""
    return float(mean_of(total(f1_rows, golds, predictions)))


def squad_exact_match(golds: Texts, predictions: Sequence[Said]) -> float:
    """Exact match as SQuAD 1.1 and 2.0 have it (Rajpurkar et al., 2016 and 2018)."""
    return float(mean_of(total(squad_exact_rows, golds, predictions)))


def squad_f1(golds: Texts, predictions: Sequence[Said]) -> float:
    """F1 as SQuAD 2.0 has it. That of 1.1 differs for answers of articles and punctuation alone, which it gives 0."""
    return float(mean_of(total(squad_f1_rows, golds, predictions)))


def cmrc_exact_match(golds: Texts, predictions: Sequence[Said]) -> float:
    """Exact match as CMRC 2018 has it (Cui et al., 2019)."""
    return float(mean_of(total(cmrc_exact_rows, golds, predictions)))


def cmrc_f1(golds: Texts, predictions: Sequence[Said]) -> float:
    """F1 as CMRC 2018 has it: Chinese characters one by one, other words as in the Penn Treebank, and the longest run.

    The official script gives an answer of punctuation alone 0 also where it is the gold; here it is 1.
    """
    return float(mean_of(total(cmrc_f1_rows, golds, predictions)))


# ------------------------------------------------- each metric as a function of sums over rows: what resampling needs
def exact_rows(golds: Texts, predictions: Sequence[Said]) -> Floats:
    """Is it the same, and 1.  [N, 2]"""
    return _rows(golds, predictions, _exact)


def f1_rows(golds: Texts, predictions: Sequence[Said]) -> Floats:
    """F1 of the tokens, and 1.  [N, 2]"""
    return _rows(golds, predictions, _f1)


def squad_exact_rows(golds: Texts, predictions: Sequence[Said]) -> Floats:
    """[N, 2]"""
    return _rows(golds, predictions, _exact, SQUAD)


def squad_f1_rows(golds: Texts, predictions: Sequence[Said]) -> Floats:
    """[N, 2]"""
    return _rows(golds, predictions, _f1, SQUAD)


def cmrc_exact_rows(golds: Texts, predictions: Sequence[Said]) -> Floats:
    """[N, 2]"""
    return _rows(golds, predictions, _exact, CMRC)


def cmrc_f1_rows(golds: Texts, predictions: Sequence[Said]) -> Floats:
    """[N, 2]"""
    return _rows(golds, predictions, _f1, CMRC)


def is_chinese(texts: Iterable[str]) -> bool:
    """Whether one of some texts has a Chinese character."""
    return any(map(_CHINESE.search, texts))


def _rows(golds: Texts, predictions: Sequence[Said], value: Value, rules: Rules | None = None) -> Floats:
    """By ``rules``, or by those of the language of each row."""
    return np.array(
        [(_best(gold, one, value, rules or _rules_of(gold)), 1) for gold, one in paired(golds, predictions)]
    )


def _rules_of(golds: Sequence[str]) -> Rules:
    return CMRC if is_chinese(golds) else SQUAD


def _best(golds: Sequence[str], said: Said, value: Value, rules: Rules) -> float:
    """Beside the nearest gold; golds that have nothing to compare (", the") are none, as in SQuAD 2.0."""
    texts = [gold for gold in golds if rules.plain(gold)] or [""]
    return float(max(value(rules, gold, said.text) for gold in texts))


def _exact(rules: Rules, gold: str, said: str) -> float:
    return float(rules.plain(gold) == rules.plain(said))


def _f1(rules: Rules, gold: str, said: str) -> float:
    wanted, given = rules.tokens(gold), rules.tokens(said)
    if not wanted or not given:
        return float(wanted == given)
    return 2 * rules.shared(wanted, given) / (len(wanted) + len(given))


def _squad_plain(text: str) -> str:
    return " ".join(_squad_tokens(text))


def _squad_tokens(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _in_common(one: list[str], other: list[str]) -> int:
    return (Counter(one) & Counter(other)).total()


def _cmrc_plain(text: str) -> str:
    return text.lower().strip().translate(_CMRC_MARKS)


def _cmrc_tokens(text: str) -> list[str]:
    return _CMRC_TOKEN.findall(_cmrc_plain(text))


def _longest_run(one: list[str], other: list[str]) -> int:
    """Tokens of the longest run that both have."""
    longest, above = 0, [0] * (len(other) + 1)
    for token in one:
        here = [0, *(above[place] + 1 if token == there else 0 for place, there in enumerate(other))]
        longest, above = max(longest, *here), here
    return longest


SQUAD = Rules(_squad_plain, _squad_tokens, _in_common)
CMRC = Rules(_cmrc_plain, _cmrc_tokens, _longest_run)
