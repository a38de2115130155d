"""From texts to tokens, with the count of what did not fit."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lathe.core.errors import LatheError

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text as the model sees it."""

    input_ids: list[int]
    offsets: list[tuple[int, int]]  # of each piece, in code points of the text; (0, 0) for special tokens
    words: list[int | None]  # the tokenizer's own word that each piece belongs to; None for special tokens
    truncated: int  # pieces cut off at max_length
    before: int  # special tokens in front
    after: int  # special tokens at the end


def tokenize(texts: Sequence[str], tokenizer: Any, max_length: int | None) -> list[Tokens]:
    """Tokenize with special tokens, at most ``max_length`` pieces each.

    A lone surrogate, which no tokenizer takes, becomes U+FFFD: one code point for one, so offsets stay true. What
    stands in a text is text: the name of a special token, too.
    """
    check_fast(tokenizer)
    if not texts:
        return []
    options = {"truncation": max_length is not None, "max_length": max_length, "split_special_tokens": True}
    encoded = tokenizer([*map(without_surrogates, texts)], **options)
    return [_tokens(one) for one in encoded.encodings]


def check_fast(tokenizer: Any) -> None:
    """Raises ``LatheError`` for a tokenizer that does not say where its pieces stand."""
    if not tokenizer.is_fast:
        raise LatheError(
            f"{type(tokenizer).__name__}: this tokenizer gives no offsets; convert it to tokenizer.json first"
        )


def without_surrogates(text: str) -> str:
    """No tokenizer takes half a surrogate pair; one code point for one, so that offsets stay true."""
    return _SURROGATE.sub("\ufffd", text)


def _tokens(encoding: Any) -> Tokens:
    special = encoding.special_tokens_mask
    before = next((place for place, flag in enumerate(special) if not flag), len(special))
    after = next((place for place, flag in enumerate(reversed(special[before:])) if not flag), 0)
    cut_off = sum(len(more.ids) - sum(more.special_tokens_mask) for more in encoding.overflowing)
    return Tokens(encoding.ids, encoding.offsets, encoding.word_ids, cut_off, before, after)
