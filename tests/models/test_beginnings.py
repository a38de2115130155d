"""A new head begins at how often each output is right; a learnt one stays."""

import math

import pytest
import torch
from transformers import AutoModelForTokenClassification

from lathe.models.beginnings import begin_with
from lathe.models.pretrained import Opened, new_model, open_model, save_model, with_head

SHARES = (0.9, 0.07, 0.03)
LOG_SHARES = [math.log(share) for share in SHARES]


@pytest.fixture
def folder(tmp_path, tokenizer, bert_config):
    """A model whose head has learnt something."""
    model = new_model(AutoModelForTokenClassification, with_head(bert_config, ("x", "y"), None), seed=0)
    model.load_state_dict(model.state_dict() | {"classifier.bias": torch.tensor([3.0, 4.0])})
    save_model(model, tokenizer, tmp_path / "base")
    return tmp_path / "base"


def test_a_new_head_says_what_is_likely_of_every_word(bert_config):
    model = new_model(AutoModelForTokenClassification, with_head(bert_config, ("O", "B-x", "I-x"), None), seed=0)
    begin_with(LOG_SHARES, Opened(model, ("all",), ()))
    said = model(torch.tensor([[2, 7, 9, 3]])).logits.softmax(-1)
    assert torch.allclose(said, torch.tensor(SHARES).expand_as(said), atol=0.05)


def test_weights_inside_the_encoder_stay_however_wide_they_are(bert_config):
    shares = [math.log(1 / bert_config.hidden_size)] * bert_config.hidden_size
    names = tuple(str(number) for number in range(bert_config.hidden_size))
    model = new_model(AutoModelForTokenClassification, with_head(bert_config, names, None), seed=0)
    begin_with(shares, Opened(model, ("all",), ()))
    changed = {name for name, value in model.named_parameters() if torch.equal(value, torch.tensor(shares))}
    assert changed == {"classifier.bias"}


def test_a_head_that_the_folder_has_stays(folder):
    opened = open_model(AutoModelForTokenClassification, folder, ("x", "y"))
    begin_with(LOG_SHARES[:2], opened)
    assert opened.model.classifier.bias.tolist() == [3, 4]
