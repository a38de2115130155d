"""Repairs and conversions of characters: text that was decoded wrongly, full-width forms, traditional Chinese."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Literal

from lathe.core.errors import LatheError
from lathe.core.recipe import recipe
from lathe.core.types import Document
from lathe.corpus.protocol import Changed


@recipe
class RepairEncoding:
    """Undo a wrong decoding: UTF-8 that was read as Windows-1252 or its like ("donâ€™t"), or as GB18030 ("浣犲ソ")."""

    kind: Literal["repair_encoding"] = "repair_encoding"

    def __call__(self, document: Document) -> Document | Changed:
        text = document.text
        if text.isascii():
            return document
        repaired = "\n".join(map(_read_as_chinese, text.split("\n"))) if _HAN.search(text) else text
        repaired = _read_as_latin()(repaired)
        return _counted(document, repaired, "encoding repaired")


@recipe
class NarrowFullWidth:
    """Make full-width letters and digits ordinary ones, as in "ＡＢＣ１２３"; NFKC does that too, and much more."""

    kind: Literal["narrow_full_width"] = "narrow_full_width"
    characters: Literal["letters", "all"] = "letters"
    """Letters, digits and spaces, or marks such as "，" and "！" too, which are at home in Chinese."""

    def __call__(self, document: Document) -> Document:
        text = document.text if document.text.isascii() else document.text.translate(_ORDINARY[self.characters])
        return document if text == document.text else replace(document, text=text)


@recipe
class ConvertChinese:
    """Turn traditional Chinese into simplified, or the other way, word by word (OpenCC)."""

    kind: Literal["convert_chinese"] = "convert_chinese"
    to: Literal["simplified", "traditional", "Taiwan", "Hong Kong"] = "simplified"
    """What to write; Taiwan and Hong Kong have characters of their own."""

    def __call__(self, document: Document) -> Document:
        if not _HAN.search(document.text):
            return document
        text = _converter(_OPENCC[self.to])(document.text)
        return document if text == document.text else replace(document, text=text)


_HAN = re.compile("[\u3400-\u9fff]")
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: ord(" ")}
_ORDINARY = {
    "letters": {code: to for code, to in _FULL_WIDTH.items() if chr(to).isalnum() or chr(to) == " "},
    "all": _FULL_WIDTH,
}
_OPENCC = {"simplified": "t2s", "traditional": "s2t", "Taiwan": "s2tw", "Hong Kong": "s2hk"}
_FEWEST = 4  # Han characters that a line read wrongly must give: shorter ones can be right both ways


def _read_as_chinese(line: str) -> str:
    """The line that was read as GB18030 and is UTF-8; Chinese text is not, but for a few characters by chance."""
    if not _HAN.search(line):
        return line
    try:
        right = line.encode("gb18030").decode("utf-8")
    except UnicodeError:
        return line
    return right if len(_HAN.findall(right)) >= _FEWEST else line


@cache
def _read_as_latin() -> Callable[[str], str]:
    try:
        import ftfy
    except ImportError as error:
        raise LatheError(f"repair_encoding needs {error.name}: pip install 'lathe[corpus]'") from None
    found: Callable[[str], str] = ftfy.fix_encoding
    return found


@cache
def _converter(name: str) -> Callable[[str], str]:
    try:
        import opencc
    except ImportError as error:
        raise LatheError(f"convert_chinese needs {error.name}: pip install 'lathe[corpus]'") from None
    found: Callable[[str], str] = opencc.OpenCC(name).convert
    return found


def _counted(document: Document, text: str, what: str) -> Document | Changed:
    return document if text == document.text else Changed(replace(document, text=text), {what: 1})
