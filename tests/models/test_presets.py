"""Shapes of models: each opens in transformers with the same logits, and transformers' own open here."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from lathe.core.errors import RecipeError
from lathe.models import GPT2, T5, Bart, Bert, Llama, ModernBert, Qwen3, XLNet
from lathe.models.pretrained import new_model, open_model, save_model

WIDE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPES = {
    "bert": (Bert(**WIDE), AutoModelForMaskedLM),
    "modernbert": (ModernBert(**WIDE), AutoModelForMaskedLM),
    "gpt2": (GPT2(n_embd=16, n_layer=2, n_head=4), AutoModelForCausalLM),
    "llama": (Llama(**WIDE, num_key_value_heads=2), AutoModelForCausalLM),
    "llama-untied": (Llama(**WIDE, tie_word_embeddings=False, rope_theta=5e5), AutoModelForCausalLM),
    "qwen3": (Qwen3(**WIDE, num_key_value_heads=2), AutoModelForCausalLM),
    "qwen3-wide-heads": (Qwen3(**WIDE, head_dim=8), AutoModelForCausalLM),
    "t5": (T5(d_model=16, num_layers=2, num_heads=4), AutoModelForSeq2SeqLM),
    "t5-gated": (T5(d_model=16, num_layers=1, num_decoder_layers=2, num_heads=4, d_kv=8,
                    feed_forward_proj="gated-gelu"), AutoModelForSeq2SeqLM),
    "bart": (Bart(d_model=16, encoder_layers=2, decoder_layers=1, num_attention_heads=4), AutoModelForSeq2SeqLM),
    "xlnet": (XLNet(d_model=16, n_layer=2, n_head=4), AutoModelForCausalLM),
}  # fmt: skip


def logits(model, config):
    ids = torch.tensor([[2, 5, 6, 17, 3], [2, 20, 21, 3, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    with torch.no_grad():
        return model.eval()(**inputs, **({"decoder_input_ids": ids} if config.is_encoder_decoder else {})).logits


@pytest.mark.parametrize("name", SHAPES)
def test_a_checkpoint_opens_in_transformers_and_here_with_the_same_logits(name, tokenizer, tmp_path):
    shape, auto_model = SHAPES[name]
    config = shape.config(tokenizer)
    model = new_model(auto_model, config, seed=0)
    before = logits(model, config)
    save_model(model, tokenizer, tmp_path)
    torch.testing.assert_close(logits(auto_model.from_pretrained(tmp_path), config), before, rtol=1e-5, atol=1e-5)
    opened = open_model(auto_model, tmp_path)
    assert (opened.new, opened.unused) == ((), ())
    torch.testing.assert_close(logits(opened.model, config), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_a_checkpoint_of_transformers_opens_here_with_the_same_logits(name, tokenizer, tmp_path):
    shape, auto_model = SHAPES[name]
    config = shape.config(tokenizer)
    theirs = auto_model.from_config(config)
    theirs.save_pretrained(tmp_path)
    opened = open_model(auto_model, tmp_path)
    torch.testing.assert_close(logits(opened.model, config), logits(theirs, config), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_a_vocabulary_has_room_for_every_token_in_a_multiple_of_64(name, tokenizer):
    assert SHAPES[name][0].config(tokenizer).vocab_size == 64


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_decoder_begins_and_ends_with_tokens_of_the_tokenizer(name, tokenizer):
    shape, auto_model = SHAPES[name]
    config = shape.config(tokenizer)
    assert config.eos_token_id == tokenizer.sep_token_id  # it has no end token
    assert config.pad_token_id == tokenizer.pad_token_id
    assert config.decoder_start_token_id == (config.pad_token_id if name == "t5" else config.eos_token_id)
    written = new_model(auto_model, config, seed=0).eval().generate(torch.tensor([[2, 5, 6, 3]]), max_new_tokens=4)
    assert written[0, 0] == config.decoder_start_token_id


@pytest.mark.parametrize(
    "shape",
    [
        Llama(hidden_size=16, num_attention_heads=3),
        Llama(num_attention_heads=4, num_key_value_heads=3),
        Qwen3(num_attention_heads=4, num_key_value_heads=3),
        Qwen3(hidden_size=16, num_attention_heads=3),
        T5(d_model=16, num_heads=3),
        Bart(d_model=16, num_attention_heads=3),
        XLNet(d_model=16, n_head=3),
    ],
)
def test_heads_that_do_not_divide_are_refused(shape, tokenizer):
    with pytest.raises(RecipeError, match="do not divide"):
        shape.config(tokenizer)
