"""What answers to labelled rows show beyond their scores: each label by itself, what is taken for what, how sure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lathe.core.metrics import class_reports, confusion, span_reports
from lathe.core.metrics.structures import argument_rows, relation_rows, trigger_rows
from lathe.core.metrics.sums import RowsOf, f1_of, precision_of, recall_of
from lathe.core.predictions import Event, Events, Label, Relations, Spans

BINS = 10


class Bin(NamedTuple):
    """Rows whose prediction was about equally sure."""

    low: float  # confidence, exclusive
    high: float
    rows: int
    confidence: float  # mean
    accuracy: float


class LabelReport(NamedTuple):
    """How one label fares against all others."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Findings:
    """Rows that were answered, of one kind of task."""

    kind: str
    labels: tuple[str, ...]
    golds: Sequence[Any]
    predictions: Sequence[Any]

    @property
    def decided(self) -> tuple[Sequence[str], Sequence[Label]] | None:
        """(golds, answers) where one of several is chosen for each row: a label, an intent, the number of a choice."""
        if self.kind == "classify":
            return self.golds, self.predictions
        if self.kind == "intent":
            return [intent for intent, _ in self.golds], [frame.label for frame in self.predictions]
        if self.kind == "choose":
            named = [{str(number): sure for number, sure in enumerate(one.scores)} for one in self.predictions]
            chosen = [Label(str(one.index), scores) for one, scores in zip(self.predictions, named, strict=True)]
            return [str(gold) for gold in self.golds], chosen
        return None

    @property
    def by_label(self) -> dict[str, LabelReport]:
        if self.kind in ("classify", "multilabel"):
            return {label: LabelReport(*found) for label, found in class_reports(self.golds, self.predictions).items()}
        if self.kind == "intent":
            intents, slots = zip(*self.golds, strict=True)
            found = class_reports(intents, [frame.label for frame in self.predictions])
            by_intent = {label: LabelReport(*report) for label, report in found.items()}
            return by_intent | _by_span(slots, [frame.spans for frame in self.predictions], "slot:")
        if self.kind == "relate":
            return _by_relation(self.golds, self.predictions)
        if self.kind == "event":
            return _by_event(self.golds, self.predictions)
        return _by_span(self.golds, self.predictions) if self.kind == "tag" else {}

    @property
    def confusion(self) -> list[list[int]] | None:
        """Rows by gold label and predicted label, of texts with one label.  [C][C]"""
        if self.kind != "classify":
            return None
        table: list[list[int]] = confusion(self.golds, self.predictions, self.labels).tolist()
        return table

    @property
    def calibration(self) -> list[Bin] | None:
        return None if self.decided is None else reliability(*self.decided)


def reliability(golds: Sequence[str], predictions: Sequence[Label]) -> list[Bin]:
    """How often a prediction is right that says it is so sure; empty bins are left out."""
    sure = np.array([one.scores[one.label] for one in predictions])  # [N]
    right = np.array([one.label == gold for gold, one in zip(golds, predictions, strict=True)])  # [N]
    place = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)  # [N]
    found = []
    for number in np.unique(place).tolist():
        inside = place == number
        mean, share = float(sure[inside].mean()), float(right[inside].mean())
        found.append(Bin(number / BINS, (number + 1) / BINS, int(inside.sum()), mean, share))
    return found


def _by_span(golds: Sequence[Any], predictions: Sequence[Spans], named: str = "") -> dict[str, LabelReport]:
    reports = span_reports(golds, predictions)
    return {named + label: LabelReport(r.precision, r.recall, r.f1, r.gold) for label, r in reports.items()}


def _by_relation(golds: Sequence[Relations], predictions: Sequence[Relations]) -> dict[str, LabelReport]:
    def only(label: str, rows: Sequence[Relations]) -> list[Relations]:
        return [Relations(tuple(one for one in row.relations if one.label == label)) for row in rows]

    labels = sorted({one.label for row in (*golds, *predictions) for one in row.relations})
    return {label: _counted(relation_rows, only(label, golds), only(label, predictions)) for label in labels}


def _by_event(golds: Sequence[Events], predictions: Sequence[Events]) -> dict[str, LabelReport]:
    """Triggers by their type, then arguments by their role."""
    events = [event for row in (*golds, *predictions) for event in row.events]
    reports = {}
    for label in sorted({event.trigger.label for event in events}):
        of_type = [
            [Events(tuple(event for event in row.events if event.trigger.label == label)) for row in rows]
            for rows in (golds, predictions)
        ]
        reports[label] = _counted(trigger_rows, *of_type)
    for role in sorted({argument.label for event in events for argument in event.arguments}):
        reports[f"role:{role}"] = _counted(argument_rows, _with_role(role, golds), _with_role(role, predictions))
    return reports


def _with_role(role: str, rows: Sequence[Events]) -> list[Events]:
    """The events with the arguments of one role alone."""

    def only(event: Event) -> Event:
        return Event(event.trigger, tuple(one for one in event.arguments if one.label == role))

    return [Events(tuple(map(only, row.events))) for row in rows]


def _counted(rows_of: RowsOf, golds: Sequence[Any], predictions: Sequence[Any]) -> LabelReport:
    sums = rows_of(golds, predictions).sum(0)
    precision, recall, f1 = (float(ratio(sums)) for ratio in (precision_of, recall_of, f1_of))
    return LabelReport(precision, recall, f1, int(sums[2]))
