"""Text to packed tokens beside what the `tokenizers` library does alone, and peak memory from 100 MB to 1 GB of text.

    python benchmarks/bench_packing_tokens.py [--threads 1] [--mb 100 1000] [--round-mb 4] [--rounds 7]

English and Chinese in turn. The peer only tokenises, in batches of 1000 texts, and throws its ids away; Lathe cuts them
into rows, frames these, and writes and digests them. Rounds alternate, and the ids of both are compared.
"""

import argparse
import hashlib
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import write_result
from text import real_english, sampled_chinese, watched
from transformers import AutoTokenizer

from lathe.core.documents import read_texts
from lathe.core.tokens import TokenFile
from lathe.tokenizer.algorithms import ByteBPE, train_tokenizer
from lathe.tokenizer.stage import save

MAX_LENGTH = 512
ASKED_RATIO = 0.9


def main(threads: int, sizes_mb: list[int], round_mb: float, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(train_tokenizer(ByteBPE(), list(texts(4)), 8192), folder / "tokenizer")
        found: dict[str, Any] = {"threads": threads, "rounds": rounds, "round_mb": round_mb}
        found |= speeds(folder, round_mb, rounds)
        found["peak_memory"] = {f"{size} MB": peak(folder, size) for size in sizes_mb}
    write_result("packing_tokens", found)


def speeds(folder: Path, round_mb: float, rounds: int) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    given = list(texts(round_mb))
    ours, theirs = [], []
    for number in range(rounds + 1):  # the first one warms up
        started_s = time.perf_counter()
        tokens = TokenFile.write(folder / f"tokens{number}", given, tokenizer, MAX_LENGTH)
        between_s = time.perf_counter()
        alone = [
            one.ids for start in range(0, len(given), 1000) for one in encode(tokenizer, given[start : start + 1000])
        ]
        ours.append(between_s - started_s)
        theirs.append(time.perf_counter() - between_s)
    end = tokenizer.eos_token_id
    expected = np.fromiter(itertools.chain.from_iterable((*ids, end) for ids in alone), np.uint16)
    same = hashlib.sha256(expected).digest() == hashlib.sha256(tokens.ids).digest()
    size = sum(len(text.encode("utf-8")) for text in given) / 1e6
    ratios = [b / a for a, b in zip(ours[1:], theirs[1:], strict=True)]
    return {
        "lathe_mb_per_s": round(size / statistics.median(ours[1:]), 2),
        "tokenizers_mb_per_s": round(size / statistics.median(theirs[1:]), 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "asked_ratio": ASKED_RATIO,
        "same_ids": same,
    }


def encode(tokenizer: Any, batch: list[str]) -> Any:
    return tokenizer.backend_tokenizer.encode_batch_fast(batch, add_special_tokens=False)


def peak(folder: Path, size_mb: int) -> dict[str, Any]:
    """With as many threads as there are cores: it takes long enough."""
    threads = len(os.sched_getaffinity(0))
    file = folder / f"{size_mb}.txt"
    with file.open("w", encoding="utf-8") as stream:
        stream.writelines(f"{text}\n" for text in texts(size_mb))
    found = watched([sys.executable, __file__, "--pack", file], limit_gb=8, limit_s=7200, threads=threads)
    file.unlink()
    return {"threads": threads} | found


def texts(size_mb: float) -> Iterator[str]:
    """Real English again and again, and sampled Chinese, in turn."""
    written = 0
    for english, chinese in zip(itertools.cycle(real_english()), sampled_chinese(size_mb), strict=False):
        for text in (english, chinese):
            if written >= size_mb * 1e6:
                return
            written += len(text.encode("utf-8")) + 1
            yield text


def pack(file: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(file.parent / "tokenizer", local_files_only=True)
    TokenFile.write(file.with_suffix(".tokens"), read_texts(file), tokenizer, MAX_LENGTH)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mb", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--round-mb", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pack", type=Path)
    given = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(given.threads)
    if given.pack:
        pack(given.pack)
    else:
        main(given.threads, given.mb, given.round_mb, given.rounds)
