"""``lathe corpus``: clean, deduplicated and split text from files or from the documentation on this machine."""

from lathe.corpus.stage import AnySource, AnyStep, Recipe, run

__all__ = ["AnySource", "AnyStep", "Recipe", "run"]
