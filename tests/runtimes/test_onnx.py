"""ONNX graphs: equal to torch for every shape, one row at a time where int8 asks for it, and free of this machine."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from lathe.core.errors import BundleError, LatheError
from lathe.models.pretrained import new_model
from lathe.runtimes import onnx
from lathe.runtimes.eager import torch_forward
from lathe.runtimes.onnx import each_row, export, onnx_forward, quantize


def padded(*lengths):
    """Random rows of these lengths, padded on the right."""
    generator = torch.Generator().manual_seed(sum(lengths))
    attention_mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return {
        "input_ids": torch.randint(5, 25, attention_mask.shape, generator=generator) * attention_mask,
        "attention_mask": attention_mask,
    }


SHAPES = [(1,), (7,), (3, 3), (9, 1, 4), (31, 2, 17, 5, 8)]


@pytest.mark.parametrize("shape", ["bert", "gpt2"])
def test_an_exported_graph_equals_torch_for_every_shape(shape, bert_config, gpt2_config, tmp_path):
    auto_model = {"bert": AutoModelForTokenClassification, "gpt2": AutoModelForSequenceClassification}[shape]
    config = {"bert": bert_config, "gpt2": gpt2_config}[shape]
    config.num_labels, config.pad_token_id = 3, 0
    model = new_model(auto_model, config, seed=0)
    export(model, tmp_path / "model.onnx")
    exported, exact = onnx_forward(tmp_path / "model.onnx"), torch_forward(model)
    for lengths in SHAPES:
        inputs = padded(*lengths)
        found, expected = exported(inputs)["logits"], exact(inputs)["logits"]
        real = inputs["attention_mask"].bool() if found.ndim == 3 else ...
        torch.testing.assert_close(found[real], expected[real], rtol=0, atol=1e-4)


def test_a_graph_says_nothing_of_the_machine_it_was_made_on(bert_config, tmp_path):
    export(new_model(AutoModelForSequenceClassification, bert_config, seed=0), tmp_path / "model.onnx")
    quantize(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    for name in ("model.onnx", "int8.onnx"):
        content = (tmp_path / name).read_bytes()
        assert b".py" not in content
        assert b"/" + b"site-packages" not in content


def test_each_row_runs_alone_and_its_answers_go_back_to_their_places():
    seen = []

    def tagger(inputs):
        seen.append(tuple(inputs["input_ids"].shape))
        return {"logits": inputs["input_ids"][..., None].float() * torch.tensor([1.0, -1.0])}

    inputs = padded(4, 1, 3)
    logits = each_row(tagger)(inputs)["logits"]
    assert sorted(seen) == [(1, 1), (1, 3), (1, 4)]
    assert torch.equal(logits, tagger(inputs)["logits"])  # padding has id 0, and answers of 0


def test_each_row_joins_one_answer_a_text():
    inputs = padded(4, 1, 3)
    classifier = each_row(lambda inputs: {"logits": inputs["input_ids"].sum(-1, keepdim=True).float()})
    assert classifier(inputs)["logits"].flatten().tolist() == inputs["input_ids"].sum(-1).tolist()


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a graph at all")
    with pytest.raises(BundleError, match="not a graph that onnxruntime opens"):
        onnx_forward(tmp_path / "model.onnx")


def test_a_missing_library_comes_with_the_command_that_installs_it(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name=name)

    monkeypatch.setattr(onnx, "import_module", missing)
    with pytest.raises(LatheError, match=r"need onnxruntime: pip install 'lathe\[onnx\]'"):
        onnx_forward(tmp_path / "model.onnx")
