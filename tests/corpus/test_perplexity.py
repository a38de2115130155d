"""Perplexity: texts that a model of good text finds unlikely leave the corpus, script by script."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from lathe.core.documents import read_documents
from lathe.core.errors import BundleError, DataError, RecipeError
from lathe.core.recipe import parse
from lathe.core.types import Document
from lathe.corpus import Recipe, perplexity, run
from lathe.corpus.perplexity import Perplexity
from lathe.corpus.protocol import Dropped
from lathe.ngrams import NGramModel, Words

ENGLISH = "the old man walked slowly down to the river and sat under a tree to watch the boats go by in the evening"
CHINESE = "老人慢慢走到河边坐在树下看着船只在傍晚经过今天天气很好我们一起去公园散步"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("lathe.corpus.made_once.cache_folder", lambda: folder)
    return folder


def english(seed: int) -> str:
    return " ".join(random.Random(seed).choices(ENGLISH.split(), k=12))


def chinese(seed: int) -> str:
    start = random.Random(seed).randrange(len(CHINESE) - 12)
    return CHINESE[start : start + 12]


def noise(seed: int, alphabet: str) -> str:
    return "".join(random.Random(seed).choices(alphabet, k=40))


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    file = tmp_path / "good.txt"
    file.write_text("\n".join(text(n) for n in range(300) for text in (english, chinese)), "utf-8")
    return file


def documents(*texts: str) -> list[Document]:
    return [Document(text, str(number)) for number, text in enumerate(texts)]


def test_noise_is_the_tail_in_either_script(judged, reference: Path):
    texts = [text(1000 + n) for n in range(12) for text in (english, chinese)]
    texts += [noise(n, alphabet) for n in range(8) for alphabet in ("qxzjkvwq ", "龘齉爨麤灪")]
    verdicts = judged(Perplexity(reference=reference, head=30, middle=60), documents(*texts))
    assert [isinstance(verdict, Dropped) for verdict in verdicts] == [False] * 24 + [True] * 16
    assert {verdict.reason for verdict in verdicts[24:]} == {"perplexity: tail"}
    assert {verdict.meta["perplexity_share"] for verdict in verdicts[:24]} == {"head", "middle"}


@pytest.mark.parametrize("shard", [1, 4, 100])
def test_the_shares_are_those_of_the_sorted_texts_of_a_script(judged, reference: Path, shard: int):
    texts = [english(n) + " " + noise(n, "qz ")[: n % 9] for n in range(50)]
    verdicts = judged(Perplexity(reference=reference, head=20, middle=50, keep=("head", "middle", "tail")),
                      documents(*texts), shard)  # fmt: skip
    model = Perplexity(reference=reference).ngrams()
    losses = np.array([-model.mean_log_prob(text) for text in texts])
    levels = np.rint(losses * perplexity.STEPS)
    last_of_head, last_of_middle = np.sort(levels)[[9, 24]]  # of 50: 20 % and 50 %
    shares = ["head" if level <= last_of_head else "middle" if level <= last_of_middle else "tail" for level in levels]
    assert [verdict.meta["perplexity_share"] for verdict in verdicts] == shares
    found = [verdict.meta["perplexity"] for verdict in verdicts]
    assert found == pytest.approx(np.exp(losses), rel=1e-3, abs=0.01)


def test_equal_texts_are_in_one_share(judged, reference: Path):
    verdicts = judged(Perplexity(reference=reference, head=50), documents(*[english(1)] * 9))
    assert {verdict.meta["perplexity_share"] for verdict in verdicts} == {"head"}


def test_scripts_that_the_model_does_not_know_stay_where_those_it_knows_are_named(judged, reference: Path):
    verdicts = judged(Perplexity(reference=reference, scripts=("Latin",), keep=("head",)),
                      documents("Привет мир", *map(english, range(10)), "12 + 3"))  # fmt: skip
    assert verdicts[0] == Document("Привет мир", "0")
    assert verdicts[-1] == Document("12 + 3", "11")
    assert sum(isinstance(verdict, Dropped) for verdict in verdicts) == 7


def test_a_model_is_learnt_once_and_again_when_its_reference_changes(reference: Path, cache: Path):
    step = Perplexity(reference=reference)
    assert step.ngrams() is step.ngrams()
    assert len(list(cache.iterdir())) == 1
    reference.write_text("something else", "utf-8")
    step.ngrams()
    assert len(list(cache.iterdir())) == 2


def test_no_more_of_the_reference_is_learnt_from_than_there_is_room_for(reference: Path, monkeypatch):
    monkeypatch.setattr(perplexity, "LEARNT", 100)
    model = Perplexity(reference=reference).ngrams()
    assert len(model.vocabulary) < 60


def test_a_corpus_tells_what_is_in_each_share_and_up_to_which_perplexity(tmp_path: Path):
    (tmp_path / "model").mkdir()
    NGramModel.learn(map(english, range(200)), 3, Words()).save(tmp_path / "model")
    texts = [*map(english, range(500, 512)), *(noise(n, "qxzj ") for n in range(8))]
    (tmp_path / "a.txt").write_text("\n".join(texts), "utf-8")
    recipe = {
        "source": {"kind": "files", "paths": [str(tmp_path / "a.txt")]},
        "steps": [{"kind": "perplexity", "model": str(tmp_path / "model")}],
        "split": {"validation": 0, "test": 0},
    }
    made = run(parse(Recipe, recipe), tmp_path / "corpus")
    told = made.manifest.scores["perplexity"]["Latin"]
    assert (told["head"], told["middle"], told["tail"]) == (6, 6, 8)
    assert made.manifest.scores["dropped"] == {"perplexity: tail": 8}
    found = {document.meta["perplexity_share"]: document.meta["perplexity"] for document in read_documents(made.path)}
    assert found["head"] <= told["head_up_to"] < found["middle"] <= told["middle_up_to"]
    assert str(tmp_path / "model") in made.manifest.inputs
    assert json.loads((made.path / "dropped.jsonl").read_text("utf-8").splitlines()[0])["reason"] == "perplexity: tail"


def test_what_cannot_be_judged_with_is_refused(tmp_path: Path):
    with pytest.raises(RecipeError, match="one of the two"):
        Perplexity()
    with pytest.raises(RecipeError, match="head 70.0 is more than middle 60"):
        Perplexity(model=tmp_path, head=70)
    with pytest.raises(BundleError, match="no n-gram model"):
        Perplexity(model=tmp_path).ngrams()
    (tmp_path / "empty.jsonl").write_text('{"text": " "}\n', "utf-8")
    with pytest.raises(DataError, match=r"empty\.jsonl: no text"):
        Perplexity(reference=tmp_path / "empty.jsonl").ngrams()
