"""Classification: labels in order, errors by name, truncation counted."""

import pytest
import torch

from lathe.core.errors import DataError
from lathe.core.keyed import row_keys
from lathe.core.types import Symbols
from lathe.tasks import Classify

TASK = Classify(labels=("neg", "pos"), max_length=6)


def test_labels_are_indices_in_the_order_of_the_task(tokenizer):
    rows = TASK.encode([{"text": "good film", "label": "pos"}, {"text": "bad", "label": "neg"}], tokenizer)
    batch = TASK.collate(rows, row_keys("d", 2), Symbols.of(tokenizer))
    assert batch.targets["labels"].tolist() == [1, 0]
    assert batch.items == {"classify": 2}


def test_an_unseen_label_is_an_error_that_names_it(tokenizer):
    with pytest.raises(DataError, match="label 'meh' is not one of neg, pos"):
        TASK.encode([{"text": "good", "label": "meh"}], tokenizer)


def test_what_is_cut_off_is_counted(tokenizer):
    (row,) = TASK.encode([{"text": "good film good film good film"}], tokenizer)
    assert len(row["input_ids"]) == 6
    assert row["truncated"] == 2


def test_a_lone_surrogate_is_no_crash(tokenizer):
    (row,) = TASK.encode([{"text": "good \ud800 film"}], tokenizer)
    assert len(row["input_ids"]) == 4  # this tokenizer drops U+FFFD


def test_scores_are_probabilities_in_the_order_of_the_labels():
    (answer,) = TASK.decode({"logits": torch.tensor([[0.0, 2.0]])}, [{}], None)
    assert list(answer.scores) == ["neg", "pos"]
    assert sum(answer.scores.values()) == pytest.approx(1)
    assert answer.to_json()["label"] == "pos"
