"""Numbers: learnt on their own scale, answered on the user's."""

from pathlib import Path

import pytest
import torch

from lathe.core.data import Table
from lathe.core.errors import DataError
from lathe.core.keyed import row_keys
from lathe.core.types import Symbols
from lathe.models.baselines import tfidf_ridge
from lathe.tasks import Score

ROWS = [{"text": "good film", "score": 1000.0}, {"text": "bad", "score": 3000.0}]


def table(rows):
    return Table(Path("train.jsonl"), "d", rows, [*range(1, len(rows) + 1)], [], {}, {}, {})


def test_the_head_learns_standardised_numbers_and_the_answer_is_on_the_scale_of_the_rows(tokenizer):
    task = Score().fitted({"train": table(ROWS)})
    assert (task.mean, task.scale, task.pair) == (2000.0, 1000.0, False)
    batch = task.collate(task.encode(ROWS, tokenizer), row_keys("d", 2), Symbols.of(tokenizer))
    assert batch.targets["labels"].tolist() == [-1.0, 1.0]
    assert [one.value for one in task.answers(torch.tensor([[-1.0], [0.5]]))] == [1000.0, 2500.0]


def test_a_scale_that_is_given_stays():
    assert Score(mean=0.0, scale=5.0).fitted({"train": table(ROWS)}).scale == 5.0


def test_scores_that_are_all_equal_do_not_divide_by_nothing():
    assert Score().fitted({"train": table(ROWS[:1])}).scale == 1.0


def test_a_pair_among_single_texts_is_named_with_its_line():
    with pytest.raises(DataError, match=r"^train\.jsonl:2: a pair, the others are one text"):
        Score().fitted({"train": table([ROWS[0], ROWS[1] | {"text_pair": "good"}])})


def test_windows_are_averaged():
    task = Score(mean=1.0, scale=2.0)
    rows = [{"window": 0}, {"window": 1}]
    answer = task.merge(task.decode({"logits": torch.tensor([[1.0], [2.0]])}, rows, None), {"windows": rows})
    assert answer.value == 4.0


def test_the_baseline_of_pairs_knows_that_equal_texts_are_alike():
    texts = ["good film", "bad plot", "很好", "影片", "a great film in Paris", "awful"]
    rows = [{"text": a, "text_pair": b, "score": 5.0 * (a == b)} for a in texts for b in texts]
    same, other = tfidf_ridge(rows)(
        [{"text": "bad film", "text_pair": "bad film"}, {"text": "good", "text_pair": "awful"}]
    )
    assert same.value > other.value + 0.5
    assert [round(one.value, 4) for one in tfidf_ridge([{"text": "!", "score": 2.0}])(["a"])]
