"""Words and their BIO tags on the way into a model and back: what tagging and slots share.

The tags of a head stand in the order O, B-x, I-x, B-y, I-y, ... One word has one tag, which its first piece carries.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from lathe.core.predictions import Span, Spans
from lathe.core.tagging import Offsets, spans_of_tags, tags_of_spans
from lathe.core.types import IGNORE, Encoded, Row
from lathe.tasks.encoding import Tokens
from lathe.tasks.long_texts import Window, windows_of

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


def tags_of(labels: Sequence[str]) -> tuple[str, ...]:
    """Name of each output of a head.

    >>> tags_of(["LOC"])
    ('O', 'B-LOC', 'I-LOC')
    """
    return ("O", *(f"{prefix}-{label}" for label in labels for prefix in "BI"))


# ---------------------------------------------------------------------------------------------------- into the model
def encode_words(row: Row, tokens: Tokens, outputs: Sequence[str]) -> dict[str, Any]:
    """Where the words of a row stand, in its text and among its pieces, and the tag of each where the row has spans."""
    words = tuple(row["offsets"]) if "offsets" in row else _own_words(tokens)
    spans = disjoint(row["spans"]) if "spans" in row else []
    tags = tags_of_spans(spans, words) if "spans" in row else None
    index = {name: number for number, name in enumerate(outputs)}
    return {
        "words": words,
        "pieces": _first_pieces(words, tokens),  # of each word; -1 where it has none (cut off, or only spaces)
        "tags": None if tags is None else [index[tag] for tag in tags],
        "widened": 0 if tags is None else len(set(spans) - set(spans_of_tags(tags, words))),
        "overlapping": len(row.get("spans", ())) - len(spans),
        "as_tokens": "offsets" in row,
    }


def encode_windows(
    row: Row, tokens: Tokens, outputs: Sequence[str], max_length: int | None, stride: int
) -> dict[str, Any]:
    """The words of a row beside its tokens, or beside windows of them, each with the words that it answers for."""
    words = encode_words(row, tokens, outputs)
    special = tokens.before + tokens.after
    length = len(tokens.input_ids) - special
    windows = windows_of(length, (max_length or len(tokens.input_ids)) - special, stride)
    if len(windows) == 1:
        return words | {"input_ids": tokens.input_ids}
    return words | {"windows": _cut(words, tokens, windows)}


def disjoint(spans: Sequence[Span]) -> list[Span]:
    """The spans that a sequence of tags can tell: of two that overlap the first, of two that begin alike the longer.

    >>> [span.label for span in disjoint([Span(0, 2, "a"), Span(0, 5, "b"), Span(3, 8, "c"), Span(5, 8, "d")])]
    ['b', 'd']
    """
    kept: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def tag_labels(rows: Sequence[Encoded], length: int) -> Tensor:
    """The tag of each word at its first piece, ``IGNORE`` elsewhere.  [B, T]"""
    labels = torch.full((len(rows), length), IGNORE)
    for number, row in enumerate(rows):
        for piece, tag in zip(row["pieces"], row["tags"], strict=True):
            if piece >= 0:
                labels[number, piece] = tag
    return labels


def log_shares(lessons: Sequence[Encoded], *sizes: int) -> list[float]:
    """log P(tag) by how often each is right, among the first ``sizes[0]`` outputs, among those that follow, ...

    Each counts once more than it was seen: a tag that no row has is rare, not impossible.
    """
    seen = Counter(tag for lesson in lessons for tag in lesson["tags"])
    ends = [*accumulate(sizes, initial=0)]
    groups = [[seen[tag] + 1 for tag in range(first, end)] for first, end in pairwise(ends)]
    return [math.log(count / sum(counts)) for counts in groups for count in counts]


def _cut(words: Mapping[str, Any], tokens: Tokens, windows: Sequence[Window]) -> list[Encoded]:
    """Each window with the words that it answers for; a word without a piece goes with the one before it."""
    before, end = tokens.before, len(tokens.input_ids) - tokens.after
    places = list(accumulate(words["pieces"], max, initial=before))[1:]  # of each word, never falling
    bounds = [bisect_right(places, before + window.first - 1) for window in windows[1:]]
    cuts: list[Encoded] = []
    for window, first, last in zip(windows, [0, *bounds], [*bounds, len(places)], strict=True):
        ids = tokens.input_ids
        own = slice(first, last)
        cuts.append(
            {
                "input_ids": ids[:before] + ids[before + window.start : before + window.stop] + ids[end:],
                "pieces": [piece - window.start if piece >= 0 else -1 for piece in words["pieces"][own]],
                "tags": None if words["tags"] is None else words["tags"][own],
            }
        )
    return cuts


def _own_words(tokens: Tokens) -> Offsets:
    """Where the words stand that the tokenizer itself split the text into."""
    spans: dict[int, tuple[int, int]] = {}
    for word, (start, end) in zip(tokens.words, tokens.offsets, strict=True):
        if word is not None and end > start:
            spans[word] = (spans.get(word, (start, end))[0], end)
    return tuple(sorted(spans.values()))


def _first_pieces(words: Offsets, tokens: Tokens) -> list[int]:
    """Position of the first piece that overlaps each word, or -1."""
    pieces = [(i, s, e) for i, (s, e) in enumerate(tokens.offsets) if e > s]
    found, at = [], 0
    for start, end in words:
        while at < len(pieces) and pieces[at][2] <= start:
            at += 1
        found.append(pieces[at][0] if at < len(pieces) and pieces[at][1] < end else -1)
    return found


# -------------------------------------------------------------------------------------------------- out of the model
def word_scores(logits: Tensor, pieces: Sequence[int]) -> Floats:
    """log P(tag | text) of each word, from the logits [T, C] of a row; a word without a piece is outside.  [W, C]"""
    chosen = logits[torch.tensor(pieces, dtype=torch.int64).clamp_min(0)].float().log_softmax(-1).numpy()
    missing = np.array(pieces, np.int64) < 0
    chosen[missing] = -np.inf
    chosen[missing, 0] = 0
    scores: Floats = chosen
    return scores


def read_tags(scores: Floats, row: Encoded, outputs: Sequence[str]) -> Spans:
    """The most likely tags of all words together, as spans, each with the probability of its least certain word."""
    chosen = most_likely(scores)
    certain = [math.exp(found[tag]) for found, tag in zip(scores, chosen, strict=True)]
    tags = tuple(outputs[tag] for tag in chosen)
    starts, ends = [start for start, _ in row["words"]], [end for _, end in row["words"]]
    spans = tuple(
        Span(one.start, one.end, one.label, min(certain[bisect_right(ends, one.start) : bisect_left(starts, one.end)]))
        for one in spans_of_tags(tags, row["words"])
    )
    return Spans(spans, tags if row["as_tokens"] else None)


def most_likely(scores: Floats) -> list[int]:
    """The tags of a legal sequence, I-x after B-x or I-x alone, with the highest sum of ``scores`` [W, C].

    Viterbi's algorithm (1967) with transitions that are allowed or not. Where the best tag of each word makes a legal
    sequence, it is that one.

    >>> most_likely(np.log([[0.5, 0.4, 0.1], [0.1, 0.1, 0.8]]))  # O, B, I: not O I
    [1, 2]
    """
    best: list[int] = scores.argmax(-1).tolist()
    if all(tag == 0 or tag % 2 or before in (tag - 1, tag) for before, tag in zip([0, *best], best, strict=False)):
        return best
    inside = np.arange(2, scores.shape[1], 2)
    total = scores[0].astype(np.float64)
    total[inside] = -np.inf  # nothing goes on at the beginning
    came_from = np.zeros(scores.shape, np.int64)
    for word in range(1, len(scores)):
        came_from[word] = total.argmax()
        came_from[word, inside] = np.where(total[inside] > total[inside - 1], inside, inside - 1)
        total = total[came_from[word]] + scores[word]
    path = [int(total.argmax())]
    for word in range(len(scores) - 1, 0, -1):
        path.append(int(came_from[word, path[-1]]))
    return path[::-1]
