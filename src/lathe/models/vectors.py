"""Word vectors: one place in space for each word, near to those of words that stand in the same company."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from safetensors.numpy import load_file, save_file

from lathe.core.boundaries import Segmenter, words_of
from lathe.core.bundle import Bundle
from lathe.core.digest import write_json
from lathe.core.errors import BundleError, LatheError

MATRIX, WORDS = "vectors.safetensors", "words.json"
FORMAT = 1

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


class Near(NamedTuple):
    word: str
    cosine: float


class TextVectors(NamedTuple):
    """Of some texts, the mean of their words' vectors, and of how many words each mean is."""

    vectors: Floats  # [texts, D]; zeros where no word is known
    known: np.ndarray[Any, np.dtype[np.int64]]  # [texts]
    words: np.ndarray[Any, np.dtype[np.int64]]  # [texts]


@dataclass(frozen=True)
class WordVectors:
    """Words, frequent ones first, and the vector of each.

    >>> vectors = WordVectors(("hot", "warm", "far"), np.array([[1, 0], [3, 1], [0, 2]], np.float32))
    >>> vectors.nearest("hot", 1)[0].word, round(vectors.similarity("hot", "far"), 3)
    ('warm', 0.0)
    >>> vectors.of_texts(["Hot and far", ""]).known.tolist()
    [2, 0]
    """

    words: tuple[str, ...]
    matrix: Floats  # [V, D]
    segmenter: Segmenter = "characters"
    lowercase: bool = True

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def _directions(self) -> Floats:
        """Of length one; a vector of zeros has none, and is near to nothing.  [V, D]"""
        lengths = np.linalg.norm(self.matrix, axis=1, keepdims=True)
        return (self.matrix / np.where(lengths > 0, lengths, 1)).astype(np.float32)

    def __contains__(self, word: str) -> bool:
        return self._cased(word) in self._places

    def __getitem__(self, word: str) -> Floats:
        """[D]. Raises ``LatheError`` where the word is not known."""
        vector: Floats = self.matrix[self._place(word)]
        return vector

    def similarity(self, word: str, other: str) -> float:
        """Cosine of the angle between two words."""
        return float(self._directions[self._place(word)] @ self._directions[self._place(other)])

    def nearest(self, word: str, count: int = 10) -> list[Near]:
        """The words whose directions are nearest to this one's, itself left out, the nearest first."""
        place = self._place(word)
        cosines = self._directions @ self._directions[place]
        cosines[place] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: min(count, len(self.words) - 1)]
        return [Near(self.words[found], float(cosines[found])) for found in best.tolist()]

    def of_texts(self, texts: Sequence[str]) -> TextVectors:
        """The mean vector of the known words of each text."""
        found = [[self._places.get(word, -1) for word in self.split(text)] for text in texts]
        known = [[place for place in places if place >= 0] for places in found]
        means = np.zeros((len(texts), self.matrix.shape[1]), np.float32)
        for row, places in enumerate(known):
            if places:
                means[row] = self.matrix[places].mean(0)
        return TextVectors(means, np.array([*map(len, known)], np.int64), np.array([*map(len, found)], np.int64))

    def split(self, text: str) -> list[str]:
        """The words of a text, as they were learnt."""
        return words_of(self._cased(text), self.segmenter)

    def _cased(self, text: str) -> str:
        return text.lower() if self.lowercase else text

    def _place(self, word: str) -> int:
        if (place := self._places.get(self._cased(word))) is None:
            raise LatheError(f"{word!r}: not among the {len(self.words):,} words that have a vector")
        return place

    # ---- on disk

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write the vectors into a folder; returns the names of its files."""
        save_file({"vectors": np.ascontiguousarray(self.matrix)}, folder / MATRIX)
        header = {"format": FORMAT, "segmenter": self.segmenter, "lowercase": self.lowercase}
        write_json(folder / WORDS, header | {"words": self.words})
        return MATRIX, WORDS

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Raises ``BundleError`` where the folder is no bundle of word vectors, or one that has changed."""
        bundle = Bundle.open(folder, kind="vectors")
        bundle.verify()
        header = json.loads((folder / WORDS).read_text("utf-8"))
        if header["format"] != FORMAT:
            raise BundleError(f"{folder / WORDS}: has format {header['format']}, this version reads {FORMAT}")
        matrix = load_file(folder / MATRIX)["vectors"]
        return cls(tuple(header["words"]), matrix, header["segmenter"], header["lowercase"])


def write_text(vectors: WordVectors, file: Path) -> None:
    """The text format of word2vec, which gensim, fastText's tools and many others read."""
    with file.open("w", encoding="utf-8") as stream:
        stream.write(f"{len(vectors.words)} {vectors.matrix.shape[1]}\n")
        stream.writelines(_lines(vectors))


def _lines(vectors: WordVectors) -> Iterable[str]:
    for word, vector in zip(vectors.words, vectors.matrix, strict=True):
        yield f"{word} {' '.join(np.format_float_positional(value, trim='0') for value in vector)}\n"


def load_vectors(path: str | Path) -> WordVectors:
    """Open word vectors that `lathe vectors` has made.

    Every file is compared with its digest first. Raises ``BundleError`` where the folder is none.

    >>> lathe.load_vectors("runs/words").nearest("film", 3)                       # doctest: +SKIP
    """
    return WordVectors.open(Path(path))
