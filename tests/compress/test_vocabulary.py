"""Fewer pieces: texts of kept pieces are cut and answered as before, all others still become pieces."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

import lathe
from lathe.compress import Recipe, run
from lathe.compress.pieces import reduced, refuse
from lathe.core.bundle import Manifest, seal
from lathe.core.errors import RecipeError
from lathe.core.recipe import dump, parse
from lathe.models.pretrained import new_model, open_tokenizer, save_model

ENGLISH = ["the", "film", "was", "lower", "lowest", "newer", "newest", "aaaa", "aaa", "banana", "bandana"]
WORDS = [*ENGLISH, "影片", "很好", "不好", "电影", "北京"]
CORPUS = [" ".join(np.random.default_rng(seed).choice(WORDS, 12)) for seed in range(40)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NAMES = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))


def trained(core, trainer):
    core.train_from_iterator(CORPUS, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, core.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return core


def word_piece():
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer, core.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    return trained(core, trainers.WordPieceTrainer(vocab_size=120, special_tokens=SPECIAL))


def byte_bpe():
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core = trained(core, trainers.BpeTrainer(vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet))
    core.post_processor = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2), add_prefix_space=False)
    return core


def suffix_bpe():
    core = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return trained(core, trainers.BpeTrainer(vocab_size=120, special_tokens=SPECIAL, end_of_word_suffix="</w>"))


def unigram():
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return trained(core, trainers.UnigramTrainer(vocab_size=80, special_tokens=SPECIAL, unk_token="[UNK]"))


def words():
    core = Tokenizer(models.WordLevel({name: i for i, name in enumerate([*SPECIAL, *WORDS])}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return core


MAKERS = {one.__name__: one for one in (word_piece, byte_bpe, suffix_bpe, unigram, words)}
TEXTS = st.lists(st.sampled_from([*WORDS, "low", "new", "ban", "ana", "影", "好片", "xyz", "鿿"]), max_size=6)


@pytest.fixture(params=MAKERS, scope="module")
def backend(request):
    return MAKERS[request.param]()


@settings(max_examples=150)
@given(st.data())
def test_texts_of_kept_pieces_are_cut_as_before_and_others_still_into_known_ones(backend, data):
    size = backend.get_vocab_size()
    used = set(data.draw(st.lists(st.integers(5, size - 1), max_size=size // 3)))
    text = data.draw(st.sampled_from([" ", ""])).join(data.draw(TEXTS))
    used |= set(backend.encode(text).ids) if data.draw(st.booleans()) else set()
    left = reduced(backend, used, data.draw(st.sampled_from(["all", "used"])))
    before, after = backend.encode(text), left.backend.encode(text)
    kept = set(left.ids)
    assert used <= kept
    if kept.issuperset(before.ids):
        assert [left.ids[i] for i in after.ids] == before.ids
        assert after.tokens == before.tokens
    assert all(left.backend.id_to_token(i) == backend.id_to_token(left.ids[i]) for i in after.ids)
    assert sorted(left.backend.get_vocab(with_added_tokens=True).values()) == list(range(len(left.ids)))


def test_all_pieces_used_is_the_same_tokenizer(backend):
    left = reduced(backend, set(range(backend.get_vocab_size())), "all")
    assert left.ids == sorted(backend.get_vocab().values())
    assert left.backend.get_vocab() == backend.get_vocab()
    merges = [json.loads(one.to_str())["model"].get("merges") for one in (left.backend, backend)]
    assert merges[0] == merges[1]


def test_pieces_that_are_not_used_go(backend):
    left = reduced(backend, set(backend.encode("the film").ids), "used")
    assert len(left.ids) < backend.get_vocab_size()
    assert {"[UNK]", "[CLS]", "[SEP]"} <= left.backend.get_vocab().keys()
    assert left.backend.encode("the", "film").tokens[0] == "[CLS]"


@pytest.mark.parametrize("maker", [word_piece, byte_bpe, unigram])
def test_what_no_piece_is_kept_of_is_spelt(maker):
    left = reduced(maker(), set(), "all")
    assert "[UNK]" not in left.backend.encode("the lowest film 影片").tokens


def test_a_tokenizer_that_would_cut_otherwise_is_refused():
    with pytest.raises(RecipeError, match="BPE tokenizer with dropout"):
        refuse(Tokenizer(models.BPE(dropout=0.1)))


@pytest.fixture(params=[word_piece, byte_bpe, unigram])
def base(request, tmp_path, classify, bert_config):
    """A model that reads pieces of each kind."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=request.param(), **NAMES)
    bert_config.vocab_size, bert_config.id2label = len(tokenizer) + 7, dict(enumerate(classify.outputs))
    bert_config.pad_token_id = tokenizer.pad_token_id
    runtime = save_model(new_model(classify.auto_model, bert_config, seed=1), tokenizer, tmp_path / "base")
    seal(tmp_path / "base", Manifest(kind="model", stage="finetune", task=dump(classify), runtime=runtime))
    return tmp_path / "base"


SEEN = [{"text": text, "label": label} for text, label in (("the film", "neg"), ("影片 很好", "pos")) * 4]
UNSEEN = [{"text": "newest banana 北京", "label": "pos"}]


def test_a_model_with_fewer_pieces_answers_the_same(base, write, tmp_path):
    data = {"train": write("train.jsonl", SEEN), "validation": write("validation.jsonl", SEEN[:3] + UNSEEN)}
    recipe = parse(Recipe, {"base": base, "data": data, "steps": [{"kind": "vocabulary"}, "int8"]})
    made = run(recipe, tmp_path / "out").manifest.scores["models"]["vocabulary"]
    assert made["changed_ratio"] == 0.25
    assert made["pieces"] < len(open_tokenizer(base))
    recipe = parse(Recipe, {"base": base, "data": data, "steps": [{"kind": "vocabulary"}]})
    small, given_model = lathe.load(run(recipe, tmp_path / "torch").path), lathe.load(base)
    assert len(open_tokenizer(tmp_path / "torch")) == made["pieces"]
    for one, other in zip(small(SEEN[:2]), given_model(SEEN[:2]), strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-6)
    assert small(UNSEEN)[0].label in ("neg", "pos")


def test_all_pieces_are_kept_where_none_needs_to_be_used(base, write, tmp_path):
    data = {"train": write("train.jsonl", SEEN), "validation": write("validation.jsonl", SEEN + UNSEEN)}
    recipe = parse(Recipe, {"base": base, "data": data, "steps": [{"kind": "vocabulary", "min_count": 0}]})
    run(recipe, tmp_path / "out")
    assert open_tokenizer(tmp_path / "out").get_vocab() == open_tokenizer(base).get_vocab()
    assert lathe.load(tmp_path / "out")(UNSEEN) == lathe.load(base)(UNSEEN)


def test_distillation_comes_before(teacher, rows, write, tmp_path):
    data = {"train": write("train.jsonl", rows), "validation": write("validation.jsonl", rows)}
    with pytest.raises(RecipeError, match="distill comes before vocabulary"):
        run(parse(Recipe, {"base": teacher, "data": data, "steps": ["vocabulary", "distill"]}), tmp_path / "out")
    with pytest.raises(RecipeError, match="data.train: vocabulary needs rows"):
        data |= {"train": None}
        run(parse(Recipe, {"base": teacher, "data": data, "steps": ["vocabulary"]}), tmp_path / "out")
