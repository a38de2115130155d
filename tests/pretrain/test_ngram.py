"""`lathe ngram` as a user runs it."""

import pytest

from lathe.core.errors import DataError
from lathe.core.recipe import parse
from lathe.ngrams import NGramModel, read_arpa
from lathe.pretrain.ngram import Recipe, run

TEXTS = ["the film is good", "影片很好", "the plot is not bad", "a great film in Paris"] * 5


@pytest.fixture
def data(tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), "utf-8")
    (tmp_path / "held.txt").write_text("the film is not good\n影片不好\n", "utf-8")
    return {"train": tmp_path / "texts.txt", "validation": tmp_path / "held.txt"}


def test_a_model_is_made_and_measured(data, tmp_path):
    bundle = run(parse(Recipe, {"data": data, "order": 3, "units": "characters", "arpa": True}), tmp_path / "out")
    assert bundle.manifest.kind == "model" and bundle.manifest.runtime.kind == "ngram"
    bundle.verify()
    model = NGramModel.open(bundle.path)
    found = model.score(["the film is not good", "影片不好"])
    scores = bundle.manifest.scores
    assert scores["validation_loss"] == pytest.approx(-found.total.sum() / found.items.sum())
    assert scores["validation_items"] == 20 + 1 + 4 + 1
    assert read_arpa(bundle.path / "model.arpa").order == model.order == 3
    assert bundle.size_bytes < sum(file.stat().st_size for file in bundle.path.iterdir())


def test_the_pieces_of_a_tokenizer_are_counted(data, tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    units = {"kind": "pieces", "tokenizer": tmp_path / "tokenizer"}
    bundle = run(parse(Recipe, {"data": data, "units": units}), tmp_path / "out")
    assert "影" in NGramModel.open(bundle.path).vocabulary
    assert (bundle.path / "tokenizer.json").is_file()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_text_without_a_word_is_refused(data, tmp_path, split):
    (tmp_path / "blank.txt").write_text("\n \n", "utf-8")
    with pytest.raises(DataError, match="blank.txt: no text"):
        run(parse(Recipe, {"data": data | {split: tmp_path / "blank.txt"}}), tmp_path / "out")


def test_without_validation_text_it_is_said(data, tmp_path, capsys):
    run(parse(Recipe, {"data": {"train": data["train"]}}), tmp_path / "out")
    assert "nothing is measured" in capsys.readouterr().err
