"""Texts as rows of token ids: cut, framed by special tokens, and marked where sentences and words begin."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
from tokenizers import Encoding, Tokenizer

from lathe.core.boundaries import Segmenter, sentence_starts, unspaced_runs
from lathe.core.types import Symbols

T = TypeVar("T")
Ids: TypeAlias = np.ndarray[Any, np.dtype[np.uint16 | np.uint32]]
IdType: TypeAlias = type[np.uint8] | type[np.uint16] | type[np.uint32]
Counts: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Marks: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

CHARACTERS_AT_ONCE = 2**20
"""Of documents that are tokenised together: with them the memory is bounded, whatever the number of documents."""
SENTENCE, WORD = 1, 2
"""Bits of the mark of a token: it is the first of a sentence, the first of a word."""


@dataclass(frozen=True)
class Layout:
    """What an objective needs of its rows."""

    cut: Literal["full", "between", "each"] = "full"
    """Documents are cut where a row is full; between two sentences, as many in a row as fit; or at each sentence. A
    sentence longer than a row is cut where the row is full, and its rest is a row of its own."""
    words: Segmenter | None = None
    """Rows know where words begin."""
    pairs: bool = False
    """Rows leave room for the special tokens between two texts."""

    @property
    def is_marked(self) -> bool:
        return self.cut != "full" or self.words is not None


class Frame(NamedTuple):
    """The special tokens around each row, and those behind each document."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    end: tuple[int, ...]


def frame_of(tokenizer: Any, pairs: bool = False) -> Frame:
    """Which special tokens a tokenizer puts around a text; around two, with those that part them at the end."""
    if pairs and (pair := Symbols.of(tokenizer).pair) is not None:
        return Frame(pair.before, (*pair.between, *pair.after), ())
    backend = _private_copy(tokenizer)
    bare, framed = backend.encode("a", add_special_tokens=False).ids, backend.encode("a").ids
    at = next((i for i in range(len(framed)) if framed[i : i + len(bare)] == bare), 0)
    before, after = tuple(framed[:at]), tuple(framed[at + len(bare) :])
    if not before and not after and tokenizer.eos_token_id is not None:
        return Frame((), (), (tokenizer.eos_token_id,))
    return Frame(before, after, ()) if before else Frame((), (), after)


class Laid(NamedTuple):
    """The rows of some documents, one behind the other."""

    ids: Ids  # [tokens]
    lengths: Counts  # [rows]
    rows: Counts  # [documents] how many rows each has

    @property
    def empty(self) -> int:
        """Documents without a token."""
        return int((self.rows == 0).sum())


def lay_out(documents: Sequence[Sequence[int] | Counts | Marks], frame: Frame, max_length: int, dtype: IdType) -> Laid:
    """Cut each document into rows and frame them; a document without a token has no row.

    >>> ids, lengths, rows = lay_out([[5, 6, 7], []], Frame((1,), (2,), ()), 4, np.uint16)
    >>> ids.tolist(), lengths.tolist(), rows.tolist()
    ([1, 5, 6, 2, 1, 7, 2], [4, 3], [2, 0])
    """
    room = max_length - len(frame.before) - len(frame.after)
    sizes = np.fromiter(map(len, documents), np.int64, len(documents))
    has_tokens = sizes > 0
    whole = sizes + len(frame.end) * has_tokens  # [D]
    ended = ((*ids, *frame.end) if ids else () for ids in documents) if frame.end else documents
    flat: Ids = np.fromiter(chain.from_iterable(ended), dtype, int(whole.sum()))
    rows = -(-whole // room)  # [D]
    lengths = np.full(int(rows.sum()), room)
    lengths[np.cumsum(rows)[has_tokens] - 1] = (whole - (rows - 1) * room)[has_tokens]  # the last one may be short
    lengths += len(frame.before) + len(frame.after)
    if not frame.before and not frame.after:
        return Laid(flat, lengths, rows)
    ends = np.cumsum(lengths)
    ids: Ids = np.empty(int(lengths.sum()), dtype)
    is_text = np.ones(len(ids), np.bool_)
    for offset, token in enumerate(frame.before):
        ids[ends - lengths + offset], is_text[ends - lengths + offset] = token, False
    for offset, token in enumerate(frame.after):
        ids[ends - len(frame.after) + offset], is_text[ends - len(frame.after) + offset] = token, False
    ids[is_text] = flat
    return Laid(ids, lengths, rows)


class Text(NamedTuple):
    """A document as tokens."""

    ids: Sequence[int] | Counts
    marks: Marks


def cut_into_rows(text: Text, room: int, layout: Layout) -> list[Text]:
    """The pieces of a document that are rows, of at most ``room`` tokens each.

    >>> marks = np.array([1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1], np.uint8)
    >>> [row.ids.tolist() for row in cut_into_rows(Text(np.arange(12), marks), 5, Layout("between"))]
    [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10], [11]]
    """
    length = len(text.marks)
    if layout.cut == "full":
        return [Text(text.ids[a : a + room], text.marks[a : a + room]) for a in range(0, length, room)]
    bounds = [0]
    for start, end in pairwise(np.unique([0, *np.flatnonzero(text.marks & SENTENCE), length]).tolist()):
        if start > bounds[-1] and (layout.cut == "each" or end - bounds[-1] > room):
            bounds.append(start)
        if end - start > room:
            bounds += [*range(start + room, end, room), end]
    bounds += [length] if bounds[-1] < length else []
    return [Text(text.ids[a:b], text.marks[a:b]) for a, b in pairwise(bounds)]


class MarkedRows(NamedTuple):
    """The rows of some documents, one behind the other, with what is known of them."""

    laid: Laid
    marks: Marks  # [tokens] 0 for special tokens
    origins: Counts  # [rows, 2] number of the document, and how many sentences begin in the row


def lay_out_marked(
    documents: Sequence[Text], frame: Frame, max_length: int, dtype: IdType, layout: Layout, first: int
) -> MarkedRows:
    """As `lay_out`; the documents have the numbers ``first``, ``first`` + 1, ..."""
    room = max_length - len(frame.before) - len(frame.after)
    inner, unmarked = frame._replace(end=()), Frame((0,) * len(frame.before), (0,) * len(frame.after), ())
    cut = [cut_into_rows(_ended(text, frame.end), room, layout) for text in documents]
    rows = list(chain.from_iterable(cut))
    laid = lay_out([row.ids for row in rows], inner, max_length, dtype)
    marks = lay_out([row.marks for row in rows], unmarked, max_length, np.uint8).ids
    numbers = np.repeat(np.arange(first, first + len(documents)), [len(of_one) for of_one in cut])
    sentences = [np.count_nonzero(row.marks & SENTENCE) for row in rows]
    origins = np.stack([numbers, np.array(sentences, np.int64)], axis=1)
    return MarkedRows(laid._replace(rows=np.array([*map(len, cut)], np.int64)), marks.astype(np.uint8), origins)


def _ended(text: Text, end: Sequence[int]) -> Text:
    if not end or not len(text.ids):
        return text
    return Text(np.append(text.ids, end), np.append(text.marks, np.zeros(len(end), np.uint8)))


def encode_texts(texts: Iterable[str], tokenizer: Any) -> Iterator[list[Sequence[int]]]:
    """Ids of each text, many texts at a time, on all cores; the next ones are encoded while these are used.

    ``tokenizer`` is a fast one of Hugging Face's. No special tokens are added, and none are found: a text that speaks
    of "[MASK]" holds a bracket and a word.
    """
    backend = _private_copy(tokenizer)

    def encode(chunk: list[str]) -> list[Sequence[int]]:
        return [one.ids for one in backend.encode_batch_fast(chunk, add_special_tokens=False)]

    return _one_ahead(encode, _chunks(texts))


def encode_marked(texts: Iterable[str], tokenizer: Any, layout: Layout) -> Iterator[list[Text]]:
    """The same, with the marks of the tokens."""
    backend = _private_copy(tokenizer)

    def encode(chunk: list[str]) -> list[Text]:
        encoded = backend.encode_batch(chunk, add_special_tokens=False)
        return [_marked(text, one, layout) for text, one in zip(chunk, encoded, strict=True)]

    return _one_ahead(encode, _chunks(texts))


def _marked(text: str, encoded: Encoding, layout: Layout) -> Text:
    """A character begins with the first token that ends behind it: some tokens begin with the space before a word."""
    begins, ends = np.array(encoded.offsets, np.int64).reshape(-1, 2).T  # 2 x [T]
    marks = np.zeros(len(ends) + 1, np.uint8)  # the last one is of no token
    marks[np.searchsorted(ends, sentence_starts(text), side="right")] |= SENTENCE
    if layout.words is not None:
        words = encoded.word_ids
        marks[: len(ends)] |= np.array([WORD * (a != b) for a, b in pairwise([-1, *words])], np.uint8)
        for start, end, inner in unspaced_runs(text, layout.words):
            first, behind = np.searchsorted(ends, start, side="right"), np.searchsorted(begins, end)
            marks[first:behind] &= SENTENCE
            marks[[*np.searchsorted(ends, inner, side="right"), behind]] |= WORD
    return Text(encoded.ids, marks[:-1])


def _one_ahead(encode: Callable[[list[str]], list[T]], chunks: Iterable[list[str]]) -> Iterator[list[T]]:
    with ThreadPoolExecutor(1) as ahead:
        waiting = None
        for chunk in chunks:
            done, waiting = waiting, ahead.submit(encode, chunk)
            if done is not None:
                yield done.result()
        if waiting is not None:
            yield waiting.result()


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text) + 1
        if size >= CHARACTERS_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _private_copy(tokenizer: Any) -> Tokenizer:
    """The engine of a tokenizer, to set up as we need it: it neither cuts nor pads nor finds special tokens."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    return backend
