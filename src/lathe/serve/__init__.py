"""``lathe serve``: a model behind HTTP, on this machine."""

from lathe.serve.stage import Recipe, run

__all__ = ["Recipe", "run"]
