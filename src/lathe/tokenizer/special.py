"""The user's own special tokens: one token each where they are meant, ordinary text where a text only names them."""

from collections.abc import Iterator, Sequence
from typing import Any

from lathe.core.errors import RecipeError


def refuse_names(names: Sequence[str]) -> None:
    """Raises ``RecipeError`` for names that cannot be told apart from one another or from the text around them."""
    for place, name in enumerate(names):
        if not name or name != name.strip():
            raise RecipeError(f"special_tokens: {name!r} is empty or begins or ends with a blank; write it as <name>")
        if name in names[:place]:
            raise RecipeError(f"special_tokens: {name!r} is there twice; name each token once")


def add_special(tokenizer: Any, names: Sequence[str]) -> None:
    """Add the names behind all tokens. Raises ``RecipeError`` where the tokenizer has a token of such a name."""
    known = tokenizer.get_vocab()
    if taken := [name for name in names if name in known]:
        raise RecipeError(
            f"special_tokens: {taken[0]!r} is a token of this tokenizer already; choose a name that no text has, "
            "such as <name>"
        )
    if names:
        values = {"extra_special_tokens": list(names)}
        tokenizer.add_special_tokens(values, replace_extra_special_tokens=False)


def without(texts: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """The texts with a blank for each name, so that no piece of the vocabulary is learnt from it."""
    return list(_without(texts, names)) if names else texts


def _without(texts: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    longest_first = sorted(names, key=len, reverse=True)
    for text in texts:
        for name in longest_first:
            text = text.replace(name, " ")
        yield text
