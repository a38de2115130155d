"""Claim: the corpus job takes as much memory for 5 GB of text as for a tenth of it.

    python benchmarks/bench_corpus_memory.py [--gb 0.5 5]

One text file, real English again and again with a number before each line, a third of the lines ended in Chinese; it is
normalised, measured, freed of short texts and of copies, and split. Memory is the sum over the job's processes of what
each holds, pages that they share counted in each of them.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from common import write_result
from text import real_chinese, real_english

LINE = 4000  # characters
STEPS = '["normalise", "drop_short", "drop_exact_duplicates"]'
EVERY_S = 0.5


def main(sizes_gb: list[float]) -> None:
    write_result("corpus_memory", {f"{size:g} GB": measured(size) for size in sizes_gb})


def measured(size_gb: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        file, out = Path(name) / "text.txt", Path(name) / "corpus"
        write(file, int(size_gb * 1e9))
        command = [sys.executable, "-m", "lathe", "corpus", "source.kind=files", f'source.paths=["{file}"]']
        started_s = time.perf_counter()
        with subprocess.Popen([*command, f"steps={STEPS}", "-o", str(out), "--json"], stdout=subprocess.PIPE) as job:
            peak = 0
            while job.poll() is None:
                peak = max(peak, held(psutil.Process(job.pid)))
                time.sleep(EVERY_S)
            told = json.loads(job.stdout.read().splitlines()[-1]) if job.stdout and not job.returncode else {}
        return {
            "seconds": round(time.perf_counter() - started_s, 1),
            "peak_mb": round(peak / 1e6),
            "read": told["scores"]["read"],
            "kept": told["scores"]["kept"],
        }


def held(process: psutil.Process) -> int:
    """Bytes, by a process and those below it; one that has just ended holds nothing."""
    total = 0
    for one in [process, *children(process)]:
        try:
            total += one.memory_info().rss
        except psutil.Error:
            continue
    return total


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def write(file: Path, size: int) -> None:
    english, chinese = " ".join(real_english()), real_chinese()
    starts = zip(
        itertools.cycle(range(0, len(english) - LINE, LINE)), itertools.cycle(range(0, len(chinese), LINE // 4))
    )
    with file.open("w", encoding="utf-8") as stream:
        for number, (start, other) in enumerate(starts):
            tail = chinese[other : other + LINE // 4] if number % 3 == 0 else ""
            stream.write(f"{number} {english[start : start + LINE]} {tail}\n".replace("\r", " "))
            if number % 1000 == 0 and stream.tell() >= size:
                return


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, nargs="*", default=[0.5, 5])
    main(parser.parse_args().gb)
