"""Showing a bundle."""

import json
import shutil

import pytest

from lathe.cli import main
from lathe.core.bundle import Bundle, Manifest, seal
from lathe.core.errors import BundleError
from lathe.inspect.show import Recipe, run


@pytest.fixture
def report(classifier, tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    seal(folder, Manifest(kind="report", stage="evaluate", parents=(Bundle.open(classifier).as_ancestor(),)))
    return folder


def test_it_tells_kind_task_scores_and_size(classifier):
    text = run(Recipe(bundle=classifier)).text
    assert "model, made by `lathe finetune`" in text
    assert "classify, 2 labels: bad, good" in text
    assert "test.accuracy  0.7500  (baseline 0.5000)" in text
    assert "MB read to predict" in text


def test_the_lineage_says_whether_each_ancestor_is_still_there_unchanged(classifier, report):
    assert "verified" in run(Recipe(bundle=report)).text
    (classifier / "manifest.json").write_text("{}", encoding="utf-8")
    assert "CHANGED" in run(Recipe(bundle=report)).text
    shutil.rmtree(classifier)
    assert "not there any more" in run(Recipe(bundle=report)).text


def test_a_changed_file_is_an_error(classifier):
    (classifier / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BundleError, match=r"config\.json: changed"):
        run(Recipe(bundle=classifier))


def test_json_is_the_manifest(classifier, capsys):
    assert main(["show", str(classifier), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["task"]["labels"] == ["bad", "good"]
    assert found["digest"] == Bundle.open(classifier).digest
