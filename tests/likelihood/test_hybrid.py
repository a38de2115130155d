"""A network beside n-grams: what both say together, and what it learns from."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from lathe.core.errors import DataError
from lathe.core.tokens import TokenFile
from lathe.core.types import Symbols
from lathe.likelihood import CausalNetwork, NGrams
from lathe.likelihood.hybrid import GUIDE, LEAST, SENTINEL, Guide, GuidedLM, HeldOut, give_hearing
from lathe.models.pretrained import new_model
from lathe.ngrams import EOS, NGramModel, Pieces

TEXTS = ["the film is good", "影片很好", "the plot is not bad", "a great film in Paris", "good"]
SIZE = 128


@pytest.fixture(params=["framed", "ended"])
def tokenizer(request, tokenizer):
    """``[CLS]`` before and ``[SEP]`` behind each row, or an end alone, behind each document."""
    if request.param == "ended":
        from tokenizers.processors import TemplateProcessing

        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A", special_tokens=[])
        tokenizer.eos_token = "[SEP]"
    return tokenizer


@pytest.fixture
def units(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    tokenizer.add_special_tokens({"extra_special_tokens": [SENTINEL]})
    return Pieces(tokenizer=tmp_path / "tokenizer")


@pytest.fixture
def ngrams(units):
    return NGramModel.learn(TEXTS * 2, 3, units)


@pytest.fixture
def guide(ngrams, tokenizer):
    return Guide.of(ngrams, tokenizer, SIZE)


def network(gpt2_config, tokenizer, guide, scale):
    gpt2_config.vocab_size = SIZE
    model = new_model(AutoModelForCausalLM, gpt2_config, seed=0)
    with torch.no_grad():
        give_hearing(model).weight.normal_(std=0.02)
        for parameter in model.parameters():
            parameter.mul_(scale)
    return CausalNetwork(model, tokenizer, 32, guide=guide)


@torch.no_grad()
def test_the_probability_is_that_of_the_formula(gpt2_config, tokenizer, guide):
    both = network(gpt2_config, tokenizer, guide, scale=5)
    for text, found in zip(TEXTS, both.score(TEXTS), strict=True):
        framed = tokenizer(text)["input_ids"]
        ids = framed if framed[0] == tokenizer.cls_token_id else [*framed, tokenizer.sep_token_id]
        features = (2 + torch.from_numpy(guide.says([*ids, 0])) / 4).clamp(min=0)  # [T, V]
        embedded = both.model.get_input_embeddings()(torch.tensor([ids])) + features @ both.model.hearing.weight.T
        z = both.model(inputs_embeds=embedded).logits[0].double()  # [T, V]
        expected = []
        for place, token in enumerate(ids[1:]):
            trust = 1 + z[place, guide.sentinel]
            said = torch.full((SIZE,), LEAST, dtype=torch.float64)
            p = guide.ngrams.distribution(guide.words[ids[: place + 1]].tolist())
            for piece, word in enumerate(guide.words.tolist()):
                if word >= 0 and p[word] > 0:
                    said[piece] = np.log(p[word])
            expected.append(float((z[place] + trust * said).log_softmax(-1)[token]))
        np.testing.assert_allclose(found.log_probs[-len(expected) :], expected, rtol=1e-4)


def test_a_network_that_has_learnt_nothing_leaves_all_to_the_n_grams(gpt2_config, tokenizer, guide):
    both, alone = network(gpt2_config, tokenizer, guide, scale=0), NGrams(guide.ngrams)
    for one, other in zip(both.score(TEXTS[:3]), alone.score(TEXTS[:3]), strict=True):
        starts = guide.words[tokenizer.cls_token_id] >= 0
        read = slice(None) if starts else slice(3, None)  # a row without a start does not say that a text begins
        np.testing.assert_allclose(one.log_probs[read], other.log_probs[read], atol=1e-4)
        assert one.log_probs[0] == pytest.approx(other.log_probs[0], abs=1e-4)


def test_the_loss_is_that_of_what_is_scored(gpt2_config, tokenizer, guide):
    """Rows of different lengths, one of them with other n-grams."""
    both = network(gpt2_config, tokenizer, guide, scale=5)
    end = [tokenizer.sep_token_id] * (tokenizer.eos_token is not None)
    rows = [{"input_ids": [*tokenizer(text)["input_ids"], *end], GUIDE: guide} for text in TEXTS]
    objective = GuidedLM(guide.sentinel)
    batch = objective.collate(rows, np.zeros(len(rows), np.uint64), Symbols.of(tokenizer))
    with torch.no_grad():
        (part,) = objective.loss(both.model, batch)
    starts = guide.words[tokenizer.cls_token_id] >= 0
    expected = -sum(found.log_probs[0 if starts else 1 :].sum() for found in both.score(TEXTS))
    assert float(part.total) == pytest.approx(expected, rel=1e-4)
    assert part.items == batch.items["causal"] == sum(len(row["input_ids"]) - 1 for row in rows)


def test_each_part_is_read_beside_the_n_grams_of_the_others(tmp_path, tokenizer, units):
    texts = ["the film", "", "the plot", "the good film"]
    vocabulary, stream = units.learn(texts)
    tokens = TokenFile.write(tmp_path / "tokens", texts, tokenizer, 32)
    rows = HeldOut(units, vocabulary, stream, 2, parts=3).rows(tokens, tokenizer, SIZE)
    assert [len(row["input_ids"]) for row in rows] == tokens.lengths.tolist()
    the, film, plot, good = (vocabulary.index(word) for word in ("the", "film", "plot", "good"))
    known = [{(first, second) for first, second in ((the, film), (the, plot), (the, good), (good, film))} for _ in rows]
    for pairs, own in zip(known, ([(the, film)], [(the, plot)], [(the, good), (good, film)]), strict=True):
        pairs -= set(own)
    for row, pairs in zip(rows, known, strict=True):
        level = row[GUIDE].ngrams.levels[1]
        found = set(zip(row[GUIDE].ngrams.levels[0].contexts_of_next().tolist(), level.words.tolist(), strict=True))
        assert {pair for pair in found if min(pair) > EOS} == pairs
        assert np.isfinite(row[GUIDE].says(row["input_ids"])).all()


def test_fewer_rows_than_parts_are_refused(tmp_path, tokenizer, units):
    tokens = TokenFile.write(tmp_path / "tokens", TEXTS, tokenizer, 32)
    with pytest.raises(DataError, match="5 rows of text, too few for 6 parts"):
        HeldOut(units, *units.learn(TEXTS), 3, parts=6).rows(tokens, tokenizer, SIZE)


def test_rows_of_another_text_than_the_n_grams_are_refused(tmp_path, tokenizer, units):
    vocabulary, stream = units.learn(TEXTS)
    tokens = TokenFile.write(tmp_path / "tokens", TEXTS[1:], tokenizer, 32)
    with pytest.raises(DataError, match="the network reads 1?[0-9] tokens and the n-grams"):
        HeldOut(units, vocabulary, stream, 3, parts=2).rows(tokens, tokenizer, SIZE)
