"""``lathe run``: a story is several stages, one after the other, as one TOML file."""

from lathe.stories.story import Recipe, run

__all__ = ["Recipe", "run"]
