"""Near duplicates as one writes them with other libraries; runs in an environment of their own, without Lathe.

    python peer_near.py rensa TEXTS.jsonl LIMIT     prints {"seconds": ..., "kept": [...]}

Words, 5-grams and threshold are those of the benchmark; texts are in memory when the clock starts.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator

WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")
SIZE, THRESHOLD, PERMUTATIONS = 5, 0.8, 128


def grams(text: str) -> list[str]:
    words = WORD.findall(text.lower())
    if len(words) < SIZE:
        return [" ".join(words)]
    return list(map(" ".join, zip(words, words[1:], words[2:], words[3:], words[4:], strict=False)))


def by_rensa(texts: list[str]) -> list[int]:
    """As its README keeps unique documents."""
    from rensa import RMinHashDeduplicator

    dedup = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True)
    kept = dedup.add_pairs((str(index), grams(text)) for index, text in enumerate(texts))
    return [index for index, is_kept in enumerate(kept) if is_kept]


def by_rensa_in_batches(texts: list[str]) -> list[int]:
    """Its fastest route over whole sets: one matrix of signatures, asked once for duplicates."""
    from rensa import RMinHash, RMinHashLSH

    matrix = RMinHash.digest_matrix_from_token_sets([grams(text) for text in texts], PERMUTATIONS, 42)
    flags = RMinHashLSH(THRESHOLD, PERMUTATIONS, 16).query_duplicate_flags_matrix_one_shot(matrix)
    return [index for index, repeats in enumerate(flags) if not repeats]


def by_datasketch(texts: list[str]) -> list[int]:
    """As its documentation does it: in order, whoever meets no similar one is inserted."""
    from datasketch import MinHash, MinHashLSH

    index, kept = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS), list[int]()
    for number, text in enumerate(texts):
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch([gram.encode() for gram in grams(text)])
        if not index.query(sketch):
            index.insert(number, sketch)
            kept.append(number)
    return kept


WAYS: dict[str, Callable[[list[str]], list[int]]] = {
    "rensa": by_rensa,
    "rensa in batches": by_rensa_in_batches,
    "datasketch": by_datasketch,
}


def read(file: str) -> Iterator[str]:
    with open(file, encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)["text"]


if __name__ == "__main__":
    way, file, limit = sys.argv[1:]
    given = list(read(file))[: int(limit)]
    WAYS[way](given[:20])  # imports and first calls are not timed
    started_s = time.perf_counter()
    found = WAYS[way](given)
    print(json.dumps({"seconds": time.perf_counter() - started_s, "kept": found}))
