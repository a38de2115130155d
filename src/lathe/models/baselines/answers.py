"""The rarest words of the nearest sentence: what a reader of contexts has to beat."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from statistics import median

from lathe.core.predictions import Answer, Prediction
from lathe.core.tagging import Offsets
from lathe.core.types import Predictor, Row, as_row
from lathe.models.baselines.words import words_of

_SENTENCE = re.compile(r"(?:[^.!?。！？；\n]|\.(?=\S))+[.!?。！？；\n]*")


def rarest_words(rows: Sequence[Row]) -> Predictor:
    """Of the sentence that shares most with the question, the run of words that is rarest and has none of its words.

    Words weigh log(contexts / contexts that have them); a run is as long as answers usually are. Where most training
    rows have no answer, there is none. Rows have context, question and answers.
    """
    contexts = {row["context"]: set(_words(row["context"])) for row in rows}
    counts = Counter(word for words in contexts.values() for word in words)
    lengths = [len(_places(row["answers"][0][0])) for row in rows if row["answers"]]
    usual = max(1, round(median(lengths))) if lengths else 1
    gives_up = 2 * len(lengths) < len(rows)

    def weight(word: str) -> float:
        return math.log((1 + len(contexts)) / (1 + counts[word]))

    def answer(row: Row) -> Answer:
        context, asked = row["context"], {*_words(row["question"])}
        best, run = -math.inf, None
        nearest = max(
            _SENTENCE.finditer(context), key=lambda m: sum(map(weight, asked & {*_words(m[0])})), default=None
        )
        place, sentence = (0, "") if nearest is None or gives_up else (nearest.start(), nearest[0])
        words = _places(sentence)
        for first in range(len(words)):
            stretch = words[first : first + usual]
            own = [sentence[start:end].lower() for start, end in stretch]
            value = sum(map(weight, own)) if not asked & {*own} else -math.inf
            if value > best:
                best, run = value, (place + stretch[0][0], place + stretch[-1][1])
        return Answer("", None, None, 1.0, 1.0) if run is None else Answer(context[slice(*run)], *run, 1.0)

    def predict(rows: Sequence[Row | str]) -> list[Prediction]:
        return [answer(as_row(row)) for row in rows]

    return predict


def _places(text: str) -> Offsets:
    """Where words stand, punctuation left out."""
    return tuple((start, end) for start, end in words_of({"text": text}) if text[start].isalnum())


def _words(text: str) -> list[str]:
    return [text[start:end].lower() for start, end in _places(text)]
