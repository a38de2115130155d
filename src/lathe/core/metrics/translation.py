"""Metrics of texts beside references, for whole sets: BLEU, chrF and TER, in percent as everyone states them.

Equal to sacrebleu's corpus scores. Golds are the references of a row, one or more. BLEU and TER cut rows with a
Chinese character in a reference as sacrebleu's ``zh`` and Asian support do, all others as its defaults do;
``bleu_13a`` and ``bleu_zh`` cut all rows alike. A set in which nothing is to be said and nothing is said is perfect.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np

from lathe.core.errors import LatheError
from lathe.core.metrics.answers import is_chinese
from lathe.core.metrics.sums import Floats, paired, total
from lathe.core.predictions import Text

References: TypeAlias = Sequence[Sequence[str]]
Tokenizer: TypeAlias = Literal["13a", "zh"]

WORD_ORDER = 4  # longest n-gram of BLEU
CHARACTER_ORDER = 6  # longest n-gram of chrF
_RECALL_WEIGHT = 2**2  # chrF's beta squared


def bleu(golds: References, predictions: Sequence[Text]) -> float:
    """BLEU (Papineni et al., 2002) over all rows, smoothed as by ``mteval``: an order without a match counts a little.

    Orders for which no text is long enough are left out; sacrebleu's score is then 0, also for equal texts.
    """
    return float(bleu_of(total(bleu_rows, golds, predictions)))


def bleu_13a(golds: References, predictions: Sequence[Text]) -> float:
    """BLEU of words as ``mteval-v13a`` cuts them, sacrebleu's default."""
    return float(bleu_of(total(bleu_13a_rows, golds, predictions)))


def bleu_zh(golds: References, predictions: Sequence[Text]) -> float:
    """BLEU of Chinese characters and the words between them, sacrebleu's ``--tokenize zh``."""
    return float(bleu_of(total(bleu_zh_rows, golds, predictions)))


def chrf(golds: References, predictions: Sequence[Text]) -> float:
    """chrF2 (Popović, 2015): F of n-grams of 1 to 6 characters without white space, recall counting four times."""
    return float(chrf_of(total(chrf_rows, golds, predictions)))


def ter(golds: References, predictions: Sequence[Text]) -> float:
    """Translation edit rate (Snover et al., 2006): edits and shifts by words of the references; lower is better."""
    return float(ter_of(total(ter_rows, golds, predictions)))


# ------------------------------------------------- each metric as a function of sums over rows: what resampling needs
def bleu_rows(golds: References, predictions: Sequence[Text]) -> Floats:
    """Length, length of the nearest reference, n-grams that are right, n-grams.  [N, 10]"""
    rows = [_bleu_row("zh" if is_chinese(gold) else "13a", gold, one) for gold, one in _rows(golds, predictions)]
    return np.array(rows, np.float64)


def bleu_13a_rows(golds: References, predictions: Sequence[Text]) -> Floats:
    """[N, 10]"""
    return np.array([_bleu_row("13a", gold, one) for gold, one in _rows(golds, predictions)], np.float64)


def bleu_zh_rows(golds: References, predictions: Sequence[Text]) -> Floats:
    """[N, 10]"""
    return np.array([_bleu_row("zh", gold, one) for gold, one in _rows(golds, predictions)], np.float64)


def bleu_of(sums: Floats) -> Floats:
    """[..., 10] -> [...]"""
    length, wanted = sums[..., 0], sums[..., 1]
    right, given = sums[..., 2 : 2 + WORD_ORDER], sums[..., 2 + WORD_ORDER :]
    unmatched = (right == 0) & (given > 0)
    smoothed = np.where(unmatched, 0.5 ** unmatched.cumsum(-1), right)
    logs = np.log(np.where(given > 0, smoothed, 1.0) / np.maximum(given, 1))
    mean = logs.sum(-1) / np.maximum((given > 0).sum(-1), 1)
    brevity = np.minimum(0.0, 1 - wanted / np.maximum(length, 1))
    value = np.where(right.any(-1), 100 * np.exp(mean + brevity), 0.0)
    return np.where((length == 0) & (wanted == 0), 100.0, value)


def chrf_rows(golds: References, predictions: Sequence[Text]) -> Floats:
    """N-grams of the text, of its nearest reference, and of both, for each order; the text's characters.  [N, 19]"""
    return np.array([_chrf_row(gold, one.text) for gold, one in _rows(golds, predictions)], np.float64)


def chrf_of(sums: Floats) -> Floats:
    """[..., 19] -> [...]"""
    given, wanted, right = np.split(sums[..., :-1], 3, axis=-1)  # [..., orders] each
    both = (given > 0) & (wanted > 0)
    orders = np.maximum(both.sum(-1), 1)
    precision = np.where(both, right / np.maximum(given, 1), 0.0).sum(-1) / orders
    recall = np.where(both, right / np.maximum(wanted, 1), 0.0).sum(-1) / orders
    part, whole = (1 + _RECALL_WEIGHT) * precision * recall, _RECALL_WEIGHT * precision + recall
    nothing_there = (sums[..., -1] == 0) & (wanted.sum(-1) == 0)
    return np.where(nothing_there, 100.0, 100 * part / np.where(whole > 0, whole, 1))


def ter_rows(golds: References, predictions: Sequence[Text]) -> Floats:
    """Edits to the nearest reference, and mean length of the references.  [N, 2]"""
    scores = [_ter(is_chinese(gold)).sentence_score(one.text, gold) for gold, one in _rows(golds, predictions)]
    return np.array([(score.num_edits, score.ref_length) for score in scores], np.float64)


def ter_of(sums: Floats) -> Floats:
    """[..., 2] -> [...]"""
    edits, length = sums[..., 0], sums[..., 1]
    return np.where(length > 0, 100 * edits / np.where(length > 0, length, 1), 100.0 * (edits > 0))


def _rows(golds: References, predictions: Sequence[Text]) -> list[tuple[list[str], Text]]:
    rows = [(list(gold), one) for gold, one in paired(golds, predictions)]
    if bare := next((number for number, (gold, _) in enumerate(rows, 1) if not gold), 0):
        raise ValueError(f"row {bare} has no reference to compare with")
    return rows


def _bleu_row(tokenizer: Tokenizer, references: list[str], said: Text) -> list[float]:
    score = _bleu(tokenizer).sentence_score(said.text, references)
    return [score.sys_len, score.ref_len, *score.counts, *score.totals]


def _chrf_row(references: list[str], said: str) -> Floats:
    """The counts beside the reference that is nearest, the first of equally near ones."""
    given = _ngrams(said)
    rows = np.array([_chrf_counts(given, _ngrams(reference)) for reference in references], np.float64)
    return np.asarray(rows[np.argmax(chrf_of(rows))])


def _chrf_counts(given: list[Counter[str]], wanted: list[Counter[str]]) -> list[int]:
    """N-grams of an order that the reference is too short for do not count."""
    right = [(one & other).total() for one, other in zip(given, wanted, strict=True)]
    there = [one.total() if other else 0 for one, other in zip(given, wanted, strict=True)]
    return [*there, *(other.total() for other in wanted), *right, given[0].total()]


def _ngrams(text: str) -> list[Counter[str]]:
    """Of each order, counted, without white space."""
    line = "".join(text.split())
    return [
        Counter(line[start : start + order] for start in range(len(line) - order + 1))
        for order in range(1, CHARACTER_ORDER + 1)
    ]


@cache
def _bleu(tokenizer: Tokenizer) -> Any:
    return _sacrebleu().BLEU(tokenize=tokenizer, effective_order=True)


@cache
def _ter(chinese: bool) -> Any:
    return _sacrebleu().TER(normalized=chinese, asian_support=chinese)


def _sacrebleu() -> Any:
    try:
        from sacrebleu import metrics
    except ImportError:
        raise LatheError("BLEU and TER need the library sacrebleu: pip install 'lathe[text]'") from None
    return metrics
