"""Near duplicates among 50,000 real documents with planted variants: raw text to what is kept, beside two libraries.

    python benchmarks/bench_near.py --peer VENV/bin/python      # a venv with `pip install datasketch rensa`

Every round times Lathe, rensa (both ways that it offers for whole sets) and datasketch (both ways, on the first 2,000
documents, its rate taken for the whole), one after another on one core, each in a process of its own that holds the
texts and nothing else; ratios are of medians. Lathe's clock covers
what the corpus stage does: sketches written to disk, a decision over them, every dropped document proved to be like one
that stays. Decisions of all are compared with those of exact Jaccard similarities: a join over all documents that knows
nothing of Lathe's hashes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from common import write_result
from peer_near import SIZE, THRESHOLD, WAYS
from planted import planted, write
from safetensors.numpy import load_file, save_file

from lathe.core.native import missing
from lathe.core.scripts import words
from lathe.core.types import Document
from lathe.corpus.duplicates import DropNearDuplicates
from lathe.corpus.protocol import Arrays, Dropped, Room

COUNT, SHARE, SEED = 50_000, 0.2, 1
SAMPLE = 2_000
"""Documents for the slowest peer."""
SHARD = 10_000
"""Documents of a shard; some 20 MB of text."""
MEMORY = 2**30


@dataclass(frozen=True)
class Shard:
    """A run of documents with its sketch on disk."""

    held: Sequence[Document]
    file: Path

    @property
    def count(self) -> int:
        return len(self.held)

    def sketch(self) -> Arrays:
        return load_file(self.file)

    def documents(self) -> Iterator[Document]:
        return iter(self.held)


def by_lathe(texts: Sequence[str]) -> tuple[float, list[int]]:
    """Seconds, and the documents that are kept."""
    step = DropNearDuplicates(threshold=THRESHOLD)
    with TemporaryDirectory() as folder:
        (Path(folder) / "room").mkdir()
        started_s = time.perf_counter()
        documents = [Document(text, str(index)) for index, text in enumerate(texts)]
        shards = [
            Shard(documents[start : start + SHARD], Path(folder) / f"{start}.safetensors")
            for start in range(0, len(texts), SHARD)
        ]
        for shard in shards:
            save_file(dict(step.sketch(shard.held)), shard.file)
        decision = step.decide(shards, Room(Path(folder) / "room", MEMORY))
        verdicts = [
            verdict
            for shard, arrays in zip(shards, decision.verdicts, strict=True)
            for verdict in step.judge(shard.held, arrays)
        ]
        kept = [index for index, verdict in enumerate(verdicts) if not isinstance(verdict, Dropped)]
        return time.perf_counter() - started_s, kept


def timed(python: str, script: Path, *arguments: str) -> tuple[float, list[int]]:
    """Seconds and what is kept, of a script that tells both."""
    environment = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    command = [python, str(script), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | environment)
    result = json.loads(done.stdout)
    return result["seconds"], result["kept"]


def tell(file: Path) -> None:
    """What `timed` reads, of Lathe."""
    with file.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    by_lathe(texts[:100])  # compiles
    seconds, kept = by_lathe(texts)
    print(json.dumps({"seconds": seconds, "kept": kept}))


def grams(text: str) -> frozenset[int]:
    found = words(text.lower())
    return (
        frozenset(hash(tuple(found[i : i + SIZE])) for i in range(max(1, len(found) - SIZE + 1)))
        if found
        else frozenset()
    )


def exactly(texts: Sequence[str]) -> dict[int, int]:
    """Document -> the first one that stays whose Jaccard similarity with it reaches the threshold; by definition.

    Two sets that similar share one of their rarest members: of |A| the 1 - threshold rarest and one more (Chaudhuri,
    Ganti and Kaushik, 2006). So all pairs are found that there are.
    """
    sets = [grams(text) for text in texts]
    frequency = Counter(gram for found in sets for gram in found)
    index, twins = defaultdict[int, list[int]](list), dict[int, int]()
    for later, mine in enumerate(sets):
        rarest = sorted(mine, key=lambda gram: (frequency[gram], gram))[: len(mine) - ceil(THRESHOLD * len(mine)) + 1]
        for earlier in sorted({place for gram in rarest for place in index[gram]}):
            both = len(sets[earlier] & mine)
            if both >= THRESHOLD * (len(sets[earlier]) + len(mine) - both) - 1e-9:
                twins[later] = earlier
                break
        else:
            for gram in rarest:
                index[gram].append(later)
    return twins


def quality(kept: Sequence[int], expected: dict[int, int], count: int) -> dict[str, float]:
    """How far dropped documents are those of exact similarities."""
    dropped = set(range(count)) - set(kept)
    right = len(dropped & {place for place in expected if place < count})
    wanted = sum(place < count for place in expected)
    return {"dropped": len(dropped), "precision": right / max(len(dropped), 1), "recall": right / max(wanted, 1)}


def measure(python: str, rounds: int, count: int) -> dict[str, object]:
    texts, pairs = planted(count, SHARE, SEED)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "texts.jsonl"
        write(texts, file)
        ways = dict.fromkeys(WAYS, count) | dict.fromkeys(("datasketch", "datasketch in batches"), min(SAMPLE, count))
        seconds, kept = defaultdict[str, list[float]](list), dict[str, list[int]]()
        for _ in range(rounds):
            spent, kept["lathe"] = timed(sys.executable, Path(__file__), "--lathe", str(file))
            seconds["lathe"].append(spent)
            for way, limit in ways.items():
                spent, kept[way] = timed(python, Path(__file__).with_name("peer_near.py"), way, str(file), str(limit))
                seconds[way].append(spent * count / limit)
    expected = exactly(texts)
    medians = {way: statistics.median(found) for way, found in seconds.items()}
    return {
        "documents": count,
        "megabytes": round(sum(len(text.encode()) for text in texts) / 1e6, 1),
        "planted": len(pairs),
        "compiled": missing() or True,
        "seconds": {way: [round(value, 2) for value in found] for way, found in seconds.items()},
        "documents_a_second": {way: round(count / median) for way, median in medians.items()},
        "times_as_fast": {way: round(medians[way] / medians["lathe"], 2) for way in ways},
        "datasketch_measured_on": ways["datasketch"],
        "exact": {"dropped": len(expected)},
        "quality": {way: quality(found, expected, ways.get(way, count)) for way, found in kept.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="python of a venv that has datasketch and rensa")
    parser.add_argument("--lathe", type=Path, metavar="FILE", help="time Lathe alone on the texts of a file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=COUNT, help="documents")
    options = parser.parse_args()
    if options.lathe:
        tell(options.lathe)
        sys.exit()
    if not options.peer:
        parser.error("give --peer")
    write_result("near", measure(options.peer, options.rounds, options.count))
