"""ROUGE (Lin, 2004): what a summary shares with a reference, as a mean over rows of F1; with several, of the nearest.

Equal to the package rouge-score where texts have Latin letters, whose words it takes: runs of a to z and digits, in
lower case, accents parting them. Beyond that each character of a script without spaces is a word, as in Chinese, and
runs of letters are in others; rouge-score has no words there, and gives equal texts 0.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from lathe.core.metrics.porter import stem
from lathe.core.metrics.sums import Floats, mean_of, paired, total
from lathe.core.predictions import Text
from lathe.core.scripts import UNSPACED_CLASS

References: TypeAlias = Sequence[Sequence[str]]
Shared: TypeAlias = Callable[[list[str], list[str]], float]

_LATIN = "\u00c0-\u024f\u1e00-\u1eff"  # letters of Latin beyond a to z
_WORD = re.compile(rf"[a-z0-9]+|{UNSPACED_CLASS}|(?:(?!{UNSPACED_CLASS})[^\W_a-z0-9{_LATIN}])+")
_STEMMED = 4  # characters of the shortest word that is stemmed


def rouge1(golds: References, predictions: Sequence[Text]) -> float:
    """F1 of words.

    >>> rouge1([("The cat sat.",), ("我爱北京",)], [Text("the cat"), Text("我爱上海")])
    0.65
    """
    return float(mean_of(total(rouge1_rows, golds, predictions)))


def rouge2(golds: References, predictions: Sequence[Text]) -> float:
    """F1 of two words in a row."""
    return float(mean_of(total(rouge2_rows, golds, predictions)))


def rouge_l(golds: References, predictions: Sequence[Text]) -> float:
    """F1 of the longest sequence of words that both have in this order, with others between them or not."""
    return float(mean_of(total(rouge_l_rows, golds, predictions)))


def rouge1_stemmed(golds: References, predictions: Sequence[Text]) -> float:
    """ROUGE-1 of Porter's stems of English words of four letters and more, as rouge-score's ``use_stemmer=True``."""
    return float(mean_of(total(rouge1_stemmed_rows, golds, predictions)))


def rouge2_stemmed(golds: References, predictions: Sequence[Text]) -> float:
    """ROUGE-2 of stems."""
    return float(mean_of(total(rouge2_stemmed_rows, golds, predictions)))


def rouge_l_stemmed(golds: References, predictions: Sequence[Text]) -> float:
    """ROUGE-L of stems."""
    return float(mean_of(total(rouge_l_stemmed_rows, golds, predictions)))


# ------------------------------------------------- each metric as a function of sums over rows: what resampling needs
def rouge1_rows(golds: References, predictions: Sequence[Text]) -> Floats:
    """F1, and 1.  [N, 2]"""
    return _rows(golds, predictions, words, _words_shared)


def rouge2_rows(golds: References, predictions: Sequence[Text]) -> Floats:
    """[N, 2]"""
    return _rows(golds, predictions, words, _pairs_shared)


def rouge_l_rows(golds: References, predictions: Sequence[Text]) -> Floats:
    """[N, 2]"""
    return _rows(golds, predictions, words, _sequence_shared)


def rouge1_stemmed_rows(golds: References, predictions: Sequence[Text]) -> Floats:
    """[N, 2]"""
    return _rows(golds, predictions, stems, _words_shared)


def rouge2_stemmed_rows(golds: References, predictions: Sequence[Text]) -> Floats:
    """[N, 2]"""
    return _rows(golds, predictions, stems, _pairs_shared)


def rouge_l_stemmed_rows(golds: References, predictions: Sequence[Text]) -> Floats:
    """[N, 2]"""
    return _rows(golds, predictions, stems, _sequence_shared)


def words(text: str) -> list[str]:
    """The words of a text; of one without any, its characters, so that it is like itself.

    >>> words("BERT-base 很好!"), words("?!")
    (['bert', 'base', '很', '好'], ['?', '!'])
    """
    return _WORD.findall(text.lower()) or list("".join(text.split()))


def stems(text: str) -> list[str]:
    """The words of a text without endings of English."""
    return [stem(word) if len(word) >= _STEMMED and word.isascii() else word for word in words(text)]


def _rows(golds: References, predictions: Sequence[Text], cut: Callable[[str], list[str]], f1: Shared) -> Floats:
    return np.array([(_best(gold, cut(one.text), cut, f1), 1) for gold, one in paired(golds, predictions)], np.float64)


def _best(references: Sequence[str], said: list[str], cut: Callable[[str], list[str]], f1: Shared) -> float:
    if not references:
        raise ValueError("a row has no reference to compare with")
    return max(f1(cut(reference), said) for reference in references)


def _words_shared(wanted: list[str], said: list[str]) -> float:
    return _f1((Counter(wanted) & Counter(said)).total(), len(wanted), len(said))


def _pairs_shared(wanted: list[str], said: list[str]) -> float:
    if len(wanted) < 2 and len(said) < 2:  # no pairs on either side: equal texts are equal
        return float(wanted == said)
    here, there = (Counter(zip(one, one[1:], strict=False)) for one in (wanted, said))
    return _f1((here & there).total(), here.total(), there.total())


def _sequence_shared(wanted: list[str], said: list[str]) -> float:
    return _f1(longest_common(wanted, said), len(wanted), len(said))


def _f1(shared: int, wanted: int, said: int) -> float:
    """1 where there was nothing to say and nothing was said."""
    return 2 * shared / (wanted + said) if wanted + said else 1.0


def longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of the table in one integer (Hyyrö, 2004).

    >>> longest_common("我爱北京天安门", "我在北京安门")
    5
    """
    places: dict[str, int] = {}
    for place, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << place
    everywhere = (1 << len(one)) - 1
    row = everywhere  # a bit is 0 where the length grows
    for token in other:
        found = row & places.get(token, 0)
        row = (row + found | row - found) & everywhere
    return len(one) - row.bit_count()
