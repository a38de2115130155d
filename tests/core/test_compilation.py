"""torch.compile as an option of a run: the same bits after any stop, and clear words where it cannot be."""

import json
import shutil
from typing import Any

import pytest
import torch
import transformers as hf

from lathe.core import compilation
from lathe.core.compilation import compiled_layers
from lathe.core.digest import file_digest
from lathe.core.errors import RecipeError
from lathe.core.recipe import parse
from lathe.finetune import Recipe, run


@pytest.fixture
def values(tmp_path, tokenizer, bert_config) -> dict[str, Any]:
    """Of a recipe that fine-tunes one tiny layer with dropout, in steps of unlike sizes."""
    torch.manual_seed(0)
    bert_config.num_hidden_layers = 1
    bert_config.hidden_dropout_prob = bert_config.attention_probs_dropout_prob = 0.1
    hf.AutoModelForMaskedLM.from_config(bert_config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    rows = [{"text": "good film " * (i % 5 + 1), "label": "p"} for i in range(9)]
    rows += [{"text": "bad " * (i % 7 + 1), "label": "n"} for i in range(9)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    train = {"max_steps": 5, "batch_size": 4, "precision": "fp32", "learning_rate": 0.01, "torch_compile": True}
    data = dict.fromkeys(("train", "validation"), tmp_path / "train.jsonl")
    return {"base": tmp_path / "base", "data": data, "task": {"kind": "classify"}, "train": train}


@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager",
        pytest.param(
            "inductor",
            marks=[pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")],
        ),
    ],
)
def test_a_compiled_run_that_was_stopped_ends_with_the_bits_of_the_unbroken_one(
    backend, values, tmp_path, stopped_after, monkeypatch
):
    monkeypatch.setattr(compilation, "BACKEND", backend)
    recipe, ends = parse(Recipe, values), {}
    with stopped_after(2):
        run(recipe, tmp_path / "broken")
    for name in ("whole", "broken"):
        ends[name] = run(recipe, tmp_path / name).path / "model.safetensors"
    assert file_digest(ends["broken"]) == file_digest(ends["whole"])
    plain = run(parse(Recipe, values | {"train": values["train"] | {"torch_compile": False}}), tmp_path / "plain")
    assert file_digest(plain.path / "model.safetensors") != file_digest(ends["whole"]), "nothing was compiled"


def test_a_model_without_a_list_of_layers_is_refused():
    model = hf.AutoModel.from_config(hf.XLNetConfig(vocab_size=30, d_model=16, n_layer=1, n_head=2, d_inner=16))
    refused = pytest.raises(RecipeError, match=r"train\.torch_compile: models of type 'xlnet' have no list of layers")
    with refused, compiled_layers(model, lambda: None):
        pass


def test_an_error_of_the_compiler_names_the_option(values, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("no compiler here")

    monkeypatch.setattr(compilation, "BACKEND", broken)
    with pytest.raises(RecipeError, match=r"train\.torch_compile: .*'bert'; set it to false.*no compiler here"):
        run(parse(Recipe, values), tmp_path / "out")
    assert not (tmp_path / "out.work").exists()
