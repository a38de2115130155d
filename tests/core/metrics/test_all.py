"""What holds for every metric: equal is best, no rows have no score, and sums over rows are all it needs."""

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lathe.core.metrics import METRICS, Measure, sums
from lathe.core.predictions import (
    Event,
    Events,
    Frame,
    Label,
    Labels,
    Number,
    Ranking,
    Relation,
    Relations,
    Span,
    Spans,
    Text,
)
from lathe.core.stats import score

LABELS = ("bad", "good", "好", "差 评")
TEXTS = (
    "The cat sat on the mat.",
    "我们明天去北京看长城。",
    "BERT 在 GLUE 上 很好",
    "2008年3.5%",
    "It's Dr. Wu's, isn't it?",
    "好",
)


@dataclass
class Kind:
    """Golds, the predictions that equal them, and others."""

    golds: list[Any]
    right: list[Any]
    other: list[Any]


def label(name: str, sure: float = 1.0) -> Label:
    rest = (1 - sure) / (len(LABELS) - 1)
    return Label(name, {one: sure if one == name else rest for one in LABELS})


def labels(names: tuple[str, ...], sure: float = 1.0) -> Labels:
    return Labels(names, {one: sure if one in names else 1 - sure for one in LABELS})


def ranking(ids: str) -> Ranking:
    return Ranking(tuple(ids), tuple(1 / place for place in range(1, len(ids) + 1)))


A, B, C = Span(0, 2, "人"), Span(3, 8, "LOC"), Span(9, 12, "人")
SETS = [("好",), ("bad", "good"), (), ("差 评", "好"), ("good",)] * 3
SPANS = [(A,), (), (B, C)] * 3
RELATED = [(Relation(A, B, "in"),), (), (Relation(A, B, "in"), Relation(C, A, "知"))] * 3
RELATIONS = [Relations(told, spans) for told, spans in zip(RELATED, SPANS, strict=True)]
EVENTS = [Events(told) for told in [(Event(A, (B, C)),), (), (Event(B, ()), Event(C, (A,)))] * 3]
FRAMES = [("订票", (A, B)), ("play", ()), ("play", (C,))] * 3
KINDS = {
    "label": Kind([*LABELS] * 4, [label(one) for one in LABELS] * 4, [label(LABELS[n % 3], 0.6) for n in range(16)]),
    "labels": Kind(SETS, [labels(one) for one in SETS], [labels(one, 0.7) for one in SETS[1:] + SETS[:1]]),
    "number": Kind([1, 2.5, 2.5, -3] * 3, [Number(one) for one in (1, 2.5, 2.5, -3)] * 3, [*map(Number, range(12))]),
    "spans": Kind(SPANS, [*map(Spans, SPANS)], [*map(Spans, SPANS[2:] + SPANS[:2])]),
    "relations": Kind(RELATIONS, RELATIONS, RELATIONS[2:] + RELATIONS[:2]),
    "events": Kind(EVENTS, EVENTS, EVENTS[2:] + EVENTS[:2]),
    "frame": Kind(
        FRAMES,
        [Frame(Label(name, {}), Spans(spans)) for name, spans in FRAMES],
        [Frame(Label(name, {}), Spans(spans)) for name, spans in FRAMES[2:] + FRAMES[:2]],
    ),
    "text": Kind([(one,) for one in TEXTS], [*map(Text, TEXTS)], [*map(Text, TEXTS[1:] + TEXTS[:1])]),
    "ranking": Kind(
        [{"a": 2, "b": 1, "z": 0}, {"甲": 1}, {"c": 1, "b": 0.5}] * 3,
        [ranking("abz"), ranking("甲乙"), ranking("cb")] * 3,
        [ranking("zba"), ranking("乙丙"), ranking("dcb")] * 3,
    ),
}  # fmt: skip
KIND_OF = {
    **dict.fromkeys(["accuracy", "micro_f1", "macro_f1", "auroc", "average_precision"], "label"),
    **dict.fromkeys(["mcc", "ece", "brier"], "label"),
    **dict.fromkeys(["micro_precision", "micro_recall", "macro_precision", "macro_recall"], "labels"),
    **dict.fromkeys(["micro_auroc", "micro_average_precision"], "labels"),
    **dict.fromkeys(["pearson", "spearman", "rmse"], "number"),
    **dict.fromkeys(["entity_f1", "entity_precision", "entity_recall"], "spans"),
    **dict.fromkeys(["relation_f1", "relation_boundaries_f1", "relation_entity_f1"], "relations"),
    **dict.fromkeys(["trigger_f1", "trigger_identification_f1", "argument_f1", "argument_identification_f1"], "events"),
    **dict.fromkeys(["frame_accuracy", "intent_accuracy", "slot_f1"], "frame"),
    **dict.fromkeys(["exact_match", "squad_exact_match", "cmrc_exact_match"], "text"),
    **dict.fromkeys(["answer_f1", "squad_f1", "cmrc_f1"], "text"),
    **dict.fromkeys(["bleu", "bleu_13a", "bleu_zh", "chrf", "ter"], "text"),
    **{f"rouge{part}{end}": "text" for part in ("1", "2", "_l") for end in ("", "_stemmed")},
    **{name: "ranking" for name in METRICS if name.split("@")[0] in {"mrr", "map", "ndcg", "recall", "hit_rate"}},
}
NEEDS_SACREBLEU = {"bleu", "bleu_13a", "bleu_zh", "ter"}
NAMES = [
    pytest.param(name, marks=pytest.mark.skipif(not importlib.util.find_spec("sacrebleu"), reason="needs sacrebleu"))
    if name in NEEDS_SACREBLEU
    else name
    for name in METRICS
]
ON_TEXTS = [name for name in NAMES if KIND_OF[getattr(name, "values", [name])[0]] == "text"]
MIXED = st.text("abcdeghinorst THE'.,!?&0123 北京的天好，。！？《》éàßдаカナ", max_size=12)


def best(name: str) -> float:
    """The best value there is."""
    percent = NEEDS_SACREBLEU | {"chrf"}
    return 0.0 if not METRICS[name].higher_is_better else 100.0 if name in percent else 1.0


def test_every_metric_is_tested_here():
    assert set(KIND_OF) == set(METRICS)


@pytest.mark.parametrize("name", NAMES)
def test_equal_is_best_and_other_is_worse(name):
    kind, metric = KINDS[KIND_OF[name]], METRICS[name].metric
    most = best(name)
    if name.startswith("recall@"):  # of two that are sought one place holds one
        most = metric(kind.golds, kind.right)
        assert most == pytest.approx(1.0 if name != "recall@1" else 2 / 3)
    assert metric(kind.golds, kind.right) == pytest.approx(most)
    worse = metric(kind.golds, kind.other)
    at_most_as_good = worse <= most if METRICS[name].higher_is_better else worse >= most
    assert at_most_as_good
    assert worse != pytest.approx(most) or "@" in name  # all of three places are within the first ten


@pytest.mark.parametrize("name", ON_TEXTS)
@settings(max_examples=25, deadline=None)
@given(st.lists(MIXED, min_size=1, max_size=4))
def test_equal_texts_are_best_in_every_language(name, texts):
    assert METRICS[name].metric([(one,) for one in texts], [*map(Text, texts)]) == pytest.approx(best(name))


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_are_missing_have_no_score(name):
    kind, metric = KINDS[KIND_OF[name]], METRICS[name].metric
    for golds, predictions in ([], []), (kind.golds, []), (kind.golds[:1], kind.right[:2]):
        with pytest.raises(ValueError, match="a score needs at least one"):
            metric(golds, predictions)


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_is_a_function_of_its_rows(name):
    kind, measure = KINDS[KIND_OF[name]], METRICS[name]
    rows = measure.rows(kind.golds, kind.other)
    assert len(rows) == len(kind.golds)
    draws = np.ones((1, len(rows)))
    value = measure.of_sums(draws @ rows) if isinstance(measure, Measure) else measure.of_draws(rows, draws)
    assert value[0] == pytest.approx(measure.metric(kind.golds, kind.other))


@pytest.mark.parametrize("name", NAMES)
def test_drawing_rows_anew_equals_calling_the_metric_again(name):
    kind, metric = KINDS[KIND_OF[name]], METRICS[name].metric
    fast = score(metric, kind.golds, kind.other, resamples=20)
    slow = score(lambda golds, predictions: metric(golds, predictions), kind.golds, kind.other, resamples=20)
    assert tuple(fast) == pytest.approx(tuple(slow), abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_value_does_not_depend_on_how_rows_are_taken_together(name, monkeypatch):
    kind, metric = KINDS[KIND_OF[name]], METRICS[name].metric
    whole = metric(kind.golds, kind.other)
    monkeypatch.setattr(sums, "CHUNK_ROWS", 2)
    assert metric(kind.golds, kind.other) == pytest.approx(whole)


class Many:
    """A long sequence that is nowhere in memory, as rows read from a file are."""

    def __init__(self, values: list[Any], count: int) -> None:
        self.values, self.count, self.asked = values, count, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: slice) -> list[Any]:
        start, stop, _ = rows.indices(self.count)
        self.asked = max(self.asked, stop - start)
        return [self.values[row % len(self.values)] for row in range(start, stop)]


@pytest.mark.parametrize(
    "name", ["accuracy", "micro_f1", "ece", "brier", "rmse", "entity_f1", "relation_f1", "argument_f1", "slot_f1"]
    + ["answer_f1", "chrf", "rouge_l", "ndcg@10", "mrr"],
)  # fmt: skip
def test_memory_does_not_grow_with_the_number_of_rows(name, monkeypatch):
    monkeypatch.setattr(sums, "CHUNK_ROWS", 30)
    kind, metric = KINDS[KIND_OF[name]], METRICS[name].metric
    times = 20
    golds, others = (Many(values, times * len(kind.golds)) for values in (kind.golds, kind.other))
    assert metric(golds, others) == pytest.approx(metric(kind.golds, kind.other))
    assert golds.asked == others.asked == 30
