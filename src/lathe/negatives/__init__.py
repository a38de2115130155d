"""``lathe negatives``: texts that a query does not seek, and that are hard to tell from what it seeks."""

from lathe.negatives.stage import Recipe, run

__all__ = ["Recipe", "run"]
