"""Several tasks in one model: each as it is alone, one body, turns by shares, and what is refused."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    T5Config,
)

from lathe import load
from lathe.cli import main
from lathe.core.bundle import Bundle
from lathe.core.digest import file_digest
from lathe.core.errors import DataError, LatheError, RecipeError
from lathe.core.recipe import dump, parse
from lathe.core.work import read_log
from lathe.finetune import Recipe as Single
from lathe.finetune import multitask
from lathe.finetune import run as finetune
from lathe.finetune.multitask import Recipe, run, together
from lathe.models.pretrained import new_model, save_model
from lathe.tasks import Classify
from lathe.tasks.selection import Selection

FILMS = [("good film", "pos"), ("great plot", "pos"), ("bad film", "neg"), ("awful plot", "neg")]
PLACES = [
    {"text": "影片在北京很好", "spans": [{"start": 3, "end": 5, "label": "LOC"}]},
    {"text": "北京不好", "spans": [{"start": 0, "end": 2, "label": "LOC"}]},
    {"text": "很好", "spans": []},
    {"text": "影片不坏", "spans": []},
]
OPTIONS = {"max_steps": 12, "batch_size": 4, "learning_rate": 0.01, "precision": "fp32", "save_steps": 2}


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def desk(tmp_path_factory, tiny) -> Path:
    """A base with dropout, one without, and the rows of two tasks."""
    folder, (tiny_bert, tiny_tokenizer) = tmp_path_factory.mktemp("desk"), tiny
    for name, dropout in {"base": 0.1, "exact": 0.0}.items():
        config = tiny_bert()
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
        save_model(new_model(AutoModelForMaskedLM, config, seed=0), tiny_tokenizer(), folder / name)
    rows = [{"text": f"{text} {word}", "label": label} for word in ("the", "a", "is", "in") for text, label in FILMS]
    write(folder / "sentiment.jsonl", rows)
    write(folder / "places.jsonl", PLACES * 2)
    return folder


@pytest.fixture
def recipe(desk):
    def make(**changes) -> Recipe:
        tasks = {"sentiment": part(desk, "sentiment", "classify"), "places": part(desk, "places", "tag")}
        train = OPTIONS | {"eval_steps": 4} | changes.pop("train", {})
        return parse(Recipe, {"base": desk / "base", "tasks": tasks, "train": train} | changes)

    return make


def part(desk, name, kind):
    file = desk / f"{name}.jsonl"
    return {"task": {"kind": kind}, "data": {"train": file, "validation": file}}


@pytest.fixture(scope="module")
def made(desk):
    """A run of both tasks, and what it has said."""
    tasks = {"sentiment": part(desk, "sentiment", "classify"), "places": part(desk, "places", "tag")}
    options = OPTIONS | {"max_steps": 120, "eval_steps": 40, "warmup_ratio": 0.1, "save_steps": 100}
    return run(parse(Recipe, {"base": desk / "base", "tasks": tasks, "train": options}), desk / "made")


@pytest.mark.parametrize(("name", "kind", "adapt"), [("sentiment", "classify", "full"), ("places", "tag", "lora")])
def test_one_task_alone_is_trained_to_the_bits_of_finetune(name, kind, adapt, desk, tmp_path):
    if adapt == "lora":
        pytest.importorskip("peft")
    common = {"base": desk / "base", "adapt": adapt, "train": OPTIONS}
    alone = finetune(parse(Single, common | part(desk, name, kind)), tmp_path / "alone")
    many = run(parse(Recipe, common | {"tasks": {"it": part(desk, name, kind)}}), tmp_path / "many")
    for file in ("model.safetensors", "last/model.safetensors"):
        assert file_digest(many.path / "it" / file) == file_digest(alone.path / file)
    assert Bundle.open(many.path / "it").manifest.scores == alone.manifest.scores


def test_both_learn_their_rows_and_are_the_same_opened_predicted_and_evaluated(made, desk, tmp_path):
    scores = made.manifest.scores["tasks"]
    assert scores["sentiment"]["validation"]["accuracy"] == scores["places"]["validation"]["entity_f1"] == 1.0

    model, texts = load(made.path / "sentiment"), ["good film", "awful", "影片很好", "a"]
    network = AutoModelForSequenceClassification.from_pretrained(made.path / "sentiment").eval()
    for text, answer in zip(texts, model(texts), strict=True):
        with torch.no_grad():  # alone and padded: an answer depends neither on the others nor on packing
            expected = network(**model.tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0]
        assert [answer.scores[label] for label in ("neg", "pos")] == pytest.approx(expected.tolist(), abs=1e-5)
    assert [answer.label for answer in model(["good film the", "awful plot in"])] == ["pos", "neg"]

    AutoModelForTokenClassification.from_pretrained(made.path / "places")
    found = load(made.path / "places")(["影片在北京很好"])[0].to_json()
    assert [(span["start"], span["end"], span["label"]) for span in found["spans"]] == [(3, 5, "LOC")]
    asked = [str(made.path / "places"), str(desk / "places.jsonl"), "-o", str(tmp_path / "report")]
    assert main(["evaluate", *asked]) == 0
    assert Bundle.open(tmp_path / "report").manifest.scores["test"]["entity_f1"] == 1.0


def test_all_models_are_of_one_step_and_have_one_body(made):
    sentiment, places = (load_file(made.path / name / "model.safetensors") for name in ("sentiment", "places"))
    both = sentiment.keys() & places.keys() - {"classifier.weight", "classifier.bias"}
    assert len(both) == len(places) - 2 and all(torch.equal(sentiment[name], places[name]) for name in both)
    told = made.manifest.scores["selected_by"]
    assert told == "highest validation mean of places/entity_f1, sentiment/accuracy"
    evaluations = [line for line in read_log(made.path) if line["event"] == "evaluation"]
    means = [(line["places/entity_f1"] + line["sentiment/accuracy"]) / 2 for line in evaluations]
    assert [line[told.removeprefix("highest validation ")] for line in evaluations] == pytest.approx(means)
    best = evaluations[means.index(max(means))]["step"]
    assert {scores["best_step"] for scores in made.manifest.scores["tasks"].values()} == {best}


def test_each_folder_tells_of_its_own_task_and_the_page_of_all(made):
    for name, kind in {"sentiment": "classify", "places": "tag"}.items():
        one = Bundle.open(made.path / name)
        one.verify()
        assert one.manifest.task["kind"] == kind and one.manifest.stage == "multitask"
        assert one.manifest.recipe == made.manifest.recipe and one.manifest.inputs == made.manifest.inputs
        page = (one.path / "report.html").read_text(encoding="utf-8")
        assert "What selects the model" in page and "Loss, that of training smoothed" in page
        assert f'lathe.load("{name}")' in (one.path / "README.md").read_text(encoding="utf-8")
    page = (made.path / "report.html").read_text(encoding="utf-8")
    assert "sentiment" in page and "places" in page and "entity_f1" in page and "http" not in page.split("</style>")[1]
    made.verify()
    told = r"this is a models bundle \(made by `lathe multitask`\), not a model; take one of .*/places, .*/sentiment"
    with pytest.raises(LatheError, match=told):
        load(made.path)
    assert main(["show", str(made.path)]) == 0


def test_every_step_is_of_one_task(made):
    steps = [line for line in read_log(made.path) if line["event"] == "step"]
    owners = [{name.partition("/")[0] for name in line["items"]} for line in steps]
    assert len(steps) == 120 and all(len(owner) == 1 for owner in owners)
    of_places = owners.count({"places"}) / 120
    assert abs(of_places - 8**0.5 / (8**0.5 + 16**0.5)) < 4 * (0.25 / 120) ** 0.5


def test_a_run_stopped_by_a_signal_goes_on_to_the_same_bits(recipe, tmp_path, stopped_after):
    with_average = recipe(train={"ema_decay": 0.9})
    whole = run(with_average, tmp_path / "whole")
    with stopped_after(5):
        run(with_average, tmp_path / "cut")
    reordered = replace(with_average, tasks=dict(reversed(with_average.tasks.items())))
    cut = run(reordered, tmp_path / "cut")
    for name in ("sentiment", "places"):
        file = f"{name}/model.safetensors"
        assert file_digest(cut.path / file) == file_digest(whole.path / file)
    assert cut.manifest.scores == whole.manifest.scores
    assert run(with_average, tmp_path / "cut").reused


def test_the_cut_of_a_step_changes_nothing(recipe, tmp_path, desk):
    options = {"max_steps": 6, "optimizer": "sgd", "learning_rate": 0.5}
    made = [
        run(recipe(base=desk / "exact", train=options | {"tokens_per_batch": size}), tmp_path / str(size)).path
        for size in (9, 1000)
    ]
    for name in ("sentiment", "places"):
        cut, whole = (load_file(path / name / "model.safetensors") for path in made)
        assert all(torch.allclose(tensor, whole[key], atol=1e-6) for key, tensor in cut.items())


@pytest.mark.parametrize(
    "train",
    [
        {"optimizer": "muon", "layer_decay": 0.5, "gradient_checkpointing": True},
        {"metric_for_best_model": "loss", "early_stopping_patience": 1, "eval_steps": 2},
    ],
    ids=lambda train: next(iter(train)),
)
def test_what_one_task_can_be_told_several_can(recipe, tmp_path, train):
    scores = run(recipe(train={"max_steps": 6} | train), tmp_path / "out").manifest.scores
    assert (scores["selected_by"] == "lowest validation loss") == ("metric_for_best_model" in train)


@pytest.mark.parametrize("adapt", ["lora", {"kind": "freeze", "layers": 1}], ids=["lora", "freeze"])
def test_bodies_are_one_however_they_are_adapted(recipe, tmp_path, desk, adapt):
    if adapt == "lora":
        pytest.importorskip("peft")
    made = run(recipe(adapt=adapt, train={"max_steps": 6}), tmp_path / "out")
    sentiment, places = (load_file(made.path / name / "model.safetensors") for name in ("sentiment", "places"))
    body = [name for name in places if not name.startswith("classifier")]
    before = load_file(desk / "base/model.safetensors")
    assert body and all(torch.equal(sentiment[name], places[name]) for name in body)
    moved = {name for name in body if not torch.equal(before[name], places[name])}
    assert moved and "bert.embeddings.word_embeddings.weight" not in moved


def test_metrics_in_percent_count_as_shares_beside_others():
    selection, joined = together({"a": Selection("accuracy"), "t": Selection("bleu", 3, 0.1)})
    assert joined({"a": {"accuracy": 0.5}, "t": {"bleu": 30.0}}) == pytest.approx(0.4)
    assert selection.higher_is_better and selection.metric == "mean of a/accuracy, t/bleu"
    selection, joined = together({"t": Selection("bleu"), "u": Selection("bleu")})
    assert joined({"t": {"bleu": 30.0}, "u": {"bleu": 10.0}}) == 20 and selection == Selection("bleu")
    assert not together({"a": Selection("loss"), "b": Selection("loss")})[0].higher_is_better


def without_models(monkeypatch):
    def opened(*_):
        pytest.fail("a model is opened")

    monkeypatch.setattr(multitask.stage, "open_base", opened)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tasks": {}}, "tasks: none is given; begin one with"),
        (
            {"train": {"max_steps": 1}},
            r"tasks\.\w+: has none of 1 steps \(a chance of \d\d\.\d\d%",
        ),
        ({"train": {"torch_compile": True}}, "train.torch_compile: only layers of a single task"),
        (
            {"train": {"metric_for_best_model": "accuracy"}},
            "tasks.places: train.metric_for_best_model: 'accuracy'",
        ),
        ({"train": {"temperature": 0.5}}, "train.temperature: .*greater than or equal to 1"),
    ],
    ids=["no task", "more tasks than steps", "compiled", "metric", "temperature"],
)
def test_what_cannot_be_trained_together_is_refused_before_a_model_is_opened(
    recipe, tmp_path, monkeypatch, changes, told
):
    without_models(monkeypatch)
    with pytest.raises(RecipeError, match=told):
        run(recipe(**changes), tmp_path / "out")
    assert not (tmp_path / "out.work").exists()


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("../films", "classify", r"tasks\.\.\./films: is no name for a folder"),
        ("similar", "embed", "tasks.similar: task.kind=embed compares all rows of a step with one another"),
        ("turned", "transform", "tasks.turned: task.kind: transform does not fit a model of type 'bert'"),
    ],
)
def test_a_task_that_cannot_be_one_of_several_is_refused(recipe, tmp_path, monkeypatch, desk, name, kind, told):
    without_models(monkeypatch)
    tasks = dump(recipe())["tasks"] | {name: part(desk, "sentiment", kind)}
    with pytest.raises(RecipeError, match=told):
        run(recipe(tasks=tasks), tmp_path / "out")


def test_tasks_without_a_body_in_common_are_refused(recipe, tmp_path, monkeypatch, desk, tokenizer):
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    model = new_model(AutoModelForSeq2SeqLM, T5Config(vocab_size=len(tokenizer), **sizes), seed=0)
    tokenizer.eos_token = "[SEP]"
    save_model(model, tokenizer, tmp_path / "t5")
    without_models(monkeypatch)
    rows = write(tmp_path / "turned.jsonl", [{"source": text, "target": label} for text, label in FILMS])
    turned = {"task": {"kind": "transform"}, "data": {"train": rows, "validation": rows}}
    tasks = {"places": part(desk, "places", "tag"), "turned": turned}
    with pytest.raises(RecipeError, match="tasks.turned: task.kind=transform needs a T5.* no body in common"):
        run(recipe(base=tmp_path / "t5", tasks=tasks), tmp_path / "out")


def test_bad_rows_are_refused_by_task_file_line_and_field(recipe, tmp_path, monkeypatch):
    without_models(monkeypatch)
    bad = write(tmp_path / "bad.jsonl", [{"text": "in Paris", "spans": [{"start": 3, "end": 99, "label": "LOC"}]}])
    tasks = dump(recipe())["tasks"]
    tasks["places"]["data"] = {"train": bad}
    with pytest.raises(DataError, match=r"tasks.places: .*bad\.jsonl.*\n?.*spans.*99"):
        run(recipe(tasks=tasks), tmp_path / "out")
    strange = write(tmp_path / "strange.jsonl", [{"text": "a film", "label": "neutral"}])
    tasks = dump(recipe())["tasks"]
    tasks["sentiment"]["data"]["validation"] = strange
    with pytest.raises(DataError, match=r"tasks.sentiment: .*strange\.jsonl:1: .*'neutral'"):
        run(recipe(tasks=tasks), tmp_path / "out")


def test_rows_of_all_tasks_that_cannot_be_used_are_set_aside_together(recipe, tmp_path, desk):
    tasks = dump(recipe())["tasks"]
    for name, row in {"places": {"text": "", "spans": 3}, "sentiment": {"text": "a film", "label": None}}.items():
        lines = (desk / f"{name}.jsonl").read_text(encoding="utf-8") + json.dumps(row) + "\n"
        tasks[name]["data"]["train"] = tmp_path / f"{name}.jsonl"
        tasks[name]["data"]["train"].write_text(lines, encoding="utf-8")
    made = run(recipe(tasks=tasks, train={"max_steps": 4}), tmp_path / "out")
    aside = [json.loads(line) for line in (made.path / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(Path(one["file"]).name for one in aside) == ["places.jsonl", "sentiment.jsonl"]
    assert [use.quarantined for use in Bundle.open(made.path / "places").manifest.data] == [1, 0]


def test_a_bad_step_names_the_task_and_the_row_among_its_own(recipe, tmp_path, monkeypatch, tokenizer, capsys):
    word, loss = tokenizer.convert_tokens_to_ids("awful"), Classify.loss

    def wrong(self, model, batch):
        share = float("nan") if (batch.inputs["input_ids"] == word).any() else 1.0
        return [part._replace(total=part.total * share) for part in loss(self, model, batch)]

    monkeypatch.setattr(Classify, "loss", wrong)
    run(recipe(train={"max_bad_steps": 100}), tmp_path / "out")
    named = re.findall(r"no finite loss alone: ([^(]*) \(", capsys.readouterr().err)
    assert named and {row for line in named for row in line.split(", ")} <= {f"sentiment {4 * n}" for n in range(1, 5)}


def test_the_command_takes_options_of_one_task(tmp_path, desk, capsys):
    file = tmp_path / "several.toml"
    file.write_text(
        'verb = "multitask"\n[tasks.sentiment]\ntask.kind = "classify"\ndata.train = "nothing.jsonl"\n',
        encoding="utf-8",
    )
    assert main(["check", str(file)]) == 2
    assert "tasks.sentiment.data.train: nothing.jsonl: no such file" in capsys.readouterr().err
    options = [f"base={desk / 'base'}", f"tasks.sentiment.data.train={desk / 'sentiment.jsonl'}"]
    options += ["tasks.sentiment.task.max_length=8", "train.max_steps=1", "train.precision=fp32"]
    assert main(["multitask", str(file), *options, "-o", str(tmp_path / "out")]) == 0
    assert Bundle.open(tmp_path / "out/sentiment").manifest.task["max_length"] == 8
    assert main(["multitask", str(file), "tasks.sentiment.data.trian=x", "-o", str(tmp_path / "other")]) == 2
    assert "tasks.sentiment.data.trian: no such option; did you mean 'train'?" in capsys.readouterr().err
