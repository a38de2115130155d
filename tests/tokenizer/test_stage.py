"""``lathe tokenizer``: standard files, honest figures, and Chinese that is never one long word."""

import json
import random
import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from lathe import corpus
from lathe.core.documents import read_documents
from lathe.core.errors import DataError, RecipeError
from lathe.core.recipe import parse
from lathe.models.pretrained import open_tokenizer
from lathe.tokenizer import Recipe, run
from lathe.tokenizer.algorithms import BPE, ByteBPE, Characters, WordPiece, Words, train_tokenizer
from lathe.tokenizer.distinct import bounded
from lathe.tokenizer.fit import fit_by_script, random_texts
from lathe.tokenizer.sample import sampled
from lathe.tokenizer.unigram import Unigram

ALGORITHMS = [WordPiece(), BPE(), ByteBPE(), Words(), Characters()]
if find_spec("sentencepiece"):
    ALGORITHMS.append(Unigram())
CHINESE = "今天天气很好我们去看电影北京上海"
CHANCE = random.Random(0)
TEXTS = ["the good film was not bad", "a great plot in Paris, really"] * 20 + [
    "".join(CHANCE.choice(CHINESE) for _ in range(30)) for _ in range(40)
]
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.kind)


def trained(algorithm, texts=TEXTS, size: int = 320):
    return train_tokenizer(algorithm, texts, size)


def text_file(folder: Path, texts: list[str] = TEXTS) -> Path:
    path = folder / "texts.txt"
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


@every_algorithm
def test_the_result_opens_with_transformers_and_gives_the_same_ids(tmp_path: Path, algorithm):
    texts = [f"{text} {n}" for n, text in enumerate(TEXTS)]
    values = {
        "data": {"train": str(text_file(tmp_path, texts))},
        "algorithm": {"kind": algorithm.kind},
        "vocab_size": 300,
    }
    made = run(parse(Recipe, values), tmp_path / "t")
    opened = AutoTokenizer.from_pretrained(made.path, local_files_only=True)
    assert made.manifest.kind == "tokenizer"
    assert len(opened) == made.manifest.scores["vocab_size"] <= 320
    assert {name: getattr(opened, name) for name in algorithm.special} == algorithm.special
    config = json.loads((made.path / "tokenizer_config.json").read_text("utf-8"))
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert opened("a good film 很好")["input_ids"]


OWN = ["<user>", "<|回答|>", "[E1]"]


@every_algorithm
def test_special_tokens_of_ones_own_are_one_token_where_they_are_meant_and_text_elsewhere(tmp_path: Path, algorithm):
    texts = [f"<user> {text} <|回答|>{n}" for n, text in enumerate(TEXTS)]
    data = {"train": str(text_file(tmp_path, texts))}
    values = {"data": data, "algorithm": {"kind": algorithm.kind}, "vocab_size": 300, "special_tokens": OWN}
    made = run(parse(Recipe, values), tmp_path / "t")
    opened = AutoTokenizer.from_pretrained(made.path, local_files_only=True)
    size = len(opened)
    assert size == made.manifest.scores["vocab_size"] <= 320
    assert opened.convert_tokens_to_ids(OWN) == list(range(size - 3, size))
    assert set(OWN) <= set(opened.all_special_tokens)
    assert json.loads((made.path / "tokenizer_config.json").read_text("utf-8"))["additional_special_tokens"] == OWN
    meant = opened("".join(OWN) + "film<user>", add_special_tokens=False)["input_ids"]
    assert [*meant[:3], meant[-1]] == opened.convert_tokens_to_ids([*OWN, "<user>"])
    assert not set(meant[3:-1]) & set(opened.all_special_ids)
    assert opened.decode(meant, skip_special_tokens=True).strip() == "film"
    named = open_tokenizer(made.path).backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    assert max(max(one.ids) for one in named) < size - 3
    assert not [piece for piece in opened.get_vocab() if piece not in OWN and any(name in piece for name in OWN)]


@every_algorithm
def test_special_tokens_count_in_the_size(algorithm):
    texts = [*TEXTS, *(f"word{n} film{n} word{n}" for n in range(200))]
    size = {"byte_bpe": 320, "unigram": 320, "characters": 24}.get(algorithm.kind, 100)
    assert len(train_tokenizer(algorithm, texts, size, OWN)) == len(train_tokenizer(algorithm, texts, size)) == size


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([""], "'' is empty or begins or ends with a blank"),
        (["<a>", " <b>"], "' <b>' is empty or begins or ends with a blank"),
        (["<a>", "<b>", "<a>"], "'<a>' is there twice"),
        (["[CLS]"], r"'\[CLS\]' is a token of this tokenizer already"),
        (["film"], "'film' is a token of this tokenizer already"),
        ([f"<{n}>" for n in range(70)], "70 leave too few of 128 pieces"),
    ],
)
def test_special_tokens_that_cannot_be_are_refused(tmp_path: Path, names: list[str], said: str):
    values = {"data": {"train": str(text_file(tmp_path, [*TEXTS, *["FILM"] * 60]))}, "vocab_size": 128}
    with pytest.raises(RecipeError, match=f"special_tokens: {said}"):
        run(parse(Recipe, values | {"special_tokens": names}), tmp_path / "t")
    assert not (tmp_path / "t").exists()


@every_algorithm
def test_training_twice_gives_the_same_vocabulary(algorithm):
    texts = [*TEXTS, "한국어 영화가 아주 좋았다 한국 영화", "хороший фильм, плохой фильм", "Ångström naïve café ﬁlm"]
    assert trained(algorithm, texts, 512).get_vocab() == trained(algorithm, texts, 512).get_vocab()


@every_algorithm
def test_no_piece_joins_two_chinese_characters(algorithm):
    pieces = trained(algorithm).batch_decode([[i] for i in range(len(trained(algorithm)))])
    assert max(sum(character in CHINESE for character in piece) for piece in pieces) == 1


@every_algorithm
def test_each_frequent_chinese_character_is_one_token(algorithm):
    tokenizer = trained(algorithm, size=512)
    assert len(tokenizer(CHINESE, add_special_tokens=False)["input_ids"]) == len(CHINESE)


@every_algorithm
def test_one_very_long_unspaced_line_is_learnt_from_in_moments(algorithm):
    line = "".join(CHANCE.choice(CHINESE) for _ in range(200_000))
    assert trained(algorithm, [line])(CHINESE)["input_ids"]


@pytest.mark.parametrize("algorithm", [WordPiece(), BPE()], ids=lambda algorithm: algorithm.kind)
def test_encoders_frame_one_text_and_two(algorithm):
    tokenizer = trained(algorithm)
    one, two = tokenizer("film"), tokenizer("film", "film")
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    inner = tokenizer("film", add_special_tokens=False)["input_ids"]
    assert one["input_ids"] == [cls, *inner, sep]
    assert two["input_ids"] == [cls, *inner, sep, *inner, sep]
    assert two["token_type_ids"] == [0] * (len(inner) + 2) + [1] * (len(inner) + 1)


@every_algorithm
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_offsets_are_characters_of_the_original_text(algorithm, text: str):
    offsets = _TRAINED[algorithm.kind](text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    assert all(0 <= start <= end <= len(text) for start, end in offsets)
    assert [start for start, _ in offsets] == sorted(start for start, _ in offsets)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_byte_level_tokenizer_restores_any_text(text: str):
    tokenizer = _TRAINED["byte_bpe"]
    assert tokenizer.decode(tokenizer(text, split_special_tokens=True)["input_ids"]) == text


def test_characters_restore_what_they_have_seen_and_say_what_they_have_not():
    tokenizer = trained(Characters(), ["To be,\n or not  to be: 好\n"])
    ids = tokenizer(text := "not\n  be 好 or to")["input_ids"]
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer("b$e")["input_ids"][1] == tokenizer.unk_token_id


def test_random_unicode_is_restored_by_bytes_and_honestly_not_by_word_pieces():
    restored = {
        kind: sum(fit.restored for fit in fit_by_script(_TRAINED[kind], random_texts(40)).values())
        for kind in ("byte_bpe", "wordpiece")
    }
    assert restored == {"byte_bpe": 40, "wordpiece": 0}


def test_the_share_of_the_text_that_was_learnt_from_is_told(tmp_path: Path):
    texts = [f"{n} " + "word " * 300 for n in range(800)]
    made = run(
        parse(Recipe, {"data": {"train": str(text_file(tmp_path, texts))}, "vocab_size": 64, "sample_mb": 1}),
        tmp_path / "t",
    )
    share = made.manifest.scores["sample"]
    assert share["mb"] <= 1 < 1.1 < share["of_mb"]
    assert share["ratio"] == pytest.approx(share["mb"] / share["of_mb"], abs=1e-3)


def test_a_vocabulary_too_large_for_its_text_is_said_with_the_pieces_found(tmp_path: Path, capsys):
    values = {"data": {"train": str(text_file(tmp_path))}, "vocab_size": 8192}
    made = run(parse(Recipe, values), tmp_path / "t")
    found = made.manifest.scores["vocab_size"]
    assert f"vocab_size 8,192 is too large for 0.00 MB of text, which hold {found:,} pieces" in capsys.readouterr().err


@pytest.mark.parametrize(("multiple", "size"), [(64, 128), (1, 100), (50, 100), (48, 144)])
def test_the_size_is_rounded_up_to_the_multiple_asked_for(tmp_path: Path, multiple: int, size: int):
    texts = [f"word{n} film{n} plot{n}" for n in range(400)]
    values = {"data": {"train": str(text_file(tmp_path, texts))}, "vocab_size": 100, "pad_to_multiple_of": multiple}
    made = run(parse(Recipe, values | {"algorithm": {"kind": "wordpiece", "min_frequency": 1}}), tmp_path / "t")
    assert made.manifest.scores["vocab_size"] == size


def test_candidates_are_measured_on_the_same_text_side_by_side(tmp_path: Path):
    data = {"train": str(text_file(tmp_path, [f"{text} {n}" for n, text in enumerate(TEXTS)]))}
    old = run(parse(Recipe, {"data": data, "algorithm": {"kind": "words"}, "vocab_size": 64}), tmp_path / "old")
    others = [{"algorithm": {"kind": "byte_bpe"}, "vocab_size": 320}, {"algorithm": {"kind": "characters"}}]
    values = {"data": data, "vocab_size": 128, "candidates": others, "beside": [str(old.path)]}
    made = run(parse(Recipe, values), tmp_path / "t")
    scores = made.manifest.scores
    assert list(scores["candidates"]) == ["byte_bpe-320", "characters-128", "old"]
    assert scores["candidates"]["old"]["held_out"] == old.manifest.scores["held_out"]
    assert len({one["overall"]["bytes"] for one in (scores, *scores["candidates"].values())}) == 1
    page = (made.path / "report.html").read_text("utf-8")
    assert "wordpiece-128" in page and all(name in page for name in scores["candidates"])
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    opened = AutoTokenizer.from_pretrained(made.path / "candidates" / "byte_bpe-320", local_files_only=True)
    assert len(opened) == scores["candidates"]["byte_bpe-320"]["vocab_size"]


def test_fertility_and_coverage_by_script():
    fits = fit_by_script(_TRAINED["wordpiece"], ["film", "film film", "今天", "☃ film"])
    latin, han = fits["Latin"], fits["Han"]
    assert (latin.texts, latin.words, latin.unknown) == (3, 4, 1)
    assert (han.words, han.tokens, han.bytes) == (2, 2, 6)
    assert han.ratios()["fertility"] == 1.0
    assert latin.ratios()["coverage"] == pytest.approx(1 - 1 / (4 + 9 + 6), abs=1e-6)


def test_fertility_by_language_is_that_of_the_documents_that_name_theirs(tmp_path: Path):
    rows = [{"text": f"the good film {n} was not bad", "lang": "en"} for n in range(60)]
    rows += [{"text": f"le film {n} est tr\u00e8s long", "lang": "fr"} for n in range(60)] + [{"text": "no language"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    source, steps = {"kind": "files", "paths": [str(tmp_path / "a.jsonl")]}, ["normalise"]
    values = {"source": source, "steps": steps, "split": {"validation": 0.5}}
    corpus.run(parse(corpus.Recipe, values), tmp_path / "c")
    made = run(parse(Recipe, {"data": {"train": str(tmp_path / "c")}, "vocab_size": 256}), tmp_path / "t")
    by_language = made.manifest.scores["languages"]
    documents = list(read_documents(tmp_path / "c", "validation"))
    assert {language: fit["texts"] for language, fit in by_language.items()} == Counter(
        d.meta["language"] for d in documents if "language" in d.meta
    )
    french = sum(len(d.text.encode()) for d in documents if d.meta.get("language") == "fr")
    assert by_language["fr"]["bytes"] == french
    page = (made.path / "report.html").read_text("utf-8")
    assert "Language: fr" in page and "Tokens a word, by language" in page


def test_rare_words_beyond_the_most_are_left_out_and_counted():
    texts = [f"often {'x' * n} 很好" for n in range(1, 90)]
    few = bounded(texts, 10)
    left = [word for text in few.texts for word in text.split() if word != "很好"]
    assert len(set(left)) == few.distinct == 10
    assert left.count("often") == 89
    assert (few.left_out, few.words) == (178 - len(left), 178)
    assert all(text.endswith("很好") for text in few.texts)


@given(st.lists(st.text("ab 好", max_size=9), max_size=20), st.integers(1, 30))
def test_texts_of_few_words_are_not_touched(texts: list[str], most: int):
    found = bounded(texts, most)
    words = {word for text in texts for word in re.findall("[ab]+", text)}
    assert found.distinct == min(len(words), most)
    assert (list(found.texts) == texts) == (len(words) <= most)


def test_words_beyond_the_most_are_told(tmp_path: Path, capsys):
    texts = [f"word{n} stands here" for n in range(1500)]
    values = {"data": {"train": str(text_file(tmp_path, texts))}, "vocab_size": 128, "max_distinct": 1000}
    made = run(parse(Recipe, values), tmp_path / "t")
    share = made.manifest.scores["sample"]
    assert 400 < share["left_out_words"] < 503
    assert f"without {share['left_out_words']:,} rare words" in capsys.readouterr().err


def test_held_out_text_of_a_file_is_not_learnt_from(tmp_path: Path):
    texts = [f"word{n} stands here once" for n in range(400)]
    made = run(parse(Recipe, {"data": {"train": str(text_file(tmp_path, texts))}, "vocab_size": 256}), tmp_path / "t")
    assert 0 < made.manifest.scores["held_out"]["Latin"]["texts"] < 40


def test_a_file_without_text_is_an_error(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(DataError):
        run(parse(Recipe, {"data": {"train": str(tmp_path / "a.jsonl")}}), tmp_path / "t")


@given(st.lists(st.text("ab好", max_size=9), max_size=30), st.integers(1, 60))
def test_a_sample_is_bounded_and_does_not_depend_on_the_order(texts: list[str], limit: int):
    sample = sampled(texts, limit)
    assert sample == sampled(texts[::-1], limit)
    assert sample.bytes == sum(len(text.encode()) for text in sample.texts) <= limit
    assert sample.read_bytes == sum(len(text.encode()) for text in texts)
    assert not [text for text in sample.texts if text not in texts]


_TRAINED = {algorithm.kind: trained(algorithm) for algorithm in ALGORITHMS}
