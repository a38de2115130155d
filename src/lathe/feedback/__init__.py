"""``lathe feedback``: what people said of answers, kept by ``lathe serve``, and made into rows to train on."""

from lathe.feedback.stage import Recipe, run

__all__ = ["Recipe", "run"]
