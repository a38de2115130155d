"""An answer is a function of model, prompt and options, and the same as transformers gives to the prompt alone."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from lathe.core.errors import DataError
from lathe.generation import Beam, Generation, Generator, Greedy, Sample
from lathe.generation.choosing import Draw, InVocabulary, NoRepeat, Repetition, processors
from lathe.generation.writing import Answers, settled
from lathe.models.early import LSTMConfig
from lathe.models.transformer import DecoderConfig, EncoderDecoderConfig

PROMPTS = ["the film", "影片很", "a great film in Paris is not", "bad", "the plot is awful", "北京 the film 好"]
CLS, SEP = 2, 3
SHAPE: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24,
    "max_position_embeddings": 32, "dropout": 0.0, "pad_token_id": 0, "eos_token_id": SEP, "initializer_range": 0.4,
}  # fmt: skip
DECODINGS = [Greedy(), Beam(num_beams=3), Sample(temperature=0.8, top_k=20, top_p=0.95, min_p=0.01, seed=5)]


def model_of(kind: str, gpt2_config: Any) -> Any:
    torch.manual_seed(0)
    if kind == "gpt2":
        gpt2_config.initializer_range = 0.4  # or all tokens are about as likely
        return AutoModelForCausalLM.from_config(gpt2_config).eval()
    if kind == "decoder":
        return AutoModelForCausalLM.from_config(DecoderConfig(**SHAPE, position_embedding_type="rotary")).eval()
    config = EncoderDecoderConfig(**SHAPE, num_decoder_layers=1, decoder_start_token_id=CLS)
    return AutoModelForSeq2SeqLM.from_config(config).eval()


@pytest.fixture(params=["gpt2", "decoder", "pair"])
def generator(request, tokenizer, gpt2_config):
    return Generator(model_of(request.param, gpt2_config), tokenizer)


@pytest.fixture
def decoder(tokenizer, gpt2_config):
    return Generator(model_of("decoder", gpt2_config), tokenizer)


@pytest.mark.parametrize("decoding", DECODINGS, ids=lambda decoding: decoding.kind)
@pytest.mark.parametrize("more", [{}, {"repetition_penalty": 1.7, "no_repeat_ngram_size": 2, "stop": ("good", "不")}])
def test_an_answer_does_not_depend_on_the_prompts_beside_it(generator, decoding, more):
    options = Generation(decoding=decoding, max_new_tokens=8, **more)
    alone = [generator([prompt], options)[0] for prompt in PROMPTS]
    for size in (2, 16):
        assert generator(PROMPTS, replace(options, batch_size=size)) == alone
    assert len({answer.text for answer in alone}) > 3


@pytest.mark.parametrize("decoding", DECODINGS[:2], ids=lambda decoding: decoding.kind)
def test_it_is_what_transformers_gives_to_the_prompt_alone(generator, decoding):
    more = range(len(generator.tokenizer), generator.model.config.vocab_size)  # rows that stand for no token
    for prompt in PROMPTS:
        (answer,) = generator([prompt], Generation(decoding=decoding, max_new_tokens=8))
        ids = generator.read(prompt, Generation(), Counter()).ids
        beams = getattr(decoding, "num_beams", 1)
        made = generator.model.generate(
            torch.tensor([ids]), max_new_tokens=8, do_sample=False, num_beams=beams, pad_token_id=0, eos_token_id=SEP,
            suppress_tokens=[*more] or None,
        )[0].tolist()  # fmt: skip
        new = made[1:] if generator.model.config.is_encoder_decoder else made[len(ids) :]
        wanted = generator.tokenizer.decode(new[: new.index(SEP)] if SEP in new else new, skip_special_tokens=True)
        assert answer.text.replace(" ", "") == wanted.replace(" ", "")
        assert answer.end == ("end" if SEP in new else "length")


def test_a_model_without_a_cache_writes_the_same_alone_and_beside_others(tokenizer):
    torch.manual_seed(0)
    config = LSTMConfig(vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, pad_token_id=0, eos_token_id=SEP)
    generator = Generator(AutoModelForCausalLM.from_config(config).eval(), tokenizer)
    options = Generation(decoding=Sample(), max_new_tokens=6)
    assert generator(PROMPTS, options) == [generator([prompt], options)[0] for prompt in PROMPTS]


def test_a_prompt_keeps_what_stands_before_a_text_and_loses_what_ends_it(decoder):
    words = decoder.tokenizer.encode("the film", add_special_tokens=False)
    assert decoder.read("the film", Generation(), Counter()).ids == (CLS, *words)
    assert decoder.read("", Generation(), Counter()).ids == (CLS,)
    assert decoder.ends == {SEP}


def test_the_name_of_a_special_token_is_text_unless_it_is_asked_for(generator):
    for options, count in ((Generation(), 0), (Generation(special_tokens=True), 1)):
        ids = generator.read("the [MASK] film", options, Counter()).ids
        assert ids.count(generator.tokenizer.mask_token_id) == count


def test_prompt_and_answer_make_one_text(decoder):
    (answer,) = decoder(["the film"], Generation(max_new_tokens=3))
    assert answer.text.startswith(" ")


def test_chinese_words_are_joined_without_blanks(decoder):
    ids = decoder.tokenizer.encode("影片很好 film 北京", add_special_tokens=False)
    answers = Answers(decoder.tokenizer, [ids[:2]], 2, frozenset(), (), 0)
    assert answers.read(0, ids[2:]).text == "很好 film 北京"


def test_a_seed_gives_a_text_and_another_seed_another(decoder):
    def texts(seed: int) -> list[str]:
        return [a.text for a in decoder(PROMPTS, Generation(decoding=Sample(seed=seed), max_new_tokens=8))]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_the_same_prompt_draws_anew_each_time_it_comes(decoder):
    options = Generation(decoding=Sample(), max_new_tokens=8)
    first = decoder(["the film"], options)
    three = decoder(["the film", "bad", "the film", "the film"], options)
    assert three[0] == first[0]
    assert len({three[i].text for i in (0, 2, 3)}) == 3


def test_draws_have_the_probabilities_of_the_model():
    logits = torch.tensor([0.5, 0.2, 0.0, 0.3]).log().expand(20000, 4)
    chosen = Draw(np.arange(20000, dtype=np.uint64), 0)(torch.zeros(20000, 3, dtype=torch.long), logits).argmax(1)
    shares = chosen.bincount(minlength=4) / 20000
    assert shares[2] == 0
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.2, 0.0, 0.3]), atol=0.015, rtol=0)


def test_each_step_draws_anew():
    draw = Draw(np.arange(4, dtype=np.uint64), 1)
    flat = torch.zeros(4, 1000)
    steps = [draw(torch.zeros(4, n, dtype=torch.long), flat).argmax(1).tolist() for n in (1, 2, 2)]
    assert steps[0] != steps[1] == steps[2]


def test_a_penalty_is_that_of_transformers_where_nothing_is_padded():
    ids, scores = torch.tensor([[5, 6, 5, 7], [1, 2, 3, 4]]), torch.randn(2, 9)
    ours = Repetition(1.5, torch.ones(2, 2, dtype=torch.long))(ids, scores)
    assert torch.equal(ours, RepetitionPenaltyLogitsProcessor(1.5)(ids, scores))


def test_padding_is_not_penalised():
    ids, scores = torch.tensor([[0, 0, 5, 7]]), torch.randn(1, 9)
    ours = Repetition(1.5, torch.tensor([[0, 0, 1]]))(ids, scores)
    assert torch.equal(ours, Repetition(1.5, torch.tensor([[1]]))(ids[:, 2:], scores))
    assert ours[0, 0] == scores[0, 0]


def test_repetitions_are_those_of_transformers_where_nothing_is_padded():
    for size in (1, 2, 3):
        ids, scores = torch.randint(0, 4, (5, 12)), torch.randn(5, 9)
        ours = NoRepeat(size, torch.ones(5, 4, dtype=torch.long))(ids, scores)
        assert torch.equal(ours, NoRepeatNGramLogitsProcessor(size)(ids, scores))
        padded = torch.cat((torch.zeros(5, 3, dtype=torch.long), ids), 1)
        mask = torch.tensor([[0, 0, 0, 1]] * 5)
        assert torch.equal(NoRepeat(size, mask)(padded, scores), ours)


def test_rows_that_round_the_vocabulary_up_are_never_chosen():
    assert InVocabulary(3)(torch.zeros(1, 1), torch.zeros(1, 5))[0].tolist() == [0, 0, 0, -np.inf, -np.inf]


def test_truncations_come_in_their_order():
    options = Generation(decoding=Sample(temperature=0.5, top_k=3, top_p=0.9, min_p=0.1), repetition_penalty=2.0)
    names = [type(one).__name__ for one in processors(options, 9, torch.ones(1, 1), np.zeros(1, np.uint64), 1)]
    assert names == ["InVocabulary", "Repetition", "TemperatureLogitsWarper", "TopKLogitsWarper", "TopPLogitsWarper",
                     "MinPLogitsWarper", "Draw"]  # fmt: skip


def test_an_answer_ends_before_a_stop_text(decoder):
    options = Generation(decoding=Sample(temperature=3, seed=1), max_new_tokens=12)
    (whole,) = decoder(["the film"], options)
    words = whole.text.split()
    stop = next(word for i, word in enumerate(words) if i > 2 and word not in words[:i])
    (cut,) = decoder(["the film"], replace(options, stop=(stop,)))
    assert cut.end == "stop"
    assert cut.text == whole.text[: whole.text.index(stop)]


@pytest.mark.parametrize("decoding", DECODINGS, ids=lambda decoding: decoding.kind)
def test_what_is_streamed_is_the_answer(generator, decoding):
    pieces: list[str] = []
    (answer,) = generator(["the film"], Generation(decoding=decoding, max_new_tokens=8, stop=("坏",)), pieces.append)
    assert "".join(pieces) == answer.text
    assert len(pieces) > 1 or decoding.kind == "beam" or len(answer.text.split()) < 2


def test_neither_half_a_character_nor_the_beginning_of_a_stop_text_is_streamed():
    assert settled("好\ufffd", ()) == "好"
    assert settled("one en", ("end",)) == "one "
    assert settled("one end", ("ends",)) == "one "
    assert settled("one", ("x",)) == "one"


def test_an_answer_is_as_long_as_the_model_has_room(decoder):
    long = " ".join(["film"] * 28)  # and [CLS]: 29 of 32 places
    short, cut = decoder(["bad", long], Generation(max_new_tokens=20))
    assert cut.tokens <= 3
    assert short == decoder(["bad"], Generation(max_new_tokens=20))[0]


def test_a_prompt_that_fills_the_model_is_refused_with_its_length(decoder):
    with pytest.raises(DataError, match="has 33 tokens, and the model takes 32"):
        decoder(["film " * 32])


def test_one_text_in_place_of_a_list_is_refused(decoder):
    with pytest.raises(DataError, match=r"give a list of prompts, not str"):
        decoder("the film")
