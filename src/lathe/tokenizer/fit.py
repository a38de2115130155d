"""How well a tokenizer fits text: by script and language, on text that it was not trained on."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from lathe.core.keyed import scalar_seed, uniform
from lathe.core.scripts import script_of, words

TEXTS_AT_ONCE = 256
RANDOM_TEXTS, RANDOM_LENGTH = 500, 24


class Fit(NamedTuple):
    """Sums over the texts of one script."""

    texts: int
    bytes: int  # as UTF-8
    characters: int
    words: int  # a character of an unspaced script is one
    tokens: int
    unknown: int
    uncovered: int  # characters inside unknown tokens
    restored: int  # texts that come back from their ids character by character

    def ratios(self) -> dict[str, float]:
        """``fertility`` is tokens per word; per character where a script puts no spaces between words."""
        tokens = max(self.tokens, 1)
        return {
            "texts": self.texts,
            "bytes": self.bytes,
            "bytes_per_token": round(self.bytes / tokens, 3),
            "fertility": round(self.tokens / max(self.words, 1), 3),
            "unknown_ratio": round(self.unknown / tokens, 6),
            "coverage": round(1 - self.uncovered / max(self.characters, 1), 6),
            "restored_ratio": round(self.restored / max(self.texts, 1), 4),
        }


NOTHING = Fit(0, 0, 0, 0, 0, 0, 0, 0)


def fit_by(kind_of: Callable[[str], str], tokenizer: Any, texts: Iterable[str]) -> dict[str, Fit]:
    """The fit on texts of each kind (their script, their language), the kind with the most bytes first."""
    found: dict[str, Fit] = defaultdict(lambda: NOTHING)
    stream = iter(texts)
    while chunk := list(islice(stream, TEXTS_AT_ONCE)):
        for text, one in zip(chunk, _fits(tokenizer, chunk), strict=True):
            kind = kind_of(text)
            found[kind] = added([found[kind], one])
    return dict(sorted(found.items(), key=lambda item: -item[1].bytes))


def fit_by_script(tokenizer: Any, texts: Iterable[str]) -> dict[str, Fit]:
    return fit_by(script_of, tokenizer, texts)


def added(fits: Iterable[Fit]) -> Fit:
    return Fit(*map(sum, zip(NOTHING, *fits, strict=True)))


def random_texts(count: int = RANDOM_TEXTS, length: int = RANDOM_LENGTH) -> Iterator[str]:
    """Texts of characters drawn from all of Unicode: no language, and the hardest test of a round trip."""
    known = _assigned()
    for number in range(count):
        seeds = np.array([scalar_seed("random texts", number)], np.uint64)
        yield "".join(known[int(share * len(known))] for share in uniform(seeds, "characters", length)[0])


def _fits(tokenizer: Any, texts: Sequence[str]) -> Iterator[Fit]:
    options = {"add_special_tokens": False, "split_special_tokens": True, "return_offsets_mapping": True}
    encoded = tokenizer(texts, verbose=False, **options)
    restored = tokenizer.batch_decode(encoded["input_ids"])
    rows = zip(texts, encoded["input_ids"], encoded["offset_mapping"], restored, strict=True)
    for text, ids, offsets, back in rows:
        unknown = [at for number, at in zip(ids, offsets, strict=True) if number == tokenizer.unk_token_id]
        yield Fit(
            texts=1,
            bytes=len(text.encode("utf-8")),
            characters=len(text),
            words=len(words(text)),
            tokens=len(ids),
            unknown=len(unknown),
            uncovered=sum(end - start for start, end in unknown),
            restored=int(back == text),
        )


@cache
def _assigned() -> str:
    """Every character that Unicode knows, without controls, surrogates and private use."""
    return "".join(c for c in map(chr, range(0x110000)) if unicodedata.category(c)[0] != "C")
