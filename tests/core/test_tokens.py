"""Token files keep every token, and notice when they are damaged."""

import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lathe.core import rows as rows_module
from lathe.core.errors import DataError
from lathe.core.rows import Frame, Layout, frame_of, lay_out
from lathe.core.tokens import TokenFile

WORDS = ["good", "bad", "film", "the", "好", "坏", "北", "京", "unheard"]
DOCUMENTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=20).map(" ".join), max_size=8)
REUSED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


@REUSED
@given(texts=DOCUMENTS, max_length=st.integers(3, 12))
def test_every_token_is_kept_in_order(
    tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory, texts: list[str], max_length: int
):
    tokens = TokenFile.write(tmp_path_factory.mktemp("t") / "tokens", texts, tokenizer, max_length)
    rows = [tokens[i]["input_ids"].tolist() for i in range(len(tokens))]
    assert [len(row) for row in rows] == tokens.lengths.tolist()
    assert all(row[0] == tokenizer.cls_token_id and row[-1] == tokenizer.sep_token_id for row in rows)
    assert all(len(row) <= max_length for row in rows)
    expected = [i for text in texts for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    assert [i for row in rows for i in row[1:-1]] == expected
    assert tokens.header.documents == len(texts)
    assert tokens.header.empty == sum(not text for text in texts)


def rows_one_by_one(document: list[int], frame: Frame, max_length: int) -> list[list[int]]:
    room = max_length - len(frame.before) - len(frame.after)
    whole = [*document, *frame.end] if document else []
    return [[*frame.before, *whole[i : i + room], *frame.after] for i in range(0, len(whole), room)]


@pytest.mark.parametrize(
    "frame", [Frame((1, 4), (2,), ()), Frame((1,), (), ()), Frame((), (), (3,)), Frame((), (), ())]
)
@given(documents=st.lists(st.lists(st.integers(5, 99), max_size=30), max_size=6), max_length=st.integers(4, 9))
def test_rows_are_laid_out_as_one_by_one(frame: Frame, documents: list[list[int]], max_length: int):
    laid = lay_out(documents, frame, max_length, np.uint16)
    rows = [row for document in documents for row in rows_one_by_one(document, frame, max_length)]
    assert laid.ids.tolist() == [token for row in rows for token in row]
    assert laid.lengths.tolist() == [len(row) for row in rows]
    assert laid.rows.tolist() == [len(rows_one_by_one(document, frame, max_length)) for document in documents]
    assert laid.empty == documents.count([])


def test_rows_do_not_depend_on_how_many_texts_are_encoded_together(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    texts = ["good film", "", "bad", "the good film " * 9, "好"] * 3
    whole = TokenFile.write(tmp_path / "whole", texts, tokenizer, 8)
    monkeypatch.setattr(rows_module, "CHARACTERS_AT_ONCE", 1)
    assert TokenFile.write(tmp_path / "single", texts, tokenizer, 8).header == whole.header


def test_a_tokenizer_that_frames_nothing_gets_its_end_token_once_behind_each_document(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="[SEP]")
    bare.backend_tokenizer.post_processor = None
    end = bare.eos_token_id
    assert frame_of(bare) == Frame((), (), (end,))
    tokens = TokenFile.write(tmp_path / "tokens", ["good film good", "", "bad"], bare, 3)
    good, film, bad = bare.convert_tokens_to_ids(["good", "film", "bad"])
    assert [tokens[i]["input_ids"].tolist() for i in range(len(tokens))] == [[good, film, good], [end], [bad, end]]


def test_the_name_of_a_special_token_in_a_text_is_text(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    tokens = TokenFile.write(tmp_path / "tokens", ["good [MASK] [SEP]"], tokenizer, 16)
    inner = tokens[0]["input_ids"][1:-1].tolist()
    assert tokenizer.mask_token_id not in inner and tokenizer.sep_token_id not in inner


def test_writing_leaves_the_tokenizer_as_it_was(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    tokenizer("good", truncation=True, max_length=4)
    before = tokenizer.backend_tokenizer.to_str()
    TokenFile.write(tmp_path / "tokens", ["good " * 50], tokenizer, 16)
    assert tokenizer.backend_tokenizer.to_str() == before


def test_a_long_text_is_not_cut_by_an_earlier_truncation(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokens = TokenFile.write(tmp_path / "tokens", ["good " * 50], tokenizer, 16)
    assert (tokens.lengths - 2).sum() == 50


def test_unigram_entropy_is_that_of_the_text_without_special_tokens(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    texts = ["good good film", "好 film", "the"]
    tokens = TokenFile.write(tmp_path / "tokens", texts, tokenizer, 4)
    counts = Counter(" ".join(texts).split())
    expected = -sum(n / 6 * math.log(n / 6) for n in counts.values())
    assert tokens.unigram_entropy() == pytest.approx(expected, abs=1e-12)


def test_ids_take_four_bytes_only_where_the_vocabulary_needs_them(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    assert TokenFile.write(tmp_path / "small", ["good"], tokenizer, 8).ids.dtype == np.uint16
    tokenizer.add_tokens([f"word{i}" for i in range(2**16)])
    large = TokenFile.write(tmp_path / "large", ["word65535 good"], tokenizer, 8)
    assert large.ids.dtype == np.uint32
    assert large[0]["input_ids"][1] == tokenizer.convert_tokens_to_ids("word65535") >= 2**16


def test_keys_differ_between_rows_and_are_the_same_when_made_again(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    first, again = (TokenFile.write(tmp_path / name, ["good " * 40], tokenizer, 8) for name in "ab")
    assert (first.keys == again.keys).all()
    assert len(set(first.keys.tolist())) == len(first)


def test_a_text_without_tokens_makes_an_empty_file(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    tokens = TokenFile.write(tmp_path / "tokens", ["", " "], tokenizer, 8)
    assert (len(tokens), tokens.header.empty, tokens.unigram_entropy()) == (0, 2, 0.0)


def test_rows_with_little_text_are_counted(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    assert TokenFile.write(tmp_path / "tokens", ["good " * 12, "bad"], tokenizer, 12).header.short == 2


def test_asking_for_a_row_that_is_not_there_is_an_index_error(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    with pytest.raises(IndexError):
        TokenFile.write(tmp_path / "tokens", ["good"], tokenizer, 8)[1]


def test_a_length_without_room_for_text_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    with pytest.raises(DataError, match="max_length: 2 leaves no room"):
        TokenFile.write(tmp_path / "tokens", ["good"], tokenizer, 2)


def test_a_stream_that_fails_leaves_no_token_file(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    with pytest.raises(ZeroDivisionError):
        TokenFile.write(tmp_path / "tokens", (str(1 // n) for n in (1, 0)), tokenizer, 8)
    with pytest.raises(DataError, match="not a token file"):
        TokenFile.open(tmp_path / "tokens")
    assert len(TokenFile.write(tmp_path / "tokens", ["good"], tokenizer, 8)) == 1


@pytest.mark.parametrize("name", ["ids.bin", "lengths.bin"])
@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_damage_is_found_on_opening(tokenizer: PreTrainedTokenizerFast, tmp_path: Path, name: str, damage: str):
    file = TokenFile.write(tmp_path / "tokens", ["good film"], tokenizer, 8).path / name
    content = file.read_bytes()
    match damage:
        case "cut":
            file.write_bytes(content[:-1])
        case "changed":
            file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        case "missing":
            file.unlink()
    with pytest.raises(DataError, match="make it again"):
        TokenFile.open(tmp_path / "tokens")


@pytest.mark.parametrize("text", ["", "[]", '{"rows": 1}'])
def test_a_damaged_header_is_found_on_opening(tokenizer: PreTrainedTokenizerFast, tmp_path: Path, text: str):
    folder = TokenFile.write(tmp_path / "tokens", ["good film"], tokenizer, 8).path
    (folder / "header.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="damaged"):
        TokenFile.open(folder)


def test_another_format_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    header = TokenFile.write(tmp_path / "tokens", ["good film"], tokenizer, 8).path / "header.json"
    header.write_text(json.dumps(json.loads(header.read_text("utf-8")) | {"format": 3}), encoding="utf-8")
    with pytest.raises(DataError, match="has format 3"):
        TokenFile.open(tmp_path / "tokens")


TEXTS = [
    "good film. Paris plot! 影片很好。北京 good\nParis film",
    "",
    "Paris film is a great plot in the awful film. " * 3 + "很坏",
    "bad",
    "the plot. Paris film. Paris the bad.",
]


@pytest.fixture
def laid(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    return lambda max_length, **layout: TokenFile.write(
        tmp_path / str(layout), TEXTS, tokenizer, max_length, Layout(**layout)
    )


def words_of(tokenizer: PreTrainedTokenizerFast, row, positions) -> list[str]:
    return tokenizer.convert_ids_to_tokens(row["input_ids"][positions])


@pytest.mark.parametrize("max_length", [5, 8, 12, 40])
def test_rows_of_sentences_keep_every_token_and_hold_whole_sentences_where_they_fit(laid, max_length):
    tokens = laid(max_length, cut="between")
    rows = [tokens[i] for i in range(len(tokens))]
    plain = laid(max_length)
    text = lambda file: [i for n in range(len(file)) for i in file[n]["input_ids"][1:-1]]  # noqa: E731
    assert text(tokens) == text(plain)
    for before, row in pairwise([None, *rows]):
        assert len(row["input_ids"]) <= max_length
        if row["sentences"].size:
            assert row["sentences"][0] == 1
        else:  # the rest of a sentence that fills rows, alone
            assert len(before["input_ids"]) == max_length
            assert len(before["sentences"]) <= 1
    assert sum(len(row["sentences"]) for row in rows) == 5 + 4 + 1 + 3
    assert tokens.origins is not None
    assert tokens.origins[:, 0].tolist() == sorted(tokens.origins[:, 0])
    assert set(tokens.origins[:, 0]) == {0, 2, 3, 4}


def test_a_row_for_each_sentence(tokenizer, laid):
    tokens = laid(16, cut="each")
    rows = [tokens[i] for i in range(len(tokens))]
    assert [tokenizer.decode(row["input_ids"][1:-1]) for row in rows[:3]] == [
        "good film [UNK]",
        "Paris plot [UNK]",
        "影 片 很 好 [UNK]",
    ]
    assert {len(row["sentences"]) for row in rows} == {1}


def test_words_begin_where_the_tokenizer_says_and_at_each_character_without_spaces(tokenizer, tmp_path):
    text = ["good影片 bad plot"]
    every = TokenFile.write(tmp_path / "a", text, tokenizer, 16, Layout(words="characters"))[0]
    assert words_of(tokenizer, every, every["words"]) == ["good", "影", "片", "bad", "plot"]
    spaces = TokenFile.write(tmp_path / "b", text, tokenizer, 16, Layout(words="spaces"))[0]
    assert words_of(tokenizer, spaces, spaces["words"]) == ["good", "影", "bad", "plot"]


def test_byte_level_pieces_of_one_character_are_one_word(tmp_path):
    """Their tokens begin with the space before a word, and a character has several."""
    core = Tokenizer(models.BPE({**{c: i for i, c in enumerate(pre_tokenizers.ByteLevel.alphabet())}, "[E]": 256}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="[E]")
    row = TokenFile.write(tmp_path / "a", ["a 很好 bc。d"], bytewise, 40, Layout(words="characters"))[0]
    #                             a  _  很... 好... _bc 。... d
    assert row["words"].tolist() == [0, 1, 2, 5, 8, 11, 14]
    assert row["sentences"].tolist() == [0, 14]


def test_elsewhere_is_every_divisible_row_of_other_documents_equally_often(laid):
    tokens = laid(12, cut="between")
    assert tokens.origins is not None
    for row in range(len(tokens)):
        others = [r for r in tokens.divisible.tolist() if tokens.origins[r, 0] != tokens.origins[row, 0]]
        found = [tokens[row]["elsewhere"]((n + 0.5) / len(others))["input_ids"].tolist() for n in range(len(others))]
        assert found == [tokens[r]["input_ids"].tolist() for r in others]


def test_a_layout_for_pairs_leaves_room_for_what_parts_them(tokenizer, laid):
    tokens = laid(12, cut="between", pairs=True)
    sep = tokenizer.sep_token_id
    assert all(tokens[i]["input_ids"][-2:].tolist() == [sep, sep] for i in range(len(tokens)))
    assert tokens.lengths.max() <= 12


def test_marks_that_were_damaged_are_found(laid):
    file = laid(12, cut="between").path / "marks.bin"
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    with pytest.raises(DataError, match="damaged"):
        TokenFile.open(file.parent)
