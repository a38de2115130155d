"""Conversations as tokens: each turn as the tokenizer's chat template writes it, and what the assistant says in it.

The text around a turn may hold special tokens, what is said in it may not: whoever types the end of a turn types text.
Both are tokenized by themselves, so that an answer begins with the same tokens whether it is learnt or written.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

from jinja2 import TemplateError

from lathe.core.data import Message
from lathe.core.errors import RecipeError
from lathe.core.types import Symbols

Messages = Sequence[Message]

SIMPLE = (
    "{%% for message in messages %%}{{ message['role'] + ':\\n' + message['content'] + %r + '\\n' }}{%% endfor %%}"
    "{%% if add_generation_prompt %%}{{ 'assistant:\\n' }}{%% endif %%}"
)
"""A template for any tokenizer with an end token, which ends each turn."""
SAID = "\ue000"
"""Stands for what is said where the text around it is looked for."""


class Piece(NamedTuple):
    """A stretch of a conversation as it is written."""

    text: str
    is_said: bool  # by someone: special tokens are not looked for
    role: str  # the assistant's pieces are those that it has to write
    is_tail: bool = False  # behind what was said: the assistant's turn ends with the first special token


class Turns(NamedTuple):
    """A conversation as its model reads it."""

    input_ids: list[int]
    learnt: list[bool]  # whether the assistant says the token


def prepare(tokenizer: Any) -> None:
    """Give the tokenizer a simple chat template if it has none; it is saved with it. Raises ``RecipeError``."""
    if tokenizer.chat_template is None:
        end = Symbols.of(tokenizer).end
        if end is None:
            raise RecipeError("task.kind: chat needs a tokenizer with an end token; this one has neither end nor [SEP]")
        tokenizer.chat_template = SIMPLE % tokenizer.convert_ids_to_tokens(end)


def end_of_turn(tokenizer: Any) -> int:
    """The token that ends what the assistant says. Raises ``RecipeError`` for a template without one."""
    *_, tail = pieces_of([Message("user", "a"), Message("assistant", "b")], tokenizer)
    ids, special = _tokens([tail], tokenizer)[0], set(tokenizer.all_special_ids)
    found = next((token for token in ids if token in special), None)
    if found is None:
        raise RecipeError(
            "the tokenizer's chat template ends a turn of the assistant without a special token, so that nothing would "
            "tell where an answer ends; mend the template, or delete it (chat_template.jinja) for a simple one"
        )
    return found


def conversation(messages: Messages, tokenizer: Any, is_open: bool = False) -> Turns:
    """Tokens of a conversation; an open one ends where the assistant is to speak."""
    pieces = pieces_of(messages, tokenizer, is_open)
    special = set(tokenizer.all_special_ids)
    ids: list[int] = []
    learnt: list[bool] = []
    for piece, tokens in zip(pieces, _tokens(pieces, tokenizer), strict=True):
        ids += tokens
        own = len(tokens) if piece.role == "assistant" else 0
        if piece.is_tail:
            own = min(own, next((n for n, token in enumerate(tokens, 1) if token in special), own))
        learnt += [n < own for n in range(len(tokens))]
    return Turns(ids, learnt)


def pieces_of(messages: Messages, tokenizer: Any, is_open: bool = False) -> list[Piece]:
    """What the template writes for each turn, parted from what is said in it."""
    found: list[Piece] = []
    before, first = "", 1 + (messages[0].role == "system")  # a template may refuse a system message alone
    for stop in range(first, len(messages) + 1):
        start = stop - 1 if stop > first else 0
        old, new = messages[:start], messages[start:stop]
        if new[-1].role == "assistant":
            before = _opened(before, old, tokenizer, found)
        around = _rest(_written([*old, *(Message(one.role, SAID) for one in new)], tokenizer), before).split(SAID)
        upto = _written(messages[:stop], tokenizer)
        found += _turn(around, new, _rest(upto, before))
        before = upto
    if is_open:
        _opened(before, messages, tokenizer, found)
    return [piece for piece in found if piece.text]


def _opened(before: str, messages: Messages, tokenizer: Any, found: list[Piece]) -> str:
    """What the assistant's turn opens with is not its own."""
    upto = _written(messages, tokenizer, opens=True)
    found.append(Piece(_rest(upto, before), False, "template"))
    return upto


def _turn(around: Sequence[str], messages: Messages, written: str) -> Iterator[Piece]:
    """What stands ``around`` what is said in some messages, and what is said; together that is what is ``written``."""
    for contents in ([one.content for one in messages], [one.content.strip() for one in messages]):
        texts = [*chain.from_iterable(zip(around, contents, strict=False)), around[-1]]
        if len(around) == len(messages) + 1 and "".join(texts) == written:
            break
    else:
        raise RecipeError(f"the tokenizer's chat template changes what is said: {messages[-1].content[:60]!r}")
    for before, content, message in zip(around, contents, messages, strict=False):
        yield from (Piece(before, False, message.role), Piece(content, True, message.role))
    yield Piece(around[-1], False, messages[-1].role, is_tail=True)


def _rest(text: str, before: str) -> str:
    if not text.startswith(before):
        raise RecipeError(
            "the tokenizer's chat template writes earlier turns otherwise when later ones follow: a turn would be "
            "learnt otherwise than it is answered; mend it, or delete it (chat_template.jinja) for a simple one"
        )
    return text[len(before) :]


def _written(messages: Messages, tokenizer: Any, opens: bool = False) -> str:
    turns = [message._asdict() for message in messages]
    try:
        text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=opens)
    except TemplateError as error:
        roles = ", ".join(message.role for message in messages)
        raise RecipeError(f"the tokenizer's chat template refuses turns of {roles}: {error}") from None
    return text


def _tokens(pieces: Sequence[Piece], tokenizer: Any) -> list[list[int]]:
    """Ids of each piece."""
    found: dict[int, list[int]] = {}
    for said in (False, True):
        chosen = [number for number, piece in enumerate(pieces) if piece.is_said == said]
        texts = [pieces[number].text.encode("utf-8", "replace").decode("utf-8") for number in chosen]
        with _special_tokens(tokenizer, are_text=said) as backend:
            encoded = backend.encode_batch_fast(texts, add_special_tokens=False)
        found |= {number: one.ids for number, one in zip(chosen, encoded, strict=True)}
    return [found[number] for number in range(len(pieces))]


@contextmanager
def _special_tokens(tokenizer: Any, are_text: bool) -> Iterator[Any]:
    backend = tokenizer.backend_tokenizer
    before = backend.encode_special_tokens
    backend.encode_special_tokens = are_text
    try:
        yield backend
    finally:
        backend.encode_special_tokens = before
