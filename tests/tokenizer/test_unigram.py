"""Unigram pieces: sentencepiece's own ids from a standard ``tokenizer.json``."""

import random
import re
import sys
import unicodedata

import pytest
from transformers import AutoTokenizer

from lathe.core.errors import LatheError, RecipeError
from lathe.tokenizer.algorithms import train_tokenizer
from lathe.tokenizer.fit import random_texts
from lathe.tokenizer.stage import save
from lathe.tokenizer.unigram import Unigram, most_frequent_characters, sentences

CHANCE = random.Random(1)
STEMS = ["film", "plot", "actor", "watch", "great", "terrible", "story", "好看", "电影", "café"]
ENDS = ["", "s", "ing", "ed", ", really", " 很好", ".", "\nnext line"]
TEXTS = [" ".join(CHANCE.choice(STEMS) + CHANCE.choice(ENDS) for _ in range(12)) for _ in range(200)]
HARD = [
    "a  b   c",
    " film",
    "film ",
    "\tx\r\ny",
    "",
    "☃☃ 𠀀𠀁",
    "cafe\u0301",
    "龘龘",
    "▁film ▁",
    "[MASK] film",
    *TEXTS[:50],
]


def test_without_sentencepiece_the_way_to_get_it_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(LatheError, match=r"pip install 'lathe\[unigram\]'"):
        Unigram().learn(TEXTS, 512)


def test_a_size_that_bytes_alone_fill_is_refused():
    with pytest.raises(RecipeError, match="vocab_size: 256 leaves no piece beside 261"):
        Unigram().learn(TEXTS, 256)


def test_the_texts_are_cut_where_no_piece_may_reach_over():
    assert list(sentences(["ab 好看x\ncd☃e"], frozenset("abcdex 好看"))) == ["ab ", "好", "看", "x", "cd", "e"]


def test_the_most_frequent_characters_are_kept_and_the_blank_among_them():
    assert most_frequent_characters(["aab bc\n", "a"], 3) == frozenset("ab ")


@pytest.mark.parametrize("byte_fallback", [True, False])
def test_ids_are_those_of_sentencepiece(tmp_path, byte_fallback: bool):
    library = pytest.importorskip("sentencepiece")
    algorithm = Unigram(byte_fallback=byte_fallback)
    save(train_tokenizer(algorithm, TEXTS, 512), tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    own = library.SentencePieceProcessor(model_proto=algorithm.model(TEXTS, 512))
    texts = [*HARD, *random_texts(50)] if byte_fallback else [t for t in HARD if not re.search(r"龘|𠀀|\[MASK\]", t)]
    for text in texts:
        found = opened(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert found == own.encode(unicodedata.normalize("NFC", text)), text


def test_any_text_in_normal_form_comes_back_from_its_bytes():
    pytest.importorskip("sentencepiece")
    tokenizer = train_tokenizer(Unigram(), TEXTS, 512)
    for text in (unicodedata.normalize("NFC", text) for text in (*random_texts(200), "a  b\n", " ☃")):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_unknown_unspaced_characters_in_a_row_are_one_unknown_token_for_sentencepiece_and_one_each_here():
    library = pytest.importorskip("sentencepiece")
    algorithm = Unigram(byte_fallback=False)
    tokenizer = train_tokenizer(algorithm, TEXTS, 512)
    own = library.SentencePieceProcessor(model_proto=algorithm.model(TEXTS, 512))
    unknown = tokenizer.unk_token_id
    assert tokenizer("龘龘", add_special_tokens=False)["input_ids"] == [unknown, unknown]
    assert own.encode("龘龘") == [unknown]
