"""A vocabulary from 200 MB of Chinese without blanks, within 2 GB of memory, beside `tokenizers` on the same stream.

    python benchmarks/bench_tokenizer_memory.py [--mb 200] [--limit-gb 8] [--limit-s 240]

The text comes from a character 5-gram model of real Chinese, so that new runs of characters never stop coming: to a
trainer that cuts at blanks and punctuation only, each of them is a word of its own.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import write_result
from text import sampled_chinese, watched
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lathe.core.scripts import UNSPACED_CLASS

SIZE = 8192
ALLOWED_GB = 2.0


def main(size_mb: int, limit_gb: float, limit_s: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "chinese.txt"
        with file.open("w", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in sampled_chinese(size_mb))
        found: dict[str, Any] = {"text_mb": size_mb, "vocab_size": SIZE, "distinct": distinct(file, size_mb)}
        for label, sample in (("all of it", size_mb), ("the default sample", 16)):
            options = [f"data.train={file}", f"vocab_size={SIZE}", "algorithm.kind=byte_bpe", f"sample_mb={sample}"]
            command = [sys.executable, "-m", "lathe", "tokenizer", *options, "-o", folder / f"t{sample}"]
            found[f"lathe, {label}"] = {"sample_mb": sample} | watched(command, limit_gb, limit_s)
        found["tokenizers, same stream"] = watched([sys.executable, __file__, "--peer", file], limit_gb, limit_s)
    found["within_2_gb"] = found["lathe, all of it"]["peak_gb"] <= ALLOWED_GB
    write_result("tokenizer_memory", found)


def distinct(file: Path, size_mb: int) -> dict[str, dict[str, int]]:
    """How many different sequences a trainer meets in the first part of the text, with and without the cut."""
    apart, together = re.compile(rf"{UNSPACED_CLASS}|[^\W\d_]+"), re.compile(r"[^\W\d_]+")
    characters: set[str] = set()
    runs: set[int] = set()  # hashes: the runs themselves would need gigabytes
    read, found = 0, {}
    marks = [size_mb // 4, size_mb // 2, size_mb]
    for line in lines(file):
        read += len(line.encode("utf-8")) + 1
        characters.update(apart.findall(line))
        runs.update(map(hash, together.findall(line)))
        if read >= marks[0] * 1e6 * 0.999:
            found[f"{marks.pop(0)} MB"] = {"cut at characters": len(characters), "cut at punctuation": len(runs)}
        if not marks:
            break
    return found


def lines(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8") as stream:
        yield from (line.rstrip("\n") for line in stream)


def train_peer(file: Path) -> None:
    """Byte-level BPE as `tokenizers` documents it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, min_frequency=2, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(lines(file), trainer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=200)
    parser.add_argument("--limit-gb", type=float, default=8.0)
    parser.add_argument("--limit-s", type=float, default=240.0)
    parser.add_argument("--peer", type=Path)
    given = parser.parse_args()
    if given.peer:
        train_peer(given.peer)
    else:
        main(given.mb, given.limit_gb, given.limit_s)
