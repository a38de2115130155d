"""What metrics share: a value is a function of sums over rows, which are taken a few thousand rows at a time.

N rows, K sums. Sums let rows be drawn anew without a second look at the predictions, and add up over parts of a set.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
RowsOf: TypeAlias = Callable[[Sequence[Any], Sequence[Any]], Floats]  # golds, predictions -> [N, K]
OfSums: TypeAlias = Callable[[Floats], Floats]  # [..., K] -> [...]

Gold = TypeVar("Gold")
Said = TypeVar("Said")

CHUNK_ROWS = 4096


def check_rows(golds: Sequence[Any], predictions: Sequence[Any]) -> None:
    """Raise ``ValueError`` where a gold or a prediction is missing or there are no rows."""
    if not len(golds) == len(predictions) > 0:
        raise ValueError(
            f"{len(golds)} gold rows for {len(predictions)} predictions: a score needs at least one, and as many"
        )


def paired(golds: Sequence[Gold], predictions: Sequence[Said]) -> list[tuple[Gold, Said]]:
    """Gold and prediction of each row."""
    check_rows(golds, predictions)
    return list(zip(golds, predictions, strict=True))


def total(rows: RowsOf, golds: Sequence[Any], predictions: Sequence[Any]) -> Floats:
    """``rows`` summed, with no more than a chunk of them in memory.  [K]"""
    check_rows(golds, predictions)
    chunks = [slice(start, start + CHUNK_ROWS) for start in range(0, len(golds), CHUNK_ROWS)]
    sums: Floats = rows(golds[chunks[0]], predictions[chunks[0]]).sum(0)
    for chunk in chunks[1:]:
        sums += rows(golds[chunk], predictions[chunk]).sum(0)
    return sums


def mean_of(sums: Floats) -> Floats:
    """Of values and as many ones.  [..., 2] -> [...]"""
    return sums[..., 0] / sums[..., 1]


def set_row(gold: set[Any], said: set[Any]) -> tuple[int, int, int]:
    """How many are right, predicted and gold: a row of what precision, recall and F1 are made of."""
    return len(gold & said), len(said), len(gold)


def precision_of(sums: Floats) -> Floats:
    """[..., 3: right, predicted, gold] -> [...]"""
    return _share(sums[..., 0], sums[..., 1], sums)


def recall_of(sums: Floats) -> Floats:
    """[..., 3: right, predicted, gold] -> [...]"""
    return _share(sums[..., 0], sums[..., 2], sums)


def f1_of(sums: Floats) -> Floats:
    """[..., 3: right, predicted, gold] -> [...]"""
    return _share(2 * sums[..., 0], sums[..., 1] + sums[..., 2], sums)


def ratio(part: Floats, whole: Floats) -> Floats:
    """0 / 0 is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _share(part: Floats, whole: Floats, sums: Floats) -> Floats:
    """0 / 0 is 0, but 1 where there was nothing to find and nothing was found."""
    nothing_there = sums[..., 1] + sums[..., 2] == 0
    return np.where(whole > 0, part / np.maximum(whole, 1), nothing_there.astype(np.float64))
