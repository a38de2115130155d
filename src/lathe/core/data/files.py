"""From a path to rows: what a file holds is told by its name and, where names are not enough, by its content."""

from collections.abc import Iterator
from pathlib import Path

from lathe.core.data.formats.brat import brat_rows
from lathe.core.data.formats.conll import conll_rows, is_conll
from lathe.core.data.formats.documents import document_rows, is_document
from lathe.core.data.formats.layouts import unfolded
from lathe.core.data.parquet import parquet_rows
from lathe.core.data.records import Bad, Record, read_source, told_breaks
from lathe.core.data.source import BrokenStreamError, Source, content, find_source, lines


def read_rows(path: Path) -> Iterator[Record | Bad]:
    """Every row of a file of JSON, CSV, TSV, text, CoNLL or Parquet, plain or compressed, or of a folder of brat's.

    A text file has one row ``{"text": line}`` a line. Lines of nothing but white space are no rows. Raises
    ``DataError`` for what makes the whole file unusable.
    """
    yield from unfolded(str(path), _records(path))


def _records(path: Path) -> Iterator[Record | Bad]:
    if path.is_dir() or path.suffix == ".ann" or (path.suffix == ".txt" and path.with_suffix(".ann").exists()):
        return brat_rows(path)
    source = _by_content(find_source(path))
    match source.format:
        case "parquet":
            return (Record(number, row) for number, row in parquet_rows(path))
        case "json":
            return told_breaks(path, document_rows(source))
        case "conll":
            return told_breaks(path, conll_rows(source, lines(source)))
        case _:
            return read_source(source)


def _by_content(source: Source) -> Source:
    """One JSON document rather than an object a line, tokens with tags rather than a text or a row a line."""
    is_json = source.format == "jsonl" and ".json" in source.path.suffixes
    if not is_json and source.format not in ("text", "tsv"):
        return source
    try:
        head = next(content(source.path, source.compression), b"")
    except BrokenStreamError:
        return source  # told when it is read
    if is_json:
        return source._replace(format="json") if is_document(head) else source
    return source._replace(format="conll") if is_conll(head.decode("utf-8-sig", "replace")) else source
