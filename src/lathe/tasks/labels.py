"""Names of labels, as a recipe may give them."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator


def distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ``ValueError`` for a list that cannot name the outputs of a head.

    >>> distinct(("neg", "pos"))
    ('neg', 'pos')
    """
    if not labels or any(not label.strip() for label in labels):
        raise ValueError("give at least one label, and no empty one")
    twice = [label for number, label in enumerate(labels) if label in labels[:number]]
    if twice:
        raise ValueError(f"{twice[0]!r} is there twice")
    return labels


Labels: TypeAlias = Annotated[tuple[str, ...], AfterValidator(distinct)]
