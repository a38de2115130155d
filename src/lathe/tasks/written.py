"""What tasks share whose answer the model writes: how its tokens become a text, and the metrics of texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lathe.core.metrics import METRICS
from lathe.core.predictions import Text
from lathe.core.types import Metric
from lathe.generation.options import Generation
from lathe.generation.writing import stop_in, text_of, without_blanks


def texts_of(outputs: Mapping[str, Tensor], tokenizer: Any, options: Generation) -> list[Text]:
    """What ``sequences`` [B, S] say, each up to its length and before a stop text."""
    rows = zip(outputs["sequences"].tolist(), outputs["lengths"].tolist(), strict=True)
    texts = (text_of(tokenizer, row[:length]) for row, length in rows)
    return [Text(text[: stop_in(text, options.stop)].strip()) for text in texts]


def metrics_from(first: str, others: Sequence[str]) -> dict[str, Metric]:
    """Metrics by name, the one that selects the model first."""
    return {name: METRICS[name].metric for name in dict.fromkeys((first, *others))}


def joined(texts: Sequence[str]) -> str:
    """Texts as one, without blanks between characters of scripts that have none.

    >>> joined(["One.", "Two.", "三。", "四。"])
    'One. Two. 三。四。'
    """
    return without_blanks(" ".join(text for text in texts if text))
