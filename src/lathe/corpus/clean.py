"""The rules of a corpus: each takes a stream of documents, changes some, and drops some with a reason."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from pydantic import Field

from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.scripts import has_words
from lathe.core.types import Document
from lathe.corpus.near import clusters, near_duplicates


@dataclass(frozen=True, slots=True)
class Dropped:
    """A document that leaves the stream, and why."""

    document: Document
    reason: str
    twin: str | None = None  # id of the kept document that it repeats


Verdict: TypeAlias = Document | Dropped


@recipe
class Normalise:
    """Unicode form, line ends, control characters, white space at line ends, runs of empty lines."""

    kind: Literal["normalise"] = "normalise"
    form: Literal["NFC", "NFKC", "as given"] = "NFC"
    """Unicode normal form. NFKC also makes full-width letters and digits ordinary ones."""
    empty_lines: int = Field(1, ge=0)
    """Longest run of empty lines that is left."""

    def __call__(self, documents: Iterable[Document]) -> Iterator[Verdict]:
        for document in documents:
            text = normalised(document.text, self.form, self.empty_lines)
            yield replace(document, text=text) if text else Dropped(document, "empty")


@recipe
class DropShort:
    """Drop documents with too little to learn from."""

    kind: Literal["drop_short"] = "drop_short"
    words: int = Field(4, ge=1)
    """Fewest words; in scripts without spaces each character counts as one."""

    def __call__(self, documents: Iterable[Document]) -> Iterator[Verdict]:
        for document in documents:
            yield document if has_words(document.text, self.words) else Dropped(document, "too short")


@recipe
class DropExactDuplicates:
    """Drop documents whose text was seen before, character by character."""

    kind: Literal["drop_exact_duplicates"] = "drop_exact_duplicates"

    def __call__(self, documents: Iterable[Document]) -> Iterator[Verdict]:
        first: dict[bytes, str] = {}  # digest of a text -> id of the document that has it
        for document in documents:
            kept = first.setdefault(hashlib.sha256(document.text.encode("utf-8")).digest(), document.id)
            yield document if kept == document.id else Dropped(document, "exact duplicate", kept)


@recipe
class DropNearDuplicates:
    """Drop documents that share most of their word 5-grams with an earlier one. Holds the documents in memory."""

    kind: Literal["drop_near_duplicates"] = "drop_near_duplicates"
    threshold: float = Field(0.8, ge=0.5, le=1)
    """Jaccard similarity of the sets of 5-grams from which on a document is a duplicate."""

    def __call__(self, documents: Iterable[Document]) -> Iterator[Verdict]:
        held = list(documents)
        twins = near_duplicates([document.text for document in held], self.threshold)
        say(f"near duplicates: {len(twins):,} documents repeat one of {clusters(twins):,}")
        for index, document in enumerate(held):
            yield Dropped(document, "near duplicate", held[twins[index]].id) if index in twins else document


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_LINE_END = re.compile(r"\r\n?|[\x0c\x85\u2028\u2029]")
_TRAILING = re.compile(r"[^\S\n]+$", re.MULTILINE)


def normalised(text: str, form: Literal["NFC", "NFKC", "as given"] = "NFC", empty_lines: int = 1) -> str:
    r"""Doing it twice changes nothing.

    >>> normalised("cafe\u0301 \r\n\r\n\r\n\r\nnoir\x00\t")
    'café\n\nnoir'
    """
    if not text.isascii() and form != "as given":
        text = unicodedata.normalize(form, text)
    text = _LINE_END.sub("\n", _CONTROL.sub("", text))
    text = _TRAILING.sub("", text).strip("\n")
    return re.sub(rf"\n{{{empty_lines + 2},}}", "\n" * (empty_lines + 1), text)
