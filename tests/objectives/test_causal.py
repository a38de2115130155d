"""Causal language modelling: every token from the ones before it."""

import pytest
import torch
from torch.nn import functional as F
from transformers import GPT2LMHeadModel

from lathe.core import packing
from lathe.core.keyed import row_keys
from lathe.core.types import IGNORE, Symbols
from lathe.objectives import CausalLM

SYMBOLS = Symbols(pad=0, mask=None, size=25, special=(0, 3))
ROWS = [{"input_ids": [5, 6, 7, 8, 3]}, {"input_ids": [9]}, {"input_ids": [10, 11]}]


def test_labels_are_the_next_tokens_and_padding_has_none():
    batch = CausalLM().collate(ROWS, row_keys("d", 3), SYMBOLS)
    assert batch.targets["labels"].tolist() == [
        [6, 7, 8, 3, IGNORE],
        [IGNORE] * 5,
        [11, IGNORE, IGNORE, IGNORE, IGNORE],
    ]
    assert batch.items == {"causal": 5}


@pytest.mark.parametrize("packed", [False, True])
def test_the_total_is_minus_the_log_probability_of_each_row_by_itself(gpt2_config, packed):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(gpt2_config).eval()
    logits = [model(input_ids=torch.tensor([row["input_ids"]])).logits[0] for row in ROWS]
    pairs = [(scores[:-1], torch.tensor(row["input_ids"][1:])) for scores, row in zip(logits, ROWS, strict=True)]
    reference = sum(
        F.cross_entropy(scores, following, reduction="sum") for scores, following in pairs if len(following)
    )
    if packed:
        packing.enable(model)
    (part,) = CausalLM().loss(model, CausalLM().collate(ROWS, row_keys("d", 3), SYMBOLS))
    torch.testing.assert_close(part.total, reference, rtol=1e-5, atol=1e-5)
