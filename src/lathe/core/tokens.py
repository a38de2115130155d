"""Text as token ids on disk, read without loading: a folder with the ids, the lengths of rows, the rows of documents.

Documents become rows of at most ``max_length`` tokens, special tokens included; every token is kept, so the last row of
a document may be short. Where the tokenizer frames a text (``[CLS]`` ... ``[SEP]``), every row is framed; where it adds
nothing, as GPT-2's, the end token stands once, behind the document.

An objective that wants more of its rows, sentences or words, says so by a `Layout`: then the marks of the tokens are
kept, and of each row its document and its sentences.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from lathe.core.digest import sync_folder, write_json
from lathe.core.errors import DataError, LatheError
from lathe.core.keyed import Seeds, row_keys
from lathe.core.report import progress
from lathe.core.rows import (
    SENTENCE,
    WORD,
    Counts,
    Frame,
    Ids,
    IdType,
    Layout,
    Marks,
    encode_marked,
    encode_texts,
    frame_of,
    lay_out,
    lay_out_marked,
)
from lathe.core.shards import DOCUMENTS, IDS, LENGTHS, MARKS, ORIGINS, Amount, Files, Shard, Writer
from lathe.core.types import Encoded

FORMAT = 2
HEADER = "header.json"
SHORT = 8
"""A row with fewer tokens of text than this teaches little: such rows are kept and counted."""


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
    sha256: str  # of the digests of the shards
    shards: tuple[Shard, ...]
    format: int = FORMAT
    is_marked: bool = False  # marks and origins are kept
    made_from: dict[str, Any] = field(default_factory=dict)  # see `made_from`

    @property
    def amount(self) -> Amount:
        return Amount(self.documents, self.empty, self.rows, self.short, self.tokens)


@dataclass(frozen=True)
class TokenFile:
    """Rows of token ids."""

    path: Path
    header: Header
    ids: Ids  # [tokens] memory-mapped
    lengths: Counts  # [rows]
    marks: Marks | None = None  # [tokens] memory-mapped
    origins: Counts | None = None  # [rows, 2] number of the document, and how many sentences begin in the row

    @classmethod
    def write(
        cls, folder: Path, texts: Iterable[str], tokenizer: Any, max_length: int, layout: Layout | None = None
    ) -> Self:
        """Tokenise a stream of documents; ``folder`` appears when it is complete. ``tokenizer`` is Hugging Face's.

        A call that was killed is gone on with by the same call: the shards that are whole, of texts that are still the
        same, are not made again.
        """
        part = folder.with_name(f".{folder.name}.part")
        part.mkdir(parents=True, exist_ok=True)
        write_json(part / HEADER, asdict(_write_rows(part, texts, tokenizer, max_length, layout or Layout())))
        part.rename(folder)
        sync_folder(folder.parent)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Raises ``DataError`` when the folder is not a whole, unchanged token file."""
        header = _read_header(folder / HEADER)
        _check(folder, header)
        lengths = np.fromfile(folder / LENGTHS, np.uint32).astype(np.int64)
        ids = _mapped(folder / IDS, header.dtype)
        if not header.is_marked:
            return cls(folder, header, ids, lengths)
        origins = np.fromfile(folder / ORIGINS, np.uint32).astype(np.int64).reshape(-1, 2)
        return cls(folder, header, ids, lengths, _mapped(folder / MARKS, "uint8"), origins)

    def __len__(self) -> int:
        return self.header.rows

    def __getitem__(self, index: int) -> Encoded:
        """One row: ``input_ids`` int64 [T].

        Of a marked file also ``sentences`` and ``words``, the positions at which they begin, and ``elsewhere``, which
        makes a row of another document from a number in [0, 1).
        """
        row = range(len(self))[index]  # negative numbers, and IndexError
        start = int(self._starts[row])
        place = slice(start, start + int(self.lengths[row]))
        found: dict[str, Any] = {"input_ids": self.ids[place].astype(np.int64)}
        if self.marks is not None:
            for name, bit in (("sentences", SENTENCE), ("words", WORD)):
                found[name] = np.flatnonzero(self.marks[place] & bit)
            found["elsewhere"] = partial(self._elsewhere, row)
        return found

    @cached_property
    def divisible(self) -> Counts:
        """Rows of a marked file in which at least two sentences begin."""
        rows: Counts = np.flatnonzero(self._origins[:, 1] > 1)
        return rows

    @cached_property
    def divisible_documents(self) -> Counts:
        """The document of each of them."""
        documents: Counts = self._origins[self.divisible, 0]
        return documents

    def _elsewhere(self, row: int, draw: float) -> Encoded:
        """One of the divisible rows of other documents, all of them equally likely."""
        document = self._origins[row, 0]
        first, behind = np.searchsorted(self.divisible_documents, [document, document + 1])
        number = int(draw * (len(self.divisible) - (behind - first)))
        return self[int(self.divisible[number if number < first else number + behind - first])]

    @property
    def _origins(self) -> Counts:
        if self.origins is None:
            raise LatheError(f"{self.path}: these rows do not know their documents: their layout asks for nothing")
        return self.origins

    @cached_property
    def document_rows(self) -> Counts:
        """How many rows each document has; those of a document stand one behind the other.  [documents]"""
        return np.fromfile(self.path / DOCUMENTS, np.uint32).astype(np.int64)

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


def made_from(tokenizer: Any, max_length: int, layout: Layout) -> dict[str, Any]:
    """All that rows depend on beside their texts, as JSON has it."""
    engine = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
    frame = [list(ids) for ids in frame_of(tokenizer, layout.pairs)]
    return {"tokenizer": engine, "frame": frame, "max_length": max_length, "layout": asdict(layout)}


def _write_rows(folder: Path, texts: Iterable[str], tokenizer: Any, max_length: int, layout: Layout) -> Header:
    frame = frame_of(tokenizer, layout.pairs)
    framing = len(frame.before) + len(frame.after)
    if max_length <= framing:
        raise DataError(f"max_length: {max_length} leaves no room for text beside {framing} special tokens")
    dtype = _smallest_type(len(tokenizer))
    files = Files(folder, np.dtype(dtype).name, layout.is_marked)
    beside = made_from(tokenizer, max_length, layout)
    with Writer(files, texts, [FORMAT, beside]) as writer, progress("tokenising", unit="documents") as meter:
        first = writer.done.documents
        meter.skip(first)
        for laid, *more in _laid(writer.texts, tokenizer, frame, max_length, dtype, layout, first):
            short = int((laid.lengths - framing < SHORT).sum())
            amount = Amount(len(laid.rows), laid.empty, len(laid.lengths), short, len(laid.ids))
            lengths, rows = (values.astype(np.uint32) for values in (laid.lengths, laid.rows))
            writer.append(amount, [laid.ids, lengths, rows, *more])
            meter.advance(amount.documents)
    return Header(
        **writer.done._asdict(),
        max_length=max_length,
        vocab_size=len(tokenizer),
        special=tuple(sorted(set(tokenizer.all_special_ids))),
        dtype=files.dtype,
        sha256=writer.sha256,
        shards=tuple(writer.shards),
        is_marked=layout.is_marked,
        made_from=beside,
    )


def _laid(
    texts: Iterable[str], tokenizer: Any, frame: Frame, max_length: int, dtype: IdType, layout: Layout, first: int
) -> Iterator[tuple[Any, ...]]:
    """Rows of many documents at a time, the first of them with the number ``first``; where they are marked, also marks
    and origins."""
    if not layout.is_marked:
        for chunk in encode_texts(texts, tokenizer):
            yield (lay_out(chunk, frame, max_length, dtype),)
        return
    for marked in encode_marked(texts, tokenizer, layout):
        laid, marks, origins = lay_out_marked(marked, frame, max_length, dtype, layout, first)
        yield laid, marks, origins.astype(np.uint32)
        first += len(marked)


def _mapped(file: Path, dtype: str) -> Any:
    return np.memmap(file, dtype, "r") if file.stat().st_size else np.zeros(0, dtype)


def _smallest_type(vocab_size: int) -> IdType:
    return np.uint16 if vocab_size <= 2**16 else np.uint32


def _read_header(file: Path) -> Header:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        found = values["format"]
        if found == FORMAT:
            shards = tuple(Shard.of_json(shard) for shard in values["shards"])
            return Header(**values | {"special": tuple(values["special"]), "shards": shards})
    except FileNotFoundError:
        raise DataError(f"{file.parent}: not a token file (no {file.name})") from None
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{file}: damaged ({error}); delete {file.parent} and make it again") from None
    raise DataError(f"{file}: has format {found}, this version reads {FORMAT}; delete it and make it again")


def _check(folder: Path, header: Header) -> None:
    files = Files(folder, header.dtype, header.is_marked)
    for name, size in files.sizes(header.amount).items():
        file = folder / name
        found = file.stat().st_size if file.is_file() else math.nan
        if found != size:
            raise DataError(f"{file}: has {found} bytes instead of {size}; delete {folder} and make it again")
    whole = sum(1 for _ in files.whole(header.shards))
    if whole < len(header.shards):
        first = sum(shard.amount.rows for shard in header.shards[:whole])
        place = f"shard {whole + 1} of {len(header.shards)} (from row {first:,} on)"
        raise DataError(
            f"{folder}: {place} is damaged: its sha256 is not the one in {HEADER}; delete it, make it again"
        )
