"""What documents amount to: the same figures of what a corpus was made from, and of what is left."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from tokenizers import Tokenizer

from lathe.core.documents import utf8_size
from lathe.core.errors import BundleError
from lathe.core.rows import encode_texts
from lathe.core.scripts import script_of
from lathe.core.types import Document

_LANGUAGE = re.compile(r"[a-z]{2,3}(?![a-z])")


@dataclass
class Census:
    """Sums over documents."""

    documents: int = 0
    characters: int = 0
    bytes: int = 0  # as UTF-8
    tokens: int = 0  # 0 where no tokenizer is given
    longest: int = 0  # characters
    lengths: Counter[str] = field(default_factory=Counter)  # class of lengths -> documents, see ``length_class``
    scripts: Counter[str] = field(default_factory=Counter)  # script that most letters are in -> characters
    languages: Counter[str] = field(default_factory=Counter)  # documents whose meta data name one -> documents

    @classmethod
    def of(cls, documents: Iterable[Document], tokenizer: Path | None = None) -> Self:
        held, census = list(documents), cls()
        for document in held:
            census._count(document)
        if tokenizer is not None:
            census.tokens = count_tokens((document.text for document in held), tokenizer)
        return census

    def add(self, other: "Census") -> None:
        for name in ("documents", "characters", "bytes", "tokens"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.longest = max(self.longest, other.longest)
        for name in ("lengths", "scripts", "languages"):
            getattr(self, name).update(getattr(other, name))

    def _count(self, document: Document) -> None:
        length = len(document.text)
        self.documents += 1
        self.characters += length
        self.bytes += utf8_size(document.text)
        self.longest = max(self.longest, length)
        self.lengths[length_class(length)] += 1
        self.scripts[script_of(document.text)] += length
        if language := _LANGUAGE.match(str(document.meta.get("language", "")).lower()):
            self.languages[language[0]] += 1

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> Self:
        counters = {name: Counter(values[name]) for name in ("lengths", "scripts", "languages")}
        return cls(**values | counters)


def length_class(characters: int) -> str:
    """The power of two at which the class of a length begins; "0" is a class of its own.

    >>> [length_class(length) for length in (0, 1, 7, 8, 1000)]
    ['0', '1', '4', '8', '512']
    """
    return str(1 << (characters.bit_length() - 1)) if characters else "0"


def count_tokens(texts: Iterable[str], folder: Path) -> int:
    """Tokens of texts, without special ones."""
    return sum(len(ids) for chunk in encode_texts(texts, open_engine(folder)) for ids in chunk)


class Engine(NamedTuple):
    """What encoding needs of a tokenizer: opened so, it takes no import of transformers in each process."""

    backend_tokenizer: Tokenizer


@cache
def open_engine(folder: Path) -> Engine:
    """Raises ``BundleError`` where there is no tokenizer that can be read."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise BundleError(f"{folder}: no tokenizer.json (tokenizer); name the folder of a fast tokenizer")
    try:
        return Engine(Tokenizer.from_file(str(file)))
    except Exception as error:  # the library raises nothing narrower
        raise BundleError(f"{file}: cannot be read ({error})") from None
