"""Text for benchmarks, as much as wanted and drawn from real text, and commands watched from outside."""

import gzip
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import data_set

CHINESE = ("chnsenticorp", "c3", "thucnews_titles", "cmrc2018", "csl_title", "online_shopping_10_cats", "alpaca_zh")
ENGLISH = "wikipedia_paragraphs_lm"
CONTEXT = 4
CHAINS = 4096
LINE = 400  # characters


def real_chinese() -> str:
    """All strings with Chinese in them of several data sets, without blanks."""
    found = []
    for name in CHINESE:
        for file in sorted(data_set(name).glob("*.jsonl.gz")):
            with gzip.open(file, "rt", encoding="utf-8") as stream:
                for line in stream:
                    found += [re.sub(r"\s+", "", text) for text in strings(json.loads(line)) if has_chinese(text)]
    return "".join(found)


def real_english() -> list[str]:
    with gzip.open(data_set(ENGLISH) / "train.txt.gz", "rt", encoding="utf-8") as stream:
        return [line for line in map(str.strip, stream) if line]


def sampled_chinese(size_mb: float, seed: int = 0) -> Iterator[str]:
    """Lines from a character 5-gram model of real Chinese: after four characters comes what follows them somewhere.

    Thousands of chains run beside each other; each line is a stretch of one of them, so that texts never repeat whole.
    """
    codes = np.frombuffer(real_chinese().encode("utf-32-le"), np.uint32).astype(np.uint64)
    codes = codes[codes < 2**16]
    contexts = sum(np.roll(codes, shift) << np.uint64(16 * (shift - 1)) for shift in range(1, CONTEXT + 1))
    order = np.argsort(contexts, kind="stable")  # places with equal contexts stand together
    is_first = np.r_[True, np.diff(contexts[order]) > 0]
    first, group = np.flatnonzero(is_first), np.empty(len(codes), np.int64)
    group[order] = np.cumsum(is_first) - 1
    count = np.diff(np.r_[first, len(codes)])
    chance = np.random.default_rng(seed)
    place = chance.integers(0, len(codes), CHAINS)
    written = 0
    while written < size_mb * 1e6:
        lines = np.empty((CHAINS, LINE), np.uint32)
        for at in range(LINE):
            here = group[place]
            drawn = order[first[here] + (chance.random(CHAINS) * count[here]).astype(np.int64)]
            lines[:, at] = codes[drawn]
            place = (drawn + 1) % len(codes)
        for line in lines:
            text = line.tobytes().decode("utf-32-le")
            written += len(text.encode("utf-8")) + 1
            yield text
            if written >= size_mb * 1e6:
                return


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


def has_chinese(text: str) -> bool:
    return re.search("[\u4e00-\u9fff]", text) is not None


def watched(command: Sequence[str | Path], limit_gb: float, limit_s: float, threads: int = 0) -> dict[str, Any]:
    """Run a command and tell its seconds and peak memory; it is stopped at either limit, which is said."""
    environment = os.environ | ({"RAYON_NUM_THREADS": str(threads)} if threads else {})
    started_s = time.perf_counter()
    process = subprocess.Popen([*map(str, command)], env=environment, stdout=subprocess.DEVNULL)
    stopped, peak = "", 0
    while True:
        done, status, used = os.wait4(process.pid, os.WNOHANG)
        seconds = time.perf_counter() - started_s
        if done:
            peak = max(peak, used.ru_maxrss * 1024)
            break
        peak = max(peak, high_water(process.pid))
        if not stopped and (peak > limit_gb * 1e9 or seconds > limit_s):
            stopped = f"at {limit_gb} GB" if peak > limit_gb * 1e9 else f"after {limit_s} s"
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.05)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and not stopped:
        raise subprocess.CalledProcessError(process.returncode, list(map(str, command)))
    return {"seconds": round(seconds, 1), "peak_gb": round(peak / 1e9, 3)} | ({"stopped": stopped} if stopped else {})


def high_water(pid: int) -> int:
    """Bytes of the most memory that a running process has held."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
