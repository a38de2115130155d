"""Lists of words, phrases and sites that no text may have."""

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field

from lathe.core.errors import DataError, RecipeError
from lathe.core.recipe import recipe
from lathe.core.scripts import words
from lathe.core.types import Document
from lathe.corpus.protocol import Dropped


@recipe
class Blocklist:
    """Drop texts with words or phrases of a list, or from a site of a list."""

    kind: Literal["blocklist"] = "blocklist"
    terms: tuple[str, ...] = ()
    """Words and phrases, whatever their case; whole words, and in scripts without spaces anywhere."""
    term_files: tuple[Path, ...] = ()
    """Files with more, one a line; lines that begin with "#" are comments."""
    domains: tuple[str, ...] = ()
    """Sites; those below them are meant too."""
    domain_files: tuple[Path, ...] = ()
    """Files with more, one a line."""
    url: str = "url"
    """Meta data that says where a text is from."""
    max_hits: int = Field(0, ge=0)
    """Most hits of words and phrases that a text may have."""

    def inputs(self) -> list[Path]:
        return [*self.term_files, *self.domain_files]

    def __post_init__(self) -> None:
        if not (self.terms or self.term_files or self.domains or self.domain_files):
            raise RecipeError("blocklist has nothing to look for; set terms, term_files, domains or domain_files")

    def prepare(self, memory: int) -> None:
        """Raises ``DataError`` where the lists are empty, whatever the memory."""
        del memory
        sites = _domains(self.domains, _states(self.domain_files))
        if not any(sites) and not _terms(self.terms, _states(self.term_files)).all:
            named = ", ".join(map(str, self.inputs())) or "terms, domains"
            raise DataError(
                f"{named}: no word and no site to look for; fill the lists, or leave the step blocklist out"
            )

    def __call__(self, document: Document) -> Document | Dropped:
        if self._is_blocked(document.meta.get(self.url)):
            return Dropped(document, "blocklist: site")
        terms = _terms(self.terms, _states(self.term_files))
        if terms.lengths and sum(1 for _ in hits(document.text, terms)) > self.max_hits:
            return Dropped(document, "blocklist: term")
        return document

    def _is_blocked(self, url: object) -> bool:
        if not isinstance(url, str) or not (self.domains or self.domain_files):
            return False
        domains = _domains(self.domains, _states(self.domain_files))
        labels = _host(url).split(".")
        return any(".".join(labels[start:]) in domains for start in range(len(labels)))


class Terms(NamedTuple):
    """Each as its words with one space between each two."""

    all: frozenset[str]
    lengths: tuple[int, ...]  # the numbers of words that they have


class _State(NamedTuple):
    """A file as it is: one that was changed is read again."""

    file: Path
    changed_ns: int
    size: int


def hits(text: str, terms: Terms) -> Iterator[str]:
    """Every place where a text has a term.

    >>> list(hits("Not a Bad word, but 坏词语", terms_of(["bad word", "坏词"])))
    ['bad word', '坏 词']
    """
    found = words(text.casefold())
    for length in terms.lengths:
        for start in range(len(found) - length + 1):
            term = " ".join(found[start : start + length])
            if term in terms.all:
                yield term


def terms_of(lines: Iterable[str]) -> Terms:
    parted = [found for line in lines if (found := words(line.casefold()))]
    return Terms(frozenset(map(" ".join, parted)), tuple(sorted({len(found) for found in parted})))


@lru_cache(8)
def _terms(terms: tuple[str, ...], files: tuple[_State, ...]) -> Terms:
    return terms_of([*terms, *_lines(files)])


@lru_cache(8)
def _domains(domains: tuple[str, ...], files: tuple[_State, ...]) -> frozenset[str]:
    return frozenset(_host(line) for line in (*domains, *_lines(files)))


def _host(url: str) -> str:
    """The site of an address with or without its scheme."""
    try:
        host = urlsplit(url if "//" in url else f"//{url}").hostname
    except ValueError:
        host = None
    return (host or "").rstrip(".")


def _states(files: tuple[Path, ...]) -> tuple[_State, ...]:
    return tuple(_State(file, state.st_mtime_ns, state.st_size) for file in files for state in [_stat(file)])


def _stat(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror} (blocklist)") from None


def _lines(files: Iterable[_State]) -> Iterator[str]:
    for state in files:
        try:
            text = state.file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{state.file}: not UTF-8 at byte {error.start}; save the list as UTF-8") from None
        yield from (line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#"))
