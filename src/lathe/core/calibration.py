"""How likely an answer is right: a probability, fitted on labelled rows that the model has not learnt from.

N rows (of spans: spans), C classes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import Field

from lathe.core.digest import write_json
from lathe.core.errors import BundleError, RecipeError
from lathe.core.metrics import exact_match
from lathe.core.predictions import Answer, Choice, Frame, Json, Labels, Prediction, Spans
from lathe.core.recipe import dump, parse, recipe

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Confidence: TypeAlias = float | dict[str, float] | list[float]
"""Of one decision; of each label by its name; of each span, in their order."""

NAME = "calibration.json"
LEAST = 20
"""Rows without which nothing is fitted."""
SHARPEST, SOFTEST = 0.05, 20.0
"""Bounds of a temperature."""
_TINY, _ALMOST_ONE = 1e-45, 1 - 2**-24  # what float32 tells apart from 0 and from 1
_HALVINGS = 60
_NEWTON_STEPS = 100


@dataclass(frozen=True, slots=True)
class Sure:
    """An answer, and how likely it is right.

    >>> Sure(Label("a", {"a": 0.9, "b": 0.1}), 0.8).to_json()["confidence"]
    0.8
    """

    prediction: Prediction
    confidence: Confidence

    def to_json(self) -> Json:
        return self.prediction.to_json() | {"confidence": self.confidence}


@recipe
class Sigmoid:
    """1 / (1 + exp(-(slope * logit(score) + offset))) (Platt, 1999)."""

    slope: float = Field(allow_inf_nan=False)
    offset: float = Field(allow_inf_nan=False)

    def __call__(self, score: float) -> float:
        return float(_sigmoid(self.slope * logit(score) + self.offset))


@recipe
class Temperature:
    """For one of several (a label, an intent, a choice): softmax(logits / temperature) (Guo et al., 2017)."""

    kind: Literal["temperature"] = "temperature"
    temperature: float = Field(gt=0, allow_inf_nan=False)
    rows: int
    """Rows it was fitted on."""

    def __call__(self, prediction: Any) -> Confidence:
        logs, chosen = _decision(prediction)
        logs = logs / self.temperature
        return min(1.0, float(np.exp(logs[chosen] - _log_sum(logs))))


@recipe
class Scored:
    """For an answer, or each span of one, by its score."""

    kind: Literal["scored"] = "scored"
    sigmoid: Sigmoid
    rows: int
    """Answers or spans it was fitted on."""

    def __call__(self, prediction: Any) -> Confidence:
        if isinstance(prediction, Spans):
            return [self.sigmoid(span.score or 0.0) for span in prediction.spans]
        return self.sigmoid(prediction.score)


@recipe
class EachLabel:
    """For any number of labels: of each by itself how likely it is there."""

    kind: Literal["labels"] = "labels"
    sigmoids: dict[str, Sigmoid]
    rows: int
    """Rows they were fitted on."""

    def __call__(self, prediction: Any) -> Confidence:
        return {label: self.sigmoids[label](score) for label, score in prediction.scores.items()}


Calibration: TypeAlias = Annotated[Temperature | Scored | EachLabel, Field(discriminator="kind")]


# ------------------------------------------------------------------------------------------------------------- fitted
def fitted(kind: str, golds: Sequence[Any], predictions: Sequence[Any]) -> Calibration | None:
    """What a task's answers to held-out rows show; None where there are too few, or they have no score."""
    if kind not in _FITS or len(golds) < LEAST:
        return None
    return _FITS[kind](golds, predictions)


def _fit_decisions(golds: Sequence[Any], predictions: Sequence[Any]) -> Temperature:
    logs = [_decision(one)[0] for one in predictions]
    places = [_place(gold, one) for gold, one in zip(golds, predictions, strict=True)]
    return Temperature(temperature=fit_temperature(logs, places), rows=len(golds))


def _fit_labels(golds: Sequence[Any], predictions: Sequence[Labels]) -> EachLabel:
    sigmoids = {
        label: fit_sigmoid([one.scores[label] for one in predictions], [label in gold for gold in golds])
        for label in predictions[0].scores
    }
    return EachLabel(sigmoids=sigmoids, rows=len(golds))


def _fit_spans(golds: Sequence[Any], predictions: Sequence[Spans]) -> Scored | None:
    found = [
        (span.score or 0.0, (span.start, span.end, span.label) in {(one.start, one.end, one.label) for one in gold})
        for gold, answer in zip(golds, predictions, strict=True)
        for span in answer.spans
    ]
    if len(found) < LEAST:
        return None
    return Scored(sigmoid=fit_sigmoid(*zip(*found, strict=True)), rows=len(found))


def _fit_answers(golds: Sequence[Any], predictions: Sequence[Answer]) -> Scored:
    right = [exact_match([gold], [one]) == 1 for gold, one in zip(golds, predictions, strict=True)]
    return Scored(sigmoid=fit_sigmoid([one.score for one in predictions], right), rows=len(right))


_FITS: Mapping[str, Callable[[Sequence[Any], Sequence[Any]], Calibration | None]] = {
    "classify": _fit_decisions,
    "choose": _fit_decisions,
    "intent": _fit_decisions,
    "multilabel": _fit_labels,
    "tag": _fit_spans,
    "answer": _fit_answers,
}
KINDS = tuple(_FITS)
"""Tasks whose answers have a score that tells how likely they are right."""


def fit_temperature(logs: Sequence[Floats], golds: Sequence[int]) -> float:
    """The temperature under which the golds are likeliest, by bisection: in 1/T the loss is convex.

    ``logs`` are logits or log probabilities of each row, [C] each. Where no row is wrong the loss falls for ever as T
    does; then nothing is sharpened.
    """
    widest = max(map(len, logs))
    table = np.full((len(logs), widest), -np.inf)  # [N, C]
    for row, values in zip(table, logs, strict=True):
        row[: len(values)] = values
    gold = table[np.arange(len(table)), golds]  # [N]
    finite = np.where(np.isfinite(table), table, 0.0)

    def slope(log_inverse: float) -> float:
        """Of the loss, by 1/T."""
        scaled = table * np.exp(log_inverse)
        shares = np.exp(scaled - scaled.max(1, keepdims=True))
        return float(np.mean((shares * finite).sum(1) / shares.sum(1) - gold))

    is_right = bool((gold == table.max(1)).all())
    low, high = -np.log(SOFTEST), 0.0 if is_right else -np.log(SHARPEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(np.exp(-high))


def fit_sigmoid(scores: Sequence[float], right: Sequence[bool]) -> Sigmoid:
    """The likeliest slope and offset, by Newton's method (Lin, Lin and Weng, 2007).

    The targets are Platt's, (N+ + 1) / (N+ + 2) and 1 / (N- + 2) in place of 1 and 0: also what can be told apart
    without a mistake, or is all right or all wrong, has finite ones.
    """
    x, is_right = logit(scores), np.asarray(right, bool)  # [N]
    positive, negative = int(is_right.sum()), int((~is_right).sum())
    target = np.where(is_right, (positive + 1) / (positive + 2), 1 / (negative + 2))
    weights = np.array([0.0, np.log((positive + 1) / (negative + 1))])
    features = np.stack([x, np.ones_like(x)], 1)  # [N, 2]

    def loss(of: Floats) -> float:
        z = features @ of
        return float(np.sum(np.logaddexp(0, z) - target * z))

    for _ in range(_NEWTON_STEPS):
        share = _sigmoid(features @ weights)
        gradient = features.T @ (share - target)
        curvature = (features * (share * (1 - share))[:, None]).T @ features + 1e-12 * np.eye(2)
        step, size = np.linalg.solve(curvature, gradient), 1.0
        while size > 1e-10 and loss(weights - size * step) > loss(weights) - 1e-4 * size * float(gradient @ step):
            size /= 2
        if size <= 1e-10:
            break
        weights = weights - size * step
    return Sigmoid(slope=float(weights[0]), offset=float(weights[1]))


def logit(score: Any) -> Floats:
    """log p / (1 - p), finite for 0 and 1, too."""
    p = np.clip(np.asarray(score, np.float64), _TINY, _ALMOST_ONE)
    return np.asarray(np.log(p) - np.log1p(-p))


def _sigmoid(value: Any) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0, -value)))


def _log_sum(logs: Floats) -> float:
    top = float(logs.max())
    return top + float(np.log(np.exp(logs - top).sum()))


def _decision(prediction: Any) -> tuple[Floats, int]:
    """Log probabilities of what could be chosen, and the place of what was."""
    if isinstance(prediction, Frame):
        return _decision(prediction.label)
    if isinstance(prediction, Choice):
        scores, chosen = prediction.scores, prediction.index
    else:
        scores, chosen = tuple(prediction.scores.values()), [*prediction.scores].index(prediction.label)
    return np.log(np.maximum(np.asarray(scores, np.float64), _TINY)), chosen


def _place(gold: Any, prediction: Any) -> int:
    """Where the gold stands among what could be chosen."""
    if isinstance(prediction, Frame):
        return _place(gold[0], prediction.label)
    return gold if isinstance(prediction, Choice) else [*prediction.scores].index(gold)


# -------------------------------------------------------------------------------------------------------- in a bundle
def write(folder: Path, kind: str, golds: Sequence[Any], predictions: Sequence[Any]) -> None:
    """Write into an unfinished bundle what validation rows show, where they show enough."""
    found = fitted(kind, golds, predictions)
    if found is not None:
        write_json(folder / NAME, dump(found))


def read(folder: Path) -> Calibration | None:
    """That of a bundle; None where it holds none. Raises ``BundleError`` where it is broken."""
    file = folder / NAME
    if not file.is_file():
        return None
    try:
        found: Calibration = parse(Calibration, json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, RecipeError) as error:
        raise BundleError(f"{file}: {error}; the bundle is damaged, make it again") from None
    return found


def refuse_unscored(kind: str) -> None:
    """Raises ``RecipeError`` for a task whose answers have no score that could be calibrated."""
    if kind not in KINDS:
        raise RecipeError(f"confidence: there is none for {kind}; leave it out, or ask one of {', '.join(KINDS)}")
