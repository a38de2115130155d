"""Several labels: each by itself, none is an answer, rare ones can weigh more."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from lathe.core.data import Table
from lathe.core.errors import DataError
from lathe.models.baselines import tfidf_logistic_each
from lathe.tasks import MultiLabel

TASK = MultiLabel(labels=("a", "b", "c"), max_length=16)
LOGITS = torch.tensor([[2.0, -1.0, 0.0], [0.5, 0.5, -3.0]], dtype=torch.float64)
GOLD = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)


def table(labels):
    rows = [{"text": "x", "labels": names} for names in labels]
    return Table(Path("train.jsonl"), "d", rows, [*range(1, len(rows) + 1)], [], {}, {}, {})


def test_labels_are_given_from_the_threshold_on_in_the_order_of_the_task():
    logits = torch.tensor([[0.0, -5.0, 3.0], [-1.0, -1.0, -1.0]])
    first, second = TASK.answers(logits)
    assert first.labels == ("a", "c")
    assert (second.labels, list(second.scores)) == ((), ["a", "b", "c"])
    assert MultiLabel(labels=("a", "b", "c"), threshold=0.9).answers(logits)[0].labels == ("c",)


def test_a_row_without_labels_is_learnt_from_as_such():
    assert TASK.target({"text": "x", "labels": ()}) == [0.0, 0.0, 0.0]
    assert TASK.target({"text": "x"}) is None


def test_an_unseen_label_is_an_error_that_names_it():
    with pytest.raises(DataError, match="label 'z' is not one of a, b, c"):
        TASK.target({"text": "x", "labels": ("a", "z")})


def test_the_gold_labels_are_in_the_order_of_the_task():
    assert TASK.gold({"labels": ("c", "a")}) == ("a", "c")


def test_balanced_weights_are_pytorchs_pos_weight():
    task = MultiLabel(labels=("a", "b"), class_weights="balanced").fitted(
        {"train": table([("a",), ("a", "b"), (), ("a",)])}
    )
    assert task.class_weights == {"a": 1 / 3, "b": 3.0}
    given = torch.tensor([1 / 3, 3.0], dtype=torch.float64)
    theirs = F.binary_cross_entropy_with_logits(LOGITS[:, :2], GOLD[:, :2], pos_weight=given, reduction="none")
    assert task.losses(LOGITS[:, :2], GOLD[:, :2]).tolist() == [pytest.approx(row) for row in theirs.tolist()]


def test_focal_loss_is_that_of_the_paper():
    p = torch.where(GOLD > 0, LOGITS.sigmoid(), 1 - LOGITS.sigmoid())
    wanted = -((1 - p) ** 2) * p.log()
    found = MultiLabel(labels=("a", "b", "c"), focal_gamma=2.0).losses(LOGITS, GOLD)
    assert found.tolist() == [pytest.approx(row) for row in wanted.tolist()]


def test_the_baseline_learns_each_label_by_itself_and_gives_what_all_rows_have():
    rows = [
        {"text": text, "labels": (*labels, "all")}
        for text, labels in [("good", "g"), ("bad", "b"), ("good bad", "gb")] * 4
    ]
    first, second = tfidf_logistic_each(rows)(["good", "good bad"])
    assert (first.labels, second.labels) == (("all", "g"), ("all", "b", "g"))
    assert tfidf_logistic_each(rows[:1])(["bad"])[0].labels == ("all", "g")
