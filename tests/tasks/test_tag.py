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
from lathe.core.predictor import TaskPredictor
from lathe.core.tagging import join_tokens, spans_of_tags
from lathe.core.types import IGNORE, Symbols
from lathe.runtimes.eager import torch_forward
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


LONG = [*["good", "film"] * 9, "Paris", "北京", "Paris", *["bad", "plot"] * 9]


def long_row(name=False):
    tags = ["B-LOC" if word in ("Paris", "北京") else "O" for word in LONG]
    return token_row(LONG, tags if name else None)


def test_a_gold_tag_of_a_long_text_is_learnt_in_one_window_alone(tokenizer):
    (encoded,) = TASK.encode([long_row(name=True)], tokenizer)
    assert len(encoded["windows"]) > 2
    batch = TASK.collate(encoded["windows"], row_keys("d", len(encoded["windows"])), Symbols.of(tokenizer))
    assert batch.inputs["input_ids"].shape[1] == TASK.max_length
    assert batch.items == {"tag": len(LONG)}
    assert (batch.targets["labels"] == 1).sum() == 3


def test_every_word_of_a_long_text_is_answered_and_the_windows_leave_no_trace(tokenizer):
    row = long_row(name=True)
    (encoded,) = TASK.encode([row], tokenizer)
    windows = encoded["windows"]
    labels = TASK.collate(windows, row_keys("d", len(windows)), Symbols.of(tokenizer)).targets["labels"]
    logits = torch.nn.functional.one_hot(labels.clamp_min(0), len(TASK.outputs)).float() * 50
    answer = TASK.merge(TASK.decode({"logits": logits}, windows, None), encoded)
    assert list(answer.tags) == row["tags"]
    assert [(s.start, s.end, s.label) for s in answer.spans] == [(s.start, s.end, s.label) for s in row["spans"]]


def test_a_word_is_answered_where_it_has_most_context(tokenizer):
    """Windows of [CLS] 14 pieces [SEP] over 40 pieces, 7 of them shared: the edges of what they answer for."""
    (encoded,) = TASK.encode([token_row(["good"] * 40)], tokenizer)
    pieces = [window["pieces"] for window in encoded["windows"]]
    assert [(own[0], own[-1]) for own in pieces] == [(1, 10), (5, 10), (4, 10), (5, 10), (4, 14)]
    assert sum(map(len, pieces)) == 40


def test_a_long_row_answers_the_same_alone_and_beside_others(tokenizer, bert_config):
    bert_config.id2label = dict(enumerate(TASK.outputs))
    torch.manual_seed(0)
    predictor = TaskPredictor(TASK, tokenizer, torch_forward(TASK.auto_model.from_config(bert_config)), 16)
    rows = [long_row(), token_row(["Paris"]), long_row(), {"text": "good film " * 20}]
    together = predictor(rows)
    assert together[0] == together[2] == predictor([rows[0]])[0]
    assert len(together[0].tags) == len(LONG)


def test_words_without_a_piece_are_outside_and_stay_in_their_place(tokenizer):
    row = token_row(["\u200b", "Paris", "\u200b", *["good"] * 30, "\u200b", "Paris"])
    (encoded,) = TASK.encode([row | {"spans": (Span(2, 7, "LOC"),)}], tokenizer)
    assert sum(len(window["pieces"]) for window in encoded["windows"]) == len(row["tokens"])
    assert [piece for window in encoded["windows"] for piece in window["pieces"]].count(-1) == 3


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
