"""``lathe compress``: a smaller and faster model, with the measured price."""

from lathe.compress.stage import Recipe, run

__all__ = ["Recipe", "run"]
