"""A team's own files as a source of documents."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from lathe.core.data.encodings import codec_of
from lathe.core.digest import files_below, printable
from lathe.core.errors import DataError, did_you_mean
from lathe.core.recipe import recipe
from lathe.core.types import Document
from lathe.corpus.protocol import Item, Unit
from lathe.corpus.readers import Cut, Extraction, Format, Options, Part, parts_of, read_file, read_part

UNIT_BYTES = 2**26
"""What one process reads at a time: large files are cut to it, small ones put together."""

_PATTERN = re.compile(r"[*?[]")


@recipe
class Files:
    """Files of any format that has a reader, known by their content, plain or compressed, or folders of them.

    Plain text, Markdown, web pages, JSON lines, CSV, TSV, Parquet, Wikipedia's XML dumps, web archives (WARC and WET,
    as of Common Crawl and CC-News), and tar archives of all of these (as of OpenWebText and BookCorpus).
    """

    kind: Literal["files"] = "files"
    paths: tuple[Path, ...] = Field(min_length=1)
    """Files, folders whose files are all taken, and patterns such as "texts/*.jsonl" or "**/*.txt"."""
    text: str | None = None
    """Column that holds the text; found by its name or content where not given."""
    group: str | None = None
    """Column (author, site, ...) whose equal values stay on one side of the split; each document by itself if none."""
    unit: Cut = "line"
    """What is one document in a plain text file: a line, a paragraph (lines up to an empty one), sentences (one a line;
    lines up to an empty one, at most 512 of them), or the whole file."""
    format: Literal["detect"] | Format = "detect"
    """Format of all files, where their content does not tell."""
    encoding: str = "detect"
    """Encoding of all texts: utf-8, gb18030, big5, utf-16-le, ...; "detect" tells these apart file by file, and what
    is not clear is quarantined with its readings."""
    extraction: Extraction = "fast"
    """How the main text of a web page is found: fast (resiliparse), or quality (trafilatura: less is left of menus
    and captions, some six times slower)."""

    def __post_init__(self) -> None:
        self._options()

    def inputs(self) -> list[Path]:
        return [found.path for path in self.paths for found in _expanded(path)]

    def states(self) -> dict[str, str]:
        return {}

    def units(self) -> list["Pieces"]:
        found = [file for path in self.paths for file in _expanded(path)]
        files = {file.path: file.name for one in found for file in (_files_in(one) if one.path.is_dir() else [one])}
        pieces = [piece for path, name in _told_apart(files).items() for piece in self._cut(path, name)]
        return [Pieces(_name_of(some), sum(piece.size for piece in some), some) for some in _together(pieces)]

    def read(self, unit: "Pieces") -> Iterator[Item]:
        for piece in unit.pieces:
            if piece.part is not None:
                yield from read_part(piece.path, piece.name, piece.part)
            else:
                yield from read_file(piece.path, piece.name, self._options())

    def group_of(self, document: Document) -> str:
        return str(document.meta.get(self.group, document.id)) if self.group else document.id

    def _options(self) -> Options:
        codec = None if self.encoding == "detect" else codec_of(self.encoding)
        format = None if self.format == "detect" else self.format
        return Options(codec, self.text, self.group, self.unit, self.extraction, format)

    def _cut(self, path: Path, name: str) -> list["Piece"]:
        """A large file of lines that stand for themselves is read in parts."""
        size = path.stat().st_size
        parts = parts_of(path, name, self._options(), UNIT_BYTES) if size > UNIT_BYTES else []
        return [Piece(path, name, part.extent.stop - part.extent.start, part) for part in parts] or [
            Piece(path, name, size)
        ]


class Named(NamedTuple):
    path: Path
    name: str  # how the ids of its documents begin


@dataclass(frozen=True)
class Piece:
    """A file, or a part of one."""

    path: Path
    name: str
    size: int
    part: Part | None = None


@dataclass(frozen=True)
class Pieces(Unit):
    """What one process reads: part of a large file, or some small ones."""

    pieces: tuple[Piece, ...]


def _expanded(path: Path) -> list[Named]:
    """A path itself, or what a pattern stands for: by its name, or by its path from where the pattern begins."""
    if path.exists():
        return [Named(path, printable(Path(path.name)))]
    if not _PATTERN.search(str(path)):
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: no such file or folder (source.paths){did_you_mean(path.name, siblings)}")
    found = [Path(name) for name in sorted(glob(str(path), recursive=True)) if not Path(name).name.startswith(".")]
    if not found:
        raise DataError(f"{path}: this pattern matches no file (source.paths); it is taken from {Path.cwd()}")
    fixed = next(parent for parent in path.parents if not _PATTERN.search(str(parent)))
    return [Named(file, printable(file.relative_to(fixed))) for file in found]


def _files_in(folder: Named) -> list[Named]:
    found = [file for file in files_below(folder.path) if not file.name.startswith(".")]
    if not found:
        raise DataError(f"{folder.path}: there is no file in this folder (source.paths); hidden ones are not read")
    return [Named(file, printable(file.relative_to(folder.path))) for file in found]


def _told_apart(files: Mapping[Path, str]) -> Mapping[Path, str]:
    """Names with as many folders as it takes where several files would have the same: an id is one document's."""
    shared = {name for name, count in Counter(files.values()).items() if count > 1}
    longer = {path: _with_folder(path, name) if name in shared else name for path, name in files.items()}
    return files if longer == files else _told_apart(longer)


def _with_folder(path: Path, name: str) -> str:
    parts = path.absolute().parts
    return printable(Path(*parts[-min(name.count("/") + 2, len(parts)) :]))


def _together(pieces: Iterable[Piece]) -> Iterator[tuple[Piece, ...]]:
    """Neighbours, as many as make up a unit."""
    waiting = list[Piece]()
    for found in pieces:
        if waiting and sum(piece.size for piece in waiting) + found.size > UNIT_BYTES:
            yield tuple(waiting)
            waiting = []
        waiting.append(found)
    yield tuple(waiting)


def _name_of(pieces: tuple[Piece, ...]) -> str:
    first, last = pieces[0], pieces[-1]
    line = f":{first.part.extent.first}" if first.part else ""
    return f"{first.path}{line}" + (f" to {last.path}" if last is not first else "")
