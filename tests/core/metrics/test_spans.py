"""Metrics of spans, beside seqeval's strict mode."""

import pytest
import seqeval.metrics as reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from seqeval.scheme import IOB2

from lathe.core.metrics import METRICS, entity_f1, entity_precision, entity_recall, span_reports
from lathe.core.predictions import Span, Spans
from lathe.core.tagging import join_tokens, spans_of_tags, tags_of_spans

OF_SPANS = ["entity_f1", "entity_precision", "entity_recall"]


@st.composite
def tagged(draw):
    """Tokens, and gold and predicted tags that are valid BIO."""
    tokens = draw(st.lists(st.sampled_from(["New", "york", "北", "京", "。"]), min_size=1, max_size=8))
    tags = st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"]), min_size=len(tokens), max_size=len(tokens))
    _, offsets = join_tokens(tokens)
    return offsets, *(list(tags_of_spans(spans_of_tags(draw(tags), offsets), offsets)) for _ in range(2))


@settings(max_examples=100, deadline=None)
@given(st.lists(tagged(), min_size=1, max_size=5))
@pytest.mark.filterwarnings("ignore")  # seqeval warns of labels without spans
def test_scores_of_spans_equal_seqevals_strict_ones(rows):
    offsets, golds, answers = zip(*rows, strict=True)
    assume(any(tag != "O" for tags in (*golds, *answers) for tag in tags))
    wanted = [spans_of_tags(tags, places) for tags, places in zip(golds, offsets, strict=True)]
    given_ = [Spans(spans_of_tags(tags, places)) for tags, places in zip(answers, offsets, strict=True)]
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    assert entity_f1(wanted, given_) == pytest.approx(reference.f1_score(list(golds), list(answers), **strict))
    assert entity_recall(wanted, given_) == pytest.approx(reference.recall_score(list(golds), list(answers), **strict))
    assert entity_precision(wanted, given_) == pytest.approx(
        reference.precision_score(list(golds), list(answers), **strict)
    )
    report = reference.classification_report(list(golds), list(answers), output_dict=True, **strict)
    for label, counts in span_reports(wanted, given_).items():
        assert counts.f1 == pytest.approx(report[label]["f1-score"])
        assert counts.gold == report[label]["support"]


@pytest.mark.parametrize("name", OF_SPANS)
@pytest.mark.parametrize("gold", [(Span(0, 8, "LOC"),), (Span(0, 2, "地点"), Span(2, 3, "人名")), ()])
def test_identity_scores_one(name, gold):
    assert METRICS[name].metric([gold, gold], [Spans(gold), Spans(gold)]) == 1.0


@pytest.mark.parametrize("wrong", [Span(0, 7, "LOC"), Span(1, 8, "LOC"), Span(0, 8, "PER")])
def test_a_span_counts_only_with_start_end_and_label_right(wrong):
    assert entity_f1([(Span(0, 8, "LOC"),)], [Spans((wrong,))]) == 0.0


def test_scores_of_spans_do_not_depend_on_confidence_or_order():
    gold = (Span(0, 1, "A"), Span(2, 3, "B"))
    assert entity_f1([gold], [Spans((Span(2, 3, "B", 0.3), Span(0, 1, "A", 0.9)))]) == 1.0
