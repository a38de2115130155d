"""Fine-tuning as a user starts it: what comes out, what is said, what is refused, and what survives a stop."""

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, DebertaV2Config, XLNetConfig

from lathe import load
from lathe.core import fit as fit_module
from lathe.core.digest import file_digest
from lathe.core.errors import DataError, LatheError, RecipeError
from lathe.core.learn import BadStep
from lathe.core.recipe import parse
from lathe.core.work import read_log
from lathe.finetune import Recipe, run
from lathe.finetune.stage import ahead
from lathe.models import pretrained
from lathe.tasks import Classify, training

ROWS = [("good film", "pos"), ("great plot", "pos"), ("bad film", "neg"), ("awful plot", "neg")]


@pytest.fixture
def base(tmp_path, tokenizer, bert_config) -> Path:
    torch.manual_seed(0)
    bert_config.hidden_dropout_prob = bert_config.attention_probs_dropout_prob = 0.1
    AutoModelForMaskedLM.from_config(bert_config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def train(tmp_path) -> Path:
    rows = [{"text": f"{text} {i}", "label": label} for i in range(12) for text, label in ROWS]
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def recipe(base, train):
    def make(**changes) -> Recipe:
        values = {"base": base, "data": {"train": train}, "task": {"kind": "classify"}}
        options = {"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "precision": "fp32", "save_steps": 2}
        return parse(Recipe, values | {"train": options | changes.pop("train", {})} | changes)

    return make


def test_the_result_opens_with_transformers_and_answers_like_it(recipe, tmp_path, tokenizer):
    """Parity chain: the logits of the standard checkpoint are the scores of the loaded bundle."""
    bundle = run(recipe(), tmp_path / "out")
    texts = ["good film", "awful", "the plot is not bad 3"]
    answers = load(bundle.path)(texts)
    model = AutoModelForSequenceClassification.from_pretrained(bundle.path).eval()
    assert model.config.id2label == {0: "neg", 1: "pos"}
    for text, answer in zip(texts, answers, strict=True):
        logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
        torch.testing.assert_close(torch.tensor(list(answer.scores.values())), logits.softmax(-1), rtol=1e-5, atol=1e-6)


def test_scores_have_the_baseline_beside_them_and_say_which_step_was_best(recipe, tmp_path):
    bundle = run(recipe(), tmp_path / "out")
    scores = bundle.manifest.scores
    assert {"validation", "validation_baseline", "best_step", "steps"} <= scores.keys()
    evaluations = [line for line in read_log(bundle.path) if line["event"] == "evaluation"]
    best = max(evaluations, key=lambda line: line["accuracy"])
    assert (scores["best_step"], scores["validation"]["accuracy"]) == (best["step"], best["accuracy"])
    assert (bundle.path / "last").is_dir() == (scores["best_step"] != scores["steps"])
    assert bundle.manifest.task["labels"] == ["neg", "pos"]


@pytest.mark.parametrize("stop_at", [1, 4, 7])
def test_a_run_stopped_by_a_signal_goes_on_to_the_same_bits(recipe, tmp_path, stopped_after, stop_at):
    whole = run(recipe(), tmp_path / "whole")
    with stopped_after(stop_at):
        run(recipe(), tmp_path / "cut")
    cut = run(recipe(), tmp_path / "cut")
    assert file_digest(cut.path / "model.safetensors") == file_digest(whole.path / "model.safetensors")
    steps = [line["step"] for line in read_log(cut.path) if line["event"] == "step"]
    assert steps == [line["step"] for line in read_log(whole.path) if line["event"] == "step"]


def test_a_padded_family_says_so_once_and_learns_as_well(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fit_module.packing, "enable", lambda _: "this family is not verified")
    run(recipe(), tmp_path / "out")
    assert capsys.readouterr().err.count("runs padded, rows of like length together: this family is not verified") == 1


@pytest.mark.parametrize(
    "config",
    [
        XLNetConfig(d_model=16, n_layer=1, n_head=2, d_inner=32, vocab_size=64),
        DebertaV2Config(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=64
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_xlnet_and_deberta_run_padded_in_windows_of_like_length(
    recipe, tmp_path, monkeypatch, capsys, tokenizer, config
):
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    windows, batches = [], fit_module.batches

    def remember(source, objective, symbols, plan, *arguments, **named):
        windows.append(plan.window)
        return batches(source, objective, symbols, plan, *arguments, **named)

    monkeypatch.setattr(fit_module, "batches", remember)
    run(recipe(base=tmp_path / "other", train={"max_steps": 2}), tmp_path / "out")
    reason = f"runs padded, rows of like length together: models of type '{config.model_type}' run padded"
    assert capsys.readouterr().err.count(reason) == 1
    assert windows == [fit_module.PADDED_WINDOW]


def test_a_label_only_the_validation_rows_have_is_refused_with_file_and_line(recipe, tmp_path, train):
    other = tmp_path / "validation.jsonl"
    other.write_text('{"text": "good", "label": "pos"}\n{"text": "hm", "label": "meh"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"validation\.jsonl:2: label 'meh' is not one of neg, pos"):
        run(recipe(data={"train": train, "validation": other}), tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.work").exists()


def test_a_length_the_model_does_not_take_is_refused(recipe, tmp_path):
    with pytest.raises(RecipeError, match="task.max_length: 64 is more than this model takes"):
        run(recipe(task={"kind": "classify", "max_length": 64}), tmp_path / "out")


def test_the_same_seed_gives_the_same_model_and_another_seed_another(recipe, tmp_path):
    digests = [file_digest(run(recipe(train={"seed": seed}), tmp_path / f"{i}").path / "model.safetensors")
               for i, seed in enumerate((0, 0, 1))]  # fmt: skip
    assert digests[0] == digests[1] != digests[2]


def test_memory_is_taken_ahead_for_weights_gradients_moments_and_layers_but_not_for_what_stays_0(recipe, monkeypatch):
    def asked(**options):
        return ahead(recipe(train=options))

    monkeypatch.setattr(pretrained, "device", lambda: torch.device("cpu"))
    weights = sum(file.stat().st_size for file in recipe().base.glob("*.safetensors"))
    config = pretrained.open_config(recipe().base)
    assert asked(batch_size=16) - asked(batch_size=8) == asked(batch_size=8) - 4 * weights > 0
    whole = asked()
    monkeypatch.setattr(pretrained, "MANY_BYTES", 1)
    assert whole - asked() == 3 * 4 * config.vocab_size * config.hidden_size


def test_a_score_that_is_no_number_is_never_the_best_and_none_at_all_is_an_error(recipe, tmp_path, monkeypatch):
    evaluate, scores = training.validated, iter([math.nan, 0.5, math.nan])

    def scored(predictor, examples):
        return evaluate(predictor, examples) | {"accuracy": next(scores, math.nan)}

    monkeypatch.setattr(training, "validated", scored)
    train = {"max_steps": 3, "eval_steps": 1}
    assert run(recipe(train=train), tmp_path / "out").manifest.scores["best_step"] == 2
    with pytest.raises(LatheError, match="validation accuracy: no evaluation found a number"):
        run(recipe(train=train), tmp_path / "none")


@pytest.fixture
def patient(recipe, monkeypatch):
    """Runs that are best at step 4, have enough at step 8, and would take 18 steps."""
    evaluate = training.mean_loss
    losses = {2: 0.5, 4: 0.25, 6: 0.5, 8: 0.75}

    def told(model, predictor, examples, config):
        evaluate(model, predictor, examples, config)
        return losses[sum(line["event"] == "step" for line in read_log(told.work))]

    def make(out, **changes):
        told.work = out.with_name(f"{out.name}.work")
        return run(recipe(train=options | changes), out)

    options = {"eval_steps": 2, "metric_for_best_model": "loss", "early_stopping_patience": 2}
    monkeypatch.setattr(training, "mean_loss", told)
    return make


def test_it_ends_early_with_best_and_last_model_and_the_folder_says_which_steps_they_are(patient, tmp_path):
    made = patient(tmp_path / "out")
    expected = {"best_step": 4, "steps": 8, "selected_by": "lowest validation loss", "planned_steps": 18}
    assert expected.items() <= made.manifest.scores.items()
    card = (made.path / "README.md").read_text(encoding="utf-8")
    assert "those of step 4 of 8, which has the lowest validation loss. Those of step 8 are in last/." in card
    assert "Training ended early, 18 steps were planned" in card
    page = (made.path / "report.html").read_text(encoding="utf-8")
    assert "step 4: 0.2500" in page and ">best</text>" in page and "step 4 has the lowest validation loss" in page
    assert "http" not in page.split("</style>")[1] and "Give data.test to know how much" in page
    steps = [line for line in read_log(made.path) if line["event"] == "step"]
    assert len(steps) == 8 and steps[-1]["learning_rate"] == pytest.approx(0.01 * 11 / 16)  # of 18 steps, 2 warm ones


def test_a_run_that_ends_early_resumes_to_the_same_bits(patient, tmp_path, stopped_after):
    whole = patient(tmp_path / "whole")
    for stop_at in (5, 8):
        with stopped_after(stop_at):
            patient(tmp_path / f"cut-{stop_at}")
        cut = patient(tmp_path / f"cut-{stop_at}")
        for name in ("model.safetensors", "last/model.safetensors"):
            assert file_digest(cut.path / name) == file_digest(whole.path / name)
        assert cut.manifest.scores == whole.manifest.scores


def test_evaluations_may_come_twice_in_an_epoch(recipe, tmp_path):
    out = run(recipe(train={"epochs": 2, "eval_epochs": 0.5}), tmp_path / "out").path
    assert [line["step"] for line in read_log(out) if line["event"] == "evaluation"] == [3, 6, 9, 12]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"metric_for_best_model": "acuracy"}, "'acuracy' is not one of accuracy, macro_f1, loss; did you mean 'acc"),
        ({"early_stopping_threshold": 0.1}, "early_stopping_threshold: does nothing without"),
        ({"eval_steps": 3, "eval_epochs": 1}, "give it or train.eval_steps, not both"),
    ],
)
def test_what_selects_the_model_is_checked_before_anything_is_read(recipe, tmp_path, options, told):
    with pytest.raises(RecipeError, match=told):
        run(recipe(train=options), tmp_path / "out")


@pytest.fixture
def poisoned(recipe, tokenizer, monkeypatch):
    """Rows with the word "awful" have no finite loss."""
    word = tokenizer.convert_tokens_to_ids("awful")
    assert word != tokenizer.unk_token_id
    loss = Classify.loss

    def wrong(self, model, batch):
        share = float("nan") if (batch.inputs["input_ids"] == word).any() else 1.0
        return [part._replace(total=part.total * share) for part in loss(self, model, batch)]

    monkeypatch.setattr(Classify, "loss", wrong)
    return recipe


def test_rows_without_a_finite_loss_are_named_and_stop_the_run(poisoned, tmp_path, capsys):
    with pytest.raises(BadStep, match="no update was made"):
        run(poisoned(), tmp_path / "out")
    assert "these have no finite loss alone: " in capsys.readouterr().err


def test_bad_steps_may_pass(poisoned, train, tmp_path):
    data = {"train": train, "validation": train}
    out = run(poisoned(data=data, train={"max_bad_steps": 1000, "batch_size": 2}), tmp_path / "out").path
    log = read_log(out)
    bad = [line for line in log if line["event"] == "bad step"]
    good = [line for line in log if line["event"] == "step"]
    assert bad and good and not {line["step"] for line in bad} & {line["step"] for line in good}
    texts = [json.loads(line)["text"] for line in train.read_text(encoding="utf-8").splitlines()]
    assert all("awful" in texts[row] for line in bad for row in line["rows"])
    assert all(line["rows"] for line in bad)


def test_the_confidence_of_a_model_is_fitted_on_its_validation_rows_where_they_are_enough(recipe, train, tmp_path):
    lines = train.read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "validation.jsonl").write_text("".join(lines[:24]), encoding="utf-8")
    train.write_text("".join(lines[24:]), encoding="utf-8")
    few = load(run(recipe(), tmp_path / "few").path)
    data = {"train": train, "validation": tmp_path / "validation.jsonl"}
    bundle = run(recipe(data=data), tmp_path / "enough")
    [answer] = load(bundle.path).confident(["good film"])
    assert "calibration.json" in bundle.manifest.files
    assert 0.0 < answer.confidence <= 1.0
    assert answer.prediction.label == load(bundle.path)(["good film"])[0].label
    with pytest.raises(RecipeError, match="confidence"):
        few.confident(["good film"])
