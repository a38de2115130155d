"""Evaluating: the scores are the metrics of the model's answers, and the report names the model."""

import json

import pytest

import lathe.evaluate.stage
from lathe.core.bundle import Bundle
from lathe.core.errors import BundleError
from lathe.core.measure import Speed
from lathe.core.metrics import accuracy, ece, entity_f1, macro_f1
from lathe.core.predictions import Label, Span, Spans
from lathe.evaluate import Recipe, run
from lathe.evaluate.result import mistakes
from lathe.evaluate.stage import Data
from lathe.loader import load

TEXTS = [
    ("good film", "good"),
    ("bad plot", "bad"),
    ("great film", "good"),
    ("awful <b>film</b>", "bad"),
    ("not a plot", "bad"),
]


@pytest.fixture(autouse=True)
def no_stopwatch(monkeypatch):
    monkeypatch.setattr(lathe.evaluate.stage, "measure", lambda model, rows: Speed(1.0, 2.0, float(len(model(rows)))))


@pytest.fixture
def data(tmp_path):
    rows = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in TEXTS)
    (tmp_path / "rows.jsonl").write_text(rows + "nonsense\n", encoding="utf-8")
    return Data(test=tmp_path / "rows.jsonl")


def test_scores_are_the_metrics_of_the_answers_with_their_intervals(classifier, data, tmp_path):
    report = run(Recipe(bundle=classifier, data=data), tmp_path / "out")
    golds, answers = [label for _, label in TEXTS], load(classifier)([text for text, _ in TEXTS])
    found = report.manifest.scores
    assert list(found["test"]) == ["accuracy", "macro_f1", "mcc", "ece", "brier", "auroc", "average_precision"]
    for name, metric in (("accuracy", accuracy), ("macro_f1", macro_f1), ("ece", ece)):
        assert found["test"][name] == pytest.approx(metric(golds, answers), abs=1e-5)
        low, high = found["test_interval"][name]
        assert low <= high
    assert found["test_baseline"]["accuracy"] == 0.6
    assert found["p50_ms"] == 1.0
    assert found["size_bytes"] == Bundle.open(classifier).size_bytes


def test_the_report_names_the_digest_of_the_model_and_counts_the_data(classifier, data, tmp_path):
    report = run(Recipe(bundle=classifier, data=data), tmp_path / "out")
    model = Bundle.open(classifier)
    assert report.manifest.kind == "report"
    assert report.manifest.parents[0].sha256 == model.digest
    assert (report.manifest.data[0].kept, report.manifest.data[0].quarantined) == (5, 1)
    told = json.loads((report.path / "scores.json").read_text(encoding="utf-8"))
    assert told["model"]["digest"] == model.digest
    assert sum(map(sum, told["confusion"])) == sum(b["rows"] for b in told["calibration"]) == 5
    assert set(report.manifest.files) == {"scores.json", "predictions.jsonl", "report.html", "quarantine.jsonl"}


def test_predictions_hold_every_row_with_line_gold_and_answer(classifier, data, tmp_path):
    report = run(Recipe(bundle=classifier, data=data), tmp_path / "out")
    lines = [json.loads(line) for line in (report.path / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert [(line["line"], line["text"], line["gold"]) for line in lines] == [
        (i, *row) for i, row in enumerate(TEXTS, 1)
    ]
    assert all(line["prediction"]["label"] in ("bad", "good") for line in lines)


def test_the_page_stands_alone_and_shows_texts_escaped_and_capped(classifier, data, tmp_path):
    page = (run(Recipe(bundle=classifier, data=data, examples=9), tmp_path / "a").path / "report.html").read_text(
        "utf-8"
    )
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert "<b>film" not in page
    none = (run(Recipe(bundle=classifier, data=data, examples=0), tmp_path / "b").path / "report.html").read_text(
        "utf-8"
    )
    assert "0 are shown" in none
    assert not any(text in none for text, _ in TEXTS)


def test_a_model_compared_with_itself_differs_by_nothing(classifier, data, tmp_path):
    report = run(Recipe(bundle=classifier, data=data, compare=classifier), tmp_path / "out")
    comparison = json.loads((report.path / "scores.json").read_text(encoding="utf-8"))["comparison"]
    assert all(value == {"value": 0.0, "low": 0.0, "high": 0.0} for value in comparison["differences"].values())
    assert comparison["mcnemar_p"] == 1.0


def test_models_of_different_tasks_are_not_compared(classifier, tagger, data, tmp_path):
    with pytest.raises(BundleError, match="has the task tag"):
        run(Recipe(bundle=classifier, data=data, compare=tagger), tmp_path / "out")


def test_a_tagger_is_scored_by_spans(tagger, tmp_path):
    rows = [{"tokens": ["in", "Paris"], "tags": ["O", "B-LOC"]}, {"tokens": ["北", "京"], "tags": ["B-LOC", "I-LOC"]}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    report = run(Recipe(bundle=tagger, data=Data(test=tmp_path / "rows.jsonl")), tmp_path / "out")
    answers = load(tagger)([{"tokens": row["tokens"]} for row in rows])
    golds = [(Span(3, 8, "LOC"),), (Span(0, 2, "LOC"),)]
    assert report.manifest.scores["test"]["entity_f1"] == pytest.approx(entity_f1(golds, answers))
    told = json.loads((report.path / "scores.json").read_text(encoding="utf-8"))
    assert told["by_label"]["LOC"]["support"] == 2
    assert told["confusion"] is None


def test_mistakes_name_what_was_missed_and_what_was_wrong():
    assert mistakes("good", Label("good", {"good": 1.0})) == ""
    found = Spans((Span(0, 2, "LOC", 0.5), Span(5, 6, "PER")))
    assert mistakes((Span(0, 2, "LOC"), Span(3, 4, "PER")), found) == "missed PER 3-4, wrong PER 5-6"
