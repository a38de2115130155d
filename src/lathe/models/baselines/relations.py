"""A pair of entities by the words between them: what a model of relations has to beat."""

from collections.abc import Sequence
from typing import Any, cast

from lathe.core.predictions import Label, Prediction, Relation, Relations, Span, Spans
from lathe.core.types import Predictor, Row, as_row
from lathe.models.baselines.labels import tfidf_logistic
from lathe.models.baselines.tags import frequent_tag


def likely_relations(rows: Sequence[Row], task: Any) -> Predictor:
    """TF-IDF with logistic regression over the types of two entities, what stands between them, and their own words.

    Where entities are to be found, each word has its most frequent tag. Rows have text, spans and relations.
    """
    seen = [
        _seen(row["text"], *pair) | {"label": task.classes[gold]}
        for row in rows
        for pair, golds in task.known(row)
        for gold in golds
    ]
    classify, find = tfidf_logistic(seen), frequent_tag(rows) if task.entities == "find" else None

    def predict(rows: Sequence[Row | str]) -> list[Prediction]:
        answers: list[Prediction] = []
        for row in map(as_row, rows):
            if find is not None:
                row = {"text": row["text"], "spans": cast(Spans, find([row])[0]).spans}
            pairs = task.pairs(row)
            labels = classify([_seen(row["text"], *pair) for pair in pairs])
            told = zip(pairs, (cast(Label, label).label for label in labels), strict=True)
            relations = tuple(Relation(head, tail, label) for (head, tail), label in told if label != task.no_relation)
            answers.append(Relations(relations, None if find is None else tuple(row["spans"])))
        return answers

    return predict


def _seen(text: str, head: Span, tail: Span) -> dict[str, str]:
    first, second = sorted((head, tail), key=lambda span: (span.start, span.end))
    order = "forward" if first is head else "backward"
    between = text[first.end : second.start]
    return {
        "text": f"{order} {head.label} {tail.label} {between}",
        "text_pair": f"{text[head.start : head.end]} {text[tail.start : tail.end]}",
    }
