"""What a server says about its model, and how much it takes from one request."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from lathe.core.data import Shape
from lathe.core.recipe import recipe


@dataclass(frozen=True)
class About:
    """The model behind an application."""

    model: str  # name@version
    task: str
    labels: tuple[str, ...]
    shapes: Sequence[Shape] = ()  # of the rows it takes; any where nothing is said


@recipe
class Limits:
    body_bytes: int = Field(4 << 20, ge=1)
    """Most bytes of a request."""
    rows: int = Field(1000, ge=1)
    """Most rows of a request."""
    characters: int = Field(50_000, ge=1)
    """Most characters of one row; they are counted before the tokenizer sees them."""
