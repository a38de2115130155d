"""How well a tokenizer fits text: by script, on text that it was not trained on."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
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
    words: int  # a character of an unspaced script is one
    tokens: int
    unknown: int
    restored: int  # texts that come back from their ids character by character

    def ratios(self) -> dict[str, float]:
        """``fertility`` is tokens per word; per character where a script puts no spaces between words."""
        tokens = max(self.tokens, 1)
        return {
            "texts": self.texts,
            "bytes_per_token": round(self.bytes / tokens, 3),
            "fertility": round(self.tokens / max(self.words, 1), 3),
            "unknown_ratio": round(self.unknown / tokens, 6),
            "restored_ratio": round(self.restored / max(self.texts, 1), 4),
        }


def fit_by_script(tokenizer: Any, texts: Iterable[str]) -> dict[str, Fit]:
    """The fit on texts of each script, the script with the most bytes first."""
    found: dict[str, Fit] = defaultdict(lambda: Fit(0, 0, 0, 0, 0, 0))
    stream = iter(texts)
    while chunk := list(islice(stream, TEXTS_AT_ONCE)):
        for text, one in zip(chunk, _fits(tokenizer, chunk), strict=True):
            script = script_of(text)
            found[script] = Fit(*(a + b for a, b in zip(found[script], one, strict=True)))
    return dict(sorted(found.items(), key=lambda item: -item[1].bytes))


def random_texts(count: int = RANDOM_TEXTS, length: int = RANDOM_LENGTH) -> Iterator[str]:
    """Texts of characters drawn from all of Unicode: no language, and the hardest test of a round trip."""
    known = _assigned()
    for number in range(count):
        seeds = np.array([scalar_seed("random texts", number)], np.uint64)
        yield "".join(known[int(share * len(known))] for share in uniform(seeds, "characters", length)[0])


def _fits(tokenizer: Any, texts: Sequence[str]) -> Iterator[Fit]:
    encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    restored = tokenizer.batch_decode(encoded)
    for text, ids, back in zip(texts, encoded, restored, strict=True):
        unknown = ids.count(tokenizer.unk_token_id) if tokenizer.unk_token_id is not None else 0
        size = len(text.encode("utf-8"))
        yield Fit(1, size, len(words(text)), len(ids), unknown, int(back == text))


@cache
def _assigned() -> str:
    """Every character that Unicode knows, without controls, surrogates and private use."""
    return "".join(c for c in map(chr, range(0x110000)) if unicodedata.category(c)[0] != "C")
