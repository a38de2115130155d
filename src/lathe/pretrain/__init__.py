"""``lathe pretrain``: a language model from text, from scratch or continued."""

from lathe.pretrain.stage import Recipe, ahead, prepare, run

__all__ = ["Recipe", "ahead", "prepare", "run"]
