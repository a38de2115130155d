"""n-gram models in ARPA's text format, which SRILM and KenLM read and write; its logarithms are decimal.

White space in a word is written as its code point, ``<U+0020>``, since the format has white space between words.
"""

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lathe.core.errors import DataError
from lathe.ngrams.counts import begins_of
from lathe.ngrams.model import Floats, Level, NGramModel
from lathe.ngrams.units import BOS, SPECIAL, AnyUnits, Characters, Ids, Lengths, Words

LN10 = math.log(10)
NEVER = -99.0
"""What stands for log 0."""
UNKNOWN = -100.0
"""Of ``<unk>`` where the file has none, as in KenLM."""
_ESCAPED = re.compile(r"<U\+([0-9A-F]{4,6})>")
_SPACE = re.compile(r"\s")
_FIELDS = re.compile(r"[ \t]+")


def write_arpa(model: NGramModel, file: Path) -> None:
    """Write a model for other programs; its units go into a comment."""
    names = [written(word, number) for number, word in enumerate(model.vocabulary)]
    with file.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as stream:
        stream.write(f"# units: {model.units.kind}\n\\data\\\n")
        stream.writelines(f"ngram {n}={len(level.words)}\n" for n, level in enumerate(model.levels, 1))
        texts: list[str] = []
        for n, level in enumerate(model.levels, 1):
            stream.write(f"\n\\{n}-grams:\n")
            words = [names[word] for word in level.words.tolist()]
            if n > 1:
                contexts = model.levels[n - 2].contexts_of_next().tolist()
                words = [f"{texts[context]} {word}" for context, word in zip(contexts, words, strict=True)]
            texts = words
            stream.writelines(_lines(level, texts))
        stream.write("\n\\end\\\n")


def read_arpa(file: Path, units: AnyUnits | None = None) -> NGramModel:
    """A model from an ARPA file. ``units`` are what its words are: what the file says, else words.

    Raises ``DataError`` naming the first line that is not as it should be.
    """
    with file.open(encoding="utf-8", errors="surrogatepass", newline="\n") as stream:
        return _read(_Lines(file, stream), units)


def written(word: str, number: int) -> str:
    """A word as it stands in the file.

    >>> written(" ", 7), written("</s>", 2), written("</s>", 9)
    ('<U+0020>', '</s>', '<U+003C>/s>')
    """
    if number < len(SPECIAL):
        return word
    if word in SPECIAL or _ESCAPED.search(word):
        return _escape(word[0]) + "".join(_escape(c) if c.isspace() or c == "<" else c for c in word[1:])
    return _SPACE.sub(lambda found: _escape(found.group()), word)


def read(word: str) -> str:
    """The opposite of `written`."""
    return _ESCAPED.sub(lambda found: chr(int(found.group(1), 16)), word)


def _escape(character: str) -> str:
    return f"<U+{ord(character):04X}>"


def _lines(level: Level, texts: Iterable[str]) -> Iterator[str]:
    log_p = np.maximum(level.log_p / LN10, NEVER).tolist()
    if not len(level.log_backoff):
        yield from (f"{p:.7g}\t{text}\n" for p, text in zip(log_p, texts, strict=True))
        return
    backoff = (level.log_backoff / LN10 + 0.0).tolist()
    yield from (f"{p:.7g}\t{text}\t{b:.7g}\n" for p, text, b in zip(log_p, texts, backoff, strict=True))


class _Part(NamedTuple):
    """The n-grams of one order, as they stand in the file."""

    words: list[list[str]]  # [M][n]
    log_p: Floats  # [M] in nats
    log_backoff: Floats  # [M] 0 where there is none


class _Lines:
    """The lines of a file, and the number of the one read last."""

    def __init__(self, file: Path, lines: Iterable[str]) -> None:
        self.file, self.number, self._lines = file, 0, iter(lines)

    def next(self) -> str:
        """The next line with anything in it. Raises ``DataError`` at the end of the file."""
        for line in self._lines:
            self.number += 1
            if stripped := line.strip("\n\r\t "):
                return stripped
        raise self.error("the file ends early")

    def error(self, reason: str) -> DataError:
        return DataError(f"{self.file}:{self.number}: {reason}; an ARPA file is wanted, as SRILM and KenLM write them")


def _read(lines: _Lines, units: AnyUnits | None) -> NGramModel:
    declared, sizes = _sizes(lines)
    parts = [_part(lines, n, size) for n, size in enumerate(sizes, 1)]
    if (line := lines.next()) != "\\end\\":
        raise lines.error(f"{line[:40]!r} where \\end\\ should be")
    words = [word for (word,) in parts[0].words]
    numbers = {word: number for number, word in enumerate(dict.fromkeys((*SPECIAL, *words)))}
    vocabulary = (*SPECIAL, *(read(word) for word in list(numbers)[len(SPECIAL) :]))
    levels, keys = [_unigrams(parts[0], [numbers[word] for word in words], len(numbers))], [np.arange(len(numbers))]
    for part in parts[1:]:
        level, contexts = _longer(lines, part, numbers, keys)
        levels[-1] = levels[-1]._replace(first=begins_of(contexts, len(keys[-2])))
        levels.append(level)
    levels[-1] = levels[-1]._replace(log_backoff=np.zeros(0, np.float32))
    return NGramModel(units or _units(declared), vocabulary, tuple(levels))


def _sizes(lines: _Lines) -> tuple[str, list[int]]:
    """What the comment says of the units, and the number of n-grams of each order."""
    declared = ""
    while (line := lines.next()) != "\\data\\":
        if not line.startswith("#"):
            raise lines.error(f"{line[:40]!r} where \\data\\ should be")
        declared = line.partition("units: ")[2] or declared
    sizes: list[int] = []
    while found := re.fullmatch(r"ngram +(\d+) *= *(\d+)", line := lines.next()):
        if int(found[1]) != len(sizes) + 1:
            raise lines.error(f"{line!r} where the number of {len(sizes) + 1}-grams should be")
        sizes.append(int(found[2]))
    if line != "\\1-grams:" or not sizes:
        raise lines.error(f"{line[:40]!r} where \\1-grams: should be")
    return declared, sizes


def _part(lines: _Lines, n: int, size: int) -> _Part:
    if n > 1 and (line := lines.next()) != f"\\{n}-grams:":
        raise lines.error(f"{line[:40]!r} where \\{n}-grams: should be")
    words, numbers = [], np.zeros((2, size))
    for i in range(size):
        fields = _FIELDS.split(lines.next())
        if not n < len(fields) < n + 3:
            raise lines.error(f"has {len(fields)} fields, an n-gram of {n} words has {n + 1} or {n + 2}")
        words.append(fields[1 : n + 1])
        try:
            numbers[:, i] = float(fields[0]), float(fields[n + 1]) if len(fields) > n + 1 else 0.0
        except ValueError:
            raise lines.error(f"{fields[0]!r} or {fields[-1]!r} is no number") from None
    log_p, log_backoff = numbers
    log_p[log_p <= NEVER] = -np.inf
    return _Part(words, (log_p * LN10).astype(np.float32), (log_backoff * LN10).astype(np.float32))


def _unigrams(part: _Part, ids: list[int], size: int) -> Level:
    log_p, log_backoff = np.full(size, UNKNOWN * LN10, np.float32), np.zeros(size, np.float32)
    log_p[ids], log_backoff[ids] = part.log_p, part.log_backoff
    log_p[BOS] = -np.inf
    return Level(np.arange(size, dtype=np.uint32), log_p, log_backoff, np.zeros(0, np.uint32))


def _longer(lines: _Lines, part: _Part, numbers: dict[str, int], keys: list[Lengths]) -> tuple[Level, Ids]:
    """A level without knowledge of the one above, and the rising contexts of its n-grams; its keys join ``keys``."""
    try:
        ids = np.array([[numbers[word] for word in words] for words in part.words], np.int64)
    except KeyError as error:
        raise DataError(f"{lines.file}: the word {error} is in an n-gram, but not among the 1-grams") from None
    ids = ids.reshape(len(part.words), -1)
    contexts = ids[:, 0] if len(ids) else np.zeros(0, np.int64)
    for n in range(1, len(keys)):
        wanted = contexts * len(numbers) + ids[:, n]
        contexts = np.minimum(np.searchsorted(keys[n], wanted), max(len(keys[n]) - 1, 0))
        if len(wrong := np.flatnonzero(keys[n][contexts] != wanted)):
            raise DataError(f"{lines.file}: has {' '.join(part.words[wrong[0]])!r}, but not its first {n + 1} words")
    both = contexts * len(numbers) + ids[:, -1] if len(ids) else contexts
    order = np.argsort(both)
    keys.append(both[order])
    if len(twice := np.flatnonzero(np.diff(keys[-1]) == 0)):
        raise DataError(f"{lines.file}: has {' '.join(part.words[order[twice[0]]])!r} twice")
    words = (keys[-1] % len(numbers)).astype(np.uint32)
    nothing = np.zeros(0, np.uint32)
    return Level(words, part.log_p[order], part.log_backoff[order], nothing), contexts[order].astype(np.int32)


def _units(declared: str) -> AnyUnits:
    return Characters() if declared == "characters" else Words()
