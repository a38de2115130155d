"""The memory that a corpus takes is that of a shard, however long its files and lines are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lathe.corpus.shards import SHARD_BYTES

SCRIPT = """
import sys
from pathlib import Path
from lathe.core.recipe import parse
from lathe.corpus import Recipe, run
steps = ["normalise", "drop_short", "drop_exact_duplicates"]
recipe = {"source": {"kind": "files", "paths": [sys.argv[1]]}, "steps": steps, "processes": 1, "memory_mib": 1}
run(parse(Recipe, recipe), Path(sys.argv[2]))
"""


def write_file(path: Path, size: int, longest: int) -> None:
    """Lines of random words, one of them very long."""
    words = np.array([f"word{i}" for i in range(5000)])
    draw = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps({"text": "long " * (longest // 5)}) + "\n")
        while stream.tell() < size:
            rows = words[draw.integers(0, 5000, (100, 120))]
            stream.writelines(json.dumps({"text": " ".join(row)}) + "\n" for row in rows)


def peak(folder: Path, file: Path) -> int:
    """Bytes that the process which makes a corpus of a file has at most."""
    running = subprocess.Popen([sys.executable, "-c", SCRIPT, file, folder / f"{file.stem}-corpus"])
    _, status, usage = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    assert running.returncode == 0
    return usage.ru_maxrss * 1024


@pytest.mark.slow
def test_ten_times_the_text_does_not_take_more_than_a_few_shards_of_memory_more(tmp_path: Path):
    for name, size in (("small", 10), ("large", 100)):
        write_file(tmp_path / f"{name}.jsonl", size * 10**6, 5 * 10**6)
    small, large = (peak(tmp_path, tmp_path / f"{name}.jsonl") for name in ("small", "large"))
    assert large - small < 3 * SHARD_BYTES, f"{small / 1e6:.0f} MB for 10 MB of text, {large / 1e6:.0f} MB for 100 MB"


@pytest.mark.slow
def test_a_line_of_ten_megabytes_is_a_document_like_others(tmp_path: Path):
    for name, longest in (("short", 10**3), ("long", 10**7)):
        write_file(tmp_path / f"{name}.jsonl", 15 * 10**6, longest)
    short, long = (peak(tmp_path, tmp_path / f"{name}.jsonl") for name in ("short", "long"))
    assert long - short < 10 * 10**7, f"{short / 1e6:.0f} MB for short lines, {long / 1e6:.0f} MB for one of 10 MB"
