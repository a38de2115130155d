"""From the tokens of an answer to its text, while it is made and when it is complete."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from tokenizers.decoders import WordPiece
from torch import Tensor
from transformers import StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from lathe.core.scripts import UNSPACED_CLASS

Write = Callable[[str], object]

_UNSPACED = f"[{UNSPACED_CLASS[1:-1]}\u3000-\u303f\uff00-\uffef]"  # and their marks
_BLANK = re.compile(f"(?<={_UNSPACED}) (?={_UNSPACED})")


class Generated(NamedTuple):
    """An answer."""

    text: str
    tokens: int
    end: Literal["end", "stop", "length"]  # the model ended it, a stop text stood in it, or there was no more room


@dataclass(frozen=True)
class Answers:
    """The answers of some rows."""

    tokenizer: Any
    before: Sequence[Sequence[int]]  # [B] tokens that each answer goes on from: none where it is a text of its own
    first: int  # tokens of a row before its answer, padding included
    ends: frozenset[int]
    stop: Sequence[str]
    pad: int

    def read(self, row: int, new: Sequence[int]) -> Generated:
        """``new`` may be followed by the padding of a row that ended before others."""
        length = next((i for i, token in enumerate(new) if token in self.ends), len(new))
        text = self._text(row, new[:length])
        if (cut := self._cut(text)) is None:
            return Generated(text, length, "end" if length < len(new) else "length")
        while length and new[length - 1] == self.pad:
            length -= 1
        return Generated(text[:cut], length, "stop")

    def stops(self, row: int, new: Sequence[int]) -> bool:
        return self._cut(self._text(row, new)) is not None

    def _cut(self, text: str) -> int | None:
        return stop_in(text, self.stop)

    def _text(self, row: int, new: Sequence[int]) -> str:
        """What is added to the prompt, the blank at its beginning included."""
        if not (prompt := self.before[row]):
            return self._decode(new)
        before, whole = self._decode(prompt), self._decode([*prompt, *new])
        return whole[len(before) :] if whole.startswith(before) else self._decode(new)

    def _decode(self, ids: Sequence[int]) -> str:
        return text_of(self.tokenizer, ids)


def stop_in(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop text begins."""
    return min((at for stop in stops if (at := text.find(stop)) >= 0), default=None)


def text_of(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of some tokens, without special ones.

    A tokenizer that has lost a text's blanks puts one between any two words; where Chinese has none, it is taken out.
    """
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    decoder = tokenizer.backend_tokenizer.decoder
    return without_blanks(text) if decoder is None or isinstance(decoder, WordPiece) else text


def without_blanks(text: str) -> str:
    """Without single blanks between characters of scripts that have none, and their marks."""
    return _BLANK.sub("", text)


class Stop(StoppingCriteria):
    """Ends a row when a stop text stands in its answer."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers

    def __call__(self, input_ids: Tensor, scores: Any, **_: object) -> Tensor:
        beams = len(input_ids) // len(self.answers.before)
        new = input_ids[:, self.answers.first :].tolist()
        found = [self.answers.stops(row // beams, ids) for row, ids in enumerate(new)]
        return torch.tensor(found, device=input_ids.device)


class Streamer(BaseStreamer):
    """Writes what cannot change any more: not half a character, and not what may become a stop text."""

    def __init__(self, answers: Answers, write: Write) -> None:
        self.answers, self.write = answers, write
        self.new: list[int] | None = None  # None until the prompt has come
        self.written = 0

    def put(self, value: Tensor) -> None:
        if self.new is None:
            self.new = []
            return
        self.new += value.flatten().tolist()
        answer = self.answers.read(0, self.new)
        self._show(settled(answer.text, self.answers.stop) if answer.end == "length" else answer.text)

    def end(self) -> None:
        self._show(self.answers.read(0, self.new or []).text)

    def _show(self, text: str) -> None:
        if len(text) > self.written:
            self.write(text[self.written :])
            self.written = len(text)


def settled(text: str, stops: Sequence[str]) -> str:
    """Without a character that is not complete, and without an end that a stop text begins with.

    >>> settled("The en", ("end", "."))
    'The '
    """
    text = text.rstrip("\ufffd")
    held = max((n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
    return text[: len(text) - held]
