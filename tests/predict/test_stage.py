"""Predicting a file: every row answered or quarantined, in order, whole or not at all."""

import json
import os
import signal
from dataclasses import replace

import pyarrow
import pyarrow.parquet
import pytest

from lathe.core import answers
from lathe.core.bundle import Bundle, seal
from lathe.core.data import Columns
from lathe.core.errors import BundleError, DataError, RecipeError, Stopped
from lathe.loader import load
from lathe.predict import Recipe, run
from lathe.predict.stage import Data


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_row_is_kept_in_order_with_the_answer_that_the_model_gives(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "CHUNK_ROWS", 3)
    rows = [{"id": i, "text": "good film " * (i + 1), "note": None} for i in range(8)]
    data = write(tmp_path / "rows.jsonl", rows)
    told = run(Recipe(bundle=classifier, data=Data(file=data)), tmp_path / "out.jsonl")
    found = lines(tmp_path / "out.jsonl")
    assert [{key: row[key] for key in ("id", "text", "note")} for row in found] == rows
    wanted = [one.to_json() for one in load(classifier)([row["text"] for row in rows])]
    assert [row["prediction"]["label"] for row in found] == [one["label"] for one in wanted]
    assert [row["prediction"]["score"] for row in found] == pytest.approx([one["score"] for one in wanted], abs=1e-5)
    assert told.values["rows"] == 8
    assert told.values["quarantined"] == 0


def test_bad_rows_are_quarantined_and_counted(classifier, tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"text": "good"}\n{"text": 5}\nnonsense\n{"text": "bad", "prediction": 1}\n', encoding="utf-8")
    told = run(Recipe(bundle=classifier, data=Data(file=data)), tmp_path / "out.jsonl")
    assert len(lines(tmp_path / "out.jsonl")) == told.values["rows"] == 1
    assert [bad["line"] for bad in lines(tmp_path / "out.jsonl.quarantine.jsonl")] == [2, 3, 4]
    assert told.values["quarantined"] == 3
    assert "3 could not be read" in told.text


def test_without_a_file_answers_go_to_standard_output_and_bad_rows_to_standard_error(classifier, tmp_path, capsys):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"text": "good"}\n{"text": 5}\n', encoding="utf-8")
    run(Recipe(bundle=classifier, data=Data(file=data)))
    said = capsys.readouterr()
    assert [json.loads(line)["text"] for line in said.out.splitlines()] == ["good"]
    assert f"{data}:2: text: the text is a number" in said.err
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["rows.jsonl"]


@pytest.mark.parametrize(("kind", "content"), [("jsonl", b'{"text": "good film"}\n'), ("text", b"good film\n")])
def test_a_dash_reads_standard_input(classifier, tmp_path, kind, content):
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    kept = os.dup(0)
    os.dup2(reading, 0)
    try:
        run(Recipe(bundle=classifier, data=Data(file="-", stdin=kind)), tmp_path / "out.jsonl")
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reading)
    assert [row["text"] for row in lines(tmp_path / "out.jsonl")] == ["good film"]


def test_a_file_without_one_good_row_is_refused_and_nothing_is_left(classifier, tmp_path):
    data = write(tmp_path / "rows.jsonl", [{"text": 1}, {"text": 2}])
    with pytest.raises(DataError, match="none of its 2 rows"):
        run(Recipe(bundle=classifier, data=Data(file=data)), tmp_path / "out.jsonl")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["classifier", "rows.jsonl"]


def test_what_exists_is_not_written_over(classifier, tmp_path):
    data = write(tmp_path / "rows.jsonl", [{"text": "good"}])
    quarantine = write(tmp_path / "bad.jsonl", [{}])
    recipe = Recipe(bundle=classifier, data=Data(file=data))
    for asked in (recipe, replace(recipe, quarantine=quarantine)):
        with pytest.raises(BundleError, match="exists"):
            run(asked, data if asked is recipe else tmp_path / "out.jsonl")


def test_a_place_in_no_folder_is_named_as_the_user_wrote_it(classifier, tmp_path):
    data = write(tmp_path / "rows.jsonl", [{"text": "good"}])
    with pytest.raises(BundleError, match=r"nowhere/out.jsonl: there is no folder"):
        run(Recipe(bundle=classifier, data=Data(file=data)), tmp_path / "nowhere" / "out.jsonl")


def test_a_tagger_answers_tokens_with_one_tag_each_and_texts_with_spans(tagger, tmp_path):
    write(tmp_path / "tokens.jsonl", [{"tokens": ["in", "Paris"]}])
    write(tmp_path / "texts.jsonl", [{"body": "in Paris"}])
    run(Recipe(bundle=tagger, data=Data(file=tmp_path / "tokens.jsonl")), tmp_path / "a.jsonl")
    data = Data(file=tmp_path / "texts.jsonl", columns=Columns(text="body"))
    run(Recipe(bundle=tagger, data=data), tmp_path / "b.jsonl")
    assert len(lines(tmp_path / "a.jsonl")[0]["prediction"]["tags"]) == 2
    assert "tags" not in lines(tmp_path / "b.jsonl")[0]["prediction"]


def test_values_that_json_lacks_are_written_as_json_all_the_same(classifier, tmp_path):
    table = pyarrow.table({"text": ["good", "bad"], "weight": [float("nan"), 2.0]})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    run(Recipe(bundle=classifier, data=Data(file=tmp_path / "rows.parquet")), tmp_path / "out.jsonl")
    assert [row["weight"] for row in lines(tmp_path / "out.jsonl")] == [None, 2.0]


def test_what_did_not_fit_into_the_model_is_counted(classifier, tmp_path):
    data = write(tmp_path / "rows.jsonl", [{"text": "good " * 50}])
    told = run(Recipe(bundle=classifier, data=Data(file=data)), tmp_path / "out.jsonl")
    assert told.values["truncated_tokens"] == 20  # 32 places, two of them special
    assert "20 tokens did not fit" in told.text


def test_a_signal_ends_it_with_nothing_written(classifier, tmp_path, monkeypatch):
    data = write(tmp_path / "rows.jsonl", [{"text": "good"}, {"text": 1}] * 3)
    answer = answers._asked

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return answer(*arguments)

    monkeypatch.setattr(answers, "_asked", interrupted)
    with pytest.raises(Stopped, match="stopped after 6 rows") as stopped:
        run(Recipe(bundle=classifier, data=Data(file=data)), tmp_path / "out.jsonl")
    assert stopped.value.exit_code == 143
    assert sorted(p.name for p in tmp_path.iterdir()) == ["classifier", "rows.jsonl"]


def test_confidence_is_told_as_python_tells_it_or_refused(classifier, tmp_path):
    file = write(tmp_path / "rows.jsonl", [{"text": "good film"}])
    recipe = Recipe(bundle=classifier, data=Data(file=file), confidence=True)
    with pytest.raises(RecipeError, match="holds no calibration"):
        run(recipe, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    manifest = Bundle.open(classifier).manifest
    (classifier / "calibration.json").write_text('{"kind": "temperature", "temperature": 2.0, "rows": 30}')
    seal(classifier, manifest)
    run(recipe, tmp_path / "out.jsonl")
    told = lines(tmp_path / "out.jsonl")[0]["prediction"]
    assert told == load(classifier).confident(["good film"])[0].to_json()
