"""Encoders by size: they take rows as long as they say, and open with transformers as they were."""

import pytest
import torch
from transformers import AutoModelForMaskedLM

from lathe.core.errors import RecipeError
from lathe.models import Albert, DistilBert, Electra, Roberta
from lathe.models.pretrained import longest_input, new_model, open_config, open_model, save_model

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 12}
PRESETS = {
    "roberta": Roberta(**SIZES),
    "albert": Albert(**SIZES, embedding_size=8),
    "electra": Electra(**SIZES, embedding_size=8),
    "distilbert": DistilBert(**SIZES),
}


@pytest.mark.parametrize("kind", list(PRESETS))
@pytest.mark.parametrize("pad", ["[PAD]", "[MASK]"])
def test_the_longest_row_fits_and_a_checkpoint_opens_with_equal_logits(kind, pad, tokenizer, tmp_path):
    """Positions of RoBERTa begin behind the number of its padding token, whatever that is."""
    tokenizer.pad_token = pad
    config = PRESETS[kind].config(tokenizer)
    assert config.model_type == kind
    assert longest_input(tokenizer, config) == 12
    model = new_model(AutoModelForMaskedLM, config, seed=0).eval()
    ids = torch.randint(5, 25, (2, 12))
    logits = model(input_ids=ids).logits
    save_model(model, tokenizer, tmp_path)
    torch.testing.assert_close(AutoModelForMaskedLM.from_pretrained(tmp_path).eval()(input_ids=ids).logits, logits)
    torch.testing.assert_close(open_model(AutoModelForMaskedLM, tmp_path).model.eval()(input_ids=ids).logits, logits)
    assert longest_input(tokenizer, open_config(tmp_path)) == 12


def test_albert_has_one_layer_for_all(tokenizer):
    one, two = (Albert(**SIZES | {"num_hidden_layers": n}, embedding_size=8).config(tokenizer) for n in (2, 6))
    sizes = [new_model(AutoModelForMaskedLM, config, seed=0).num_parameters() for config in (one, two)]
    assert sizes[0] == sizes[1]


def test_heads_that_do_not_divide_the_width_are_refused(tokenizer):
    with pytest.raises(RecipeError, match="3 heads do not divide a width of 16"):
        Electra(**SIZES | {"num_attention_heads": 3}).config(tokenizer)
