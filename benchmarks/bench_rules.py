"""Claim: the rules of Gopher, C4 and FineWeb decide as datatrove's filters do, at 20 times their documents a second.

    python benchmarks/bench_rules.py decisions      every document, each filter alone and the chain; all differences
    python benchmarks/bench_rules.py speed          3 interleaved rounds of the chain, one thread

The chain is FineWeb's: Gopher repetition, Gopher quality, C4 (lines may lack an end mark), FineWeb. The peer, too slow
for all documents, takes every 40th of them for its speed. It runs in an environment of its own: --peer PYTHON, or one
made under runs/ by pip.
"""

import argparse
import gzip
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from common import ROOT, data_set, write_result

from lathe.core.types import Document
from lathe.corpus.protocol import Changed, Dropped, Verdict
from lathe.corpus.rules import C4Quality, FineWebQuality, GopherQuality, GopherRepetition
from lathe.corpus.rules.facts import facts_of

ROUNDS, EVERY, WARM_UP, SIZE = 3, 40, 20, 2500
PEER = ("datatrove==0.10.1", "spacy==3.8.18")
CHAIN = {
    "gopher_repetition": GopherRepetition(),
    "gopher_quality": GopherQuality(),
    "c4_quality": C4Quality(filter_no_terminal_punct=False),
    "fineweb_quality": FineWebQuality(),
}
ALONE = CHAIN | {"c4_quality_end_marks": C4Quality()}


def speed(peer: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        every, some = Path(folder) / "every.jsonl", Path(folder) / "some.jsonl"
        documents = texts()
        write_lines(every, documents)
        write_lines(some, documents[::EVERY])
        rounds = [
            (run(sys.executable, __file__, every, folder), run(peer, peer_script(), some, folder))
            for _ in range(ROUNDS)
        ]
    ours, theirs = zip(*rounds, strict=True)
    ratios = [a["documents_per_second"] / b["documents_per_second"] for a, b in rounds]
    result = {
        "claim": __doc__.splitlines()[0],
        "peer": theirs[0]["versions"],
        "documents": len(documents),
        "mean_characters": statistics.mean(map(len, documents)),
        "peer_documents": len(documents[::EVERY]),
        "peer_mean_characters": statistics.mean(map(len, documents[::EVERY])),
        "lathe_documents_per_second": [round(run["documents_per_second"], 1) for run in ours],
        "peer_documents_per_second": [round(run["documents_per_second"], 1) for run in theirs],
        "ratios": [round(ratio, 2) for ratio in ratios],
        "median_ratio": round(statistics.median(ratios), 2),
    }
    write_result("rules_speed", result)


def decisions(peer: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "documents.jsonl"
        names, documents = zip(*corpus(), strict=True)
        write_lines(file, documents)
        theirs = run(peer, peer_script(), file, folder, "decisions")
    found: dict[str, dict] = {}
    for number, (name, text, row) in enumerate(zip(names, documents, theirs["rows"], strict=True)):
        language = "Chinese" if facts_of(text).is_unspaced else "other"
        for rule, step in ALONE.items():
            verdict = step(Document(text, str(number)))
            reason = verdict.reason if isinstance(verdict, Dropped) else None
            note(found, rule, language, (reason is None) == (row[rule] is None), (name, number, reason, row[rule]))
            if rule == "c4_quality_end_marks" and reason is None and row[rule] is None:
                note(found, "c4_text", language, text_of(verdict) == row["c4_text"], (name, number))
        left = chain(text)
        note(found, "chain", language, left == row["chain"], (name, number, left is None, row["chain"] is None))
    result = {
        "claim": __doc__.splitlines()[0],
        "peer": theirs["versions"],
        "documents": dict(Counter(names)),
        "chinese": "texts in Chinese are judged by other rules here, and by those for English words there",
        "same": found,
    }
    write_result("rules_decisions", result)


def note(found: dict[str, dict], rule: str, language: str, is_same: bool, difference: tuple) -> None:
    counts = found.setdefault(rule, {}).setdefault(language, {"documents": 0, "same": 0, "differences": []})
    counts["documents"] += 1
    counts["same"] += is_same
    if not is_same:
        counts["differences"].append(difference)


def own_speed(file: Path) -> dict:
    documents = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    for text in documents[:WARM_UP]:
        chain(text)
    started_s = time.perf_counter()
    kept = sum(chain(text) is not None for text in documents[WARM_UP:])
    seconds = time.perf_counter() - started_s
    return {"documents_per_second": (len(documents) - WARM_UP) / seconds, "kept": kept}


def chain(text: str) -> str | None:
    """What the chain leaves of a text; None where it drops it."""
    document = Document(text, "0")
    for step in CHAIN.values():
        verdict = step(document)
        if isinstance(verdict, Dropped):
            return None
        document = verdict.document if isinstance(verdict, Changed) else verdict
    return document.text


def text_of(verdict: Verdict) -> str:
    return (verdict if isinstance(verdict, Document) else verdict.document).text


# ---- documents: web pages, articles, reviews, books; whole pages with their menus, too


def corpus() -> Iterator[tuple[str, str]]:
    """Sets and texts, none empty."""
    for name, found in _sets():
        yield from ((name, text) for text in found if text.strip())


def texts() -> list[str]:
    return [text for _, text in corpus()]


def _sets() -> Iterator[tuple[str, list[str]]]:
    yield "c4_sample", [row["text"] for row in _rows("c4_sample", "train")]
    yield "enwiki_articles_sample", _read("enwiki_articles_sample", "train.txt").split("\n")
    yield "imdb_unsup_lm", _read("imdb_unsup_lm", "train.txt").split("\n\n")
    articles = re.split(r"(?m)^= .* =$", _read("wikipedia_paragraphs_lm", "train.txt"))
    yield "wikipedia_paragraphs_lm", [part for article in articles for part in _cut(article.strip())]
    yield "classic_books_lm", _cut(_read("classic_books_lm", "validation.txt"))
    rows = _rows("article_extraction", "test")
    yield "article_extraction", [row["text"] for row in rows]
    pages = [_visible(row["html"]) for row in rows]
    yield "article_extraction pages", pages
    yield "article_extraction pages, cut", [part for page in pages for part in _cut(page)]
    for name in ("aut-example", "resiliparse-warcfile", "resiliparse-clueweb-quirk"):
        data = gzip.decompress((data_set("warc_samples") / f"{name}.warc.gz").read_bytes())
        found = (re.search(rb"(?i)<html", record) for record in data.split(b"\r\n\r\nWARC/"))
        pages = [_visible(match.string[match.start() :].decode("utf-8", "replace")) for match in found if match]
        yield f"warc_samples {name}", pages


def _read(name: str, file: str) -> str:
    with gzip.open(data_set(name) / f"{file}.gz", "rt", encoding="utf-8", newline="\n") as stream:
        return stream.read()


def _rows(name: str, split: str) -> list[dict]:
    return [json.loads(line) for line in _read(name, f"{split}.jsonl").split("\n") if line]


def _cut(text: str) -> list[str]:
    """Parts of about SIZE characters, cut at line ends."""
    parts, size = [[]], 0
    for line in text.split("\n"):
        if size > SIZE:
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += len(line)
    return ["\n".join(part).strip() for part in parts]


class _Visible(HTMLParser):
    """All that a page shows, menus and all, a block a line."""

    BLOCKS = frozenset(["p", "div", "br", "li", "h1", "h2", "h3", "h4", "tr", "td", "ul", "table"])

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag, attributes):
        self.hidden += tag in ("script", "style")
        self.parts += ["\n"] if tag in self.BLOCKS else []

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style") and self.hidden > 0
        self.parts += ["\n"] if tag in self.BLOCKS else []

    def handle_data(self, data):
        self.parts += [] if self.hidden else [data]


def _visible(html: str) -> str:
    parser = _Visible()
    parser.feed(html)
    lines = (re.sub(r"[ \t\r]+", " ", line).strip() for line in "".join(parser.parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


# ---- processes


def run(python: str | Path, script: str | Path, documents: Path, folder: str, figure: str = "speed") -> dict:
    out = Path(folder) / "result.json"
    alone = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    subprocess.run([python, script, documents, out, figure], check=True, env=alone, stdout=subprocess.DEVNULL)
    return json.loads(out.read_text(encoding="utf-8"))


def write_lines(file: Path, values: list[str] | tuple[str, ...]) -> None:
    file.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


def peer_script() -> Path:
    return Path(__file__).with_name("peer_rules.py")


def peer_python() -> Path:
    folder = ROOT / "runs" / "peer-datatrove"
    python = folder / "bin" / "python"
    if not (folder / "ok").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PEER], check=True)
        (folder / "ok").touch()
    return python


if __name__ == "__main__":
    if sys.argv[-1] == "speed" and len(sys.argv) == 4 and Path(sys.argv[1]).is_file():
        Path(sys.argv[2]).write_text(json.dumps(own_speed(Path(sys.argv[1]))), encoding="utf-8")
        sys.exit()
    parser = argparse.ArgumentParser()
    parser.add_argument("figures", nargs="*", default=["decisions", "speed"])
    parser.add_argument("--peer", type=Path, help="a Python with datatrove and spacy")
    arguments = parser.parse_args()
    python = arguments.peer or peer_python()
    for figure in arguments.figures:
        {"decisions": decisions, "speed": speed}[figure](python)
