"""A corpus is the same bytes however often its making was killed, and by however many processes it was made."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lathe.core.errors import LatheError
from lathe.core.recipe import parse
from lathe.corpus import Recipe, processes, run

WORDS = [f"word{i}" for i in range(800)]
WRITES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}
SMALL = {
    "lathe.corpus.files.UNIT_BYTES": 50_000,
    "lathe.corpus.runner.SHARD_BYTES": 15_000,
    "lathe.corpus.runner.SMALL": 0,
}
"""Sizes at which a few hundred kilobytes are cut as terabytes are."""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts"), 700)


def write_texts(folder: Path, count: int) -> Path:
    """Lines that are cut, a compressed file that is not, small files; copies, near copies, faults and empty lines."""
    folder.mkdir(exist_ok=True)
    draw = random.Random(0)
    rows = [" ".join(draw.choices(WORDS, k=draw.randint(2, 60))) for _ in range(count)]
    rows += [draw.choice(rows) for _ in range(count // 10)]
    rows += [f"{draw.choice(rows)} more" for _ in range(count // 10)]
    draw.shuffle(rows)
    lines = [
        "{not json",
        *(json.dumps({"text": row}) for row in rows),
        '{"text": ""}',
        '{"text": "\\ufeff"}',
        '{"text": "\\ud800"}',
    ]
    (folder / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with gzip.open(folder / "b.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.write("\n".join(lines[::-3]))
    (folder / "c.txt").write_bytes(b"one two three four five\n\n\xff\xfe not text\n" + "好天气很好。\n".encode() * 3)
    return folder


def recipe(texts: Path, **values: Any) -> Recipe:
    return parse(
        Recipe, {"source": {"kind": "files", "paths": [str(texts)]}, "split": {"validation": 0.2, "test": 0.2}} | values
    )


@pytest.fixture(scope="module", autouse=True)
def small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(name, value)
        patch.setattr(os, "fsync", lambda _: None)  # a process that is killed loses nothing that it has written
        yield


@pytest.fixture(scope="module")
def expected(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return content(run(recipe(texts, processes=1), tmp_path_factory.mktemp("expected") / "corpus").path)


def content(out: Path) -> dict[str, bytes]:
    """All files of a corpus but the times at which it was made."""
    found = {file.name: file.read_bytes() for file in sorted(out.iterdir()) if file.name != "log.jsonl"}
    manifest = json.loads(found.pop("manifest.json"))
    told = {name: manifest[name] for name in ("recipe", "inputs", "scores")}
    return found | {"manifest": json.dumps(told, sort_keys=True).encode()}


def killed_after(writes: int, wanted: Recipe, out: Path) -> bool:
    """Whether a run in a process of its own was killed at its n-th change of a name on the disk; else it has ended."""
    if not (pid := os.fork()):
        try:
            sys.addaudithook(killer(writes))
            run(wanted, out)
        finally:
            os._exit(0 if out.is_dir() else 1)
    _, status = os.waitpid(pid, 0)
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


def killer(writes: int) -> Any:
    left = writes

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in WRITES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


@pytest.mark.parametrize("seed", range(2))
def test_a_run_that_is_killed_again_and_again_makes_the_same_corpus(texts, tmp_path, expected, seed: int):
    draw, kills, out = random.Random(seed), 0, tmp_path / "out"
    while killed_after(draw.randint(30, 90), recipe(texts, processes=1), out):
        kills += 1
    assert content(out) == expected
    assert kills > 3


@pytest.mark.torture
def test_a_run_that_is_killed_at_any_write_makes_the_same_corpus(texts, tmp_path, expected):
    writes = 1
    while killed_after(writes, recipe(texts, processes=1), tmp_path / f"{writes}"):
        assert content(run(recipe(texts, processes=1), tmp_path / f"{writes}").path) == expected
        writes += 1
    assert writes > 100


def test_the_sample_has_all_that_a_corpus_can_have(expected):
    scores = json.loads(expected["manifest"])["scores"]
    assert scores["read"] == scores["kept"] + sum(scores["dropped"].values()) + scores["quarantined"]
    assert min(scores["dropped"][r] for r in ("empty", "too short", "exact duplicate", "near duplicate")) > 0
    assert scores["quarantined"] == expected["quarantine.jsonl"].count(b"\n") > 2
    twins = [json.loads(line).get("twin") for line in expected["dropped.jsonl"].splitlines()]
    assert sum(twin is not None for twin in twins) == 10 and not any(isinstance(twin, int) for twin in twins)


def test_what_is_done_is_not_done_again(texts, tmp_path, expected, monkeypatch):
    out = tmp_path / "out"
    assert killed_after(185, recipe(texts, processes=1), out)
    done = {file: file.stat().st_mtime_ns for file in (out.with_name("out.work") / "checkpoints").glob("*/*.json")}
    assert len(done) > 5
    seen = {}

    def remembered(folder: Path, **_: Any) -> None:
        seen.update({file: file.stat().st_mtime_ns for file in Path(folder).glob("*.json")})

    monkeypatch.setattr("lathe.corpus.runner.sync_tree", remembered)
    run(recipe(texts, processes=1), out)
    assert {file: seen[file] for file in done if file in seen} == {file: done[file] for file in done if file in seen}
    assert set(done) & set(seen)
    assert content(out) == expected


def test_a_damaged_shard_is_made_again(texts, tmp_path, expected):
    out = tmp_path / "out"
    assert killed_after(60, recipe(texts, processes=1), out)
    shards = sorted((out.with_name("out.work") / "checkpoints").glob("*/*.jsonl.zst"))
    shards[0].write_bytes(shards[0].read_bytes()[:-7])
    shards[1].unlink()
    assert content(run(recipe(texts, processes=1), out).path) == expected


SCRIPT = """
import sys
from pathlib import Path
if __name__ == "__main__":
    import lathe.corpus, lathe.corpus.files, lathe.corpus.runner
    from lathe.core.recipe import parse
    for name, value in {small!r}.items():
        module, _, attribute = name.rpartition(".")
        setattr(sys.modules[module], attribute, value)
    recipe = parse(lathe.corpus.Recipe, {recipe!r} | {{"processes": int(sys.argv[2])}})
    lathe.corpus.run(recipe, Path(sys.argv[1]))
"""


def start(script: Path, texts: Path, out: Path, count: int) -> subprocess.Popen[bytes]:
    values = {"source": {"kind": "files", "paths": [str(texts)]}, "split": {"validation": 0.2, "test": 0.2}}
    script.write_text(SCRIPT.format(small=SMALL, recipe=values), encoding="utf-8")
    return subprocess.Popen([sys.executable, script, out, str(count)], stderr=subprocess.DEVNULL)


def test_a_run_in_two_processes_that_is_killed_goes_on_in_one_to_the_same_corpus(texts, tmp_path, expected):
    out = tmp_path / "out"
    with start(tmp_path / "script.py", texts, out, 2) as running:
        shards = out.with_name("out.work") / "checkpoints" / "0"
        while running.poll() is None and not list(shards.glob("*.json")):
            time.sleep(0.01)
        running.kill()
    assert not out.exists()
    assert content(run(recipe(texts, processes=1), out).path) == expected


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_the_number_of_processes_does_not_change_the_corpus(texts, tmp_path, expected, count: int):
    with start(tmp_path / "script.py", texts, tmp_path / "out", count) as running:
        assert running.wait() == 0
    assert content(tmp_path / "out") == expected
    assert run(recipe(texts, processes=1), tmp_path / "out").reused


@pytest.mark.torture
def test_runs_in_changing_numbers_of_processes_killed_at_random_moments_make_the_same_corpus(tmp_path):
    texts = write_texts(tmp_path / "texts", 12_000)
    expected = content(run(recipe(texts, processes=1), tmp_path / "expected").path)
    draw, kills = random.Random(1), 0
    while kills < 50:
        out = tmp_path / f"out{kills}"
        for attempt in range(1000):
            with start(tmp_path / "script.py", texts, out, draw.choice([1, 2, 3])) as running:
                try:
                    running.wait(draw.uniform(3, 9) + attempt)
                    break
                except subprocess.TimeoutExpired:
                    running.kill()
                    kills += 1
        assert content(out) == expected


@pytest.mark.slow
def test_a_worker_that_dies_is_named_and_the_run_can_go_on(tmp_path):
    script = tmp_path / "dies.py"
    script.write_text(
        textwrap.dedent("""
        import os, signal
        from lathe.corpus.processes import Workers

        def die(item):
            os.kill(os.getpid(), signal.SIGKILL)

        if __name__ == "__main__":
            with Workers(2) as workers:
                list(workers.map(die, [1, 2]))
        """),
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert "a worker process was ended from outside" in done.stderr.splitlines()[-1]


def test_few_things_are_done_in_this_process():
    with processes.Workers(8) as workers:
        assert list(workers.map(os.getpid.__class__, [])) == []
        assert list(workers.map(lambda item: item + 1, [1])) == [2]


def test_the_number_of_processes_is_at_least_one(texts):
    with pytest.raises(LatheError, match="processes"):
        recipe(texts, processes=0)
