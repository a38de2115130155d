"""Intent and slots: one model of both, each learnt as if it were alone."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lathe.core.errors import DataError
from lathe.core.metrics import frame_accuracy
from lathe.core.predictions import Frame, Span
from lathe.core.predictor import TaskPredictor
from lathe.core.tagging import join_tokens
from lathe.core.types import Symbols
from lathe.evaluate.result import mistakes
from lathe.models.baselines import frequent_frame
from lathe.runtimes.eager import torch_forward
from lathe.tasks import Intent

TASK = Intent(labels=("find", "play", "slot:LOC", "slot:PER"), max_length=16)


def utterance(tokens, intent, **slots):
    """``slots`` are tokens by label."""
    text, offsets = join_tokens(tokens)
    spans = tuple(Span(*offsets[tokens.index(token)], label) for label, token in slots.items())
    return {"text": text, "tokens": tokens, "offsets": offsets, "label": intent, "spans": spans}


ROWS = [
    utterance(["good", "film", "in", "Paris"], "find", LOC="Paris"),
    utterance(["北", "很", "好"], "find", PER="北"),
    utterance(["great"], "play"),
    {"text": "the film 北京", "label": "play", "spans": (Span(9, 11, "LOC"),)},
    {"text": "  the 𝒜 Paris\ud800", "label": "find", "spans": (Span(8, 13, "LOC"),)},
]


def collated(rows, tokenizer):
    return TASK.collate(rows, np.zeros(len(rows), np.uint64), Symbols.of(tokenizer))


def test_the_outputs_are_the_intents_and_the_tags_of_the_slots():
    assert TASK.outputs == ("find", "play", "O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert list(TASK.labels_in(ROWS[0])) == ["find", "slot:LOC"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ascii(row["text"]))
def test_an_oracles_frame_is_the_gold(row, tokenizer):
    encoded = TASK.encode([row], tokenizer)
    batch = collated(encoded, tokenizer)
    tags = F.one_hot(batch.targets["labels"].clamp_min(0), len(TASK.tags)) * 50.0  # [1, T, tags]
    intents = F.one_hot(batch.targets["intents"], 2)[:, None].expand(-1, tags.shape[1], -1) * 50.0
    answers = TASK.decode({"logits": torch.cat([intents, tags], -1)}, encoded, tokenizer)
    assert frame_accuracy([TASK.gold(row)], answers) == 1
    assert mistakes(TASK.gold(row), answers[0]) == ""


def test_the_loss_of_each_head_is_hugging_faces_of_the_head_alone(tokenizer, bert_config):
    bert_config.num_labels = len(TASK.outputs)
    torch.manual_seed(0)
    model = TASK.auto_model.from_config(bert_config).eval()
    batch = collated(TASK.encode(ROWS, tokenizer), tokenizer)
    slots, intent = TASK.loss(model, batch)
    with torch.no_grad():
        states = model.bert(**batch.inputs).last_hidden_state  # [B, T, D]
    weight, bias = model.classifier.weight, model.classifier.bias
    mask = batch.inputs["attention_mask"][..., None]
    pooled = (states * mask).sum(1) / mask.sum(1)  # [B, D]
    theirs = F.cross_entropy(F.linear(pooled, weight[:2], bias[:2]), batch.targets["intents"])
    torch.testing.assert_close(intent.total / intent.items, theirs)
    words = F.linear(states, weight[2:], bias[2:])
    theirs = model.loss_function(words, batch.targets["labels"], type("Config", (), {"num_labels": 5}))
    torch.testing.assert_close(slots.total / slots.items, theirs)


def test_a_frame_does_not_depend_on_its_batch_mates(tokenizer, bert_config):
    bert_config.num_labels = len(TASK.outputs)
    torch.manual_seed(0)
    predictor = TaskPredictor(TASK, tokenizer, torch_forward(TASK.auto_model.from_config(bert_config)), 16)
    rows = [{"text": row["text"]} for row in ROWS]
    for row, together in zip(rows, predictor(rows), strict=True):
        (alone,) = predictor([row])
        assert alone.label.label == together.label.label
        assert list(alone.label.scores.values()) == pytest.approx(list(together.label.scores.values()), abs=1e-5)
        assert [(s.start, s.label) for s in alone.spans.spans] == [(s.start, s.label) for s in together.spans.spans]


def test_an_unknown_intent_is_named(tokenizer):
    with pytest.raises(DataError, match="intent 'sing' is not one of find, play"):
        TASK.encode([ROWS[0] | {"label": "sing"}], tokenizer)


def test_what_is_cut_off_is_counted(tokenizer):
    (row,) = TASK.encode([utterance(["good"] * 20, "find")], tokenizer)
    assert row["truncated"] == 6
    assert row["pieces"][-6:] == [-1] * 6


def test_a_wrong_slot_is_a_mistake_also_under_the_right_intent():
    frame = frequent_frame(ROWS)([ROWS[0]])[0]
    assert mistakes(("find", ()), frame) == "wrong LOC 13-18"
    assert mistakes(("play", ROWS[0]["spans"]), frame).endswith("for play")


def test_the_baseline_is_an_intent_and_each_words_most_frequent_slot():
    (frame,) = frequent_frame(ROWS)([{"text": "good film in Paris"}])
    assert isinstance(frame, Frame)
    assert (frame.label.label, [(s.start, s.end, s.label) for s in frame.spans.spans]) == ("find", [(13, 18, "LOC")])
    assert frame.to_json()["label"] == "find"
