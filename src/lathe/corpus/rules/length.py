"""Bounds of length."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from lathe.core.errors import RecipeError
from lathe.core.recipe import recipe
from lathe.core.scripts import words
from lathe.core.types import Document
from lathe.corpus.protocol import Dropped
from lathe.corpus.rules.facts import Check, above, below, judged

UNITS = ("characters", "bytes", "words")


@recipe
class KeepLength:
    """Drop texts that are too short or too long."""

    kind: Literal["keep_length"] = "keep_length"
    min_characters: int | None = Field(None, ge=0)
    """Fewest characters."""
    max_characters: int | None = Field(None, ge=0)
    """Most characters."""
    min_bytes: int | None = Field(None, ge=0)
    """Fewest bytes of UTF-8."""
    max_bytes: int | None = Field(None, ge=0)
    """Most bytes of UTF-8."""
    min_words: int | None = Field(None, ge=0)
    """Fewest words; in scripts without spaces each character counts as one."""
    max_words: int | None = Field(None, ge=0)
    """Most words."""

    def __post_init__(self) -> None:
        bounds = {unit: (getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")) for unit in UNITS}
        if {pair for pair in bounds.values()} == {(None, None)}:
            raise RecipeError("keep_length has no bounds and would drop nothing; set one, such as min_words = 20")
        for unit, (least, most) in bounds.items():
            if least is not None and most is not None and least > most:
                raise RecipeError(f"min_{unit} {least} is more than max_{unit} {most}: no text would be kept")

    def __call__(self, document: Document) -> Document | Dropped:
        return judged(document, "length", self._checks(document.text))

    def _checks(self, text: str) -> Iterator[Check]:
        yield "too few characters", below(len(text), self.min_characters)
        yield "too many characters", above(len(text), self.max_characters)
        if (self.min_bytes, self.max_bytes) != (None, None):
            size = len(text.encode("utf-8", "surrogatepass"))
            yield "too few bytes", below(size, self.min_bytes)
            yield "too many bytes", above(size, self.max_bytes)
        if (self.min_words, self.max_words) != (None, None):
            number = len(words(text))
            yield "too few words", below(number, self.min_words)
            yield "too many words", above(number, self.max_words)
