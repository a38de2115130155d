"""Choices: as many as a row likes, each beside the text, the softmax over them alone."""

import pytest
import torch
from transformers import AutoModelForMultipleChoice

from lathe.core.keyed import row_keys
from lathe.core.types import Symbols
from lathe.models.baselines import tfidf_choice
from lathe.tasks import Choose

ROWS = [
    {"text": "good film", "question": "is it bad", "choices": ("a", "not bad", "Paris"), "label": 1},
    {"text": "北京", "choices": ("很好", "很坏"), "label": 0},
]


def batch_of(rows, tokenizer, task=None):
    task = task or Choose()
    return task.collate(task.encode(rows, tokenizer), row_keys("d", len(rows)), Symbols.of(tokenizer))


def test_every_choice_is_a_pair_of_the_text_and_the_question_with_it(tokenizer):
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    first, second = Choose().encode(ROWS, tokenizer)
    assert first["choices"][1] == {
        name: tokenizer("good film", "is it bad not bad")[name] for name in ("input_ids", "token_type_ids")
    }
    assert second["choices"][0]["input_ids"] == tokenizer("北京", "很好")["input_ids"]
    assert first["length"] == sum(len(choice["input_ids"]) for choice in first["choices"])


def test_rows_with_different_numbers_of_choices_share_a_batch_without_empty_choices(tokenizer):
    batch = batch_of(ROWS, tokenizer)
    assert batch.inputs["input_ids"].shape[:2] == (5, 1)
    assert batch.targets["counts"].tolist() == [3, 2]
    assert batch.items == {"choose": 2}


def test_the_loss_is_that_of_transformers_where_all_rows_have_as_many_choices(tokenizer, bert_config):
    rows = [ROWS[0], ROWS[0] | {"text": "bad", "label": 2}]
    torch.manual_seed(0)
    model = AutoModelForMultipleChoice.from_config(bert_config).eval()
    batch = batch_of(rows, tokenizer)
    theirs = {name: tensor.reshape(2, 3, -1) for name, tensor in batch.inputs.items()}
    with torch.inference_mode():
        (part,) = Choose().loss(model, batch)
        wanted = model(**theirs, labels=batch.targets["labels"]).loss
    assert float(part.total) / 2 == pytest.approx(float(wanted), rel=1e-5)


def test_a_row_without_an_answer_is_chosen_from_all_the_same(tokenizer):
    rows = [{name: value for name, value in row.items() if name != "label"} for row in ROWS]
    encoded = Choose().encode(rows, tokenizer)
    answers = Choose().decode({"logits": torch.tensor([[0.0], [2.0], [1.0], [0.0], [5.0]])}, encoded, None)
    assert [(one.index, len(one.scores)) for one in answers] == [(1, 3), (1, 2)]
    assert sum(answers[0].scores) == pytest.approx(1)


def test_of_a_long_text_the_text_is_cut_and_not_the_choice(tokenizer):
    row = {"text": "film " * 40, "choices": ("good plot", "bad"), "label": 0}
    (encoded,) = Choose(max_length=12).encode([row], tokenizer)
    assert [len(choice["input_ids"]) for choice in encoded["choices"]] == [12, 12]
    assert tokenizer.convert_ids_to_tokens(encoded["choices"][0]["input_ids"])[-4:] == [
        "[SEP]",
        "good",
        "plot",
        "[SEP]",
    ]
    assert encoded["truncated"] == 33 + 32


def test_the_baseline_takes_what_has_most_in_common_with_the_text():
    rows = [{"text": "the film", "question": "where", "choices": ("in Paris", "a film", "bad"), "label": 1}]
    (answer,) = tfidf_choice(rows)(rows)
    assert (answer.index, len(answer.scores)) == (1, 3)
    (answer,) = tfidf_choice([{"text": "  ", "choices": (" ", " "), "label": 1}])(rows)
    assert answer.index == 0
