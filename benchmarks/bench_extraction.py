"""Main text of news pages against what people marked as the article: F1 of words, and milliseconds a page.

Both ways are ours to choose from, and both are another library's; the page's whole text is the floor. Wikitext: time
and likeness beside a parser that makes a tree of the page (of the `bench` extra).
"""

import bz2
import gzip
import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable
from xml.etree import ElementTree

import mwparserfromhell
from common import data_set, write_result

from lathe.corpus.readers.html import extract
from lathe.corpus.readers.wikitext import plain_text

WIKITEXT = 20  # pages


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text))


def f1(gold: str, found: str) -> float:
    """Of the words as a bag: how much of either is in the other."""
    expected, given = words(gold), words(found)
    shared = (expected & given).total()
    return 2 * shared / max(expected.total() + given.total(), 1)


def everything(html: str) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(html, main_content=False))


def pages() -> dict[str, dict[str, float]]:
    with gzip.open(data_set("article_extraction") / "test.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    ways: dict[str, Callable[[str], str]] = {
        "fast": lambda html: extract(html, "fast").text,
        "quality": lambda html: extract(html, "quality").text,
        "whole page": everything,
    }
    scores: dict[str, list[float]] = {name: [] for name in ways}
    seconds = dict.fromkeys(ways, 0.0)
    for row in rows:
        for name, way in ways.items():
            started_s = time.perf_counter()
            text = way(row["html"])
            seconds[name] += time.perf_counter() - started_s
            scores[name].append(f1(row["text"], text))
    return {
        name: {"f1": round(statistics.mean(scores[name]), 4), "ms_per_page": round(1000 * seconds[name] / len(rows), 1)}
        for name in ways
    } | {"pages": {"count": len(rows)}}


def wikitext() -> dict[str, float]:
    dump = data_set("mediawiki_dump_sample") / "enwiki-pages-articles-sample.xml.bz2"
    tree = ElementTree.fromstring(bz2.decompress(dump.read_bytes()))
    found = [node.text or "" for node in tree.iter() if node.tag.endswith("}text")]
    texts = [text for text in found if not text.upper().startswith("#REDIRECT")][:WIKITEXT]
    ours_s = peer_s = 0.0
    alike = []
    for text in texts:
        started_s = time.perf_counter()
        ours = plain_text(text)
        halfway_s = time.perf_counter()
        peer = mwparserfromhell.parse(text).strip_code()
        peer_s += time.perf_counter() - halfway_s
        ours_s += halfway_s - started_s
        alike.append(f1(str(peer), ours))
    size = sum(map(len, texts)) / 1e6
    return {
        "pages": len(texts),
        "mb_per_s": round(size / ours_s, 2),
        "mwparserfromhell_mb_per_s": round(size / peer_s, 2),
        "f1_of_words_with_it": round(statistics.mean(alike), 4),
    }


if __name__ == "__main__":
    write_result("extraction", {"html": pages(), "wikitext": wikitext()})
