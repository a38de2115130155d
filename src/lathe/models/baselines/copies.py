"""The source itself, or its beginning: what a model that transforms texts has to beat."""

from collections.abc import Sequence

from lathe.core.boundaries import sentence_starts
from lathe.core.predictions import Prediction, Text
from lathe.core.types import Predictor, Row, as_row

LEADS = (1, 2, 3)
"""Sentences of the beginnings to choose from; three are the baseline of news summaries (lead-3)."""


def copy_or_lead(rows: Sequence[Row]) -> Predictor:
    """The source, or as many of its first sentences as come nearest to the length of the targets; rows have both."""
    wanted = sum(len(row["targets"][0]) for row in rows)
    lengths = {lead: sum(len(beginning(row["source"], lead)) for row in rows) for lead in (None, *LEADS)}
    nearest = min(lengths, key=lambda lead: abs(lengths[lead] - wanted))

    def predict(rows: Sequence[Row | str]) -> list[Prediction]:
        sources = (row.get("source", row.get("text", "")) for row in map(as_row, rows))
        return [Text(beginning(source, nearest)) for source in sources]

    return predict


def beginning(text: str, sentences: int | None) -> str:
    """The first sentences; None: all.

    >>> beginning("One. Two! 三。", 2)
    'One. Two!'
    """
    starts = sentence_starts(text)
    return text if sentences is None or len(starts) <= sentences else text[: starts[sentences]].rstrip()
