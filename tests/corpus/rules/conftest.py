"""What tests ask of a rule."""

from collections.abc import Callable
from typing import Any

import pytest

from lathe.core.types import Document
from lathe.corpus.protocol import Changed, Dropped


@pytest.fixture(scope="session")
def reason() -> Callable[..., str | None]:
    """``reason(rule, text, **meta)``: why a rule drops a text; None where it keeps it."""

    def found(rule: Any, text: str, **meta: Any) -> str | None:
        verdict = rule(Document(text, "0", meta))
        return verdict.reason if isinstance(verdict, Dropped) else None

    return found


@pytest.fixture(scope="session")
def left() -> Callable[..., str]:
    """``left(rule, text)``: what a rule makes of a text that it keeps."""

    def found(rule: Any, text: str) -> str:
        verdict = rule(Document(text, "0"))
        assert not isinstance(verdict, Dropped), verdict.reason
        return (verdict.document if isinstance(verdict, Changed) else verdict).text

    return found


@pytest.fixture(scope="session")
def counts() -> Callable[..., dict[str, int]]:
    """``counts(rule, text)``: how much of what a rule took away."""

    def found(rule: Any, text: str) -> dict[str, int]:
        verdict = rule(Document(text, "0"))
        return dict(verdict.counts) if isinstance(verdict, Changed) else {}

    return found
