"""``lathe extend``: new pieces, old ids, and embeddings that begin at the mean of their parts."""

import random
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, BertConfig

from lathe.core.errors import BundleError, DataError, RecipeError
from lathe.core.recipe import parse
from lathe.models import GPT2, Bert
from lathe.models.pretrained import new_model, save_model
from lathe.tokenizer.algorithms import BPE, ByteBPE, WordPiece, Words, train_tokenizer
from lathe.tokenizer.continued import kind_of, learn_joins, with_joins, words_in_pieces
from lathe.tokenizer.extend import Recipe, grow, run
from lathe.tokenizer.unigram import Unigram

CHANCE = random.Random(2)
WORDS = ["the", "good", "film", "was", "not", "bad", "好", "坏"]
OLD = [" ".join(CHANCE.choice(WORDS) for _ in range(9)) for _ in range(99)]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
NEW = [f"myocardial infarction {CHANCE.choice(['confirmed', 'suspected'])} good {n}" for n in range(300)]


SPECIAL = ["<user>", "<|end of turn|>", "[E1]", "</tool>", "<＃用户>", "<a.b*>"]
ORDINARY = ["covid19", "新冠", "myocardial", "a b"]
JOINABLE = [WordPiece(), BPE(), ByteBPE(), *([Unigram()] if find_spec("sentencepiece") else [])]


@cache
def trained(algorithm) -> str:
    texts = [*OLD, *[LETTERS, LETTERS[::-1]] * 3]
    return train_tokenizer(algorithm, texts, 384).backend_tokenizer.to_str()


def model_folder(folder: Path, algorithm, added=()) -> Path:
    tokenizer = train_tokenizer(algorithm, [*OLD, *[LETTERS, LETTERS[::-1]] * 3], 384)
    tokenizer.add_tokens(list(added))
    is_decoder = algorithm.kind == "byte_bpe"
    small = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
    shape = GPT2(**small) if is_decoder else Bert(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    auto_model = AutoModelForCausalLM if is_decoder else AutoModelForMaskedLM
    save_model(new_model(auto_model, shape.config(tokenizer), seed=0), tokenizer, folder)
    return folder


def extended(tmp_path: Path, algorithm, texts=NEW, added=(), **options):
    (tmp_path / "new.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    folder = model_folder(tmp_path / "model", algorithm, added)
    values = {"bundle": str(folder), "data": {"train": str(tmp_path / "new.txt")}, "new_pieces": 60}
    return folder, run(parse(Recipe, values | options), tmp_path / "out")


@pytest.mark.parametrize("algorithm", JOINABLE, ids=lambda algorithm: algorithm.kind)
def test_old_ids_and_tokens_stay_and_new_words_become_short(tmp_path: Path, algorithm):
    folder, made = extended(tmp_path, algorithm)
    before, after = (AutoTokenizer.from_pretrained(path, local_files_only=True) for path in (folder, made.path))
    new = [piece for piece in after.get_vocab() if piece not in before.get_vocab()]
    assert len(new) == made.manifest.scores["new_pieces"] == len(after) - len(before)
    assert {piece: number for piece, number in after.get_vocab().items() if piece not in new} == before.get_vocab()
    assert after(OLD)["input_ids"] == before(OLD)["input_ids"]
    word = "the myocardial film"
    assert len(after(word)["input_ids"]) < len(before(word)["input_ids"])
    assert after.decode(after(word)["input_ids"], skip_special_tokens=True) == word
    assert after.special_tokens_map == before.special_tokens_map


@pytest.mark.parametrize("algorithm", JOINABLE, ids=lambda algorithm: algorithm.kind)
@settings(max_examples=12)
@given(st.lists(st.sampled_from([*SPECIAL, *ORDINARY]), min_size=1, max_size=6, unique=True))
def test_added_tokens_keep_their_ids_and_new_pieces_come_behind_them(algorithm, names: list[str]):
    before = Tokenizer.from_str(trained(algorithm))
    before.add_tokens([AddedToken(name, special=name in SPECIAL) for name in names])
    kind = kind_of(before, Path("t"))
    joins = learn_joins(words_in_pieces(before, NEW[:60], 99).words, kind, 9, 5)
    after = with_joins(before, kind, joins, 1000)
    old, new = before.get_vocab(), after.get_vocab()
    assert {piece: new[piece] for piece in old} == old
    assert sorted(set(new.values()) - set(old.values())) == list(range(len(old), len(old) + len(joins)))
    assert joins and set(names) <= set(old)
    for texts, is_meant in ((OLD[:3], False), (OLD[:3], True), ([f"the {name} film{name}" for name in names], True)):
        before.encode_special_tokens = after.encode_special_tokens = not is_meant
        assert [after.encode(text).ids for text in texts] == [before.encode(text).ids for text in texts]
    before.encode_special_tokens = after.encode_special_tokens = True
    for name in filter(SPECIAL.__contains__, names):
        named = f"the {name} film{name}"
        assert new[name] not in after.encode(named).ids
        assert algorithm.kind == "unigram" or after.encode(named).ids == before.encode(named).ids


@pytest.mark.parametrize("algorithm", JOINABLE, ids=lambda algorithm: algorithm.kind)
def test_added_tokens_keep_their_embeddings(tmp_path: Path, algorithm):
    added = [AddedToken("<user>", special=True), "covid19"]
    folder, made = extended(tmp_path, algorithm, added=added)
    auto_model = AutoModelForCausalLM if algorithm.kind == "byte_bpe" else AutoModelForMaskedLM
    old, new = (auto_model.from_pretrained(path, local_files_only=True) for path in (folder, made.path))
    before, after = (AutoTokenizer.from_pretrained(path, local_files_only=True) for path in (folder, made.path))
    assert after("<user> covid19")["input_ids"] == before("<user> covid19")["input_ids"]
    for name in ("<user>", "covid19"):
        assert after.get_vocab()[name] == (number := before.get_vocab()[name])
        assert torch.equal(new.get_input_embeddings().weight[number], old.get_input_embeddings().weight[number])


@pytest.mark.parametrize("algorithm", JOINABLE, ids=lambda algorithm: algorithm.kind)
def test_special_tokens_stand_between_old_tokens_and_new_pieces(tmp_path: Path, algorithm):
    folder, made = extended(tmp_path, algorithm, special_tokens=["<user>", "<film>"])
    auto_model = AutoModelForCausalLM if algorithm.kind == "byte_bpe" else AutoModelForMaskedLM
    old, new = (auto_model.from_pretrained(path, local_files_only=True) for path in (folder, made.path))
    before, after = (AutoTokenizer.from_pretrained(path, local_files_only=True) for path in (folder, made.path))
    first = len(before)
    assert after("<user><film>", add_special_tokens=False)["input_ids"] == [first, first + 1]
    assert {piece: after.get_vocab()[piece] for piece in before.get_vocab()} == before.get_vocab()
    assert len(after) == first + 2 + made.manifest.scores["new_pieces"]
    pieces = before("<film>", add_special_tokens=False)["input_ids"]
    known = [number for number in pieces if number != before.unk_token_id]
    rows = old.get_input_embeddings().weight[known]
    assert torch.allclose(new.get_input_embeddings().weight[first + 1], rows.mean(0), atol=1e-6)


def test_a_special_token_that_is_there_is_refused(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"special_tokens: '\[CLS\]' is a token of this tokenizer already"):
        extended(tmp_path, WordPiece(), special_tokens=["[CLS]"])


@pytest.mark.parametrize("name", ["film", "§"])
def test_a_special_token_that_text_would_reach_is_refused(tmp_path: Path, name: str):
    with pytest.raises(BundleError, match=f"'{name}x?' would be found in texts that only name it"):
        extended(tmp_path, WordPiece(), added=[AddedToken(f"{name}x" if name == "film" else name, special=True)])


@pytest.mark.parametrize("algorithm", [WordPiece(), ByteBPE()], ids=lambda algorithm: algorithm.kind)
def test_the_model_answers_as_before_and_new_rows_are_the_mean_of_their_parts(tmp_path: Path, algorithm):
    auto_model = AutoModelForCausalLM if algorithm.kind == "byte_bpe" else AutoModelForMaskedLM
    folder, made = extended(tmp_path, algorithm)
    old, new = (auto_model.from_pretrained(path, local_files_only=True).eval() for path in (folder, made.path))
    before, after = (AutoTokenizer.from_pretrained(path, local_files_only=True) for path in (folder, made.path))
    assert new.get_input_embeddings().weight.shape[0] % 64 == 0
    inputs = before("the good film", return_tensors="pt")
    with torch.inference_mode():
        wanted, found = old(**inputs).logits, new(**inputs).logits
    assert torch.allclose(found[..., : len(before)], wanted[..., : len(before)], atol=1e-6)
    rows = new.get_input_embeddings().weight
    checked = 0
    for piece, number in after.get_vocab().items():
        if number >= len(before) and not piece.startswith("##"):
            spelt = after.convert_tokens_to_string([piece])
            parts = before(spelt, add_special_tokens=False)["input_ids"]
            checked += torch.allclose(rows[number], old.get_input_embeddings().weight[parts].mean(0), atol=1e-6)
    assert checked > 3


def test_an_untied_head_and_its_bias_get_the_mean_too():
    config = BertConfig(
        vocab_size=70, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, tie_word_embeddings=False
    )
    model = new_model(AutoModelForMaskedLM, config, seed=0)
    head = model.get_output_embeddings()
    with torch.no_grad():
        head.bias.copy_(torch.arange(70.0))
    weight = head.weight.detach().clone()
    grow(model, {70: [5, 7], 71: [9]}, 64)
    head = model.get_output_embeddings()
    assert head.weight.shape[0] == head.bias.shape[0] == model.config.vocab_size == 128
    assert torch.allclose(head.weight[70], weight[[5, 7]].mean(0))
    assert head.bias[70:72].tolist() == [6.0, 9.0]
    assert torch.equal(head.weight[:70], weight)


def test_a_token_that_the_model_has_no_embedding_of_gets_the_mean_of_all():
    config = BertConfig(vocab_size=70, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    model = new_model(AutoModelForMaskedLM, config, seed=0)
    weight = model.get_input_embeddings().weight.detach().clone()
    grow(model, {72: [5, 7]}, 64)
    found = model.get_input_embeddings().weight
    assert torch.equal(found[:70], weight)
    assert torch.allclose(found[70:73], torch.stack([weight.mean(0), weight.mean(0), weight[[5, 7]].mean(0)]))


def test_the_first_join_is_the_most_frequent_pair():
    backend = train_tokenizer(ByteBPE(), ["a b c d"], 300).backend_tokenizer
    kind = kind_of(backend, Path("t"))
    words = words_in_pieces(backend, ["xyz"] * 5 + ["xy"] * 3 + ["yz"] * 4, 9).words
    joins = learn_joins(words, kind, 9, 2)
    assert [(join.piece, join.times) for join in joins] == [("yz", 9), ("xyz", 5), ("xy", 3)]


def test_text_without_frequent_neighbours_is_refused_with_the_way_out(tmp_path: Path):
    with pytest.raises(DataError, match="lower min_frequency"):
        extended(tmp_path, WordPiece(), texts=["good"] * 9)


def test_a_tokenizer_of_whole_words_is_refused(tmp_path: Path):
    with pytest.raises(BundleError, match="kind WordLevel has no pieces to join"):
        extended(tmp_path, Words())


def test_words_beyond_the_most_are_left_out_and_told(tmp_path: Path, capsys):
    texts = [*NEW, *[f"once{n} twice{n} {'abc'[n % 3] * (n % 9 + 1)}{n}" for n in range(1500)]]
    _, made = extended(tmp_path, WordPiece(), texts, max_distinct=1000)
    share = made.manifest.scores["sample"]
    assert 2000 < share["left_out_words"] < 5000
    assert f"without {share['left_out_words']:,} rare words" in capsys.readouterr().err
    after = AutoTokenizer.from_pretrained(made.path, local_files_only=True)
    assert len(after("myocardial")["input_ids"]) == 3


def test_the_words_that_are_held_are_bounded_where_a_tokenizer_takes_a_whole_clause_for_one():
    backend = Tokenizer(models.BPE({c: n for n, c in enumerate("天地人日月")}, []))
    clauses = ["".join(CHANCE.choices("天地人日月", k=20)) for _ in range(5000)]
    cut = words_in_pieces(backend, [*clauses, *["日月"] * 50], 1000)
    assert len(cut.words) <= 1000
    assert cut.words["日", "月"] == 50
    assert (cut.total, cut.left_out) == (5050, 5050 - cut.words.total())
