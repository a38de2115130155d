"""Classification: labels in order, errors by name, truncation counted; pairs, windows, losses of rare labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from tokenizers import processors
from torch.nn import functional as F

from lathe.core.data import Table
from lathe.core.errors import DataError, LatheError, RecipeError
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


PAIR = {"text": "the film is good", "text_pair": "the plot is not bad"}


def table(rows, name="train.jsonl"):
    return Table(Path(name), "d", rows, [*range(1, len(rows) + 1)], [], {}, {}, {})


def test_a_pair_is_cls_a_sep_b_sep_and_says_which_text_is_which(tokenizer):
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    (row,) = Classify(labels=("no", "yes")).encode([PAIR | {"label": "yes"}], tokenizer)
    theirs = tokenizer(PAIR["text"], PAIR["text_pair"])
    assert row["input_ids"] == theirs["input_ids"]
    assert row["token_type_ids"] == [0] * 6 + [1] * 6


def test_a_model_without_token_types_gets_none(tokenizer):
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    (row,) = Classify(labels=("no", "yes")).encode([PAIR], tokenizer)
    assert "token_type_ids" not in row


def test_of_a_pair_that_is_too_long_the_longer_text_is_cut_first(tokenizer):
    task = Classify(labels=("no", "yes"), max_length=9)
    (row,) = task.encode([{"text": "bad", "text_pair": "good film " * 5}], tokenizer)
    assert tokenizer.convert_ids_to_tokens(row["input_ids"])[:3] == ["[CLS]", "bad", "[SEP]"]
    assert (len(row["input_ids"]), row["truncated"]) == (9, 5)
    (row,) = task.encode([{"text": "bad " * 8, "text_pair": "good " * 9}], tokenizer)
    assert tokenizer.convert_ids_to_tokens(row["input_ids"]) == ["[CLS]", *["bad"] * 3, "[SEP]", *["good"] * 3, "[SEP]"]
    assert row["truncated"] == 11


def test_the_name_of_a_special_token_in_a_text_is_text(tokenizer):
    """Or a user could end the first text, and begin the second, of his own accord."""
    (row,) = TASK.encode([{"text": "good [SEP] bad"}], tokenizer)
    assert row["input_ids"].count(tokenizer.sep_token_id) == 1


def test_a_tokenizer_that_puts_nothing_between_two_texts_is_refused(tokenizer):
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1")
    with pytest.raises(LatheError, match="nothing between the texts of a pair"):
        TASK.encode([PAIR], tokenizer)


def test_windows_overlap_are_of_one_size_and_leave_nothing_out(tokenizer):
    words = ["good", "bad", "great", "awful", "film", "plot", "the", "a", "is", "not"]
    task = Classify(labels=("neg", "pos"), max_length=6, stride=1)
    (row,) = task.encode([{"text": " ".join(words), "label": "pos"}], tokenizer)
    seen = [tokenizer.convert_ids_to_tokens(window["input_ids"])[1:-1] for window in row["windows"]]
    assert seen == [words[0:4], words[3:7], words[6:10]]
    assert row["truncated"] == 0
    assert [window["label"] for window in row["windows"]] == [1, 1, 1]


def test_windows_of_a_pair_run_over_the_longer_text_beside_the_whole_of_the_other(tokenizer):
    task = Classify(labels=("neg", "pos"), max_length=8, stride=0)
    (row,) = task.encode([{"text": "good bad great awful film plot", "text_pair": "is not"}], tokenizer)
    seen = [" ".join(tokenizer.convert_ids_to_tokens(window["input_ids"])) for window in row["windows"]]
    assert seen == ["[CLS] good bad great [SEP] is not [SEP]", "[CLS] awful film plot [SEP] is not [SEP]"]


def test_the_answer_to_windows_is_that_of_the_mean_of_their_logits():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 4.0]])
    rows = [{"window": number} for number in range(3)]
    answer = TASK.merge(TASK.decode({"logits": logits}, rows, None), {"windows": rows})
    assert list(answer.scores.values()) == pytest.approx(logits.mean(0).softmax(-1).tolist())


@pytest.mark.parametrize("values", [{"stride": 4, "max_length": 6}, {"stride": 9, "max_length": 6}])
def test_windows_that_would_not_move_on_are_refused(values, tokenizer):
    with pytest.raises(RecipeError, match=r"task\.stride.*take at most 3"):
        Classify(labels=("neg", "pos"), **values).encode([{"text": "good film"}], tokenizer)


def test_rows_of_a_file_are_all_pairs_or_none():
    rows = [PAIR | {"label": "a"}, {"text": "good", "label": "b"}]
    with pytest.raises(DataError, match=r"^train\.jsonl:2: one text, the others are pairs; name the columns"):
        Classify(labels=("a", "b")).fitted({"train": table(rows)})
    with pytest.raises(DataError, match=r"^test\.jsonl:1: a pair, the others are one text"):
        Classify(labels=("a", "b")).fitted({"train": table(rows[1:]), "test": table(rows[:1], "test.jsonl")})


LOGITS = torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, 0.0], [3.0, 0.0, 0.0]], dtype=torch.float64)
GOLD = torch.tensor([0, 2, 0])


def losses(**options):
    return Classify(labels=("a", "b", "c"), **options).losses(LOGITS, GOLD)


def test_weights_multiply_the_loss_of_a_row_whatever_rows_are_beside_it():
    plain, weighted = losses(), losses(class_weights={"c": 3.0})
    assert weighted.tolist() == pytest.approx((plain * torch.tensor([1.0, 3.0, 1.0])).tolist())
    theirs = F.cross_entropy(LOGITS, GOLD, torch.tensor([1.0, 1.0, 3.0], dtype=torch.float64), reduction="sum")
    assert float(weighted.sum()) == pytest.approx(float(theirs))


def test_balanced_weights_are_scikit_learns():
    rows = [{"text": "x", "label": label} for label in "aaaaabbbc"]
    task = Classify(labels=("a", "b", "c"), class_weights="balanced").fitted({"train": table(rows)})
    theirs = compute_class_weight("balanced", classes=np.array([*"abc"]), y=[*"aaaaabbbc"])
    assert [*task.class_weights.values()] == pytest.approx(theirs.tolist())


def test_a_weight_of_no_label_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match=r"task\.class_weights: 'positive' is not one of negative, positiv"):
        weights = {"positive": 2.0}
        Classify(class_weights=weights).weights_of(("negative", "positiv"), {})


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_is_that_of_the_paper_and_has_a_slope_everywhere(gamma):
    p = LOGITS.softmax(-1)[torch.arange(3), GOLD]
    assert losses(focal_gamma=gamma).tolist() == pytest.approx((-((1 - p) ** gamma) * p.log()).tolist())
    sure = torch.tensor([[200.0, -200.0]], requires_grad=True)
    Classify(labels=("a", "b"), focal_gamma=gamma).losses(sure, torch.tensor([0])).sum().backward()
    assert torch.isfinite(sure.grad).all()


def test_label_smoothing_is_pytorchs():
    theirs = F.cross_entropy(LOGITS, GOLD, label_smoothing=0.1, reduction="none")
    assert losses(label_smoothing_factor=0.1).tolist() == pytest.approx(theirs.tolist())
