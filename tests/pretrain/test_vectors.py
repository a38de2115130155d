"""`lathe vectors` as a user runs it, and what its vectors answer."""

import json
import random
from importlib import metadata

import numpy as np
import pytest
from gensim.models import KeyedVectors, Word2Vec

import lathe
from lathe.cli import main
from lathe.core.errors import BundleError, DataError, LatheError
from lathe.core.recipe import parse
from lathe.pretrain.vectors import Recipe, run

COMPANY = {"cat": "purrs softly indoors", "dog": "barks loudly outside", "猫": "喵喵叫", "狗": "汪汪咬"}
TWINS = {"cat": "kitten", "dog": "puppy", "猫": "咪", "狗": "犬"}


def sentences(count: int = 1500) -> list[str]:
    """Words and their twins, each in the company that both keep."""
    chance, found = random.Random(0), []
    for _ in range(count):
        word = chance.choice([*COMPANY])
        company = COMPANY[word].split() if word.isascii() else [*COMPANY[word]]
        chance.shuffle(company)
        company.insert(1, chance.choice([word, TWINS[word]]))
        found.append((" " if word.isascii() else "").join(company))
    return found


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> dict:
    file = tmp_path_factory.mktemp("vectors") / "texts.txt"
    file.write_text("\n".join(sentences()), "utf-8")
    return {"data": {"train": file}, "dimension": 16, "window": 2, "epochs": 5, "sample": 0, "text": True}


@pytest.fixture(scope="module")
def made(given, tmp_path_factory):
    return run(parse(Recipe, given), tmp_path_factory.mktemp("vectors") / "out")


def test_words_in_the_same_company_are_near(made):
    vectors = lathe.load_vectors(made.path)
    for word, twin in TWINS.items():
        others = [other for other in (*TWINS, *TWINS.values()) if other not in (word, twin)]
        assert all(vectors.similarity(word, twin) > vectors.similarity(word, other) for other in others), word
    assert "CAT" in vectors and np.array_equal(vectors["CAT"], vectors["cat"])
    assert made.manifest.scores == {"words": 18, "read": made.manifest.scores["read"], "known_share": 1.0}


def test_the_bundle_names_the_version_that_learnt_them(made):
    told = made.manifest.versions
    assert told["gensim"] == metadata.version("gensim")
    assert {"lathe", "python", "numpy"} <= told.keys()


def test_they_are_gensims(made, tmp_path):
    file = tmp_path / "words.txt"
    lines = [" ".join(text) if not text.isascii() else text for text in sentences()]
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    theirs = Word2Vec(
        corpus_file=str(file), vector_size=16, window=2, sample=0, sg=1, workers=1, seed=0, epochs=5, min_count=5
    ).wv
    ours = lathe.load_vectors(made.path)
    assert ours.words == tuple(theirs.index_to_key)
    assert np.array_equal(ours.matrix, theirs.vectors)
    assert [near.word for near in ours.nearest("cat", 3)] == [word for word, _ in theirs.most_similar("cat", topn=3)]
    read = KeyedVectors.load_word2vec_format(str(made.path / "vectors.txt"))
    assert np.array_equal(read.vectors, ours.matrix) and tuple(read.index_to_key) == ours.words


def test_two_runs_are_equal(made, given, tmp_path):
    again = run(parse(Recipe, given), tmp_path / "again")
    for name in ("vectors.safetensors", "words.json"):
        assert (again.path / name).read_bytes() == (made.path / name).read_bytes()


def test_texts_have_the_mean_of_their_words_and_it_is_told_of_how_many(made):
    vectors = lathe.load_vectors(made.path)
    found = vectors.of_texts(["The cat purrs.", "猫咬", "nothing known", "", "🙂"])
    assert found.known.tolist() == [2, 2, 0, 0, 0] and found.words.tolist() == [3, 2, 2, 0, 0]
    assert np.allclose(found.vectors[0], (vectors["cat"] + vectors["purrs"]) / 2)
    assert not found.vectors[2:].any()
    assert vectors.of_texts([]).vectors.shape == (0, 16)
    with pytest.raises(LatheError, match="'zebra': not among the 18 words"):
        vectors.nearest("zebra")
    assert len(vectors.nearest("cat", 1000)) == 17 and all(near.word != "cat" for near in vectors.nearest("cat", 1000))


def test_a_line_longer_than_word2vec_reads_is_read_whole(tmp_path):
    (tmp_path / "long.txt").write_text("one two three four " * 6000, "utf-8")
    recipe = {"data": {"train": tmp_path / "long.txt"}, "dimension": 4, "epochs": 1}
    assert run(parse(Recipe, recipe), tmp_path / "out").manifest.scores["read"] == 24_000


@pytest.mark.parametrize(("content", "told"), [("", "empty"), ("?!\n…\n", "no word to learn"), ("a b\n", "5 times")])
def test_a_text_without_enough_words_is_refused(content, told, tmp_path):
    (tmp_path / "texts.txt").write_text(content, "utf-8")
    with pytest.raises(DataError, match=told):
        run(parse(Recipe, {"data": {"train": tmp_path / "texts.txt"}}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damage_is_found_when_they_are_opened(made, tmp_path):
    for file in made.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = bytearray((tmp_path / "vectors.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "vectors.safetensors").write_bytes(content)
    with pytest.raises(BundleError, match="changed or damaged"):
        lathe.load_vectors(tmp_path)


def test_the_command_shows_what_words_are_near_to(tmp_path, capsys):
    words = [f"w{number}" for number in range(60)]
    (tmp_path / "texts.txt").write_text("\n".join(" ".join(words) for _ in range(8)), "utf-8")
    out = str(tmp_path / "out")
    assert main(["vectors", f"data.train={tmp_path / 'texts.txt'}", "dimension=8", "-o", out, "--json"]) == 0
    told = capsys.readouterr()
    assert "near to 'w" in told.err and json.loads(told.out)["scores"]["words"] == 60
    assert main(["show", out]) == 0
