"""The four filters of datatrove, for bench_rules.py; runs in an environment of its own.

python peer_rules.py documents.jsonl result.json speed|decisions
"""

import json
import sys
import time
from importlib.metadata import version

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

FILTERS = {
    "gopher_repetition": GopherRepetitionFilter(),
    "gopher_quality": GopherQualityFilter(),
    "c4_quality": C4QualityFilter(filter_no_terminal_punct=False),
    "fineweb_quality": FineWebQualityFilter(),
}
ALONE = FILTERS | {"c4_quality_end_marks": C4QualityFilter()}
WARM_UP = 20


def main(documents: str, result: str, figure: str) -> None:
    with open(documents, encoding="utf-8") as lines:
        texts = [json.loads(line) for line in lines]
    found = {"versions": {name: version(name) for name in ("datatrove", "spacy")}}
    found |= speed(texts) if figure == "speed" else decisions(texts)
    with open(result, "w", encoding="utf-8") as file:
        json.dump(found, file)


def speed(texts: list[str]) -> dict:
    """Documents a second of the chain, each filter seeing what the one before kept."""
    for text in texts[:WARM_UP]:
        chain(text)
    started_s = time.perf_counter()
    kept = sum(chain(text) is not None for text in texts[WARM_UP:])
    seconds = time.perf_counter() - started_s
    return {"documents_per_second": (len(texts) - WARM_UP) / seconds, "kept": kept}


def decisions(texts: list[str]) -> dict:
    """For each document: why each filter alone drops it, or null; the text that C4 leaves; the text of the chain."""
    rows = []
    for text in texts:
        row = {}
        for name, step in ALONE.items():
            document = Document(text=text, id="0")
            verdict = step.filter(document)
            row[name] = None if verdict is True else verdict[1]
            if name == "c4_quality_end_marks" and verdict is True:
                row["c4_text"] = document.text
        rows.append(row | {"chain": chain(text)})
    return {"rows": rows}


def chain(text: str) -> str | None:
    document = Document(text=text, id="0")
    return document.text if all(step.filter(document) is True for step in FILTERS.values()) else None


if __name__ == "__main__":
    main(*sys.argv[1:])
