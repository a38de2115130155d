"""Perplexity: how unlikely a text is to an n-gram model of good text; the likely ones are kept (Wenzek et al., 2020).

Perplexities of one language tell nothing about those of another: texts are ranked among those of their script.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from pydantic import Field

from lathe.core.digest import digest_of
from lathe.core.documents import read_texts
from lathe.core.errors import DataError, RecipeError
from lathe.core.recipe import recipe
from lathe.core.scripts import script_of
from lathe.core.types import Document
from lathe.corpus.duplicates.shingles import chunks
from lathe.corpus.made_once import State, made_once, state_of
from lathe.corpus.protocol import Arrays, Decision, Dropped, Room, Sketched, Verdict
from lathe.ngrams import Characters, NGramModel

Share: TypeAlias = Literal["head", "middle", "tail"]
SHARES: tuple[Share, ...] = get_args(Share)

READ = 100_000
"""Characters of a text that are judged."""

LEARNT, ORDER = 2**23, 5
"""Characters of the reference that are learnt from, and of an n-gram."""

FORMAT = 1
"""Of a model that was learnt."""

STEPS = 1024
"""Of a nat: as finely as texts are told apart."""

LEVELS = 2**16
"""Mean losses that are told apart, in steps: up to 64 nats."""

NAME = 12
"""Bytes of a script's name."""

Levels: TypeAlias = np.ndarray[Any, np.dtype[np.uint16]]


@recipe
class Perplexity:
    """Drop texts that an n-gram model of good text finds unlikely, and note perplexity and share of the others.

    The texts of each script are ranked: the head are the likely ones, the tail the unlikely. Long texts are judged by
    their first 100,000 characters.
    """

    kind: Literal["perplexity"] = "perplexity"
    model: Path | None = None
    """Model of good text, made by `lathe ngram`."""
    reference: Path | None = None
    """Good text instead, a corpus bundle or a file: a model of character 5-grams is learnt from its first 8 million
    characters, once."""
    head: float = Field(30, gt=0, le=100)
    """Percent of the texts of a script that are the head."""
    middle: float = Field(60, gt=0, le=100)
    """Percent of the texts of a script that are head or middle."""
    keep: tuple[Share, ...] = Field(("head", "middle"), min_length=1)
    """Which are kept; all three where none is to be dropped, only noted."""
    scripts: tuple[str, ...] = ()
    """Scripts that are judged (Latin, Han, ...), where the model does not know all; texts in others stay."""

    def __post_init__(self) -> None:
        if (self.model is None) == (self.reference is None):
            raise RecipeError("perplexity takes a model (of `lathe ngram`) or a reference (good text), one of the two")
        if self.head > self.middle:
            raise RecipeError(f"head {self.head} is more than middle {self.middle}, which holds the head")

    def inputs(self) -> list[Path]:
        return [path for path in (self.model, self.reference) if path is not None]

    def prepare(self, memory: int) -> None:
        self.ngrams()

    def ngrams(self) -> NGramModel:
        path = self.inputs()[0]
        state = state_of(path) if path.exists() else (0, 0)  # what is missing has an error of its own
        return _learnt(path, state) if self.model is None else _opened(path, state)

    def sketch(self, documents: Sequence[Document]) -> Arrays:
        scripts = np.array([script_of(document.text).encode() for document in documents], f"S{NAME}")
        levels = levels_of(self.ngrams(), [document.text[:READ] for document in documents])
        return {"levels": levels, "scripts": scripts.view(np.uint8).reshape(-1, NAME)}

    def decide(self, shards: Sequence[Sketched], room: Room) -> Decision:
        del room  # a few numbers for each script are all that is held
        counts = defaultdict[str, Any](lambda: np.zeros(LEVELS, np.int64))
        for shard in shards:
            arrays = shard.sketch()
            for script, own in _by_script(arrays):
                counts[script] += np.bincount(arrays["levels"][own], minlength=LEVELS)
        limits = {
            script: _limits(count, self.head, self.middle)
            for script, count in sorted(counts.items())
            if not self.scripts or script in self.scripts
        }
        return Decision(
            _verdicts(shards, limits), {script: found.told(counts[script]) for script, found in limits.items()}
        )

    def judge(self, documents: Sequence[Document], verdicts: Arrays) -> Iterator[Verdict]:
        for document, level, number in zip(documents, verdicts["levels"], verdicts["shares"].tolist(), strict=True):
            if number == len(SHARES):
                yield document
                continue
            share = SHARES[number]
            noted = {"perplexity": _perplexity(level), "perplexity_share": share}
            judged = replace(document, meta={**document.meta, **noted})
            yield judged if share in self.keep else Dropped(judged, f"perplexity: {share}")


class Limits(NamedTuple):
    """The highest levels of head and middle."""

    head: int
    middle: int

    def shares(self, levels: Levels) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Number of the share of each level."""
        return (levels > self.head).astype(np.uint8) + (levels > self.middle)

    def told(self, counts: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, Any]:
        """What the scores say of a script."""
        shares = self.shares(np.arange(LEVELS, dtype=np.uint16))
        sums = np.bincount(shares, counts, len(SHARES)).astype(int).tolist()
        limits = {"head_up_to": _perplexity(self.head), "middle_up_to": _perplexity(self.middle)}
        return dict(zip(SHARES, sums, strict=True)) | limits


def levels_of(model: NGramModel, texts: Sequence[str]) -> Levels:
    """The mean loss of each text in steps.  [D]"""
    levels = np.zeros(len(texts), np.uint16)
    for part in chunks(texts):
        found = model.score(texts[part])
        levels[part] = np.clip(np.rint(-found.total / found.items * STEPS), 0, LEVELS - 1)
    return levels


def _limits(counts: np.ndarray[Any, np.dtype[np.int64]], head: float, middle: float) -> Limits:
    """The first levels up to which there are so many percent of the texts."""
    upto = np.cumsum(counts)
    found = np.searchsorted(upto, np.array([head, middle]) / 100 * upto[-1])
    return Limits(*np.minimum(found, LEVELS - 1).tolist())


def _verdicts(shards: Iterable[Sketched], limits: dict[str, Limits]) -> Iterator[Arrays]:
    for shard in shards:
        arrays = shard.sketch()
        shares = np.full(shard.count, len(SHARES), np.uint8)
        for script, own in _by_script(arrays):
            if script in limits:
                shares[own] = limits[script].shares(arrays["levels"][own])
        yield {"levels": arrays["levels"], "shares": shares}


def _by_script(arrays: Arrays) -> Iterator[tuple[str, np.ndarray[Any, np.dtype[np.bool_]]]]:
    """Each script of a shard, and which documents are in it."""
    scripts = np.ascontiguousarray(arrays["scripts"]).view(f"S{NAME}").reshape(-1)
    for script in np.unique(scripts):
        yield script.decode(), scripts == script


def _perplexity(level: int) -> float:
    return round(math.exp(level / STEPS), 2)


@cache
def _opened(folder: Path, state: State) -> NGramModel:
    """The model as it is; ``state`` tells it from an earlier one of that name."""
    del state
    return NGramModel.open(folder)


@cache
def _learnt(reference: Path, state: State) -> NGramModel:
    del state
    known = [FORMAT, LEARNT, ORDER, digest_of(reference)]
    return NGramModel.open(made_once("reference", known, partial(_learn, reference)))


def _learn(reference: Path, folder: Path) -> None:
    texts = list(_first(read_texts(reference), LEARNT))
    if not any(texts):
        raise DataError(f"{reference}: no text to learn from (steps.perplexity.reference)")
    NGramModel.learn(texts, ORDER, Characters()).save(folder)


def _first(texts: Iterable[str], characters: int) -> Iterator[str]:
    """The beginning of some texts that has so many characters."""
    before = 0
    for text in texts:
        yield text[: characters - before]
        before += len(text)
        if before >= characters:
            return
