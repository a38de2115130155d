"""Masked language modelling: what is hidden, how, and the loss."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import BertForMaskedLM

from lathe.core.errors import RecipeError
from lathe.core.keyed import row_keys, row_seeds
from lathe.core.types import IGNORE, Symbols
from lathe.objectives import MaskedLM

SPECIAL = (0, 1, 2, 3, 4)
SYMBOLS = Symbols(pad=0, mask=4, size=1000, special=SPECIAL)
ROWS = [{"input_ids": [2, *np.random.default_rng(i).integers(5, 1000, 120), 3]} for i in range(100)]


DEFAULT = MaskedLM(mlm_probability=0.2)


def collate(epoch=0, rows=ROWS, objective=DEFAULT):
    batch = objective.collate(rows, row_seeds(0, epoch, row_keys("d", len(rows))), SYMBOLS)
    ids = (
        torch.from_numpy(np.stack([row["input_ids"] for row in rows]))
        if len({len(r["input_ids"]) for r in rows}) == 1
        else None
    )
    return batch.inputs["input_ids"], batch.targets["labels"], ids


def test_a_fifth_is_predicted_and_of_that_80_10_10():
    inputs, labels, ids = collate()
    chosen = labels != IGNORE
    assert chosen.float().mean().item() == pytest.approx(0.2 * 120 / 122, abs=0.01)
    masked = (inputs == 4) & chosen
    kept = (inputs == ids) & chosen
    assert masked.sum().item() / chosen.sum().item() == pytest.approx(0.8, abs=0.03)
    assert kept.sum().item() / chosen.sum().item() == pytest.approx(0.1, abs=0.03)
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(inputs[~chosen], ids[~chosen])


def test_special_tokens_and_padding_are_never_predicted_nor_drawn():
    rows = [{"input_ids": [2, 7, 3]}, {"input_ids": [2, *[9] * 50, 3]}]
    inputs, labels, _ = collate(rows=rows, objective=MaskedLM(mlm_probability=0.9, mask_ratio=0.0, random_ratio=1.0))
    assert labels[0, 0] == labels[0, 2] == IGNORE
    assert (labels[0, 3:] == IGNORE).all()
    assert not np.isin(inputs[labels != IGNORE], SPECIAL).any()


def test_masks_are_fresh_in_each_epoch_and_the_same_when_asked_again():
    assert not torch.equal(collate(0)[1], collate(1)[1])
    assert torch.equal(collate(1)[0], collate(1)[0])


def test_the_loss_is_the_mean_over_the_chosen_positions_of_the_corrupted_row(bert_config):
    torch.manual_seed(0)
    model = BertForMaskedLM(bert_config).eval()
    objective = MaskedLM(mlm_probability=0.5)
    rows = [{"input_ids": [2, 5, 6, 7, 8, 3]}, {"input_ids": [2, 9, 3]}, {"input_ids": [2, 3]}]
    batch = objective.collate(rows, row_keys("d", 3), Symbols(0, 4, bert_config.vocab_size, SPECIAL))
    (part,) = objective.loss(model, batch)
    logits = model(**batch.inputs).logits
    reference = [-F.log_softmax(logits[b, t], -1)[batch.targets["labels"][b, t]]
                 for b, t in (batch.targets["labels"] != IGNORE).nonzero().tolist()]  # fmt: skip
    torch.testing.assert_close(part.total, torch.stack(reference).sum())
    assert part.items == len(reference) > 0


def test_a_batch_in_which_nothing_is_chosen_adds_zero(bert_config):
    objective = MaskedLM()
    batch = objective.collate([{"input_ids": [2, 3]}], row_keys("d", 1), Symbols(0, 4, bert_config.vocab_size, SPECIAL))
    (part,) = objective.loss(BertForMaskedLM(bert_config), batch)
    part.total.backward()
    assert (float(part.total.detach()), part.items) == (0.0, 0)


def test_a_tokenizer_without_a_mask_token_is_refused():
    with pytest.raises(RecipeError, match="needs a tokenizer with a mask token"):
        MaskedLM().collate(ROWS, row_keys("d", len(ROWS)), Symbols(0, None, 1000, SPECIAL))
