"""Each word's most frequent tag: what a tagger has to beat."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from lathe.core.predictions import Prediction, Spans
from lathe.core.tagging import spans_of_tags, tags_of_spans
from lathe.core.types import Predictor, Row, as_row
from lathe.models.baselines.words import words_of


def frequent_tag(rows: Sequence[Row]) -> Predictor:
    """Each word's most frequent tag in the training rows, O for new words; rows have text and spans."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        words = words_of(row)
        for (start, end), tag in zip(words, tags_of_spans(row["spans"], words), strict=True):
            counts[row["text"][start:end]][tag] += 1
    usual = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}

    def predict(rows: Sequence[Row | str]) -> list[Prediction]:
        answers: list[Prediction] = []
        for row in map(as_row, rows):
            words = words_of(row)
            tags = tuple(usual.get(row["text"][start:end], "O") for start, end in words)
            answers.append(Spans(spans_of_tags(tags, words), tags if "offsets" in row else None))
        return answers

    return predict
