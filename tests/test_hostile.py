"""Mistakes and traps that a user can set without meaning to: each was once a wrong answer, a loss or a traceback."""

import json

import pytest
import torch
from transformers import AutoModelForMaskedLM, GPT2LMHeadModel

from lathe import load
from lathe.core.bundle import MANIFEST
from lathe.core.digest import write_json
from lathe.core.errors import BundleError, DataError, LatheError, RecipeError
from lathe.core.recipe import parse
from lathe.core.work import Work
from lathe.finetune import Recipe, run

ROWS = [{"text": f"good film {i}", "label": "pos"} for i in range(12)] + [
    {"text": f"bad plot {i}", "label": "neg"} for i in range(12)
]


@pytest.fixture
def start(tmp_path, tokenizer, bert_config, gpt2_config):
    """Fine-tune one step on these rows: ``start(rows, out, **options)``."""
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(bert_config).save_pretrained(tmp_path / "bert")
    GPT2LMHeadModel(gpt2_config).save_pretrained(tmp_path / "gpt2")
    for name in ("bert", "gpt2"):
        tokenizer.save_pretrained(tmp_path / name)

    def begin(rows=ROWS, out="out", base="bert", **changes):
        write(tmp_path / "rows.jsonl", rows)
        write(tmp_path / "held.jsonl", ROWS[::6])
        data = {"train": tmp_path / "rows.jsonl", "validation": tmp_path / "held.jsonl"}
        train = {"max_steps": 1, "precision": "fp32"} | changes.pop("train", {})
        values = {"base": tmp_path / base, "data": data, "task": {"kind": "classify"}, "train": train}
        return run(parse(Recipe, values | changes), tmp_path / out)

    return begin


def write(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_a_folder_that_happens_to_end_in_work_is_nobodys_to_delete(start, tmp_path):
    (tmp_path / "out.work").mkdir()
    (tmp_path / "out.work" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(BundleError, match="not a work folder of Lathe"):
        start()
    assert (tmp_path / "out.work" / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_a_link_that_leads_nowhere_is_refused_before_training(start, tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="a link that leads nowhere"):
        start()


def test_training_rows_of_one_label_have_a_baseline_too(start):
    one = [row for row in ROWS if row["label"] == "pos"]
    bundle = start(one, task={"kind": "classify", "labels": ["neg", "pos"]})
    assert bundle.manifest.scores["validation_baseline"]["accuracy"] == 0.5


def test_gpt2_classifies_although_its_configuration_names_no_padding(start):
    model = load(start(base="gpt2").path)
    texts = ["good", "a great film in Paris", "bad plot", "the film [PAD]"]
    for text, together in zip(texts, model(texts), strict=True):
        assert list(model([text])[0].scores.values()) == pytest.approx(list(together.scores.values()), abs=1e-5)


@pytest.mark.parametrize("labels", [["pos", "pos", "neg"], [], ["pos", " "]])
def test_labels_that_cannot_name_outputs_are_refused(start, labels):
    with pytest.raises(RecipeError, match="labels"):
        start(task={"kind": "classify", "labels": labels})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("task", "labels"), ["pos", "neg"]),
        (("task", "labels"), ["a", "b", "c"]),
        (("task", "labels"), None),
        (("task", "max_length"), 4000),
        (("task",), {"kind": "tag", "labels": ["X"], "max_length": 16}),
        (("task",), {"kind": "zzz"}),
        (("runtime", "files"), ["../../etc/passwd"]),
        (("files",), {}),
        (("files", "../x"), {"sha256": "0", "bytes": 1}),
        (("format",), True),
        (("format",), -1),
        (("kind",), "thing"),
    ],
)
def test_a_manifest_that_does_not_fit_its_model_is_refused(start, path, value):
    bundle = start()
    manifest = json.loads((bundle.path / MANIFEST).read_text(encoding="utf-8"))
    table = manifest
    for name in path[:-1]:
        table = table[name]
    table[path[-1]] = value
    write_json(bundle.path / MANIFEST, manifest)
    with pytest.raises(BundleError):
        load(bundle.path)


def test_a_run_that_diverges_in_its_last_step_is_no_result(start, tmp_path):
    with pytest.raises(LatheError, match="not finite"):
        start(train={"learning_rate": 1e38, "warmup_ratio": 0.0})
    assert not (tmp_path / "out").exists()


def test_an_unforeseen_error_does_not_block_the_corrected_command(start, tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr("lathe.finetune.stage.read_tables", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            start()
    assert not (tmp_path / "out.work").exists()
    start(train={"seed": 1})


@pytest.mark.parametrize("rows", ["good film", {"text": "good"}, None, 5, [None], [1], [["a"]], [b"x"], [{1: "good"}]])
def test_what_is_no_list_of_rows_is_refused_by_name(start, rows):
    with pytest.raises(DataError, match="give a list of rows|row 0"):
        load(start().path)(rows)


def test_the_precision_a_run_began_with_stays(tmp_path):
    work = Work(tmp_path, ())
    assert [work.settle("precision", lambda: "bf16"), work.settle("precision", lambda: "fp32")] == ["bf16", "bf16"]
