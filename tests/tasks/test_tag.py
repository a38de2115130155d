"""Tagging: characters of the user's own text, one tag a word, nothing shifted or dropped unseen."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

from lathe.core.keyed import row_keys
from lathe.core.metrics import entity_f1
from lathe.core.predictions import Span
from lathe.core.tagging import join_tokens, spans_of_tags
from lathe.core.types import IGNORE, Symbols
from lathe.tasks import Tag

TASK = Tag(labels=("LOC", "PER"), max_length=16)


def token_row(tokens, tags=None):
    text, offsets = join_tokens(tokens)
    row = {"text": text, "tokens": tokens, "offsets": offsets}
    return row if tags is None else row | {"tags": tags, "spans": spans_of_tags(tags, offsets)}


def outputs(encoded, answer):
    """Logits of a model that says ``answer[i]`` at the first piece of word i, and nonsense elsewhere."""
    logits = torch.zeros(1, len(encoded["input_ids"]), len(TASK.outputs))
    logits[..., 1] = 5.0
    for piece, tag in zip(encoded["pieces"], answer, strict=True):
        if piece >= 0:
            logits[0, piece] = 0
            logits[0, piece, TASK.outputs.index(tag)] = 50
    return {"logits": logits}


def test_only_the_first_piece_of_a_word_has_a_label(tokenizer):
    (row,) = TASK.encode([token_row(["good-bad", "Paris"], ["O", "B-LOC"])], tokenizer)
    batch = TASK.collate([row], row_keys("d", 1), Symbols.of(tokenizer))
    assert batch.targets["labels"].tolist() == [[IGNORE, 0, IGNORE, IGNORE, 1, IGNORE]]
    assert batch.items == {"tag": 2}


@pytest.mark.parametrize(
    ("text", "span"),
    [("in Paris .", (3, 8)), ("很好北京影片", (2, 4)), ("film 北京 plot", (5, 7)), ("  in   Paris", (7, 12))],
)
def test_spans_are_characters_of_the_text_as_it_was_given(tokenizer, text, span):
    row = {"text": text, "spans": (Span(*span, "LOC"),)}
    (encoded,) = TASK.encode([row], tokenizer)
    tags = [TASK.outputs[index] for index in encoded["tags"]]
    (answer,) = TASK.decode(outputs(encoded, tags), [encoded], None)
    assert [(s.start, s.end, s.label) for s in answer.spans] == [(*span, "LOC")]
    assert answer.spans[0].score == pytest.approx(1)


def test_a_span_that_cuts_a_word_is_widened_for_training_counted_and_scored_as_given(tokenizer):
    row = {"text": "the Paris film", "spans": (Span(4, 7, "LOC"),)}
    (encoded,) = TASK.encode([row], tokenizer)
    assert encoded["widened"] == 1
    (answer,) = TASK.decode(outputs(encoded, [TASK.outputs[i] for i in encoded["tags"]]), [encoded], None)
    assert [(s.start, s.end) for s in answer.spans] == [(4, 9)]
    assert entity_f1([TASK.gold(row)], [answer]) == 0.0


def test_words_beyond_the_longest_text_are_outside_and_counted(tokenizer):
    (encoded,) = TASK.encode([token_row(["good"] * 20 + ["Paris"], ["O"] * 20 + ["B-LOC"])], tokenizer)
    assert encoded["truncated"] == 7
    (answer,) = TASK.decode(outputs(encoded, ["O"] * 20 + ["B-LOC"]), [encoded], None)
    assert answer.spans == ()
    assert answer.tags == ("O",) * 21


tag_lists = st.lists(st.sampled_from(["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]), min_size=1, max_size=8)


@given(st.lists(st.tuples(tag_lists, tag_lists), min_size=1, max_size=5))
def test_f1_of_returned_tags_is_seqevals(pairs):
    golds, answers, theirs_gold, theirs_answer = [], [], [], []
    for gold, answer in pairs:
        length = min(len(gold), len(answer))
        offsets = join_tokens(["x"] * length)[1]
        row = token_row(["x"] * length)
        encoded = {"input_ids": [0] * length, "pieces": list(range(length)), "words": row["offsets"], "as_tokens": True}
        (decoded,) = TASK.decode(outputs(encoded, answer[:length]), [encoded], None)
        golds.append(spans_of_tags(gold[:length], offsets))
        answers.append(decoded)
        theirs_gold.append(_bio(golds[-1], length))
        theirs_answer.append(list(decoded.tags))
    if any(golds) and any(a.spans for a in answers):
        theirs = f1_score(theirs_gold, theirs_answer, mode="strict", scheme=IOB2)
        assert entity_f1(golds, answers) == pytest.approx(theirs, abs=1e-6)


def _bio(spans, length):
    tags = ["O"] * length
    for span in spans:
        for number, i in enumerate(range(span.start // 2, (span.end + 1) // 2)):
            tags[i] = f"{'I' if number else 'B'}-{span.label}"
    return tags
