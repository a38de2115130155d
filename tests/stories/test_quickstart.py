"""The whole of quickstart on two small libraries, with four steps wherever something trains."""

import json
import shlex
from pathlib import Path

import pytest

import lathe
from lathe.core.recipe import override, parse, read_toml
from lathe.stories import quickstart
from lathe.stories.comparison import BASELINE, Example
from lathe.stories.pace import remember, remembered

TINY = Path(__file__).parents[2] / "recipes" / "quickstart-tiny.toml"


def tiny(*assignments: str) -> quickstart.Recipe:
    values = read_toml(TINY)
    assert values.pop("verb") == "quickstart"
    return parse(quickstart.Recipe, override(values, assignments))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("quickstart") / "out"
    quickstart.run(tiny(), folder)
    return folder


def test_the_result_is_a_model_that_answers(out):
    (answer,) = lathe.load(out / "model")(["Validate the fields of a model."])
    assert answer.label in ("pydantic", "rich")


def test_each_model_stands_beside_its_baselines_with_an_interval(out):
    compared = quickstart.read_comparison(out / "comparison")
    groups = [BASELINE, "not pretrained", "fine-tuned", "distilled", "distilled, int8"]
    assert [result.group for result in compared.results] == groups
    for result in compared.results:
        assert result.accuracy.low <= result.accuracy.value <= result.accuracy.high
        assert result.size_bytes > 0
        assert result.speed.p50_ms > 0
    assert len(compared.differences) == len(quickstart.PAIRS)
    assert sum(map(sum, compared.confusion)) == compared.rows


def test_the_report_stands_alone_and_is_small(out):
    report = (out / "report.html").read_text("utf-8")
    assert len(report) < 1_000_000
    assert "unigram entropy" in report
    assert "default-src &#x27;none&#x27;" in report or "default-src 'none'" in report
    assert not any(word in report for word in ("<script", "@import", "url(", 'src="', "href="))


def test_a_second_run_reuses_everything(out):
    assert quickstart.run(tiny(), out)["reused"]


def test_the_untrained_network_differs_from_the_pretrained_one_in_its_start_alone(out):
    ours, theirs = (lathe.core.bundle.Bundle.open(out / name).manifest for name in ("classifier", "untrained-0"))
    assert ours.recipe | {"base": ""} == theirs.recipe | {"base": ""}
    assert theirs.recipe["base"].endswith("new-weights-0")
    shapes = [json.loads((out / name / "config.json").read_text("utf-8")) for name in ("encoder", "new-weights-0")]
    assert shapes[0] == shapes[1]


def test_a_changed_machine_does_not_change_a_run_that_has_begun(tmp_path, monkeypatch):
    plan = tmp_path / "plan.json"
    step = next(s for s in steps(tmp_path, "encoder.train.max_steps=7") if s.stage.name == "encoder")
    recipe = quickstart.Recipe()
    monkeypatch.setattr(quickstart, "step_seconds", lambda *_: 0.01)
    first = quickstart._paced(step, recipe, plan)
    monkeypatch.setattr(quickstart, "step_seconds", lambda *_: 0.02)
    assert quickstart._paced(step, recipe, plan).recipe == first.recipe
    assert first.recipe.train.max_steps == int(recipe.pretrain_seconds / 0.01)


def test_a_given_number_of_steps_is_not_measured(tmp_path):
    step = next(s for s in steps(tmp_path, "encoder.train.max_steps=7") if s.stage.name == "encoder")
    paced = quickstart._paced(step, tiny("encoder.train.max_steps=7"), tmp_path / "plan.json")
    assert paced.recipe.train.max_steps == 7
    assert not (tmp_path / "plan.json").exists()


@pytest.mark.parametrize(("seconds", "runs"), [(100.0, 1), (12.0, 2), (0.1, 3)])
def test_as_many_untrained_runs_as_fit_and_one_at_least(tmp_path, seconds, runs):
    remember(tmp_path / "plan.json", seconds={"classifier": seconds})
    assert quickstart._runs(quickstart.Recipe(), tmp_path / "plan.json") == runs
    assert remembered(tmp_path / "plan.json")["untrained_runs"] == runs


def test_the_request_survives_a_shell():
    text = 'It\'s a "quoted"\n$HOME `text`'
    request = quickstart.curl([Example(text=text, gold="a", predicted="a", confidence=1.0)])
    assert json.loads(shlex.split(request)[-1]) == {"rows": [{"text": text}]}


def steps(out: Path, *assignments: str) -> list[quickstart.Step]:
    recipe = tiny(*assignments)
    stages = quickstart.read_story(quickstart.STORY)
    return quickstart.prepare(quickstart.changed(stages, {s.name: getattr(recipe, s.name) for s in stages}), out)
