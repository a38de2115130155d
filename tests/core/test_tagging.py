"""Tokens and tags against text and spans, beside seqeval's reading of the same tags."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from lathe.core.predictions import Span
from lathe.core.tagging import join_tokens, openings_without_begin, parse_tag, spans_of_tags, tags_of_spans

OFFSETS = tuple((3 * i, 3 * i + 2) for i in range(20))
TAGS = st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y", "E-X", "S-X", "S-Y"]), max_size=12)


def as_tokens(spans):
    return [(span.label, span.start // 3, span.end // 3) for span in spans]


@settings(max_examples=200)
@given(TAGS)
def test_tags_of_any_scheme_however_broken_are_read_as_conlleval_reads_them(tags):
    assert as_tokens(spans_of_tags(tags, OFFSETS)) == get_entities(tags)


@settings(max_examples=200)
@given(TAGS)
def test_tags_of_spans_of_tags_mark_the_same_spans(tags):
    spans = spans_of_tags(tags, OFFSETS)
    plain = tags_of_spans(spans, OFFSETS[: len(tags)])
    assert spans_of_tags(plain, OFFSETS) == spans
    assert openings_without_begin(plain) == 0


@pytest.mark.parametrize(
    "tags", [("B-A", "M-A", "E-A", "S-A"), ("B-A", "I-A", "L-A", "U-A"), ("B-A", "I-A", "I-A", "B-A")]
)
def test_bmes_bilou_and_bio_mark_the_same_spans(tags):
    assert as_tokens(spans_of_tags(tags, OFFSETS)) == [("A", 0, 2), ("A", 3, 3)]


def test_iob1_opens_an_entity_with_an_inside_tag():
    tags = ["I-A", "I-A", "B-A", "O", "I-B"]
    assert as_tokens(spans_of_tags(tags, OFFSETS)) == [("A", 0, 1), ("A", 2, 2), ("B", 4, 4)]
    assert openings_without_begin(tags) == 2


@pytest.mark.parametrize(
    "tokens, text",
    [
        (["New", "York", "."], "New York ."),
        (["我", "在", "北京", "。"], "我在北京。"),
        (["用", "Python", "3", "写"], "用 Python 3 写"),
        (["他", "说", "“", "好", "”"], "他说“好”"),
        (["서울", "시"], "서울 시"),
        (["𠀀", "字"], "𠀀字"),
        ([], ""),
    ],
)
def test_a_space_stands_between_tokens_unless_cjk_characters_meet(tokens, text):
    assert join_tokens(tokens)[0] == text


@settings(max_examples=100)
@given(st.lists(st.text("a好 é。", min_size=1), max_size=8))
def test_each_token_stands_in_the_text_where_its_offset_says(tokens):
    text, offsets = join_tokens(tokens)
    assert [text[start:end] for start, end in offsets] == tokens


@pytest.mark.parametrize("tag", ["NNP", "B-", "-X", "b-X", "", "X-PER", "O-X"])
def test_a_tag_of_no_scheme_is_none(tag):
    assert parse_tag(tag) is None


def test_a_label_may_hold_a_hyphen():
    assert parse_tag("B-work-of-art") == ("B", "work-of-art")


def test_a_token_belongs_to_the_first_span_that_overlaps_it():
    spans = [Span(4, 7, "B"), Span(0, 4, "A")]
    assert tags_of_spans(spans, ((0, 2), (3, 5), (5, 7), (8, 9))) == ("B-A", "I-A", "B-B", "O")
