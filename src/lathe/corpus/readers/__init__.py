"""Readers: from a file of any known format to documents, streaming, in bounded memory, with nothing left out unsaid.

What is wrong with a file is among what it yields: a line, a page or a record that cannot be read costs no other.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

from lathe.core.data.encodings import UnreadableError
from lathe.core.data.source import BrokenStreamError
from lathe.corpus.protocol import Item
from lathe.corpus.readers.archive import read_tar
from lathe.corpus.readers.detect import detect_format
from lathe.corpus.readers.html import read_html
from lathe.corpus.readers.opened import Cut, Extraction, Format, Opened, Options, open_file
from lathe.corpus.readers.parts import Part, parts_of, read_part
from lathe.corpus.readers.tables import read_parquet, read_table
from lathe.corpus.readers.text import read_markdown, read_text
from lathe.corpus.readers.warc import read_warc
from lathe.corpus.readers.wikipedia import read_wikipedia

Reader: TypeAlias = Callable[[Opened, Options], Iterator[Item]]

READERS: dict[Format, Reader] = {
    "text": read_text,
    "markdown": read_markdown,
    "html": read_html,
    "jsonl": partial(read_table, format="jsonl"),
    "csv": partial(read_table, format="csv"),
    "tsv": partial(read_table, format="tsv"),
    "parquet": read_parquet,
    "wikipedia": lambda opened, _: read_wikipedia(opened),
    "warc": read_warc,
    "tar": lambda opened, options: read_tar(opened, partial(read_opened, options=options)),
}


def read_file(path: Path, name: str, options: Options) -> Iterator[Item]:
    """What a file holds, in order, the same every time. ``name`` is how the ids of its documents begin.

    Raises ``DataError`` when the file cannot be opened, or has no column of the name that the user gave.
    """
    opened = open_file(path, name)
    yield from read_opened(opened, options)
    for reason in opened.gaps:
        yield opened.bad(f"{reason}; what follows is read", "copy or download the file again")


def read_opened(opened: Opened, options: Options) -> Iterator[Item]:
    """The same of what is open: a file, or a member of an archive."""
    try:
        if not opened.head:
            next(opened.chunks, None)  # raises why there is nothing, where that is no empty file
        format = detect_format(opened.head, opened.name, options.format)
        yield from READERS[format](opened, options)
    except UnreadableError as error:
        yield opened.bad(error.reason, error.fix)
    except BrokenStreamError as error:
        yield opened.broken(error)


__all__ = [
    "READERS",
    "Cut",
    "Extraction",
    "Format",
    "Opened",
    "Options",
    "Part",
    "open_file",
    "parts_of",
    "read_file",
    "read_opened",
    "read_part",
]
