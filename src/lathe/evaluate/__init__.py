"""``lathe evaluate``: a model scored on labelled rows, with intervals, size and speed."""

from lathe.evaluate.stage import Recipe, run

__all__ = ["Recipe", "run"]
