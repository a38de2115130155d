"""``lathe generate``: text that goes on from a prompt, or answers it."""

from lathe.generate.stage import Recipe, run

__all__ = ["Recipe", "run"]
