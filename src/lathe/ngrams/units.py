"""What an n-gram model takes for a word, and the numbers that stand for words.

Every vocabulary begins with ``<unk>``, ``<s>`` and ``</s>``, as KenLM's do. They are no text: where a text holds "<s>",
that is a word like another.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, count, islice
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from pydantic import Field
from tokenizers import Tokenizer

from lathe.core.errors import DataError
from lathe.core.native import library
from lathe.core.native.vocabulary import FIRST, WordTable
from lathe.core.recipe import recipe
from lathe.core.rows import encode_texts

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]
Lengths: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Encode: TypeAlias = Callable[[Iterable[str]], Ids]
"""Texts to one stream of ids [L]: each text between ``<s>`` and ``</s>``."""

SPECIAL = ("<unk>", "<s>", "</s>")
UNK, BOS, EOS = range(3)
BREAK = -1
"""In a stream: no word, and nothing is known of what stands before it."""
TOKENIZER = "tokenizer.json"
TEXTS_AT_ONCE = 512
CODE_POINTS = 0x110000


class Read(NamedTuple):
    """Some texts as numbers, one behind the other."""

    ids: Ids  # [words]
    lengths: Lengths  # [texts]


class Learnt(NamedTuple):
    """The words of a text, frequent ones first where the text decides on them, and the text in their numbers."""

    vocabulary: tuple[str, ...]
    stream: Ids  # [L]


@recipe
class Words:
    """What stands between white space. White space itself is not predicted."""

    kind: Literal["words"] = "words"
    min_frequency: int = Field(1, ge=1)
    """Words that the text has less often are unknown, and counted as such."""

    def learn(self, texts: Iterable[str]) -> Learnt:
        known = _no_words()
        stream = _joined(known.read(chunk, learns=True) for chunk in batches(texts))
        order, table = _by_frequency(np.bincount(stream, minlength=FIRST)[FIRST:], self.min_frequency)
        names = known.words
        table = np.concatenate([np.arange(FIRST, dtype=np.int32), table])
        return Learnt((*SPECIAL, *map(names.__getitem__, order)), table[stream])

    def encoder(self, vocabulary: Sequence[str]) -> Encode:
        known = _no_words()
        known.read([" ".join(vocabulary[FIRST:])], learns=True)
        if known.words != list(vocabulary[FIRST:]):
            raise DataError("the vocabulary has words with white space in them, or one twice: these are no words")
        return lambda texts: _joined(known.read(chunk, learns=False) for chunk in batches(texts))

    def split(self, text: str) -> list[str]:
        """The text of each unit."""
        return text.split()

    def restores(self, text: str) -> bool:
        """Whether the units say all of the text."""
        return " ".join(text.split()) == text


@recipe
class Characters:
    """Code points, white space among them."""

    kind: Literal["characters"] = "characters"
    min_frequency: int = Field(1, ge=1)
    """Characters that the text has less often are unknown, and counted as such."""

    def learn(self, texts: Iterable[str]) -> Learnt:
        chunks = list(_read_characters(texts))
        order, table = _by_frequency(_frequencies(chunks, CODE_POINTS), self.min_frequency)
        return Learnt((*SPECIAL, *map(chr, order)), framed(chunks, table))

    def encoder(self, vocabulary: Sequence[str]) -> Encode:
        table = np.full(CODE_POINTS, UNK, np.int32)
        table[[ord(character) for character in vocabulary[EOS + 1 :]]] = range(EOS + 1, len(vocabulary))
        return lambda texts: framed(_read_characters(texts), table)

    def split(self, text: str) -> list[str]:
        """The text of each unit."""
        return list(text)

    def restores(self, text: str) -> bool:
        """Whether the units say all of the text."""
        return True


@recipe
class Pieces:
    """The pieces of a tokenizer; its special tokens are none."""

    kind: Literal["pieces"] = "pieces"
    tokenizer: Path
    """Folder with a ``tokenizer.json``."""

    def learn(self, texts: Iterable[str]) -> Learnt:
        engine = _engine(self.tokenizer)
        special = _special(engine)
        pieces = sorted((number, piece) for piece, number in engine.get_vocab().items() if number not in special)
        vocabulary = (*SPECIAL, *(piece for _, piece in pieces))
        return Learnt(vocabulary, self.encoder(vocabulary)(texts))

    def encoder(self, vocabulary: Sequence[str]) -> Encode:
        engine = _engine(self.tokenizer)
        special = _special(engine)
        ids = np.array(sorted(set(engine.get_vocab().values()) - special), np.int64)
        if len(ids) != len(vocabulary) - len(SPECIAL):
            raise DataError(f"{self.tokenizer}: has {len(ids):,} pieces, the model {len(vocabulary) - len(SPECIAL):,}")
        table = np.full(max(engine.get_vocab().values()) + 1, UNK, np.int32)
        table[ids] = np.arange(EOS + 1, len(vocabulary))
        return lambda texts: framed(_read_pieces(texts, engine), table)

    def split(self, text: str) -> list[str]:
        """The text of each unit."""
        return surfaces(_engine(self.tokenizer), text)

    def restores(self, text: str) -> bool:
        """Whether the units say all of the text."""
        return is_restored(_engine(self.tokenizer), text)


AnyUnits = Annotated[Words | Characters | Pieces, Field(discriminator="kind")]


def framed(chunks: Iterable[Read], table: Ids | None = None) -> Ids:
    """One stream of all texts, each between ``<s>`` and ``</s>``; ``table`` gives the ids of what was read.

    >>> framed([Read(np.array([7, 8, 9], np.int32), np.array([1, 0, 2]))]).tolist()
    [1, 7, 2, 1, 2, 1, 8, 9, 2]
    """
    return _joined(_framed(chunk, table) for chunk in chunks)


def _joined(streams: Iterable[Ids]) -> Ids:
    return np.concatenate([np.zeros(0, np.int32), *streams])


def _framed(chunk: Read, table: Ids | None) -> Ids:
    ends = np.cumsum(chunk.lengths + 2)
    stream = np.full(len(chunk.ids) + 2 * len(chunk.lengths), BREAK, np.int32)
    stream[ends - chunk.lengths - 2], stream[ends - 1] = BOS, EOS
    stream[stream == BREAK] = chunk.ids if table is None else table[chunk.ids]
    return stream


def surfaces(engine: Tokenizer, text: str) -> list[str]:
    """What each piece stands for in the text: the same characters, if the engine has split one into several."""
    return [text[start:end] for start, end in engine.encode(text, add_special_tokens=False).offsets]


def is_restored(engine: Tokenizer, text: str) -> bool:
    """Whether the pieces of a text give it back, character by character."""
    restored: str = engine.decode(engine.encode(text, add_special_tokens=False).ids, skip_special_tokens=False)
    return restored == text


class WordNumbers:
    """What `lathe.core.native.vocabulary.WordTable` is, in Python."""

    def __init__(self) -> None:
        self._numbers: defaultdict[str, int] = defaultdict(count(FIRST).__next__)

    def read(self, texts: Sequence[str], learns: bool) -> Ids:
        number = self._numbers.__getitem__ if learns else lambda word: self._numbers.get(word, UNK)
        words = (chain((BOS,), map(number, text.split()), (EOS,)) for text in texts)
        return np.fromiter(chain.from_iterable(words), np.int32)

    @property
    def words(self) -> list[str]:
        return list(self._numbers)


def _no_words() -> WordTable | WordNumbers:
    return WordTable() if library() is not None else WordNumbers()


def _read_characters(texts: Iterable[str]) -> Iterator[Read]:
    for chunk in batches(texts):
        lengths = np.fromiter(map(len, chunk), np.int64, len(chunk))
        yield Read(np.frombuffer("".join(chunk).encode("utf-32-le", "surrogatepass"), np.int32), lengths)


def _read_pieces(texts: Iterable[str], engine: Tokenizer) -> Iterator[Read]:
    for chunk in encode_texts(texts, _Fast(engine)):
        lengths = np.fromiter(map(len, chunk), np.int64, len(chunk))
        yield Read(np.fromiter(chain.from_iterable(chunk), np.int32, int(lengths.sum())), lengths)


class _Fast(NamedTuple):
    """What `encode_texts` takes: an engine as Hugging Face's tokenizers hold it."""

    backend_tokenizer: Tokenizer


def _engine(folder: Path) -> Tokenizer:
    file = folder / TOKENIZER
    if not file.is_file():
        raise DataError(f"{folder}: no {TOKENIZER}; make one with `lathe tokenizer`")
    return _made(file.read_text("utf-8"))


@lru_cache(4)
def _made(content: str) -> Tokenizer:
    """The engine that a file describes; to it special tokens in a text are text."""
    engine = Tokenizer.from_str(content)
    engine.no_truncation()
    engine.no_padding()
    engine.encode_special_tokens = True
    return engine


def _special(engine: Tokenizer) -> set[int]:
    """Numbers that stand for no text: special tokens, and the one of unknown text."""
    unknown = engine.token_to_id(str(json.loads(engine.to_str())["model"].get("unk_token")))
    return {number for number, token in engine.get_added_tokens_decoder().items() if token.special} | (
        set() if unknown is None else {unknown}
    )


def _frequencies(chunks: Iterable[Read], size: int) -> Lengths:
    total = np.zeros(size, np.int64)
    for chunk in chunks:
        found = np.bincount(chunk.ids)
        total[: len(found)] += found
    return total


def _by_frequency(frequencies: Lengths, least: int) -> tuple[list[int], Ids]:
    """The numbers that occur often enough, the most frequent first, and the id of every number."""
    order = np.sort(-frequencies << 32 | np.arange(len(frequencies))) & 0xFFFFFFFF
    order = order[: np.count_nonzero(frequencies >= least)]
    table = np.full(len(frequencies), UNK, np.int32)
    table[order] = np.arange(FIRST, FIRST + len(order))
    return order.tolist(), table


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Some texts at a time."""
    remaining = iter(texts)
    while chunk := list(islice(remaining, TEXTS_AT_ONCE)):
        yield chunk
