"""Near duplicates as one writes them with other libraries; runs in an environment of their own, without Lathe.

    python peer_near.py rensa TEXTS.jsonl LIMIT     prints {"seconds": ..., "kept": [...]}

Words, 5-grams and threshold are those of the benchmark; texts are in memory when the clock starts.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

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
    """As its documentation makes a sketch: one token after another."""
    from datasketch import MinHash

    def sketch(text: str) -> MinHash:
        made = MinHash(num_perm=PERMUTATIONS)
        for gram in grams(text):
            made.update(gram.encode())
        return made

    return kept_by_datasketch(sketch(text) for text in texts)


def by_datasketch_in_batches(texts: list[str]) -> list[int]:
    """With the faster call that it has for all tokens of a text."""
    from datasketch import MinHash

    def sketch(text: str) -> MinHash:
        made = MinHash(num_perm=PERMUTATIONS)
        made.update_batch([gram.encode() for gram in grams(text)])
        return made

    return kept_by_datasketch(sketch(text) for text in texts)


def kept_by_datasketch(sketches: Iterator[Any]) -> list[int]:
    """In order: whoever meets no similar one is inserted."""
    from datasketch import MinHashLSH

    index, kept = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS), list[int]()
    for number, sketch in enumerate(sketches):
        if not index.query(sketch):
            index.insert(number, sketch)
            kept.append(number)
    return kept


WAYS: dict[str, Callable[[list[str]], list[int]]] = {
    "rensa": by_rensa,
    "rensa in batches": by_rensa_in_batches,
    "datasketch": by_datasketch,
    "datasketch in batches": by_datasketch_in_batches,
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
