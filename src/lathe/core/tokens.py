"""Text as token ids on disk, read without loading: a folder with the ids, the length of each row, and a header.

Documents become rows of at most ``max_length`` tokens, special tokens included; every token is kept, so the last row of
a document may be short. Where the tokenizer frames a text (``[CLS]`` ... ``[SEP]``), every row is framed; where it adds
nothing, as GPT-2's, the end token stands once, behind the document.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from tokenizers import Tokenizer

from lathe.core.digest import sync_folder, write_json
from lathe.core.errors import DataError
from lathe.core.keyed import Seeds, row_keys
from lathe.core.report import progress
from lathe.core.types import Encoded

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.uint16 | np.uint32]]
IdType: TypeAlias = type[np.uint16] | type[np.uint32]
Counts: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

FORMAT = 1
HEADER, IDS, LENGTHS = "header.json", "ids.bin", "lengths.bin"
CHARACTERS_AT_ONCE = 2**20
"""Of documents that are tokenised together: with them the memory is bounded, whatever the number of documents."""
SHORT = 8
"""A row with fewer tokens of text than this teaches little: such rows are kept and counted."""


class Frame(NamedTuple):
    """The special tokens around each row, and those behind each document."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    end: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    rows: int
    tokens: int
    documents: int  # read, empty ones included
    empty: int  # documents without a token: they have no row
    short: int  # rows with fewer than SHORT tokens of text
    max_length: int
    vocab_size: int
    special: tuple[int, ...]
    dtype: str
    sha256: str  # of the ids, then the lengths
    format: int = FORMAT


@dataclass(frozen=True)
class TokenFile:
    """Rows of token ids."""

    path: Path
    header: Header
    ids: Ids  # [tokens] memory-mapped
    lengths: Counts  # [rows]

    @classmethod
    def write(cls, folder: Path, texts: Iterable[str], tokenizer: Any, max_length: int) -> Self:
        """Tokenise a stream of documents; ``folder`` appears when it is complete. ``tokenizer`` is Hugging Face's."""
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write_json(part / HEADER, asdict(_write_rows(part, texts, tokenizer, max_length)))
        part.rename(folder)
        sync_folder(folder.parent)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Raises ``DataError`` when the folder is not a whole, unchanged token file."""
        header = _read_header(folder / HEADER)
        _check(folder, header)
        lengths = np.fromfile(folder / LENGTHS, np.uint32).astype(np.int64)
        ids = np.memmap(folder / IDS, header.dtype, "r") if header.tokens else np.zeros(0, header.dtype)
        return cls(folder, header, ids, lengths)

    def __len__(self) -> int:
        return self.header.rows

    def __getitem__(self, index: int) -> Encoded:
        """One row: ``input_ids`` int64 [T]."""
        row = range(len(self))[index]  # negative numbers, and IndexError
        start = int(self._starts[row])
        return {"input_ids": self.ids[start : start + int(self.lengths[row])].astype(np.int64)}

    @cached_property
    def keys(self) -> Seeds:
        """What the randomness of each row depends on.  [rows]"""
        return row_keys(self.header.sha256, len(self))

    def unigram_entropy(self) -> float:
        """-sum p log p over the tokens of the text, in nats: the loss of a model that knows only their frequencies.

        Special tokens are no text and do not count.
        """
        counts = np.zeros(self.header.vocab_size, np.int64)
        for start in range(0, len(self.ids), 2**22):
            counts += np.bincount(self.ids[start : start + 2**22], minlength=len(counts))
        counts[list(self.header.special)] = 0
        share = counts[counts > 0] / max(counts.sum(), 1)
        return float(-(share * np.log(share)).sum()) + 0.0

    @cached_property
    def _starts(self) -> Counts:
        return np.cumsum(self.lengths) - self.lengths


def frame_of(tokenizer: Any) -> Frame:
    """Which special tokens a tokenizer puts around a text."""
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
    empty: int  # documents without a token


def lay_out(documents: Sequence[Sequence[int]], frame: Frame, max_length: int, dtype: IdType) -> Laid:
    """Cut each document into rows and frame them; a document without a token has no row.

    >>> ids, lengths, empty = lay_out([[5, 6, 7], []], Frame((1,), (2,), ()), 4, np.uint16)
    >>> ids.tolist(), lengths.tolist(), empty
    ([1, 5, 6, 2, 1, 7, 2], [4, 3], 1)
    """
    room = max_length - len(frame.before) - len(frame.after)
    sizes = np.fromiter(map(len, documents), np.int64, len(documents))
    whole = sizes[sizes > 0] + len(frame.end)  # [D] of the documents with a token
    ended = ((*ids, *frame.end) if ids else () for ids in documents) if frame.end else documents
    flat: Ids = np.fromiter(chain.from_iterable(ended), dtype, int(whole.sum()))
    rows = -(-whole // room)  # [D]
    lengths = np.full(int(rows.sum()), room)
    lengths[np.cumsum(rows) - 1] = whole - (rows - 1) * room  # the last row of a document may be short
    lengths += len(frame.before) + len(frame.after)
    if not frame.before and not frame.after:
        return Laid(flat, lengths, len(documents) - len(whole))
    ends = np.cumsum(lengths)
    ids: Ids = np.empty(int(lengths.sum()), dtype)
    is_text = np.ones(len(ids), np.bool_)
    for offset, token in enumerate(frame.before):
        ids[ends - lengths + offset], is_text[ends - lengths + offset] = token, False
    for offset, token in enumerate(frame.after):
        ids[ends - len(frame.after) + offset], is_text[ends - len(frame.after) + offset] = token, False
    ids[is_text] = flat
    return Laid(ids, lengths, len(documents) - len(whole))


def encode_texts(texts: Iterable[str], tokenizer: Any) -> Iterator[list[Sequence[int]]]:
    """Ids of each text, many texts at a time, on all cores; the next ones are encoded while these are used.

    ``tokenizer`` is a fast one of Hugging Face's. No special tokens are added, and none are found: a text that speaks
    of "[MASK]" holds a bracket and a word.
    """
    backend = _private_copy(tokenizer)

    def encode(chunk: list[str]) -> list[Sequence[int]]:
        return [one.ids for one in backend.encode_batch_fast(chunk, add_special_tokens=False)]

    with ThreadPoolExecutor(1) as ahead:
        waiting = None
        for chunk in _chunks(texts):
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


def _write_rows(folder: Path, texts: Iterable[str], tokenizer: Any, max_length: int) -> Header:
    frame = frame_of(tokenizer)
    framing = len(frame.before) + len(frame.after)
    if max_length <= framing:
        raise DataError(f"max_length: {max_length} leaves no room for text beside {framing} special tokens")
    dtype, sha = _smallest_type(len(tokenizer)), hashlib.sha256()
    rows = tokens = documents = empty = short = 0
    with (
        (folder / IDS).open("wb") as ids,
        (folder / LENGTHS).open("wb") as table,
        progress("tokenising", unit="documents") as meter,
    ):
        for chunk in encode_texts(texts, tokenizer):
            laid = lay_out(chunk, frame, max_length, dtype)
            ids.write(laid.ids.data)
            sha.update(laid.ids.data)
            table.write(laid.lengths.astype(np.uint32).data)
            rows, tokens = rows + len(laid.lengths), tokens + len(laid.ids)
            documents, empty = documents + len(chunk), empty + laid.empty
            short += int((laid.lengths - framing < SHORT).sum())
            meter.advance(len(chunk))
    _digest(folder / LENGTHS, sha)
    return Header(
        rows=rows,
        tokens=tokens,
        documents=documents,
        empty=empty,
        short=short,
        max_length=max_length,
        vocab_size=len(tokenizer),
        special=tuple(sorted(set(tokenizer.all_special_ids))),
        dtype=np.dtype(dtype).name,
        sha256=sha.hexdigest(),
    )


def _private_copy(tokenizer: Any) -> Tokenizer:
    """The engine of a tokenizer, to set up as we need it: it neither cuts nor pads nor finds special tokens."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    return backend


def _smallest_type(vocab_size: int) -> IdType:
    return np.uint16 if vocab_size <= 2**16 else np.uint32


def _read_header(file: Path) -> Header:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        header = Header(**values | {"special": tuple(values["special"])})
    except FileNotFoundError:
        raise DataError(f"{file.parent}: not a token file (no {file.name})") from None
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{file}: damaged ({error}); delete {file.parent} and make it again") from None
    if header.format != FORMAT:
        raise DataError(f"{file}: has format {header.format}, this version reads {FORMAT}; delete it and make it again")
    return header


def _check(folder: Path, header: Header) -> None:
    sha = hashlib.sha256()
    for name, size in ((IDS, header.tokens * np.dtype(header.dtype).itemsize), (LENGTHS, header.rows * 4)):
        file = folder / name
        found = file.stat().st_size if file.is_file() else math.nan
        if found != size:
            raise DataError(f"{file}: has {found} bytes instead of {size}; delete {folder} and make it again")
        _digest(file, sha)
    if sha.hexdigest() != header.sha256:
        raise DataError(f"{folder}: damaged (its sha256 is not the one in {HEADER}); delete it and make it again")


def _digest(file: Path, sha: Any) -> None:
    with file.open("rb") as stream:
        while chunk := stream.read(2**20):
            sha.update(chunk)
