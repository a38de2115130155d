"""The life of a run: reuse, refusal, going on, and nothing half-written."""

import fcntl
import itertools
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from lathe.core.bundle import Bundle, Manifest
from lathe.core.errors import BundleError, DataError, Stopped
from lathe.core.recipe import recipe
from lathe.core.work import read_log, run_stage, work_folder


@recipe
class Recipe:
    number: int = 1


def make(work):
    (work.result / "answer.txt").write_text("42", encoding="utf-8")
    work.log("step", step=1, rows=2, tokens=6, seconds=0.5)
    return Manifest(kind="report", stage="")


def never(_):
    raise AssertionError("made twice")


def test_a_finished_run_is_a_sealed_folder_and_is_reused(tmp_path):
    first = run_stage("demo", Recipe(), tmp_path / "out", [], make)
    assert not first.reused
    first.verify()
    assert first.manifest.rates == {"rows_per_second": 4.0, "tokens_per_second": 12.0}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert run_stage("demo", Recipe(), tmp_path / "out", [], never).reused


def test_another_recipe_or_other_data_is_refused_with_what_differs(tmp_path):
    data = tmp_path / "data.txt"
    data.write_text("a", encoding="utf-8")
    run_stage("demo", Recipe(), tmp_path / "out", [data], make)
    with pytest.raises(BundleError, match="number: 1 -> 2"):
        run_stage("demo", Recipe(number=2), tmp_path / "out", [data], never)
    data.write_text("b", encoding="utf-8")
    with pytest.raises(BundleError, match=r"data\.txt"):
        run_stage("demo", Recipe(), tmp_path / "out", [data], never)


def test_a_folder_that_is_not_ours_is_never_touched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(BundleError, match="not a result of Lathe"):
        run_stage("demo", Recipe(), tmp_path / "out", [], never)
    assert (tmp_path / "out" / "thesis.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("out", ["/", "//", "/.", "/..", ".", "./", "..", "../..", "runs/..", "", str(Path.home())])
def test_the_work_folder_of_no_new_folder_is_refused(out):
    with pytest.raises(BundleError, match="is no name for a result; name a new folder"):
        work_folder(Path(out))


@pytest.mark.parametrize("out", ["mine", "./mine", "/runs/mine", "../mine", "runs/../mine", "..mine", ".mine", "模型"])
def test_a_run_works_beside_its_result(out):
    assert work_folder(Path(out)) == Path(f"{out}.work")


def test_a_link_to_a_folder_that_everything_lives_in_is_refused(tmp_path):
    (tmp_path / "out").symlink_to(Path.home())
    with pytest.raises(BundleError, match="name a new folder"):
        work_folder(tmp_path / "out")


def test_a_stopped_run_keeps_its_work_folder_and_goes_on(tmp_path):
    def stops(work):
        (work.path / "cache").write_text("dear", encoding="utf-8")
        raise Stopped("stopped", 15)

    with pytest.raises(Stopped) as stopped:
        run_stage("demo", Recipe(), tmp_path / "out", [], stops)
    assert stopped.value.exit_code == 143
    with pytest.raises(BundleError, match="unfinished run of another recipe"):
        run_stage("demo", Recipe(number=2), tmp_path / "out", [], never)

    def goes_on(work):
        assert (work.path / "cache").read_text(encoding="utf-8") == "dear"
        return make(work)

    assert not run_stage("demo", Recipe(), tmp_path / "out", [], goes_on).reused


def test_wrong_input_leaves_nothing_behind(tmp_path):
    def wrong(_):
        raise DataError("line 3: no")

    with pytest.raises(DataError):
        run_stage("demo", Recipe(), tmp_path / "out", [], wrong)
    with pytest.raises(DataError):
        run_stage("demo", Recipe(), tmp_path / "new" / "folders" / "out", [], wrong)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_share_a_work_folder(tmp_path):
    def nested(work):
        with pytest.raises(BundleError, match="another process"):
            run_stage("demo", Recipe(), tmp_path / "out", [], never)
        return make(work)

    run_stage("demo", Recipe(), tmp_path / "out", [], nested)


def killed_behind_its_result(out: Path, number: int) -> bool:
    """Whether a run was killed as it took away its n-th file or folder with ``out`` there; else it has ended."""
    left = number

    def hook(event: str, _: object) -> None:
        nonlocal left
        if event in ("os.remove", "os.rmdir") and out.exists():
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    if not (pid := os.fork()):
        try:
            sys.addaudithook(hook)
            run_stage("demo", Recipe(), out, [], make_checkpoints)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def make_checkpoints(work):
    for name in ("1", "2"):
        (work.checkpoints / name).mkdir(parents=True)
        (work.checkpoints / name / "state").write_text("large", encoding="utf-8")
    return make(work)


def test_what_a_run_leaves_that_is_killed_behind_its_result_goes_with_the_next_call(tmp_path):
    for number in itertools.count(1):
        out, left = tmp_path / f"{number}", tmp_path / f"{number}.work"
        if not killed_behind_its_result(out, number):
            break
        assert out.is_dir() and left.is_dir()
        assert run_stage("demo", Recipe(), out, [], never).reused
        assert not left.exists()
    assert number > 6  # four files, three folders
    assert not left.exists()


def test_beside_a_finished_run_only_its_own_work_folder_goes(tmp_path):
    def stops(_):
        raise Stopped("stopped", 15)

    left = tmp_path / "out.work"
    with pytest.raises(Stopped):
        run_stage("demo", Recipe(number=2), tmp_path / "out", [], stops)
    left.rename(tmp_path / "other")
    run_stage("demo", Recipe(), tmp_path / "out", [], make)
    (tmp_path / "other").rename(left)
    assert run_stage("demo", Recipe(), tmp_path / "out", [], never).reused
    assert (left / "run.json").is_file()  # of another recipe
    (left / "run.json").rename(left / "thesis.txt")
    assert run_stage("demo", Recipe(), tmp_path / "out", [], never).reused
    assert (left / "thesis.txt").is_file()  # of nobody we know


def test_a_work_folder_that_another_process_holds_stays(tmp_path):
    assert killed_behind_its_result(tmp_path / "out", 1)
    with (tmp_path / "out.work" / "lock").open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert run_stage("demo", Recipe(), tmp_path / "out", [], never).reused
        assert (tmp_path / "out.work" / "run.json").is_file()
    assert run_stage("demo", Recipe(), tmp_path / "out", [], never).reused
    assert not (tmp_path / "out.work").exists()


def test_a_changed_file_is_found(tmp_path):
    bundle = run_stage("demo", Recipe(), tmp_path / "out", [], make)
    (bundle.path / "answer.txt").write_text("43", encoding="utf-8")
    with pytest.raises(BundleError, match=r"answer\.txt: changed or damaged"):
        bundle.verify()


def test_lineage_is_carried_by_every_bundle(tmp_path):
    first = run_stage("one", Recipe(), tmp_path / "a", [], make)
    second = run_stage("two", Recipe(), tmp_path / "b", [first.path], make)
    third = run_stage("three", Recipe(), tmp_path / "c", [second.path], make)
    (parent,) = third.manifest.parents
    assert (parent.sha256, parent.stage, parent.parents[0].sha256) == (second.digest, "two", first.digest)


@pytest.mark.parametrize("other", ['{"event": "st', "5", "null", '{"step": 2}'])
def test_what_is_no_line_of_a_log_is_left_out(tmp_path, other):
    """Such as one that was cut off by a kill."""
    (tmp_path / "log.jsonl").write_text('{"event": "step", "step": 1}\n' + other, encoding="utf-8")
    assert read_log(tmp_path) == [{"event": "step", "step": 1}]


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"format": 99})])
def test_a_damaged_manifest_is_a_clear_error(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '"fp'])
def test_damaged_notes_of_an_unfinished_run_are_a_clear_error(tmp_path, text):
    def stops(work):
        work.settle("precision", lambda: "fp32")
        raise Stopped("stopped", 15)

    def goes_on(work):
        work.settle("precision", lambda: "bf16")

    with pytest.raises(Stopped):
        run_stage("demo", Recipe(), tmp_path / "out", [], stops)
    (tmp_path / "out.work" / "checkpoints").mkdir()  # it has saved something: nothing is thrown away
    for name in ("precision.settled", "run.json"):
        (tmp_path / "out.work" / name).write_text(text, encoding="utf-8")
        with pytest.raises(BundleError, match=rf"{name}: damaged; delete .*out\.work and run again"):
            run_stage("demo", Recipe(), tmp_path / "out", [], goes_on)
