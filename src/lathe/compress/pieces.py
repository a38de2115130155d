"""A tokenizer with some of its pieces: a text whose pieces are all kept is cut as before.

- Words and WordPiece: the longest piece that fits is taken, and where it is kept, no longer one has come instead.
- BPE: a piece is made by merges, each of the pair that was learnt first. The merges of the kept pieces stay, with what
  they make on the way; those of others never had a part in a text of kept pieces.
- Unigram: the best of all ways to cut a text stays the best of those that are left. What an unknown character costs
  depends on the lowest score, so that its piece stays.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

from tokenizers import Tokenizer

from lathe.core.errors import RecipeError

Characters: TypeAlias = Literal["all", "used"]

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_KINDS = ("BPE", "Unigram", "WordLevel", "WordPiece")


class Reduced(NamedTuple):
    """What is left of a tokenizer."""

    backend: Tokenizer
    ids: Sequence[int]  # of each new id the old one, rising


def refuse(backend: Tokenizer) -> None:
    """Raises ``RecipeError`` for a tokenizer that cannot be reduced without cutting kept texts otherwise."""
    model = json.loads(backend.to_str())["model"]
    kind, way = model["type"], "leave out the step vocabulary"
    if kind not in _KINDS:
        raise RecipeError(f"a tokenizer of kind {kind} cannot lose pieces; {way}")
    if kind == "BPE" and (model.get("continuing_subword_prefix") or model.get("dropout")):
        raise RecipeError(f"a BPE tokenizer with dropout, or with a mark inside words, cannot lose pieces; {way}")


def reduced(backend: Tokenizer, used: AbstractSet[int], characters: Characters) -> Reduced:
    """The pieces ``used``, and with them those that they are made of, special ones, bytes and single characters."""
    values = json.loads(backend.to_str())
    model, added = values["model"], values["added_tokens"]
    known: dict[str, int] = backend.get_vocab(with_added_tokens=True)
    pieces = {piece for piece, index in known.items() if index in used}
    pieces |= {token["content"] for token in added} | {piece for piece in known if _BYTE.fullmatch(piece)}
    pieces |= _always(model) & known.keys()
    padding = [values["padding"]["pad_id"]] if values["padding"] else []
    named = {*_named(values["post_processor"]), *padding}
    pieces |= {piece for piece, index in known.items() if index in named}
    pieces |= set(_characters(model, known, None if characters == "all" else set("".join(pieces))))
    if model["type"] == "BPE":
        made = [*_merges_of(model, sorted(pieces, key=known.__getitem__))]
        pieces |= {part for pair in made for part in (*pair, "".join(pair))}
        kept = set(made)
        model["merges"] = [merge for merge in model["merges"] if _pair(merge) in kept]
    ids = sorted(known[piece] for piece in pieces)
    return Reduced(_renumbered(values, ids), ids)


def _renumbered(values: dict[str, Any], ids: Sequence[int]) -> Tokenizer:
    """Of a tokenizer's file the pieces ``ids``, by their places there."""
    model, new = values["model"], {old: index for index, old in enumerate(ids)}
    if model["type"] == "Unigram":
        model["vocab"] = [entry for index, entry in enumerate(model["vocab"]) if index in new]
        model["unk_id"] = None if model["unk_id"] is None else new[model["unk_id"]]
    else:
        model["vocab"] = {piece: new[index] for piece, index in model["vocab"].items() if index in new}
    for token in values["added_tokens"]:
        token["id"] = new[token["id"]]
    if values["padding"] is not None:
        values["padding"]["pad_id"] = new[values["padding"]["pad_id"]]
    _renumber(values["post_processor"], new)
    return Tokenizer.from_str(json.dumps(values, ensure_ascii=False))


def _always(model: Mapping[str, Any]) -> set[str]:
    """Pieces that stand for what has no piece, or say what that costs."""
    if model["type"] != "Unigram":
        return {model["unk_token"]} if model.get("unk_token") else set()
    unknown = model["unk_id"]
    lowest = min(model["vocab"], key=lambda entry: entry[1])[0]
    return {lowest} | ({model["vocab"][unknown][0]} if unknown is not None else set())


def _characters(model: Mapping[str, Any], known: Mapping[str, int], seen: AbstractSet[str] | None) -> Iterator[str]:
    """Pieces of one character, at the beginning of words and inside; only those of ``seen`` where it is given.

    What a byte-level vocabulary has for its 256 bytes are such pieces, too, and all of them stay.
    """
    is_bytes = model["type"] == "BPE" and {"Ġ", "Ċ", "Ń"} <= known.keys()
    before = model.get("continuing_subword_prefix") or ""
    behind = model.get("end_of_word_suffix") or ""
    for piece in known if model["type"] != "WordLevel" else ():
        bare = piece.removeprefix(before).removesuffix(behind) if len(piece) > 1 else piece
        if len(bare) == 1 and (seen is None or is_bytes or bare in seen):
            yield piece


def _merges_of(model: Mapping[str, Any], pieces: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The merges by which the pieces come about, each cut as if it stood alone; some stand in no merge."""
    ranks = {_pair(merge): rank for rank, merge in enumerate(model["merges"])}
    suffix = model.get("end_of_word_suffix") or ""
    for piece in pieces:
        symbols, taken = [*piece.removesuffix(suffix)] if suffix else [*piece], []
        if suffix and piece.endswith(suffix) and symbols:
            symbols[-1] += suffix
        while first := min((pair for pair in pairwise(symbols) if pair in ranks), key=ranks.__getitem__, default=None):
            taken.append(first)
            place = [*pairwise(symbols)].index(first)  # one at a time, from the left
            symbols[place : place + 2] = ["".join(first)]
        if len(symbols) == 1:
            yield from taken


def _pair(merge: Any) -> tuple[str, str]:
    """Older files have the pair as one text."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _renumber(processor: Any, new: Mapping[int, int]) -> None:
    """The ids of special tokens, in place."""
    for place, key in _places(processor):
        place[key] = [new[i] for i in place[key]] if isinstance(place[key], list) else new[place[key]]


def _named(processor: Any) -> Iterator[int]:
    """The ids of the special tokens that a processor adds."""
    for place, key in _places(processor):
        yield from place[key] if isinstance(place[key], list) else [place[key]]


def _places(processor: Any) -> Iterator[tuple[Any, Any]]:
    """Where ids, one or a list, stand in a processor: containers, and the key in each."""
    if processor is None:
        return
    for inner in processor.get("processors", ()):
        yield from _places(inner)
    for name in ("sep", "cls"):
        if name in processor:
            yield processor[name], 1
    special = processor.get("special_tokens", {})
    for token in special.values() if isinstance(special, dict) else ():
        yield token, "ids"
