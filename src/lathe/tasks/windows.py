"""Texts and pairs of texts as tokens: whole, cut off, or in windows that overlap."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from lathe.core.errors import LatheError, RecipeError
from lathe.core.types import Encoded, Pair
from lathe.tasks.encoding import check_fast, without_surrogates


class Read(NamedTuple):
    """One row as a model sees it."""

    pieces: tuple[Encoded, ...]  # one, or the windows of a row that is longer than a model takes
    truncated: int  # tokens that are in no piece


class _Encoding(Protocol):
    """What is used of an encoding of the tokenizers library."""

    ids: list[int]
    type_ids: list[int]
    sequence_ids: list[int | None]  # which text a token is of; None of a special one


def read_texts(
    rows: Sequence[tuple[str, ...]], tokenizer: Any, max_length: int | None, stride: int | None = None
) -> list[Read]:
    """Tokenize rows of one text or two, with special tokens, at most ``max_length`` tokens a piece.

    What does not fit is cut off the end of the longer text, until the two are equally long. With a ``stride``, windows
    that overlap by at least so many tokens run over the longer text instead, each beside the other text, all of one
    size. What stands in a text is text: the name of a special token, too.
    """
    check_fast(tokenizer)
    if not rows:
        return []
    _check_lengths({len(row) for row in rows}, tokenizer, max_length, stride)
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    clean = [tuple(map(without_surrogates, row)) for row in rows]
    encodings = backend.encode_batch([row if len(row) == 2 else row[0] for row in clean])
    typed = "token_type_ids" in tokenizer.model_input_names
    return [
        _read(encoding, max_length, stride, typed and len(row) == 2)
        for encoding, row in zip(encodings, rows, strict=True)
    ]


def _check_lengths(counts: set[int], tokenizer: Any, max_length: int | None, stride: int | None) -> None:
    """Raises ``LatheError`` where a pair would read as one text, or windows would not move on."""
    if 2 in counts and Pair.of(tokenizer) is None:
        raise LatheError(
            "the tokenizer puts nothing between the texts of a pair, so that they would read as one; "
            "take a base with a separator, such as [SEP] or </s>"
        )
    if max_length is None:
        return
    for count in counts:
        special = tokenizer.backend_tokenizer.num_special_tokens_to_add(count == 2)
        least = (max_length - special) // count  # tokens of the text that windows run over
        if least < 1:
            raise RecipeError(f"task.max_length: {max_length} leaves no room beside {special} special tokens; raise it")
        if stride is not None and stride >= least:
            raise RecipeError(
                f"task.stride: windows that have {least} tokens of a text cannot overlap by {stride}; "
                f"take at most {least - 1}, or raise task.max_length"
            )


def _read(encoding: _Encoding, max_length: int | None, stride: int | None, typed: bool) -> Read:
    total = len(encoding.ids)
    if max_length is None or total <= max_length:
        return Read((_piece(encoding, range(total), typed),), 0)
    of = encoding.sequence_ids
    texts = [[place for place, text in enumerate(of) if text == number] for number in range(1 + (1 in of))]
    special = [place for place, text in enumerate(of) if text is None]
    room = max_length - len(special)
    *shorter, longer = sorted(texts, key=len) if len(texts) == 2 else texts
    beside = [place for text in shorter for place in text[: room // 2]]
    size = room - len(beside)
    starts = [0] if stride is None else _starts(len(longer), size, stride)
    places = [sorted(special + beside + longer[start : start + size]) for start in starts]
    seen = len(special) + len(beside) + (size if stride is None else len(longer))
    return Read(tuple(_piece(encoding, place, typed) for place in places), total - seen)


def _starts(length: int, size: int, stride: int) -> Iterator[int]:
    """Where windows begin: the last ends with the text.

    >>> list(_starts(10, 4, 1)), list(_starts(5, 4, 1)), list(_starts(4, 4, 1))
    ([0, 3, 6], [0, 1], [0])
    """
    return (min(start, length - size) for start in range(0, length - stride, size - stride))


def _piece(encoding: _Encoding, places: Sequence[int], typed: bool) -> Encoded:
    ids, types = encoding.ids, encoding.type_ids
    piece = {"input_ids": [ids[place] for place in places]}
    return piece | ({"token_type_ids": [types[place] for place in places]} if typed else {})
