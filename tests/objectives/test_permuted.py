"""Permutation language modelling: what is predicted, in which order, and what each prediction sees."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import XLNetConfig, XLNetLMHeadModel

from lathe.core.errors import RecipeError
from lathe.core.keyed import row_keys, row_seeds
from lathe.core.types import IGNORE, Symbols
from lathe.objectives import PermutationLM

SYMBOLS = Symbols(pad=0, mask=None, size=50, special=(0, 1, 2, 3))
FRAMED = [{"input_ids": [2, *np.random.default_rng(i).integers(5, 50, n), 3]} for i, n in enumerate((9, 1, 4, 17, 0))]
BARE = [{"input_ids": np.random.default_rng(n).integers(5, 50, n)} for n in (1, 2, 3, 5, 8, 13, 31)]


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = XLNetConfig(vocab_size=50, d_model=16, n_layer=2, n_head=2, d_inner=32, initializer_range=0.3)
    return XLNetLMHeadModel(config).eval()


def collate(rows, epoch=0, **options):
    return PermutationLM(**options).collate(rows, row_seeds(0, epoch, row_keys("d", len(rows))), SYMBOLS)


@pytest.mark.parametrize("rows", [FRAMED, BARE])
def test_each_prediction_is_the_one_without_all_that_it_must_not_see(model, rows):
    """The reference: one forward pass for each prediction, with other tokens in the place of the hidden ones."""
    objective = PermutationLM(plm_probability=0.6, max_span_length=2)
    batch = objective.collate(rows, row_keys("d", len(rows)), SYMBOLS)
    (part,) = objective.loss(model, batch)
    total, ids, mapping = 0.0, batch.inputs["input_ids"], batch.inputs["target_mapping"]
    for row, number in (batch.targets["labels"] != IGNORE).nonzero().tolist():
        position = int(mapping[row, number].argmax())
        other = torch.where(batch.inputs["perm_mask"][row, position] == 1, (ids[row] + 7) % 50, ids[row])
        inputs = {name: value[row : row + 1] for name, value in batch.inputs.items()} | {"input_ids": other[None]}
        total -= F.log_softmax(model(**inputs).logits[0, number], -1)[ids[row, position]]
    torch.testing.assert_close(part.total, total, rtol=1e-5, atol=1e-4)
    assert part.items == int((batch.targets["labels"] != IGNORE).sum()) > 5


def test_what_is_predicted_is_hidden_from_itself_and_the_earlier_and_seen_by_the_later():
    """The definition: position i may not see j where j is predicted, and does not stand before i in the order."""
    batch = collate(FRAMED[3:4], plm_probability=0.5)
    hidden, mapping = batch.inputs["perm_mask"][0].bool(), batch.inputs["target_mapping"][0]
    predicted = mapping.argmax(1)
    turn = dict(zip(predicted.tolist(), (-hidden[predicted].sum(1)).argsort().argsort().tolist(), strict=True))
    for i in range(19):
        for j in range(19):
            assert hidden[i, j] == (j in turn and (i not in turn or turn[j] >= turn[i]))


def test_a_sixth_of_the_text_is_predicted_in_spans_and_special_tokens_are_not():
    rows = [{"input_ids": [2, *np.random.default_rng(i).integers(5, 50, 101), 3]} for i in range(200)]
    batch = collate(rows)
    labels, predicted = batch.targets["labels"], batch.inputs["target_mapping"].sum(1).bool()
    assert batch.items["permutation"] / (200 * 101) == pytest.approx(1 / 6, abs=0.002)
    assert not predicted[:, 0].any() and not predicted[:, -1].any()
    assert torch.equal(labels[labels != IGNORE], batch.inputs["input_ids"][predicted])
    starts = (predicted & ~F.pad(predicted[:, :-1], (1, 0))).sum()
    assert 2 < predicted.sum() / starts < 4  # spans of 1 to 5, some of which touch


def test_with_spans_of_one_every_order_is_as_likely():
    """Three tokens that are all predicted, from the special tokens and one another."""
    rows = [{"input_ids": [2, 7, 8, 9, 3]}] * 3000
    batch = collate(rows, plm_probability=0.999, max_span_length=1)
    hidden = batch.inputs["perm_mask"][:, 1:4, 1:4].sum(2)
    found = Counter((*a, *b) for a, b in zip(hidden.tolist(), batch.targets["labels"].tolist(), strict=True))
    several = {order: count for order, count in found.items() if IGNORE not in order}
    assert len(several) == 6
    assert max(several.values()) < 1.3 * min(several.values())


@pytest.mark.parametrize("length", range(1, 12))
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.99])
def test_a_row_of_any_length_keeps_something_to_predict_from(model, length, probability):
    rows = [{"input_ids": np.arange(5, 5 + length)}] * 20
    batch = collate(rows, plm_probability=probability)
    assert ((batch.targets["labels"] != IGNORE).sum(1) < length).all()
    (part,) = PermutationLM().loss(model, batch)
    assert torch.isfinite(part.total)


def test_orders_are_fresh_in_each_epoch_and_the_same_when_asked_again():
    assert not torch.equal(collate(BARE, 0).inputs["perm_mask"], collate(BARE, 1).inputs["perm_mask"])
    assert torch.equal(collate(BARE, 1).inputs["perm_mask"], collate(BARE, 1).inputs["perm_mask"])


def test_a_model_with_one_stream_is_refused(bert_config):
    with pytest.raises(RecipeError, match=r"needs a model with a second stream.*'bert' has none. Set model.kind=xlnet"):
        PermutationLM().check_model(bert_config, SYMBOLS)
