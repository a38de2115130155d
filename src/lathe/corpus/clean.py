"""The rules that give text a normal form, and drop what holds too little of it."""

import re
import unicodedata
from dataclasses import replace
from typing import Literal

from pydantic import Field

from lathe.core.recipe import recipe
from lathe.core.scripts import has_words
from lathe.core.types import Document
from lathe.corpus.protocol import Dropped, Verdict


@recipe
class Normalise:
    """Unicode form, line ends, control characters, white space at line ends, runs of empty lines."""

    kind: Literal["normalise"] = "normalise"
    form: Literal["NFC", "NFKC", "as given"] = "NFC"
    """Unicode normal form. NFKC also makes full-width letters and digits ordinary ones."""
    empty_lines: int = Field(1, ge=0)
    """Longest run of empty lines that is left."""

    def __call__(self, document: Document) -> Verdict:
        text = normalised(document.text, self.form, self.empty_lines)
        return replace(document, text=text) if text else Dropped(document, "empty")


@recipe
class DropShort:
    """Drop documents with too little to learn from."""

    kind: Literal["drop_short"] = "drop_short"
    words: int = Field(4, ge=1)
    """Fewest words; in scripts without spaces each character counts as one."""

    def __call__(self, document: Document) -> Verdict:
        return document if has_words(document.text, self.words) else Dropped(document, "too short")


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
