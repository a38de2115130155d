"""``lathe finetune``: a model for a task from labelled rows."""

from lathe.finetune.stage import Recipe, prepare, run

__all__ = ["Recipe", "prepare", "run"]
