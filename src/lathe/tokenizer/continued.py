"""New pieces for a tokenizer that exists: its own pieces, joined where they often stand together in a text.

This is byte pair encoding (Sennrich et al., 2016) gone on with from the words as the tokenizer cuts them. Old pieces
and added tokens keep their ids, and a text in which no new piece stands keeps its tokens: BPE applies new joins after
all old ones, WordPiece and Unigram meet a new piece only where its letters stand. (Of a Unigram tokenizer, a text that
names an added token without meaning it may be cut otherwise there.)
"""

import heapq
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer, pre_tokenizers

from lathe.core.errors import BundleError
from lathe.tokenizer.distinct import counted
from lathe.tokenizer.parts import cut_inside

Pair = tuple[str, str]

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_BEFORE_BLANK = re.compile(r"(?<=[^▁])(?=▁)")


class Join(NamedTuple):
    """A new piece, and the two that it is made of; each of them may be a join before it."""

    left: str
    right: str
    piece: str
    times: int  # it stands in the text it was learnt from


class Kind(NamedTuple):
    """What a tokenizer's model says about its pieces."""

    name: str  # BPE, WordPiece, Unigram
    vocab: Mapping[str, int]
    scores: Mapping[str, float]  # log probabilities; Unigram only
    fixed: frozenset[str]  # pieces that join no other
    prefix: str  # of a piece inside a word: ## for WordPiece

    def joined(self, left: str, right: str) -> str:
        return left + right.removeprefix(self.prefix)


def kind_of(backend: Tokenizer, folder: Path) -> Kind:
    """Raises ``BundleError`` for a tokenizer whose pieces cannot be joined."""
    values = json.loads(backend.to_str())
    model = values["model"]
    name = model["type"]
    if name not in ("BPE", "WordPiece", "Unigram"):
        raise BundleError(f"{folder}: a tokenizer of kind {name} has no pieces to join; train a new one")
    if model.get("end_of_word_suffix") or (name == "BPE" and model.get("continuing_subword_prefix")):
        raise BundleError(f"{folder}: its BPE marks the ends of words in its pieces, which is not supported")
    scores = dict(model["vocab"]) if name == "Unigram" else {}
    unknown = model["vocab"][model["unk_id"]][0] if scores and model["unk_id"] is not None else model.get("unk_token")
    added = {token["content"] for token in values["added_tokens"]}
    vocab = backend.get_vocab()
    fixed = added | {unknown} | {piece for piece in vocab if _BYTE.fullmatch(piece)}
    return Kind(name, vocab, scores, frozenset(fixed), model.get("continuing_subword_prefix") or "")


class Cut(NamedTuple):
    """Words as the pieces that a tokenizer cuts them into, and how often each stands in the texts."""

    words: Counter[tuple[str, ...]]
    left_out: int  # words beyond the most, each as often as it stands there
    total: int  # words that there were


def words_in_pieces(backend: Tokenizer, texts: Iterable[str], most: int) -> Cut:
    """The ``most`` most frequent words; the tokenizer says what is a word, which may be a whole Chinese sentence."""
    found = counted((_words(backend, text) for text in texts), most)
    words = Counter[tuple[str, ...]]()
    for word, count in found.counts.items():
        words[tuple(str(backend.id_to_token(token.id)) for token in backend.model.tokenize(word))] += count
    return Cut(words, found.left_out, found.words)


def _words(backend: Tokenizer, text: str) -> list[str]:
    normal = backend.normalizer.normalize_str(text) if backend.normalizer else text
    cut = backend.pre_tokenizer.pre_tokenize_str(normal) if backend.pre_tokenizer else [(normal, None)]
    return [word for run, _ in cut for word in _BEFORE_BLANK.split(run)]


def learn_joins(words: Mapping[tuple[str, ...], int], kind: Kind, limit: int, min_frequency: int) -> list[Join]:
    """At most ``limit`` joins, the most frequent pair first; of equally frequent pairs the first in code order."""
    search = _Search(words, kind)
    found: list[Join] = []
    scores, taken = dict(kind.scores), set(kind.vocab)
    total = sum(len(word) * count for word, count in words.items())
    while len(found) < limit and (best := search.best()) is not None:
        pair, count = best
        if count < min_frequency:
            break
        piece, score = kind.joined(*pair), math.log(count / total)
        # A Unigram piece that its parts together outweigh would never be chosen.
        useless = bool(scores) and score <= scores[pair[0]] + scores[pair[1]]
        if piece in taken or useless or not kind.fixed.isdisjoint(pair):
            search.forget(pair)
            continue
        found.append(Join(*pair, piece, count))
        taken.add(piece)
        scores |= {piece: score} if scores else {}
        search.join(pair, piece)
    return found


class _Search:
    """The pairs of neighbours in all words, with what each join changes."""

    def __init__(self, words: Mapping[tuple[str, ...], int], kind: Kind) -> None:
        self.words = [list(word) for word in words]
        self.times = list(words.values())
        self.counts = Counter[Pair]()
        self.where: dict[Pair, set[int]] = defaultdict(set)
        self.forgotten: set[Pair] = set()
        for number in range(len(self.words)):
            self._note(number, 1)
        self.heap = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(self.heap)

    def best(self) -> tuple[Pair, int] | None:
        while self.heap:
            count, pair = self.heap[0]
            if pair not in self.forgotten and self.counts[pair] == -count > 0:
                return pair, -count
            heapq.heappop(self.heap)
        return None

    def forget(self, pair: Pair) -> None:
        self.forgotten.add(pair)

    def join(self, pair: Pair, piece: str) -> None:
        touched = set[Pair]()
        for number in sorted(self.where[pair]):
            touched |= self._note(number, -1)
            self.words[number] = _joined(self.words[number], pair, piece)
            touched |= self._note(number, 1)
        for changed in touched - {pair}:
            if self.counts[changed] > 0:
                heapq.heappush(self.heap, (-self.counts[changed], changed))

    def _note(self, number: int, sign: int) -> set[Pair]:
        word, count = self.words[number], sign * self.times[number]
        pairs = list(zip(word, word[1:], strict=False))
        for pair in pairs:
            self.counts[pair] += count
        for pair in set(pairs):
            (self.where[pair].add if sign > 0 else self.where[pair].discard)(number)
        return set(pairs)


def _joined(word: Sequence[str], pair: Pair, piece: str) -> list[str]:
    done: list[str] = []
    at = 0
    while at < len(word):
        is_pair = tuple(word[at : at + 2]) == pair
        done.append(piece if is_pair else word[at])
        at += 1 + is_pair
    return done


def with_joins(backend: Tokenizer, kind: Kind, joins: Sequence[Join], tokens: int) -> Tokenizer:
    """The tokenizer with the new pieces behind all old tokens; ``tokens`` is the count of pieces learnt from.

    Raises ``BundleError`` where an old token would not stay what it is.
    """
    values: dict[str, Any] = json.loads(backend.to_str())
    outside = _list_added(values, kind)
    model, first = values["model"], max(kind.vocab.values()) + 1
    for number, join in enumerate(joins, first):
        if kind.name == "Unigram":
            model["vocab"].append([join.piece, math.log(join.times / tokens)])
            continue
        model["vocab"][join.piece] = number
        if kind.name == "BPE":
            model["merges"].append([join.left, join.right])
    made: Tokenizer = Tokenizer.from_str(json.dumps(values, ensure_ascii=False))
    if kind.name == "Unigram" and outside:
        apart = cut_inside([token["content"] for token in outside])
        made.pre_tokenizer = pre_tokenizers.Sequence([*filter(None, [made.pre_tokenizer]), apart])
    _check_old(made, kind, outside)
    return made


def _list_added(values: Mapping[str, Any], kind: Kind) -> list[dict[str, Any]]:
    """Put the added tokens that the model does not list into its list under their ids; returns them.

    The library numbers what is not listed behind the model's pieces, whatever the file says, and so anew with every
    piece that comes.
    """
    vocab = values["model"]["vocab"]
    listed = kind.scores if kind.name == "Unigram" else vocab
    outside = [token for token in values["added_tokens"] if token["content"] not in listed]
    for token in sorted(outside, key=lambda token: int(token["id"])):
        if kind.name == "Unigram":
            vocab.append([token["content"], min(kind.scores.values())])
        else:
            vocab[token["content"]] = token["id"]
    return outside


def _check_old(made: Tokenizer, kind: Kind, outside: Sequence[Mapping[str, Any]]) -> None:
    """Every old token has its id, and text reaches no added token that it did not reach before."""
    vocab = made.get_vocab()
    if moved := [piece for piece, number in kind.vocab.items() if vocab.get(piece) != number]:
        raise BundleError(f"the token {moved[0]!r} would get another id, so this tokenizer cannot be extended")
    for token in outside:
        if not token["special"] and token["normalized"] and not token["single_word"]:
            continue  # found in a text before the model sees it, wherever it stands
        words = _words(made, token["content"])
        if token["id"] in [piece.id for word in words for piece in made.model.tokenize(word)]:
            raise BundleError(
                f"the added token {token['content']!r} would be found in texts that only name it, so this tokenizer "
                "cannot be extended; give it a name that no text has, such as <name>"
            )


def parts_of(kind: Kind, joins: Sequence[Join]) -> dict[int, list[int]]:
    """Id of each new piece -> ids of the old pieces it consists of."""
    known = {piece: [number] for piece, number in kind.vocab.items()}
    first = max(kind.vocab.values()) + 1
    for join in joins:
        known[join.piece] = known[join.left] + known[join.right]
    return {number: known[join.piece] for number, join in enumerate(joins, first)}
