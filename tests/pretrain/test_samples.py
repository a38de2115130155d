"""What a model writes at each evaluation stands in the log and in the report."""

import json

import pytest

from lathe.core.recipe import parse
from lathe.pretrain import Recipe, run

TEXTS = ["the film is good", "影片很好", "the plot is not bad", "a great film in Paris"]
SHAPES = {
    "causal": {"kind": "transformer", "architecture": "decoder"},
    "masked": {"kind": "transformer", "architecture": "encoder"},
}


@pytest.fixture
def pretrained(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS * 40), encoding="utf-8")
    (tmp_path / "held.txt").write_text("\n".join(TEXTS), encoding="utf-8")

    def make(kind: str, out: str, **train):
        train = {
            "tokens_per_step": 128,
            "learning_rate": 0.02,
            "precision": "fp32",
            "max_steps": 12,
            "eval_steps": 6,
        } | train
        shape = SHAPES[kind] | {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        values = {
            "data": {"train": tmp_path / "texts.txt", "validation": tmp_path / "held.txt"},
            "tokenizer": tmp_path / "tokenizer",
            "max_length": 16,
            "objective": {"kind": kind},
            "model": shape,
            "train": train,
        }
        return run(parse(Recipe, values), tmp_path / out).path

    return make


def events(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    return [line for line in lines if line["event"] == "samples"]


def test_a_model_that_writes_shows_what_it_writes(pretrained):
    folder = pretrained("causal", "out")
    found = events(folder)
    assert [line["step"] for line in found] == [6, 12]
    prompts = [[one["prompt"] for one in line["samples"]] for line in found]
    assert prompts[0] == prompts[1]
    assert len(prompts[0]) == 3
    assert all(any(text.startswith(prompt) for text in TEXTS) for prompt in prompts[0])
    assert "What it writes" in (folder / "report.html").read_text("utf-8")


def test_samples_change_nothing_of_what_is_learnt(pretrained, monkeypatch):
    """Neither the global generator nor the way a batch is laid out is touched."""
    with_samples = (pretrained("causal", "a", eval_steps=2) / "model.safetensors").read_bytes()
    monkeypatch.setattr("lathe.pretrain.stage.samples", lambda *_: [])
    assert (pretrained("causal", "b", eval_steps=2) / "model.safetensors").read_bytes() == with_samples


def test_a_masked_model_writes_nothing(pretrained):
    assert events(pretrained("masked", "out")) == []
