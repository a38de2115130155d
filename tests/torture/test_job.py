"""Clean, deduplicate, tokenize: killed at random moments, with changing numbers of processes, the bytes are the same.

A tenth of the kills over little text belongs to the main suite, all of them over 200 MB to ``make torture``.
"""

import gzip
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from lathe.core.bundle import Bundle
from lathe.core.digest import file_digest, files_below

SMALL = {
    "lathe.corpus.files.UNIT_BYTES": 100_000,
    "lathe.corpus.runner.SHARD_BYTES": 30_000,
    "lathe.corpus.runner.SMALL": 0,
    "lathe.core.shards.SHARD_TOKENS": 20_000,
}
"""Sizes at which a few hundred kilobytes are cut as terabytes are."""


class Size(NamedTuple):
    kills: int
    bytes: int
    constants: dict[str, int]
    seconds: tuple[float, float]  # bounds of the time until a kill
    processes: tuple[int, ...]


TENTH = Size(5, 200_000, SMALL, (0.05, 0.6), (1,))
WHOLE = Size(50, 200_000_000, {}, (4, 25), (1, 2, 3))
sizes = pytest.mark.parametrize("size", [TENTH, pytest.param(WHOLE, marks=pytest.mark.torture)], ids=["tenth", "whole"])


def write_texts(folder: Path, size: int) -> Path:
    """Lines in English and Chinese, with copies, near copies and faults: a file that is cut, and two that are not."""
    folder.mkdir()
    draw, chance = np.random.default_rng(0), random.Random(0)
    english = np.array([f"word{number}" for number in range(3000)])
    chinese = np.array([chr(code) for code in range(0x4E00, 0x4E00 + 2000)])
    rows: list[str] = []
    written = 0
    while written < size:
        words, space = (english, " ") if len(rows) % 2 else (chinese, "")
        rows.append(space.join(words[draw.integers(0, len(words), draw.integers(3, 120))]))
        if chance.random() < 0.2:
            rows.append(chance.choice(rows) + chance.choice(["", " more", "多"]))
        written = written + sum(len(row.encode()) for row in rows[-2:]) / 1.2
    lines = [json.dumps({"text": row}, ensure_ascii=False) for row in rows]
    third = len(lines) // 3
    (folder / "a.jsonl").write_text("\n".join(["{not json", *lines[:third]]), "utf-8")
    with gzip.open(folder / "b.jsonl.gz", "wt", encoding="utf-8", compresslevel=1) as stream:
        stream.write("\n".join([*lines[third : 2 * third], '{"text": ""}']))
    (folder / "c.txt").write_bytes(b"\xff\xfe no text\n" + "\n".join(rows[2 * third :]).encode())
    return folder


class Warm:
    """The process that the runs are forks of."""

    def __init__(self, texts: Path, constants: dict[str, int]) -> None:
        command = [sys.executable, str(Path(__file__).with_name("job.py")), json.dumps(constants)]
        self.texts = texts
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def run(self, folder: Path, processes: int, seconds: float | None = None) -> bool:
        """Whether a run was killed after so many seconds; it has ended well otherwise."""
        folder.mkdir(exist_ok=True)
        self.process.stdin.write(json.dumps([str(self.texts), str(folder), processes]) + "\n")
        pid = int(self.process.stdout.readline().removeprefix("pid "))
        if seconds is not None and not select.select([self.process.stdout], [], [], seconds)[0]:
            os.kill(pid, signal.SIGKILL)
        said = ""
        while not (line := self.process.stdout.readline()).startswith("exit "):
            said += line
        code = int(line.removeprefix("exit "))
        assert code in (0, -signal.SIGKILL), said
        return code != 0


@pytest.fixture
def warm(size: Size, tmp_path: Path) -> Iterator[Warm]:
    warm = Warm(write_texts(tmp_path / "texts", size.bytes), size.constants)
    try:
        yield warm
    finally:
        warm.process.communicate()


def content(folder: Path) -> dict[str, str]:
    """Digest of every file but those that tell the time, and what the manifests tell of the text."""
    found = [file for name in ("corpus", "tokenizer", "tokens") for file in files_below(folder / name)]
    files = [file for file in found if file.name not in ("log.jsonl", "manifest.json")]
    told = {name: json.dumps(Bundle.open(folder / name).manifest.scores) for name in ("corpus", "tokenizer")}
    return told | {file.relative_to(folder).as_posix(): file_digest(file) for file in files}


@sizes
def test_a_job_that_is_killed_again_and_again_ends_in_the_same_bytes(warm: Warm, size: Size, tmp_path: Path):
    assert not warm.run(tmp_path / "expected", size.processes[-1])
    expected = content(tmp_path / "expected")
    assert {"corpus/train.jsonl.zst", "tokenizer/tokenizer.json", "tokens/ids.bin"} <= set(expected)
    draw, kills, out = random.Random(1), 0, tmp_path / "out"
    while kills < size.kills:
        if warm.run(out, draw.choice(size.processes), draw.uniform(*size.seconds)):
            kills += 1
        else:
            assert content(out) == expected
            shutil.rmtree(out)
    warm.run(out, size.processes[0])
    assert content(out) == expected
    print(f"SURVIVAL kills_of_a_job {kills}")
