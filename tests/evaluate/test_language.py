"""From one text to a table of all language models, as a user types it."""

import json
import re

import pytest

from lathe.cli import main
from lathe.likelihood import Mixture, likelihood, open_language_model

TEXTS = ["the film is good", "影片很好", "the plot is not bad", "a great film in Paris", "影片不好"] * 20
TRAIN = ["train.max_steps=20", "train.tokens_per_step=128", "train.learning_rate=0.02", "max_length=16"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "train.txt").write_text("\n".join(TEXTS), "utf-8")
    (folder / "held.txt").write_text("the film is not good\n影片很坏\nParis is great\n", "utf-8")
    data, tokenizer = f"data.train={folder / 'train.txt'}", f"tokenizer={folder / 'tokenizer'}"
    pieces = ["units.kind=pieces", f"units.tokenizer={folder / 'tokenizer'}"]
    small = ["model.hidden_size=16", "model.embedding_size=16", "objective.kind=causal"]
    bert = ["model.hidden_size=16", "model.num_hidden_layers=1", "model.num_attention_heads=2"]
    for arguments in (
        ["tokenizer", data, "vocab_size=128", "-o", folder / "tokenizer"],
        ["ngram", data, "order=3", *pieces, "-o", folder / "ngram"],
        ["ngram", data, "order=4", "units=characters", "-o", folder / "characters"],
        ["pretrain", data, tokenizer, "model.kind=lstm", *small, *TRAIN, "-o", folder / "lstm"],
        ["pretrain", data, tokenizer, *bert, *TRAIN, "-o", folder / "bert"],
        ["mix", folder / "lstm", folder / "ngram", f"data.validation={folder / 'held.txt'}", "-o", folder / "mixture"],
    ):
        assert main(list(map(str, arguments))) == 0
    return folder


def test_one_command_makes_the_table(runs, capsys):
    models = [runs / name for name in ("characters", "lstm", "bert", "ngram", "mixture")]
    assert main(["perplexity", *map(str, [runs / "held.txt", *models]), "-o", str(runs / "table"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])["scores"]
    bits = {name.partition("@")[0]: one["bits_per_byte"] for name, one in scores["models"].items()}
    assert set(bits) == {"characters", "lstm", "ngram", "mixture"}
    assert list(bits.values()) == sorted(bits.values())
    assert bits["mixture"] <= min(bits["lstm"], bits["ngram"])
    assert [name.partition("@")[0] for name in scores["pseudo"]] == ["bert"]
    page = (runs / "table" / "report.html").read_text("utf-8")
    assert "bits a byte" in page and "no probability of a text" in page


def test_a_mixture_opens_as_it_was_measured(runs):
    model = open_language_model(runs / "mixture")
    assert isinstance(model, Mixture)
    scores = json.loads((runs / "mixture" / "manifest.json").read_text("utf-8"))["scores"]
    texts = (runs / "held.txt").read_text("utf-8").splitlines()
    assert likelihood(model, texts).bits_per_byte == pytest.approx(scores["mixture"]["bits_per_byte"], abs=1e-4)
    assert 0 < scores["weight"] < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["perplexity", "held.txt", "tokenizer", "-o", "x"], "this is a tokenizer bundle"),
        (["perplexity", "held.txt", "-o", "x"], "bundles: this option is required"),
        (["mix", "ngram", "ngram", "data.validation=held.txt", "-o", "x"], "no network that predicts the next token"),
        (["mix", "lstm", "lstm", "data.validation=held.txt", "-o", "x"], "no n-gram model"),
        (["mix", "lstm", "characters", "data.validation=held.txt", "-o", "x"], "mix models of the same tokenizer"),
        (["evaluate", "ngram", "held.txt", "-o", "x"], "score it with `lathe perplexity`"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(runs, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(runs)
    assert main(arguments) == 2
    assert re.search(message, capsys.readouterr().err)
