"""Every language model under one protocol: probabilities of texts, whatever their units."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, GPT2Config

from lathe.core.errors import DataError
from lathe.likelihood import CausalNetwork, MaskedNetwork, Mixture, NGrams, Windows, likelihood
from lathe.likelihood.mixture import best_weight
from lathe.likelihood.protocol import SPELL, Likelihood
from lathe.models import LSTM
from lathe.models.pretrained import new_model
from lathe.ngrams import Characters, NGramModel, Pieces, Words

TEXTS = ["the film is good", "影片很好", "the plot is not bad", "a great film in Paris", "", "good"]


@pytest.fixture
def network(tokenizer, gpt2_config):
    model = new_model(AutoModelForCausalLM, gpt2_config, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)
    return CausalNetwork(model, tokenizer, 32)


@pytest.fixture
def ngrams(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    return NGrams(NGramModel.learn(TEXTS, 3, Pieces(tokenizer=tmp_path / "tokenizer")))


@torch.no_grad()
def test_a_network_scores_each_token_after_those_before_it(network, tokenizer):
    for text, found in zip(TEXTS, network.score(TEXTS), strict=True):
        ids = tokenizer(text)["input_ids"]  # [CLS] ... [SEP]
        log_p = network.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected = [float(log_p[i, token]) for i, token in enumerate(ids[1:])]
        np.testing.assert_allclose(found.log_probs, expected, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("stride_ratio", "max_length"), [(0.5, 6), (1.0, 6), (0.2, 7), (1.0, 3), (0.01, 4)])
def test_windows_predict_each_token_once_with_the_context_they_promise(network, tokenizer, stride_ratio, max_length):
    text = "the film is good a great plot in Paris is not bad"
    slid = CausalNetwork(network.model, tokenizer, max_length, Windows(stride_ratio=stride_ratio))
    (found,) = slid.score([text])
    cls, *ids = tokenizer(text)["input_ids"]
    room = max_length - 1
    stride = max(1, min(room - 1, round(stride_ratio * room)))
    expected = []
    for i in range(len(ids)):
        stop = room if i < room else room + math.ceil((i - room + 1) / stride) * stride
        row = [cls, *ids[max(0, min(stop, len(ids)) - room) : i]]
        expected.append(float(network.model(torch.tensor([row])).logits[0, -1].log_softmax(-1)[ids[i]]))
    np.testing.assert_allclose(found.log_probs, expected, rtol=1e-4)


def test_without_a_start_token_the_first_costs_as_much_as_any(network, tokenizer):
    """As of GPT-2: only an end token, behind the text."""
    from tokenizers.processors import TemplateProcessing

    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A", special_tokens=[])
    tokenizer.eos_token = "[SEP]"
    found = CausalNetwork(network.model, tokenizer, 32).score(["the film", ""])
    assert [len(one.log_probs) for one in found] == [3, 1]
    assert found[0].log_probs[0] == found[1].log_probs[0] == -math.log(len(tokenizer))


def test_a_score_does_not_depend_on_the_texts_beside_it(network, ngrams):
    for model in (network, ngrams, Mixture(network, ngrams, 0.3)):
        together = model.score(TEXTS)
        for text, one in zip(TEXTS, together, strict=True):
            np.testing.assert_allclose(model.score([text])[0].log_probs, one.log_probs, rtol=1e-5)


def test_unknown_units_are_spelt(network, ngrams):
    words = NGrams(NGramModel.learn(["a b", "b"], 2, Words()))
    known, spelt = words.score(["b b"])[0], words.score(["b 你"])[0]
    (found,) = words.model.log_probs(words.model.encode(["b 你"]))[None, 1:]
    np.testing.assert_allclose(spelt.log_probs, found - np.array([0, 4 * SPELL, 0]), rtol=1e-6)
    assert (known.unknown, spelt.unknown) == (0, 1)
    for model in (network, ngrams):
        (one,) = model.score(["the xyz film"])
        assert one.unknown == 1
        assert one.log_probs[1] < -4 * SPELL < one.log_probs[2]


def test_a_texts_probability_is_the_product_of_those_of_its_units_and_of_its_end():
    model = NGrams(NGramModel.learn(["ab", "ba", "a"], 3, Characters()))
    for text in map("".join, product("ab", repeat=2)):
        ids = model.model.encode([text]).tolist()
        chain = math.prod(model.model.distribution(ids[:i])[ids[i]] for i in range(1, len(ids)))
        assert math.exp(model.score([text])[0].log_probs.sum()) == pytest.approx(chain, rel=1e-5)


def test_figures_are_sums_divided_once(ngrams):
    found = likelihood(ngrams, TEXTS)
    nats = -sum(one.log_probs.sum() for one in ngrams.score(TEXTS))
    size = sum(len(text.encode()) for text in TEXTS)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / size)
    assert found.bits_per_character == pytest.approx(nats / math.log(2) / sum(map(len, TEXTS)))
    assert found.perplexity == pytest.approx(math.exp(nats / found.units))


def test_a_uniform_model_of_characters_needs_log2_v_bits_a_character():
    """Without discounts all is uniform: 4 words and the end are 5 alike."""
    model = NGrams(NGramModel.learn(["abcd"], 1, Characters()))
    found = likelihood(model, ["abcd" * 100])
    assert found.bits_per_character == pytest.approx(-math.log2(model.model.distribution([])[3]) * 401 / 400, rel=1e-3)


def test_a_mixture_lies_between_and_its_weight_is_the_best(network, ngrams):
    weight = best_weight(network, ngrams, TEXTS)
    nats = {w: likelihood(Mixture(network, ngrams, w), TEXTS).nats for w in np.linspace(0, 1, 21).tolist()}
    assert nats[0.0] == pytest.approx(likelihood(ngrams, TEXTS).nats, rel=1e-6)
    assert nats[1.0] == pytest.approx(likelihood(network, TEXTS).nats, rel=1e-6)
    assert likelihood(Mixture(network, ngrams, weight), TEXTS).nats <= min(nats.values()) + 1e-6


def test_models_of_other_units_do_not_mix(network):
    words = NGrams(NGramModel.learn(["影片 很好"], 2, Words()))
    with pytest.raises(DataError, match="mix models of the same tokenizer"):
        Mixture(network, words, 0.5).score(["影片很好"])


def test_an_lstm_is_scored_like_any_network(tokenizer):
    model = new_model(AutoModelForCausalLM, LSTM(embedding_size=8, hidden_size=16).config(tokenizer), seed=0)
    found = likelihood(CausalNetwork(model, tokenizer, 16), TEXTS)
    assert found.nats / found.units == pytest.approx(math.log(model.config.vocab_size), abs=0.5)


@torch.no_grad()
def test_the_pseudo_likelihood_masks_each_token_by_itself(tokenizer, bert_config):
    model = new_model(AutoModelForMaskedLM, bert_config, seed=0)
    found = MaskedNetwork(model, tokenizer, 5).pseudo_likelihood(["the film is good", "影片"], most=1000)
    nats = 0.0
    for row in (["the", "film", "is"], ["good"], ["影", "片"]):
        ids = tokenizer.convert_tokens_to_ids(["[CLS]", *row, "[SEP]"])
        for place in range(1, len(ids) - 1):
            masked = [*ids[:place], tokenizer.mask_token_id, *ids[place + 1 :]]
            nats -= float(model(torch.tensor([masked])).logits[0, place].log_softmax(-1)[ids[place]])
    assert found.nats == pytest.approx(nats, rel=1e-4)
    assert found.tokens == found.of_tokens == 6


def test_a_sample_of_the_tokens_is_taken_where_there_are_many(tokenizer, bert_config):
    model = new_model(AutoModelForMaskedLM, bert_config, seed=0)
    found = MaskedNetwork(model, tokenizer, 16).pseudo_likelihood(TEXTS, most=4)
    assert (found.tokens, found.of_tokens) == (4, 19)


def test_rows_of_a_network_end_where_training_ends_them(tokenizer):
    """The last place of a row had no label in training, so nothing is predicted there."""
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=4)
    model = new_model(AutoModelForCausalLM, config, seed=0)
    (found,) = CausalNetwork(model, tokenizer, 4).score(["the film is good the film"])
    assert len(found.log_probs) == 7 and np.isfinite(found.log_probs).all()


def test_the_perplexity_of_what_is_hardly_possible_is_a_number():
    found = Likelihood(1e6, 1, 2, 1, 1, 1, 1)
    assert 1e308 < found.perplexity < math.inf
