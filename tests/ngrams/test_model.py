"""A model from text to disk and back; what its words are."""

import json

import numpy as np
import pytest

from lathe.core.errors import BundleError, DataError
from lathe.ngrams import BOS, EOS, UNK, Characters, NGramModel, Pieces, Words
from lathe.ngrams.units import BREAK

TEXTS = ["the film is good", "影片很好", "the plot is not bad", "a great film in Paris", "影片不好"] * 3


@pytest.fixture
def pieces(tmp_path, tokenizer) -> Pieces:
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    return Pieces(tokenizer=tmp_path / "tokenizer")


@pytest.fixture(params=["words", "characters", "pieces"])
def units(request, pieces):
    return {"words": Words(), "characters": Characters(), "pieces": pieces}[request.param]


def test_a_model_that_is_saved_and_opened_gives_the_same_numbers(units, tmp_path):
    model = NGramModel.learn(TEXTS, 3, units)
    (tmp_path / "model").mkdir()
    names = model.save(tmp_path / "model")
    assert {file.name for file in (tmp_path / "model").iterdir()} == set(names)
    opened = NGramModel.open(tmp_path / "model")
    stream = model.encode([*TEXTS, "a plot 很坏 unseen\n"])
    np.testing.assert_array_equal(opened.encode([*TEXTS, "a plot 很坏 unseen\n"]), stream)
    np.testing.assert_array_equal(opened.log_probs(stream), model.log_probs(stream))


@pytest.mark.parametrize("name", ["ngram.bin", "vocabulary.json", "ngram.json"])
def test_a_damaged_or_missing_file_is_named(tmp_path, name):
    NGramModel.learn(TEXTS, 2, Words()).save(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 0x80
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        NGramModel.open(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BundleError, match=name):
        NGramModel.open(tmp_path)


def test_another_format_is_refused(tmp_path):
    NGramModel.learn(TEXTS, 2, Words()).save(tmp_path)
    header = json.loads((tmp_path / "ngram.json").read_text("utf-8"))
    (tmp_path / "ngram.json").write_text(json.dumps(header | {"format": 9}), "utf-8")
    with pytest.raises(BundleError, match="has format 9"):
        NGramModel.open(tmp_path)


def test_a_text_is_scored_as_if_alone(units):
    model = NGramModel.learn(TEXTS, 4, units)
    texts = ["the film", "", "影片 很好", "Paris is Paris"]
    together = model.score(texts)
    alone = [model.score([text]) for text in texts]
    assert together.total.tolist() == [one.total[0] for one in alone]
    assert together.items.tolist() == [one.items[0] for one in alone]
    assert model.mean_log_prob("the film") == pytest.approx(together.total[0] / together.items[0])


def test_no_texts_have_no_scores():
    assert len(NGramModel.learn(TEXTS, 2, Words()).score([]).total) == 0


def test_a_stream_that_begins_in_the_middle_of_a_text_is_scored_without_what_was_before():
    """Blocks with a reset context begin with BREAK."""
    model = NGramModel.learn(TEXTS, 3, Characters())
    stream = model.encode(["the film"])
    stream[3] = BREAK
    found = model.log_probs(stream)
    assert found[3] == 0 and found[0] == 0
    assert found[4] == model.levels[0].log_p[stream[4]]
    np.testing.assert_array_equal(found[4:], model.log_probs(stream[3:])[1:])


def test_the_distribution_gives_what_scoring_gives(units):
    model = NGramModel.learn(TEXTS, 3, units)
    stream = model.encode(["the plot is 影片好", "Paris Paris"])
    scores = model.log_probs(stream)
    for place in np.flatnonzero(stream != BOS):
        start = np.flatnonzero(stream[:place] == BOS)[-1]
        p = model.distribution(stream[start:place].tolist())[stream[place]]
        assert np.log(p) == pytest.approx(scores[place], abs=1e-6)


def test_rare_words_are_unknown_and_learnt_as_such():
    model = NGramModel.learn(["a a a b", "a c a"], 2, Words(min_frequency=2))
    assert model.vocabulary == ("<unk>", "<s>", "</s>", "a")
    assert model.encode(["a b"]).tolist() == [BOS, 3, UNK, EOS]
    assert model.distribution([3])[UNK] > model.distribution([3])[EOS] > 0


def test_names_of_special_words_in_a_text_are_words_like_others():
    model = NGramModel.learn(["<s> a </s>", "<unk>"], 2, Words())
    assert len(model.vocabulary) == 7
    assert set(model.encode(["</s> <s> <unk>"]).tolist()[1:-1]) <= {3, 4, 5, 6}


def test_special_tokens_of_a_tokenizer_are_no_words(pieces):
    model = NGramModel.learn(TEXTS, 2, pieces)
    assert "[CLS]" not in model.vocabulary and "[UNK]" not in model.vocabulary
    assert model.encode(["[CLS]"]).tolist()[1:-1].count(UNK) == 3  # "[", "CLS", "]"


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(DataError, match="no tokenizer.json"):
        Pieces(tokenizer=tmp_path).learn(["a"])


def test_all_distributions_of_a_stream_are_those_of_its_contexts(units):
    model = NGramModel.learn(TEXTS, 3, units)
    stream = np.append(model.encode(["the film is 很坏", "", "plot plot"]), [BREAK, *model.encode(["good"])[1:3]])
    found = model.log_distributions(stream.astype(np.int32))
    for place in range(len(stream)):
        start = max(at for at in range(place + 1) if at == 0 or stream[at] == BOS or stream[at - 1] == BREAK)
        context = [] if stream[place] == BOS else stream[start:place].tolist()
        expected = model.distribution([] if BREAK in context else context)
        np.testing.assert_allclose(np.exp(found[place]), expected, rtol=1e-5)
