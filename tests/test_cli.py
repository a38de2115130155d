"""The command line: what it says to wrong input, and that it leaves nothing behind."""

import errno
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lathe.core.work
from lathe.cli import VERBS, main

ROWS = [("good film", "good"), ("bad plot", "bad"), ("great film", "good"), ("awful film", "bad")]


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "rows.jsonl", [{"text": text, "label": label} for text, label in ROWS])


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def fails(capsys, *arguments):
    """The message of a command that is refused: one, with exit code 2, without a traceback."""
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert said.err.splitlines()[-1:] or said.err
    return said.err


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_unknown_verb_is_an_error_with_the_nearest_one(capsys):
    assert "did you mean 'predict'" in fails(capsys, "predikt", "x")


def test_an_unknown_flag_names_the_way_options_are_written(capsys):
    assert "name=value" in fails(capsys, "predict", "--batch", "8")


def test_an_unknown_option_is_an_error_with_the_nearest_one(capsys, classifier, rows, tmp_path):
    said = fails(capsys, "evaluate", classifier, rows, "-o", tmp_path / "out", "exampels=3")
    assert "exampels" in said
    assert "did you mean 'examples'" in said
    assert names(tmp_path) == ["classifier", "rows.jsonl"]


def test_a_missing_column_is_named_with_the_option_to_set(capsys, classifier, tmp_path):
    data = write_rows(tmp_path / "rows.jsonl", [{"text": "good film", "stars": 5, "author": "x"}])
    said = fails(capsys, "evaluate", classifier, data, "-o", tmp_path / "out")
    assert "no column for label" in said
    assert "data.columns.label=NAME" in said
    assert names(tmp_path) == ["classifier", "rows.jsonl"]


def test_a_label_the_model_does_not_know_is_named_with_file_and_line(capsys, classifier, tmp_path):
    data = write_rows(tmp_path / "rows.jsonl", [{"text": "a", "label": "good"}, {"text": "b", "label": "goood"}])
    said = fails(capsys, "evaluate", classifier, data, "-o", tmp_path / "out")
    assert f"{data}:2: label 'goood' is not one of bad, good; did you mean 'good'?" in said
    assert names(tmp_path) == ["classifier", "rows.jsonl"]


@pytest.mark.parametrize("verb", ["evaluate", "predict", "check"])
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.jsonl", b"", "empty"),
        ("blank.jsonl", b"\n\n", "holds no rows"),
        ("latin.csv", b"text,label\n" + "gut f\xfcr,good\n".encode("latin-1") * 3, "not UTF-8"),
        ("cut.jsonl.gz", gzip.compress(b'{"text": "good", "label": "good"}\n' * 500)[:-20], "ends early"),
        ("page.docx", b"PK", "unknown kind of file"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_nothing_is_left(
    capsys, classifier, tmp_path, verb, name, content, reason
):
    data = tmp_path / name
    data.write_bytes(content)
    call = {"check": ["check", data]}.get(verb, [verb, classifier, data, "-o", tmp_path / "out"])
    said = fails(capsys, *call)
    assert str(data) in said
    assert reason in said
    assert names(tmp_path) == sorted(["classifier", name])


def test_a_file_that_is_not_there_is_named_with_a_near_one(capsys, classifier, rows, tmp_path):
    assert rows.exists()
    assert "did you mean 'rows.jsonl'" in fails(capsys, "predict", classifier, tmp_path / "row.jsonl")


def test_a_folder_that_is_no_model_is_refused(capsys, rows, tmp_path):
    (tmp_path / "thesis").mkdir()
    assert "lathe adopt" in fails(capsys, "predict", tmp_path / "thesis", rows)
    assert "no config.json" in fails(capsys, "adopt", tmp_path / "thesis", "-o", tmp_path / "out")
    assert names(tmp_path) == ["rows.jsonl", "thesis"]


def test_a_damaged_model_is_refused(capsys, classifier, rows, tmp_path):
    weights = classifier / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert "changed or damaged" in fails(capsys, "predict", classifier, rows, "-o", tmp_path / "out.jsonl")
    assert names(tmp_path) == ["classifier", "rows.jsonl"]


@pytest.mark.parametrize("verb", ["evaluate", "predict", "adopt"])
def test_what_exists_is_not_written_over(capsys, classifier, rows, tmp_path, verb):
    out = tmp_path / "out"
    out.write_text("mine", encoding="utf-8")
    (classifier / "manifest.json").rename(tmp_path / "kept") if verb == "adopt" else None
    given = [classifier] if verb == "adopt" else [classifier, rows]
    assert "exists" in fails(capsys, verb, *given, "-o", out)
    assert out.read_text(encoding="utf-8") == "mine"


def test_a_full_disk_is_one_message_and_leaves_nothing(capsys, classifier, rows, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lathe.core.work, "seal", full)
    said = fails(capsys, "evaluate", classifier, rows, "-o", tmp_path / "out")
    assert "No space left on device" in said
    assert names(tmp_path) == ["classifier", "rows.jsonl"]


def test_a_full_disk_in_the_middle_of_predicting_leaves_nothing(capsys, classifier, rows, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "no space left" in fails(capsys, "predict", classifier, rows, "-o", tmp_path / "out.jsonl")
    assert names(tmp_path) == ["classifier", "rows.jsonl"]


def test_a_recipe_of_another_verb_is_refused(capsys, tmp_path):
    recipe = tmp_path / "a.toml"
    recipe.write_text('verb = "finetune"\n', encoding="utf-8")
    assert "this recipe is for `lathe finetune`, not `lathe evaluate`" in fails(
        capsys, "evaluate", recipe, "-o", tmp_path / "out"
    )


def test_a_verb_that_writes_nothing_takes_no_out(capsys, classifier):
    assert "leave -o out" in fails(capsys, "show", classifier, "-o", "x")


def test_too_many_positionals_are_named(capsys, classifier):
    assert "takes BUNDLE TEST" in fails(capsys, "evaluate", classifier, "a", "b", "-o", "x")


def test_under_json_an_error_is_an_object_too(capsys, tmp_path):
    assert main(["show", str(tmp_path / "nothing"), "--json"]) == 2
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["exit_code"] == 2
    assert "no such folder" in found["error"]


def test_a_recipe_and_positionals_and_options_come_together(capsys, classifier, rows, tmp_path):
    recipe = tmp_path / "a.toml"
    recipe.write_text(f'verb = "evaluate"\nbundle = "{classifier}"\n[data]\ntest = "{rows}"\n', encoding="utf-8")
    assert main(["evaluate", str(recipe), "-o", str(tmp_path / "out"), "examples=1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["out"] == str(tmp_path / "out")
    assert set(told["scores"]["test"]) >= {"accuracy", "macro_f1"}


@pytest.mark.parametrize("verb", ["finetune", "evaluate", "predict", "serve", "check", "adopt", "show"])
def test_the_help_of_a_verb_lists_every_option_with_its_help(capsys, verb):
    from importlib import import_module

    from lathe.core.recipe import options

    assert main([verb, "--help"]) == 0
    said = capsys.readouterr().out
    for option in options(import_module(VERBS[verb].package).Recipe):
        assert f"  {option.name}  <" in said
        assert option.help, f"{option.name} has no help"


def test_the_overview_names_every_verb_without_loading_torch():
    code = "import sys, lathe.cli as c; c.main(['--help']); sys.exit(bool({'torch', 'pydantic'} & sys.modules.keys()))"
    started_s = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.perf_counter() - started_s < 3  # 0.3 s on a quiet machine
    assert all(f"  {verb} " in done.stdout for verb in VERBS)


def test_a_reader_that_has_seen_enough_is_no_error(classifier, tmp_path):
    data = write_rows(tmp_path / "rows.jsonl", [{"text": "good film " * 3}] * 3000)
    command = f"{sys.executable} -m lathe predict {classifier} {data} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Broken pipe" not in done.stderr
    assert len(done.stdout.splitlines()) == 1
