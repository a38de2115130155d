"""Replaced-token detection: what the generator fills in, what the discriminator is asked, and what is kept."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForPreTraining, ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining, ElectraModel

from lathe.core.errors import RecipeError
from lathe.core.keyed import row_keys, row_seeds
from lathe.core.types import IGNORE, Symbols
from lathe.models.pretrained import new_model, open_model, save_model
from lathe.objectives import ReplacedTokens
from lathe.objectives.replaced import sample

ROWS = [{"input_ids": [2, 5, 6, 7, 8, 9, 3]}, {"input_ids": [2, 9, 3]}, {"input_ids": [5]}, {"input_ids": [2, 3]}]
HALF = ReplacedTokens(mlm_probability=0.5)


@pytest.fixture
def config(bert_config):
    return ElectraConfig(**{**bert_config.to_dict(), "embedding_size": 8, "num_attention_heads": 4})


@pytest.fixture
def pair(config):
    return new_model(HALF.auto_model, config, seed=0).eval()


def collate(tokenizer, epoch=0):
    return HALF.collate(ROWS, row_seeds(0, epoch, row_keys("d", len(ROWS))), Symbols.of(tokenizer))


def test_both_losses_are_those_of_the_definition(pair, tokenizer):
    batch = collate(tokenizer)
    inputs, labels, draws = batch.inputs, batch.targets["labels"], batch.targets["draws"]
    logits = pair.generator(**inputs).logits
    filled, is_replaced = inputs["input_ids"].clone(), torch.zeros_like(labels)
    for b, t in (labels != IGNORE).nonzero().tolist():
        distribution = logits[b, t].softmax(-1).cumsum(-1)
        filled[b, t] = int((distribution <= draws[b, t] * distribution[-1]).sum())
        is_replaced[b, t] = filled[b, t] != labels[b, t]
    scores = pair.discriminator(input_ids=filled, attention_mask=inputs["attention_mask"]).logits
    real = inputs["attention_mask"] == 1
    found = F.binary_cross_entropy_with_logits(scores[real], is_replaced[real].float(), reduction="sum")
    masked, replaced = HALF.loss(pair, batch)
    torch.testing.assert_close(
        masked.total, F.cross_entropy(logits[labels != IGNORE], labels[labels != IGNORE], reduction="sum")
    )
    torch.testing.assert_close(replaced.total, found)
    assert (replaced.items, replaced.weight) == (13, 50.0)
    assert 0 < int(is_replaced.sum()) <= masked.items


def test_samples_follow_the_distribution_and_carry_no_gradient_to_the_generator(pair, tokenizer):
    shares = torch.tensor([0.5, 0.0, 0.3, 0.2])
    draws = torch.from_numpy((np.arange(1000) + 0.5) / 1000)
    found = sample(shares.log().expand(1000, 4), draws).bincount(minlength=4) / 1000
    torch.testing.assert_close(found, shares, atol=2e-3, rtol=0)
    _, replaced = HALF.loss(pair, collate(tokenizer))
    replaced.total.backward()
    own = [
        p
        for name, p in pair.generator.named_parameters()
        if "embeddings." not in name and "generator_lm_head" not in name
    ]
    assert all(p.grad is None for p in own)
    assert pair.get_input_embeddings().weight.grad is not None


def test_the_generator_is_smaller_and_reads_the_same_embeddings(pair):
    table = pair.discriminator.electra.embeddings.word_embeddings.weight
    assert pair.generator.electra.embeddings.word_embeddings.weight is table
    assert pair.generator.generator_lm_head.weight is table
    assert (pair.generator.config.hidden_size, pair.generator.config.num_attention_heads) == (4, 1)
    assert pair.generator.config.num_hidden_layers == pair.discriminator.config.num_hidden_layers


def test_what_is_saved_opens_as_the_discriminator_and_goes_on_as_the_pair(pair, tokenizer, tmp_path):
    pair.requires_grad_(False)
    before = [float(part.total) for part in HALF.loss(pair, collate(tokenizer))]
    inputs = collate(tokenizer).inputs
    logits, hidden = pair(**inputs).logits, pair.discriminator.electra(**inputs).last_hidden_state
    save_model(pair, tokenizer, tmp_path)
    for auto_model in (ElectraForPreTraining, AutoModelForPreTraining):
        torch.testing.assert_close(auto_model.from_pretrained(tmp_path).eval()(**inputs).logits, logits)
    torch.testing.assert_close(ElectraModel.from_pretrained(tmp_path).eval()(**inputs).last_hidden_state, hidden)
    assert isinstance(ElectraForMaskedLM.from_pretrained(tmp_path / "generator"), ElectraForMaskedLM)
    opened = open_model(HALF.auto_model, tmp_path)
    assert (opened.new, opened.unused) == ((), ())
    assert [float(part.total.detach()) for part in HALF.loss(opened.model.eval(), collate(tokenizer))] == pytest.approx(
        before
    )


def test_a_discriminator_without_its_generator_gets_a_new_one(config, tokenizer, tmp_path):
    save_model(ElectraForPreTraining(config), tokenizer, tmp_path)
    opened = open_model(HALF.auto_model, tmp_path)
    assert len(HALF.loss(opened.model, collate(tokenizer))) == 2


def test_other_models_and_tokenizers_without_a_mask_are_refused(bert_config, config, tokenizer):
    with pytest.raises(RecipeError, match="'bert' has none. Set model.kind=electra"):
        HALF.check_model(bert_config, Symbols.of(tokenizer))
    with pytest.raises(RecipeError, match="mask token"):
        HALF.check_model(config, Symbols(0, None, 25, (0,)))
