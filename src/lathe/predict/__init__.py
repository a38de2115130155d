"""``lathe predict``: an answer for every row of a file."""

from lathe.predict.stage import Recipe, run

__all__ = ["Recipe", "run"]
