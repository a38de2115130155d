"""Real texts with planted near duplicates: known pairs, edited to a known degree, in a known order."""

import gzip
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from common import data_set

LENGTH = 2000
"""Characters of a piece of a book, about: at the end of a paragraph."""

EDITS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.08, 0.12)
"""Shares of words that are exchanged: each exchange is a different word in up to five 5-grams."""


class Planted(NamedTuple):
    texts: list[str]
    pairs: list[tuple[int, int, float]]  # (original, variant, share of words exchanged)


def planted(count: int, share: float, seed: int) -> Planted:
    """``count`` texts of which this share are variants of others, shuffled."""
    draw = random.Random(seed)
    originals = list(real_texts())
    variants = round(count * share)
    if len(originals) < count - variants:
        sys.exit(f"{len(originals):,} texts are here, {count - variants:,} are needed")
    texts = draw.sample(originals, count - variants)
    made = [(draw.randrange(len(texts)), draw.choice(EDITS)) for _ in range(variants)]
    vocabulary = draw.choice(texts).split()
    everything = texts + [edited(texts[base], edit, vocabulary, draw) for base, edit in made]
    order = list(range(count))
    draw.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    pairs = [(place[base], place[len(texts) + index], edit) for index, (base, edit) in enumerate(made)]
    return Planted([everything[old] for old in order], pairs)


def edited(text: str, share: float, vocabulary: list[str], draw: random.Random) -> str:
    """Some words exchanged, left out or put in: all over the text, or in one place of it. Chinese: characters."""
    between = " " if text.count(" ") * 12 > len(text) else ""
    words = text.split(" ") if between else list(text)
    number = round(share * len(words)) or (share > 0)
    start = draw.randrange(max(len(words) - 5 * number, 1))
    here = draw.random() < 0.3  # in one place, five times as many cost about as many 5-grams
    places = range(start, min(start + 5 * number, len(words))) if here else draw.sample(range(len(words)), number)
    for place in places:
        new = draw.choice(vocabulary) if between else chr(draw.randrange(0x4E00, 0x9000))
        words[place] = draw.choice((new, "", f"{words[place]}{between}{new}"))
    return between.join(words)


def real_texts() -> Iterator[str]:
    """English and Chinese documents of some length, each once."""
    seen = set[str]()
    sources = (
        pieces("classic_books_lm", "train.txt.gz"),
        pieces("wikipedia_paragraphs_lm", "train.txt.gz"),
        pieces("tang_poetry_lm", "train.txt.gz", 400),
        column("imdb", "train.jsonl.gz", "text"),
        column("imdb", "test.jsonl.gz", "text"),
        column("squad", "train.jsonl.gz", "context"),
        column("c3", "train.jsonl.gz", "context"),
        column("cmrc2018", "train.jsonl.gz", "context"),
        column("csl_title", "train.jsonl.gz", "document"),
    )
    for source in sources:
        for text in source:
            if len(text) >= 100 and text not in seen:
                seen.add(text)
                yield text


def column(name: str, file: str, key: str) -> Iterator[str]:
    with gzip.open(data_set(name) / file, "rt", encoding="utf-8") as stream:
        for line in stream:
            value = json.loads(line)[key]
            yield value if isinstance(value, str) else "\n".join(value)


def pieces(name: str, file: str, length: int = LENGTH) -> Iterator[str]:
    lines, size = list[str](), 0
    with gzip.open(data_set(name) / file, "rt", encoding="utf-8") as stream:
        for line in stream:
            lines.append(line)
            size += len(line)
            if size >= length:
                yield "".join(lines).strip()
                lines, size = [], 0


def write(texts: list[str], file: Path) -> None:
    with file.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
