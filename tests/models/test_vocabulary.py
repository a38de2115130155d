"""A model gets another tokenizer: pieces that both have keep their rows, others begin as the mean of their parts."""

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedTokenizerFast,
)

from lathe.core.errors import RecipeError
from lathe.models.transformer import DecoderConfig, EncoderDecoderConfig
from lathe.models.vocabulary import tables, transfer, transfer_parts

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROLES = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
SHAPE: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "dropout": 0.0,
}  # fmt: skip


def wordpiece(*pieces: str) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate([*SPECIAL, *pieces])}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=False)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    core.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=core, **ROLES)


def byte_level(*pieces: str, end: str = "<|end|>") -> PreTrainedTokenizerFast:
    """BPE over bytes with the given pieces, whose joins are made letter by letter."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab, merges = dict.fromkeys([end, *letters]), []
    for piece in pieces:
        for cut in range(1, len(piece)):
            if piece[: cut + 1] not in vocab:
                merges.append((piece[:cut], piece[cut]))
                vocab[piece[: cut + 1]] = None
    core = Tokenizer(models.BPE({piece: i for i, piece in enumerate(vocab)}, merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=end, eos_token=end)


def bert(bert_config: Any, tokenizer: Any, **changes: Any) -> Any:
    bert_config.vocab_size = len(tokenizer)
    for name, value in changes.items():
        setattr(bert_config, name, value)
    torch.manual_seed(0)
    return AutoModelForMaskedLM.from_config(bert_config).eval()


def test_the_same_words_in_another_order_change_no_logit(tokenizer, bert_config):
    words = sorted(tokenizer.get_vocab(), key=lambda word: word[::-1], reverse=True)
    core = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    core.model = models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    core.post_processor = processors.BertProcessing(("[SEP]", words.index("[SEP]")), ("[CLS]", words.index("[CLS]")))
    new = PreTrainedTokenizerFast(tokenizer_object=core, **ROLES)
    model = bert(bert_config, tokenizer)
    text = "the film 影片很好 is not bad"
    before = model(**tokenizer(text, return_tensors="pt")).logits
    made = transfer(model, tokenizer, new, multiple=1)
    after = model(**new(text, return_tensors="pt")).logits
    order = [tokenizer.get_vocab()[word] for word in words]
    torch.testing.assert_close(after, before[..., order])
    assert (made.copied, made.joined, made.unknown) == (len(words), 0, 0)
    assert model.config.pad_token_id == new.pad_token_id != tokenizer.pad_token_id


def test_pieces_are_known_by_their_text_whatever_marks_the_beginning_of_a_word():
    old = wordpiece("a", "film", "##film", "play", "##ing", "##s", "好", "北", "京", ".")
    new = byte_level("Ġfilm", "film", "ing", "Ġplaying", "Ġplays")
    parts = transfer_parts(old, new).parts
    found = {piece: old.convert_ids_to_tokens(list(parts.get(index, []))) for piece, index in new.get_vocab().items()}
    assert found["Ġfilm"] == ["film"]
    assert found["film"] == ["##film"]
    assert found["ing"] == ["##ing"]
    assert found["Ġplaying"] == ["play", "##ing"]
    assert found["Ġplays"] == ["play", "##s"]
    assert found["."] == ["."]
    assert found["<|end|>"] == ["[CLS]", "[SEP]"]  # it begins texts and ends them


def test_a_chinese_word_begins_as_the_mean_of_its_characters(bert_config):
    old, new = wordpiece("a", "北", "京", "好"), wordpiece("a", "北京", "好", "谢")
    core = new.backend_tokenizer
    core.normalizer = normalizers.BertNormalizer(lowercase=False, handle_chinese_chars=False)
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    model = bert(bert_config, old)
    table = model.get_input_embeddings().weight.detach().clone()
    made = transfer(model, old, new, multiple=1)
    rows = model.get_input_embeddings().weight
    ids, known = new.get_vocab(), old.get_vocab()
    torch.testing.assert_close(rows[ids["北京"]], (table[known["北"]] + table[known["京"]]) / 2)
    assert torch.equal(rows[ids["好"]], table[known["好"]])
    torch.testing.assert_close(rows[ids["谢"]], table.mean(0))
    assert (made.joined, made.unknown) == (1, 1)


@pytest.mark.parametrize("tied", [True, False])
def test_every_table_gets_its_own_rows_and_tied_ones_stay_tied(bert_config, tied):
    old, new = wordpiece("a", "film", "plot"), wordpiece("plot", "a")
    model = bert(bert_config, old, tie_word_embeddings=tied)
    with torch.no_grad():
        model.get_output_embeddings().bias.uniform_()
    before = [table.detach().clone() for table in tables(model)]
    assert len(before) == (2 if tied else 3)
    transfer(model, old, new, multiple=8)
    assert [len(table) for table in tables(model)] == [8] * len(before)
    for was, table in zip(before, tables(model), strict=True):
        assert torch.equal(table[new.get_vocab()["plot"]], was[old.get_vocab()["plot"]])
    assert model(torch.tensor([[2, 5, 3]])).logits.shape[-1] == 8


def test_rows_that_round_the_table_up_begin_as_one_that_has_learnt_to_keep_silent(bert_config):
    old, new = wordpiece("a", "film", "plot"), wordpiece("plot", "a", "film")
    model = bert(bert_config, old)
    with torch.no_grad():
        model.get_output_embeddings().bias[old.pad_token_id] = -9.0
    transfer(model, old, new, multiple=16)
    assert model.get_output_embeddings().bias[len(new) :].tolist() == [-9.0] * 8


def test_a_model_that_writes_ends_its_texts_with_the_new_token():
    old, new = wordpiece("a", "film"), byte_level("Ġfilm")
    config = DecoderConfig(vocab_size=len(old), pad_token_id=0, bos_token_id=2, eos_token_id=3, **SHAPE)
    model = AutoModelForCausalLM.from_config(config)
    transfer(model, old, new)
    assert model.config.eos_token_id == model.generation_config.eos_token_id == new.eos_token_id
    assert model.config.bos_token_id == new.bos_token_id


def test_a_token_that_answers_start_with_must_be_there():
    old, new = wordpiece("a", "film"), byte_level("Ġfilm")
    config = EncoderDecoderConfig(vocab_size=len(old), num_decoder_layers=1, decoder_start_token_id=4, **SHAPE)
    with pytest.raises(RecipeError, match=r"decoder_start_token_id is '\[MASK\]'"):
        transfer(AutoModelForSeq2SeqLM.from_config(config), old, new)
