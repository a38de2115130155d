"""``lathe tokenizer``: a vocabulary from text, and how well it fits held-out text."""

from lathe.tokenizer.stage import Recipe, run

__all__ = ["Recipe", "run"]
