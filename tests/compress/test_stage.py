"""The whole of ``lathe compress`` on a tiny model."""

import signal
from pathlib import Path

import pytest
import torch

import lathe
from lathe.compress import Recipe, distill, run
from lathe.compress.int8 import export_error
from lathe.core.bundle import Bundle
from lathe.core.errors import BundleError, DataError, GateError, LatheError, RecipeError, Stopped
from lathe.core.recipe import parse
from lathe.core.types import Symbols
from lathe.core.work import read_log
from lathe.models.pretrained import open_model
from lathe.runtimes import onnx
from lathe.runtimes.eager import torch_forward
from lathe.tasks import Classify, Score, training

LEARN = {"max_steps": 6, "batch_size": 8, "learning_rate": 3e-3, "precision": "fp32", "save_steps": 2, "eval_steps": 2}
DISTILL = {"kind": "distill", "student": {"layers": 1}, "train": LEARN}


def weights(path: Path) -> bytes:
    return (path / "model.safetensors").read_bytes()


def test_the_student_learns_from_its_teacher_and_is_measured_beside_it(recipe, tmp_path):
    made = run(recipe(DISTILL | {"train": LEARN | {"max_steps": 30}, "alpha": 1.0}), tmp_path / "out").manifest
    losses = [line["loss"] for line in read_log(tmp_path / "out") if line["event"] == "step"]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert list(made.scores["models"]) == ["teacher", "distill"]
    assert {"accuracy", "size_bytes", "p50_ms", "p95_ms", "rows_per_second"} <= set(made.scores["models"]["distill"])
    assert {"validation", "validation_teacher", "validation_baseline", "change"} <= set(made.scores)
    assert made.scores["models"]["distill"]["size_bytes"] == Bundle.open(tmp_path / "out").size_bytes
    assert lathe.load(tmp_path / "out")(["good film"])[0].label in ("neg", "pos")


def test_unlabelled_text_is_enough(recipe, write, rows, tmp_path):
    texts = write("texts.jsonl", [{"text": row["text"]} for row in rows])
    made = run(recipe(DISTILL, data={"train": texts}), tmp_path / "out").manifest
    assert made.data[0].kept == len(rows)
    assert "validation_baseline" not in made.scores


def test_unlabelled_text_alone_cannot_be_measured_on(recipe, write, rows, tmp_path):
    texts = write("texts.jsonl", [{"text": row["text"]} for row in rows])
    with pytest.raises(RecipeError, match=r"data.validation: needed"):
        run(recipe(DISTILL, data={"train": texts, "validation": None}), tmp_path / "out")


def test_spans_are_distilled_too(make_teacher, tag, write, tmp_path):
    base = make_teacher(tag, "tagger")
    tagged = [{"tokens": ["a", word, "in", "Paris"], "tags": ["O", "O", "O", "B-LOC"]} for word in ("film", "plot") * 4]
    data = {"train": write("tags.jsonl", tagged), "validation": write("held.jsonl", tagged[:2])}
    made = run(parse(Recipe, {"base": base, "data": data, "steps": [DISTILL]}), tmp_path / "out").manifest
    assert "entity_f1" in made.scores["validation"]


def test_a_stopped_distillation_resumes_bit_equal_without_asking_the_teacher_again(recipe, tmp_path, monkeypatch):
    run(recipe(DISTILL), tmp_path / "whole")
    keep_best, asked = training.keep_best, []

    def stop_at_step_2(work, model, step):
        keep_best(work, model, step)
        if step == 2:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(training, "keep_best", stop_at_step_2)
    with pytest.raises(Stopped):
        run(recipe(DISTILL), tmp_path / "cut")
    monkeypatch.setattr(training, "keep_best", keep_best)
    monkeypatch.setattr(distill, "logits_of", lambda *arguments: asked.append(arguments))
    run(recipe(DISTILL), tmp_path / "cut")
    assert asked == []
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_a_label_the_teacher_does_not_know_is_refused_with_its_line(recipe, write, rows, tmp_path):
    other = write("other.jsonl", [*rows[:3], {"text": "good", "label": "positive"}])
    with pytest.raises(DataError, match=r"other.jsonl:4: label 'positive' is not one of neg, pos"):
        run(recipe(DISTILL, data={"train": other}), tmp_path / "out")


@pytest.mark.parametrize("steps", [("int8", DISTILL), (DISTILL, DISTILL)])
def test_impossible_orders_of_steps_are_refused(recipe, tmp_path, steps):
    with pytest.raises(RecipeError, match="each step can be taken once, and int8 is the last"):
        run(recipe(*steps), tmp_path / "out")


def test_distillation_needs_rows(recipe, tmp_path):
    with pytest.raises(RecipeError, match=r"data.train: distill needs rows"):
        run(recipe(DISTILL, data={"train": None}), tmp_path / "out")


def test_gold_answers_alone_need_labels(recipe, write, rows, tmp_path):
    texts = write("texts.jsonl", [{"text": row["text"]} for row in rows])
    with pytest.raises(RecipeError, match="alpha: 0 learns from gold answers only"):
        run(recipe(DISTILL | {"alpha": 0}, data={"train": texts}), tmp_path / "out")


def test_a_model_that_loses_more_than_max_drop_is_not_published(recipe, teacher, write, rows, tmp_path):
    model = lathe.load(teacher)
    easy = [row | {"label": model([row])[0].label} for row in rows]  # the teacher is always right
    wrong = [row | {"label": "neg" if row["label"] == "pos" else "pos"} for row in easy]
    data = {"train": write("wrong.jsonl", wrong), "validation": write("easy.jsonl", easy)}
    with pytest.raises(GateError, match=r"accuracy may have dropped .* max_drop=0.0") as error:
        run(recipe(DISTILL | {"alpha": 0.0}, data=data, max_drop=0.0), tmp_path / "out")
    assert error.value.exit_code == 3
    assert not (tmp_path / "out").exists()


def test_a_missing_library_is_named_before_anything_is_trained(recipe, tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name=name)

    monkeypatch.setattr(onnx, "import_module", missing)
    with pytest.raises(LatheError, match=r"ONNX models need onnx: pip install 'lathe\[onnx\]'"):
        run(recipe(DISTILL, "int8"), tmp_path / "out")
    assert not (tmp_path / "out.work").exists()


def test_an_int8_bundle_answers_as_measured_and_cannot_be_compressed_again(recipe, teacher, rows, tmp_path):
    bundle = run(recipe("int8"), tmp_path / "out")
    made, notes = bundle.manifest, bundle.manifest.scores["models"]["int8"]
    assert (made.runtime.kind, made.runtime.precision) == ("onnx", "int8")
    assert set(made.runtime.files) == {"model.int8.onnx", "tokenizer.json", "tokenizer_config.json", "config.json"}
    assert not list(bundle.path.rglob("*.safetensors"))
    assert notes["export_error"] <= 1e-4
    small, exact = lathe.load(bundle.path), lathe.load(teacher)
    texts = [row["text"] for row in rows[::3]]
    for text, answer, other in zip(texts, small(texts), exact(texts), strict=True):
        assert small([text])[0].scores == answer.scores  # whatever stands beside it
        assert abs(answer.scores["pos"] - other.scores["pos"]) <= notes["drift_max"]
    right = [answer.label == row["label"] for answer, row in zip(small(texts), rows[::3], strict=True)]
    assert made.scores["validation"]["accuracy"] == pytest.approx(sum(right) / len(right))
    with pytest.raises(BundleError, match="only torch models can be compressed, this one is onnx, int8"):
        run(
            parse(Recipe, {"base": bundle.path, "data": {"train": tmp_path / "train.jsonl"}, "steps": ["int8"]}),
            tmp_path / "again",
        )


def test_an_export_that_drifts_fails(classify, teacher, tokenizer, rows):
    encoded, symbols = classify.encode(rows, tokenizer), Symbols.of(tokenizer)
    exact = torch_forward(open_model(classify.auto_model, teacher).model)

    def off(by):
        return lambda inputs: {"logits": exact(inputs)["logits"] + by * (inputs["attention_mask"].shape[1] > 5)}

    assert export_error(exact, off(5e-5), encoded, classify, symbols) == pytest.approx(5e-5, rel=0.1)
    for drift in (2e-4, torch.nan):
        with pytest.raises(GateError, match="logits differ from torch"):
            export_error(exact, off(drift), encoded, classify, symbols)


def test_an_int8_graph_of_pairs_is_told_which_text_is_which(make_teacher, rows, write, tokenizer, tmp_path):
    """The exported graph is compared with torch, which has been told."""
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    base = make_teacher(Classify(labels=("neg", "pos"), max_length=32, pair=True), "pairs")
    data = {"validation": write("pairs.jsonl", [row | {"text_pair": "the plot"} for row in rows])}
    bundle = run(parse(Recipe, {"base": base, "data": data, "steps": ["int8"]}), tmp_path / "out")
    swapped, given = lathe.load(bundle.path)(
        [{"text": "the plot", "text_pair": "good film"}, {"text": "good film", "text_pair": "the plot"}]
    )
    assert swapped.scores != given.scores


def test_windows_of_long_texts_are_distilled_one_by_one(make_teacher, rows, write, tmp_path):
    base = make_teacher(Classify(labels=("neg", "pos"), max_length=6, stride=1, pair=False), "windows")
    data = {"train": write("long.jsonl", [row | {"text": f"{row['text']} " * 4} for row in rows])}
    steps = [DISTILL | {"train": LEARN | {"max_steps": 2}}, "int8"]
    assert run(parse(Recipe, {"base": base, "data": data, "steps": steps}), tmp_path / "out").manifest.scores["change"]


def test_a_task_that_cannot_be_compressed_yet_is_refused_before_its_rows_are_read(make_teacher, write, tmp_path):
    base = make_teacher(Score(mean=0.0, scale=1.0, max_length=32), "score")
    data = {"validation": write("rows.jsonl", [{"text": "a", "score": 1}])}
    with pytest.raises(BundleError, match="has the task score; what can be compressed so far is classify and tag"):
        run(parse(Recipe, {"base": base, "data": data, "steps": ["int8"]}), tmp_path / "out")
