"""``lathe finetune``: a model for a task from labelled rows."""

from lathe.finetune.stage import Recipe, ahead, prepare, run

__all__ = ["Recipe", "ahead", "prepare", "run"]
