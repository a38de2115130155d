"""A team's own files as a source of documents."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from lathe.core.data.encodings import codec_of
from lathe.core.digest import paths_below, printable, unlisted
from lathe.core.errors import DataError, did_you_mean
from lathe.core.recipe import recipe
from lathe.core.report import say
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
    """Files, folders whose files are all taken, and patterns such as "texts/*.jsonl" or "**/*.txt". A file is read
    once, by however many names it is found; what of a folder is not read (hidden files, links to folders) is told."""
    text: str | None = None
    """Column that holds the text; found by its name or content where not given."""
    group: str | None = None
    """Column (author, site, ...) whose equal values stay on one side of the split; each document by itself if none is
    given. A table has to have it; a row without a value stands for itself."""
    unit: Cut = "line"
    """What is one document in a plain text file: a line, a paragraph (lines up to an empty one), sentences (one a line;
    lines up to an empty one, at most 512 of them), or the whole file."""
    format: Literal["detect", Format] = "detect"
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
        found = [found.path for path in self.paths for found in _expanded(path)]
        return [path for path in found if path.is_file() or path.is_dir()]

    def states(self) -> dict[str, str]:
        return {}

    def units(self) -> list["Pieces"]:
        files = _listed(found for path in self.paths for found in _expanded(path))
        names = _told_apart({file.path: file.name for file in files})
        pieces = [piece for path, name in names.items() for piece in self._cut(path, name)]
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
        if not (path.is_file() or path.is_dir()):
            raise DataError(f"{path}: is a pipe or a device (source.paths); save what comes out of it in a file")
        return [Named(path, printable(Path(path.name)))]
    if not _PATTERN.search(str(path)):
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: no such file or folder (source.paths){did_you_mean(path.name, siblings)}")
    _refuse_unlisted(path)
    found = [Path(name) for name in sorted(glob(str(path), recursive=True)) if not Path(name).name.startswith(".")]
    if not found:
        raise DataError(f"{path}: this pattern matches no file (source.paths); it is taken from {Path.cwd()}")
    fixed = next(parent for parent in path.parents if not _PATTERN.search(str(parent)))
    return [Named(file, printable(file.relative_to(fixed))) for file in found]


def _refuse_unlisted(pattern: Path) -> None:
    """Raises ``DataError`` for a folder in which a pattern would be looked for: `glob` passes over it silently."""
    for inner in [part for part in (pattern, *pattern.parents) if _PATTERN.search(str(part))]:
        for folder in filter(os.path.isdir, glob(str(inner.parent), recursive=True)):
            if not os.access(folder, os.R_OK | os.X_OK):
                raise unlisted(folder, "permission denied")


def _listed(found: Iterable[Named]) -> list[Named]:
    """Every file once, under the first of its names; how much of what was found is not read is said."""
    files, passed = dict[str, Named](), Counter[str]()
    for one in found:
        inside = {file: _why_not(file.path) for file in _inside(one)}
        if one.path.is_dir():
            inside |= {file: why or "hidden files" for file, why in inside.items() if file.path.name.startswith(".")}
            if all(inside.values()):
                raise DataError(f"{one.path}: there is no file in this folder (source.paths); hidden ones are not read")
        for file, why in inside.items():
            if not why and files.setdefault(os.path.realpath(file.path), file) is not file:
                why = "files that were named before"
            passed.update([why] if why else [])
    told = ", ".join(f"{count:,} {why}" for why, count in sorted(passed.items()))
    if not files:
        raise DataError(f"source.paths: no file to read, only {told}")
    if told:
        say(f"not read of source.paths: {told}")
    return list(files.values())


def _inside(one: Named) -> list[Named]:
    """What is in a folder, at any depth, but for its folders; a file itself."""
    if not one.path.is_dir():
        return [one]
    return [Named(path, printable(path.relative_to(one.path))) for path in paths_below(one.path)]


def _why_not(path: Path) -> str:
    """What kind of thing that is not read lies there, without opening it; nothing for a file."""
    if path.is_dir():
        return "links to folders (name what they lead to)"
    return "" if path.is_file() else "pipes and devices" if path.exists() else "links that lead nowhere"


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
