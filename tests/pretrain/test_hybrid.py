"""`lathe hybrid` as a user runs it."""

import json
import re

import pytest
from transformers import AutoModelForCausalLM

from lathe.cli import main
from lathe.likelihood import CausalNetwork, likelihood, open_language_model

TEXTS = ["the film is good", "影片很好", "the plot is not bad", "a great film in Paris", "影片不好"] * 20
SMALL = ["model.hidden_size=32", "model.num_hidden_layers=1", "model.num_attention_heads=2", "max_length=32", "order=2"]
TRAIN = ["train.max_steps=100", "train.tokens_per_step=128", "train.learning_rate=0.02", "parts=3"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "train.txt").write_text("\n".join(TEXTS), "utf-8")
    (folder / "held.txt").write_text("\n".join(TEXTS[:5]), "utf-8")
    data = [f"data.train={folder / 'train.txt'}", f"data.validation={folder / 'held.txt'}"]
    made = ["tokenizer", data[0], "vocab_size=128", "algorithm.kind=byte_bpe", "-o", str(folder / "tokenizer")]
    assert main(made) == 0
    given = [*data, f"tokenizer={folder / 'tokenizer'}", *SMALL, *TRAIN]
    assert main(["hybrid", *given, "-o", str(folder / "hybrid")]) == 0
    return folder


def test_it_knows_more_than_its_n_grams(runs):
    scores = json.loads((runs / "hybrid" / "manifest.json").read_text("utf-8"))["scores"]
    assert scores["hybrid"]["bits_per_byte"] < scores["ngram"]["bits_per_byte"] - 0.05
    assert scores["hybrid"]["units"] == scores["ngram"]["units"] and scores["steps"] == 100


def test_it_opens_as_it_was_measured(runs):
    model = open_language_model(runs / "hybrid")
    assert isinstance(model, CausalNetwork) and model.guide is not None
    scores = json.loads((runs / "hybrid" / "manifest.json").read_text("utf-8"))["scores"]
    assert likelihood(model, TEXTS[:5]).bits_per_byte == pytest.approx(scores["hybrid"]["bits_per_byte"], abs=1e-4)
    network = AutoModelForCausalLM.from_pretrained(runs / "hybrid" / "network")
    assert network.config.vocab_size > model.guide.sentinel


def test_it_stands_in_the_table_of_language_models(runs, capsys):
    assert main(["perplexity", str(runs / "held.txt"), str(runs / "hybrid"), "-o", str(runs / "table"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])["scores"]
    (found,) = scores["models"].values()
    assert found["restored_ratio"] == 1 and 0 < found["bits_per_byte"] < 8


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["model.kind=bert"], "needs a model that reads from left to right"),
        (["max_length=1000"], "max_length: 1000 is more than this model takes"),
        (["data.train=empty.txt"], "no text"),
        (["parts=1000"], "too few for 1000 parts"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(runs, capsys, monkeypatch, changed, message):
    monkeypatch.chdir(runs)
    (runs / "empty.txt").write_text("\n", "utf-8")
    given = ["data.train=train.txt", "tokenizer=tokenizer", "max_length=16", *changed]
    assert main(["hybrid", *given, "-o", "x"]) == 2
    assert re.search(message, capsys.readouterr().err)
