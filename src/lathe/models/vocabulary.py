"""New rows for the tables that have one for each piece of a vocabulary, made of old ones."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig

from lathe.core.errors import RecipeError
from lathe.core.scripts import is_unspaced
from lathe.models.presets import rounded

Parts = Mapping[int, Sequence[int]]
"""New id -> the old ids whose rows it begins as the mean of."""

_ROLES = (
    "pad_token_id",
    "unk_token_id",
    "cls_token_id",
    "sep_token_id",
    "mask_token_id",
    "bos_token_id",
    "eos_token_id",
)
_STAND_IN = {
    f"{name}_token_id": f"{other}_token_id"
    for pair in (("cls", "bos"), ("sep", "eos"))
    for name, other in (pair, pair[::-1])
}
_HALF = "\ufffd"  # what a part of a character decodes to


def rebuild(model: Any, parts: Parts, size: int) -> None:
    """Give every table ``size`` rows: the means of ``parts``, and of the whole table where an id has none.

    The mean is where the parts' sum of information lies; a row drawn at random has to be learnt from nothing
    (Hewitt, 2021). Tables that are tied stay so.
    """
    before = [table.detach().clone() for table in tables(model)]
    torch.manual_seed(0)
    model.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        for old, table in zip(before, tables(model), strict=True):
            table.copy_(old.mean(0).expand_as(table))
            for new, ids in parts.items():
                table[new] = old[list(ids)].mean(0)


def tables(model: Any) -> list[torch.nn.Parameter]:
    """The parameters with a row for each piece: of the input, and of the output where it has its own."""
    head = model.get_output_embeddings()
    found = [model.get_input_embeddings().weight]
    found += [] if head is None else [head.weight] + ([] if head.bias is None else [head.bias])
    return list({id(table): table for table in found}.values())


class Transfer(NamedTuple):
    """Where the rows of a new vocabulary came from."""

    parts: Parts
    copied: int  # pieces that the old vocabulary has, too
    joined: int  # pieces made of old ones
    unknown: int  # pieces whose text the old vocabulary does not know: the mean of all


def transfer(model: Any, old: Any, new: Any, multiple: int = 64) -> Transfer:
    """Exchange the tokenizer ``old`` of a language model for ``new``; all that is between its tables stays.

    A piece that both have keeps its row, whatever mark of a word's beginning it goes by (``##ing``, ``▁film``,
    ``Ġfilm``); another begins as the mean of the old pieces of its text. It has to be trained on afterwards.
    Raises ``RecipeError`` where the model needs a special token that the new tokenizer lacks.
    """
    made = transfer_parts(old, new)
    exchange_tokens(model.config, old, new, multiple)
    size = model.config.vocab_size
    silent = never_a_label(len(old), len(model.get_input_embeddings().weight), old.pad_token_id)
    rebuild(model, {index: silent for index in range(len(new), size) if silent} | dict(made.parts), size)
    if getattr(model, "generation_config", None) is not None:
        model.generation_config = GenerationConfig.from_model_config(model.config)
    return made


def never_a_label(pieces: int, rows: int, pad: int | None) -> Sequence[int]:
    """Of a table with ``rows`` for so many pieces, a row that has learnt to keep silent, if there is one.

    Rows that round a new table up begin as it: the mean of all would take its share of every prediction.
    """
    if rows > pieces:
        return (pieces,)
    return () if pad is None else (pad,)


def exchange_tokens(config: Any, old: Any, new: Any, multiple: int = 64) -> None:
    """What a model's configuration says of a vocabulary, said of the new one. Raises ``RecipeError`` as `transfer`."""
    for name, token in _specials(config, old, new).items():
        setattr(config, name, token)
    config.vocab_size = rounded(len(new), multiple)


def transfer_parts(old: Any, new: Any) -> Transfer:
    """Old ids for every new one, by the text that the pieces stand for."""
    source, target = _Vocabulary.of(old), _Vocabulary.of(new)
    by_text = {text: index for index, text in sorted(source.texts.items(), reverse=True) if _HALF not in text}
    parts = _special_parts(old, new)
    for index, text in target.texts.items():
        same = source.ids.get(target.pieces[index]) if _HALF in text else by_text.get(text)
        if same is not None and index not in parts:
            parts[index] = [same]
    copied = len(parts)
    others = [index for index in target.texts if index not in parts and _HALF not in target.texts[index]]
    for index, ids in zip(others, source.encode([target.texts[index] for index in others]), strict=True):
        if known := [i for i in ids if i != old.unk_token_id]:
            parts[index] = known
    joined = len(parts) - copied
    return Transfer(parts, copied, joined, len(new) - len(parts))


@dataclass(frozen=True)
class _Vocabulary:
    """The pieces of a tokenizer and what they add to a text; special tokens are not in ``texts``."""

    backend: Tokenizer
    anchor: Sequence[str]  # the pieces of "a", which stand before: a piece shows by its blank that it begins a word
    ids: Mapping[str, int]
    pieces: Mapping[int, str]
    texts: Mapping[int, str]  # by rising id

    @classmethod
    def of(cls, tokenizer: Any) -> "_Vocabulary":
        backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        backend.no_truncation()
        backend.no_padding()
        anchor = backend.encode("a", add_special_tokens=False).tokens
        ids = backend.get_vocab(with_added_tokens=True)
        pieces = {index: piece for piece, index in sorted(ids.items(), key=lambda item: item[1])}
        special = set(tokenizer.all_special_ids)
        texts = {i: _text(backend, anchor, piece) for i, piece in pieces.items() if i not in special}
        return cls(backend, anchor, ids, pieces, texts)

    def encode(self, texts: Sequence[str]) -> Iterator[Sequence[int]]:
        """The ids of each text behind a word, as pieces inside a text are cut."""
        start = [self.ids[piece] for piece in self.anchor]
        behind = self.backend.encode_batch([f"a{text}" for text in texts], add_special_tokens=False)
        alone = self.backend.encode_batch(list(texts), add_special_tokens=False)
        for first, second in zip(behind, alone, strict=True):
            yield first.ids[len(start) :] if first.ids[: len(start)] == start else second.ids


def _text(backend: Tokenizer, anchor: Sequence[str], piece: str) -> str:
    """What a piece adds to a text; a blank before a word, but not where the script has none.

    The blank tells ``film`` from ``##film``.
    """
    if backend.decoder is None:  # words: a blank between any two
        text = f" {piece}"
    else:
        text = backend.decoder.decode([*anchor, piece]).removeprefix(backend.decoder.decode([*anchor]))
    bare = text.removeprefix(" ")
    return bare if bare and is_unspaced(bare[0]) else text


def _special_parts(old: Any, new: Any) -> dict[int, Sequence[int]]:
    """New special token -> the old ones of its roles (one that begins texts and ends them: of both), or of its name."""
    found: dict[int, Sequence[int]] = {}
    known = old.get_vocab()
    for token in set(new.all_special_tokens) & set(known):
        found[new.convert_tokens_to_ids(token)] = [known[token]]
    of_roles: dict[int, list[int]] = defaultdict(list)
    for role in _ROLES:
        token, like = getattr(new, role), _of_role(old, role)
        if token is not None and like is not None and not (role == "pad_token_id" and token in of_roles):
            of_roles[token].append(like)
    return found | {token: sorted(set(likes)) for token, likes in of_roles.items()}


def _of_role(tokenizer: Any, role: str) -> int | None:
    """The token of a role, or of the one that stands in for it."""
    for name in (role, _STAND_IN.get(role, role)):
        token: int | None = getattr(tokenizer, name, None)
        if token is not None:
            return token
    return None


def _specials(config: Any, old: Any, new: Any) -> dict[str, int | None]:
    """The special tokens that the model's configuration names, in the new vocabulary."""
    found: dict[str, int | None] = {}
    for name in (*_ROLES, "decoder_start_token_id"):
        token = getattr(config, name, None)
        if isinstance(token, int):
            roles = [role for role in (name, *_ROLES) if getattr(old, role, None) == token]
            tokens = [_of_role(new, role) for role in roles]
            found[name] = next((one for one in tokens if one is not None), None)
    if "decoder_start_token_id" in found and found["decoder_start_token_id"] is None:
        start = old.convert_ids_to_tokens(config.decoder_start_token_id)
        raise RecipeError(
            f"tokenizer: the model's decoder_start_token_id is {start!r}, and the new tokenizer has no token of that "
            "role; train one with `lathe tokenizer`"
        )
    return found
