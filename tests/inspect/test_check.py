"""Checking data and recipes before anything is trained."""

import json

import pytest

from lathe.core.errors import LatheError
from lathe.inspect.check import Data, Recipe, run


def check(path, **options):
    return run(Recipe(data=Data(file=path, **options)))


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def kinds(told):
    return {one["kind"]: one["rows"] for one in told.values["suspicions"]}


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"text": "in Paris", "label": "place"}, {"text", "label"}),
        ({"tokens": ["in", "Paris"], "tags": ["O", "B-LOC"]}, {"tokens", "tags"}),
        ({"text": "in Paris", "spans": [{"start": 3, "end": 8, "label": "LOC"}]}, {"text", "spans"}),
        ({"text": "in Paris", "text_pair": "in France", "label": "yes"}, {"text", "text_pair", "label"}),
        ({"text": "in Paris", "labels": ["place", "France"]}, {"text", "labels"}),
        ({"text": "in Paris", "score": 4.5}, {"text", "score"}),
        ({"context": "in Paris", "choices": ["France", "Spain"], "label": 0}, {"text", "choices", "label"}),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, {"messages"}),
        ({"text": "in Paris"}, {"text"}),
        ({"tokens": ["in", "Paris"]}, {"tokens"}),
    ],
)
def test_the_kind_of_rows_is_found(tmp_path, row, columns):
    told = check(write(tmp_path / "rows.jsonl", [row]))
    assert told.values["columns"].keys() == columns
    assert told.values["rows"] == 1
    assert "rows.jsonl: 1 row" in told.text


def test_repeated_texts_and_contradictions_are_counted(tmp_path):
    rows = [("A film", "good"), ("a  film", "bad"), ("plot", "bad"), ("plot", "bad")]
    told = check(write(tmp_path / "rows.jsonl", [{"text": text, "label": label} for text, label in rows]))
    assert kinds(told)["duplicates"] == 2
    assert kinds(told)["contradictions"] == 1
    assert "lines 1, 2 ('bad', 'good')" in told.text


def test_a_pair_is_repeated_only_where_both_texts_are(tmp_path):
    pairs = [("a film", "it is good", "yes"), ("a film", "it is bad", "no"), ("A film", "it is good", "no")]
    rows = [dict(zip(("text", "text_pair", "label"), pair, strict=True)) for pair in pairs]
    found = kinds(check(write(tmp_path / "rows.jsonl", rows)))
    assert (found["duplicates"], found["contradictions"]) == (1, 1)


def test_a_label_that_stands_in_its_texts_is_found(tmp_path):
    rows = [{"text": f"{label}: row {i}", "label": label} for i in range(6) for label in ("sports", "music")]
    assert kinds(check(write(tmp_path / "rows.jsonl", rows)))["label in text"] == 6
    clean = [{"text": f"row {i} of {label[0]}", "label": label} for i in range(6) for label in ("sports", "music")]
    told = check(write(tmp_path / "clean.jsonl", clean))
    assert kinds(told) == {}
    assert "nothing suspicious" in told.text


def test_rows_that_two_files_share_are_counted(tmp_path):
    train = write(tmp_path / "train.jsonl", [{"text": f"row {i}", "label": "a"} for i in range(5)])
    test = write(tmp_path / "test.jsonl", [{"text": f"Row {i}", "label": "a"} for i in range(3, 8)])
    told = check(train, against=test)
    assert kinds(told)["overlap"] == 2
    assert "2 of 5 rows of test.jsonl" in told.text


def test_bad_rows_are_shown_with_their_reason(tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"text": "a", "label": "x"}\nnonsense\n{"text": "", "label": "x"}\n', encoding="utf-8")
    told = check(data)
    assert told.values["quarantined"] == 2
    assert "rows.jsonl:2: not JSON" in told.text
    assert "rows.jsonl:3: text: the text is empty" in told.text


def test_a_good_recipe_names_its_files(tmp_path, classifier):
    data = write(tmp_path / "rows.jsonl", [{"text": "a", "label": "x"}])
    recipe = tmp_path / "a.toml"
    recipe.write_text(f'verb = "evaluate"\nbundle = "{classifier}"\ndata = {{test = "{data}"}}\n', encoding="utf-8")
    told = check(recipe)
    paths = {"bundle": str(classifier), "data.test": str(data)}
    assert told.values == {"file": str(recipe), "stages": [{"verb": "evaluate", "paths": paths}]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('bundle = "x"', "names no verb"),
        ('verb = "finetun"', "did you mean 'finetune'"),
        ('verb = "show"\nbundel = "x"', "did you mean 'bundle'"),
        ('verb = "show"\nbundle = "classifie"', "did you mean 'classifier'"),
        ('verb = "adopt"\nfolder = "pickled"', "convert to safetensors"),
        ("verb = = 1", "line 1"),
        ("stage = 3", r"no \[\[stage\]\] table"),
        ('[[stage]]\nverb = "show"\nname = "a"\nbundle = "@b"\n', "a: bundle: no earlier stage is called 'b'"),
    ],
)
def test_a_recipe_that_cannot_run_is_refused(tmp_path, classifier, monkeypatch, text, reason):
    assert classifier.parent == tmp_path
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"x")
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    with pytest.raises(LatheError, match=reason):
        check(tmp_path / "a.toml")


def test_a_story_may_name_the_results_of_its_earlier_stages(tmp_path, classifier):
    story = f'''
        [[stage]]
        verb = "adopt"
        name = "base"
        folder = "{classifier}"
        [[stage]]
        verb = "show"
        name = "look"
        bundle = "@base/last"
    '''
    (tmp_path / "story.toml").write_text(story, encoding="utf-8")
    assert [stage["verb"] for stage in check(tmp_path / "story.toml").values["stages"]] == ["adopt", "show"]
