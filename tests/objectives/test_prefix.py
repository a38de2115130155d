"""Prefix language modelling: what sees what, what is predicted, packed and padded."""

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from lathe.core import packing
from lathe.core.errors import RecipeError
from lathe.core.keyed import row_keys, row_seeds
from lathe.core.types import IGNORE, Symbols
from lathe.models import Bart, Llama, Qwen3, TransformerPreset, XLNet
from lathe.objectives import PrefixLM

SYMBOLS = Symbols(pad=0, mask=None, size=25, special=(0, 2, 3))
ROWS = [{"input_ids": [5, 6, 7, 8, 9, 10, 3]}, {"input_ids": [9]}, {"input_ids": [10, 11]}, {"input_ids": [17, 18, 19]}]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def collate(epoch=0, rows=ROWS):
    return PrefixLM().collate(rows, row_seeds(0, epoch, row_keys("d", len(rows))), SYMBOLS)


@pytest.fixture(params=["gpt2", "llama", "qwen3", "transformer"])
def config(request, gpt2_config, tokenizer):
    shapes = {
        "llama": Llama(**SMALL),
        "qwen3": Qwen3(**SMALL, num_key_value_heads=1),
        "transformer": TransformerPreset(**SMALL, architecture="decoder"),
    }
    return gpt2_config if request.param == "gpt2" else shapes[request.param].config(tokenizer)


@pytest.mark.parametrize("packed", [False, True])
def test_the_total_is_that_of_each_row_by_itself_under_a_mask_of_its_own(config, packed):
    """The reference is transformers' plain attention with a mask that is added to the scores, row by row."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    batch, reference = collate(), 0.0
    model.set_attn_implementation("eager")
    for row, labels in zip(ROWS, batch.targets["labels"], strict=True):
        ids = torch.tensor([row["input_ids"]])
        predicted = (labels != IGNORE).nonzero().flatten()
        if len(predicted):
            sees = torch.ones(ids.shape[1], ids.shape[1]).tril().bool()
            sees[:, : int(predicted[0]) + 1] = True  # the first prediction is made at the end of the prefix
            mask = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)[None, None]
            logits = model(input_ids=ids, attention_mask=mask).logits[0]
            reference += F.cross_entropy(logits[predicted], labels[predicted], reduction="sum")
    model.set_attn_implementation("sdpa")
    if packed:
        assert packing.enable(model) is None
    (part,) = PrefixLM().loss(model, batch)
    torch.testing.assert_close(part.total, reference, rtol=1e-5, atol=1e-5)


def test_it_runs_on_real_tokens_only(gpt2_config):
    model = AutoModelForCausalLM.from_config(gpt2_config)
    packing.enable(model)
    seen = []
    model.transformer.h[1].mlp.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    PrefixLM().loss(model, collate())
    assert seen == [(1, 16, 16)]  # 13 tokens, on the grid of sizes; padded they are 4 x 7


def test_the_tokens_behind_the_prefix_are_predicted_and_a_lonely_token_is_not():
    for epoch in range(20):
        batch = collate(epoch)
        labels, sees = batch.targets["labels"], batch.inputs["attention_mask"][:, 0]
        assert (labels[1] == IGNORE).all()
        assert labels[2].tolist() == [11, *[IGNORE] * 6]
        prefix = int(sees[0, 0].sum())  # all that the first token sees
        assert labels[0].tolist() == [*[IGNORE] * (prefix - 1), *ROWS[0]["input_ids"][prefix:], IGNORE]
        assert batch.items == {"prefix": int((labels != IGNORE).sum())}


def test_the_prefix_ends_anywhere_and_anew_in_each_epoch():
    prefixes = [int(collate(epoch).inputs["attention_mask"][0, 0, 0].sum()) for epoch in range(60)]
    assert set(prefixes) == {1, 2, 3, 4, 5, 6}
    assert torch.equal(collate(3).inputs["attention_mask"], collate(3).inputs["attention_mask"])


def test_models_that_take_no_mask_of_a_row_s_own_are_refused(bert_config, gpt2_config, tokenizer):
    for shape in (bert_config, XLNet().config(tokenizer)):
        with pytest.raises(RecipeError, match="prefix needs a model that reads from left to right"):
            PrefixLM().check_model(shape, SYMBOLS)
    with pytest.raises(RecipeError, match="a model of type 'bart' so configured is not known to keep to it"):
        PrefixLM().check_model(Bart().config(tokenizer), SYMBOLS)
    windows = Qwen3().config(tokenizer)
    windows.sliding_window = 8
    with pytest.raises(RecipeError, match="'qwen3' so configured"):
        PrefixLM().check_model(windows, SYMBOLS)
    PrefixLM().check_model(gpt2_config, SYMBOLS)
