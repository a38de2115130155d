"""Adopting a Hugging Face folder: what is taken, what is refused, what is left behind."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from lathe.cli import main
from lathe.core.bundle import Bundle
from lathe.inspect.adopt import tag_labels
from lathe.loader import load
from lathe.models.pretrained import new_model
from lathe.tasks import Choose, MultiLabel, Score


@pytest.fixture
def make(tmp_path, tokenizer, bert_config):
    """A Hugging Face folder with a head whose outputs have these names."""

    def made(auto_model, names):
        bert_config.id2label = dict(enumerate(names))
        bert_config.label2id = {name: index for index, name in enumerate(names)}
        folder = tmp_path / "theirs"
        new_model(auto_model, bert_config, seed=0).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return made


def edit(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | values), encoding="utf-8")


def refused(capsys, folder, tmp_path):
    assert main(["adopt", str(folder), "-o", str(tmp_path / "out")]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["theirs"]
    return capsys.readouterr().err


def test_a_classifier_keeps_its_labels_in_the_order_of_its_outputs(make, tmp_path):
    folder = make(AutoModelForSequenceClassification, [f"c{i}" for i in range(12)])
    assert main(["adopt", str(folder), "-o", str(tmp_path / "out")]) == 0
    model = load(tmp_path / "out")
    assert model.task.labels == tuple(f"c{i}" for i in range(12))
    assert model.task.max_length == 32
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = theirs(**model.tokenizer("good film", return_tensors="pt")).logits[0]
    assert list(model(["good film"])[0].scores.values()) == pytest.approx(logits.softmax(-1).tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("auto_model", "names", "problem", "task"),
    [
        (AutoModelForSequenceClassification, ["a", "b"], "multi_label_classification", MultiLabel(labels=("a", "b"))),
        (AutoModelForSequenceClassification, ["LABEL_0"], "regression", Score(mean=0.0, scale=1.0)),
        (AutoModelForMultipleChoice, ["a", "b"], None, Choose()),
    ],
)
def test_several_labels_numbers_and_choices_are_what_the_configuration_says(
    make, tmp_path, auto_model, names, problem, task
):
    folder = make(auto_model, names)
    edit(folder / "config.json", problem_type=problem)
    assert main(["adopt", str(folder), "-o", str(tmp_path / "out")]) == 0
    found = load(tmp_path / "out")
    assert found.task == replace(task, max_length=32)
    assert found([{"text": "good film", "choices": ["a", "b"]} if task.kind == "choose" else "good film"])


def test_a_tagger_in_bio_is_a_tagger(make, tmp_path):
    folder = make(AutoModelForTokenClassification, ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
    assert main(["adopt", str(folder), "-o", str(tmp_path / "out")]) == 0
    assert load(tmp_path / "out").task.labels == ("PER", "LOC")


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["O", "B-PER", "I-PER"], ("PER",)),
        (["B-PER", "I-PER", "O"], None),
        (["O", "I-PER", "B-PER"], None),
        (["O", "B-PER"], None),
        (["NOUN", "VERB"], None),
        (["O"], None),
    ],
)
def test_tags_are_taken_only_where_they_mean_what_the_task_reads(names, labels):
    assert tag_labels(names) == labels


def test_a_model_without_a_task_is_something_to_start_from(make, tmp_path, capsys):
    folder = make(AutoModelForMaskedLM, ["a", "b"])
    assert main(["adopt", str(folder), "-o", str(tmp_path / "out")]) == 0
    assert Bundle.open(tmp_path / "out").manifest.task is None
    assert "a model to start from" in capsys.readouterr().err


def test_lost_names_of_labels_are_warned_about(make, tmp_path, capsys):
    folder = make(AutoModelForSequenceClassification, ["LABEL_0", "LABEL_1"])
    assert main(["adopt", str(folder), "-o", str(tmp_path / "out")]) == 0
    assert "names of its labels were lost" in capsys.readouterr().err


def test_code_pickles_and_copies_in_other_forms_are_left_behind(make, tmp_path, capsys):
    folder = make(AutoModelForSequenceClassification, ["a", "b"])
    (folder / "onnx").mkdir()
    for name in (
        "pytorch_model.bin",
        "modeling.py",
        "onnx/model.onnx",
        "onnx/config.json",
        ".gitattributes",
        "README.md",
    ):
        (folder / name).write_text("theirs", encoding="utf-8")
    assert main(["adopt", str(folder), "-o", str(tmp_path / "out")]) == 0
    files = set(Bundle.open(tmp_path / "out").manifest.files)
    assert files == {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert (tmp_path / "out" / "README.md").read_text("utf-8") == "theirs"
    assert "pytorch_model.bin" in capsys.readouterr().err


def test_a_folder_with_a_pickle_only_is_refused(make, tmp_path, capsys):
    folder = make(AutoModelForSequenceClassification, ["a", "b"])
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "only pytorch_model.bin, which can run code; convert to safetensors" in refused(capsys, folder, tmp_path)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_folder_that_wants_to_run_code_is_refused(make, tmp_path, capsys, file):
    folder = make(AutoModelForSequenceClassification, ["a", "b"])
    edit(folder / file, auto_map={"AutoModel": "modeling.Evil"})
    assert "auto_map" in refused(capsys, folder, tmp_path)


def test_weights_that_are_no_numbers_are_refused(make, tmp_path, capsys):
    folder = make(AutoModelForSequenceClassification, ["a", "b"])
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    torch.nn.init.constant_(model.classifier.weight, float("nan"))
    model.save_pretrained(folder)
    assert "NaN" in refused(capsys, folder, tmp_path)


def test_a_head_that_is_not_in_the_folder_is_refused(make, tmp_path, capsys):
    folder = make(AutoModelForMaskedLM, ["a", "b"])
    edit(folder / "config.json", architectures=["BertForSequenceClassification"])
    assert "are not in the folder" in refused(capsys, folder, tmp_path)


def test_weights_cut_short_are_refused(make, tmp_path, capsys):
    folder = make(AutoModelForSequenceClassification, ["a", "b"])
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "cannot be opened" in refused(capsys, folder, tmp_path)


def test_a_bundle_needs_no_adoption(classifier, tmp_path, capsys):
    assert main(["adopt", str(classifier), "-o", str(tmp_path / "out")]) == 2
    assert "is a bundle already" in capsys.readouterr().err
