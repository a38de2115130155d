"""Lathe turns a team's own text into a small, fast, hardened language model, and keeps it good while it serves.

>>> import lathe
>>> model = lathe.load("runs/reviews")      # doctest: +SKIP
>>> model(["great film"])                   # doctest: +SKIP
>>> write = lathe.load_generator("runs/stories")   # doctest: +SKIP
>>> write(["Once upon a time"])[0].text            # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lathe.generation import load_generator as load_generator
    from lathe.loader import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "load", "load_generator"]


def __getattr__(name: str) -> Any:
    if name == "load":  # found only when asked for: `import lathe` must not wait for torch
        from lathe.loader import load

        return load
    if name == "load_generator":
        from lathe.generation import load_generator

        return load_generator
    raise AttributeError(f"module 'lathe' has no attribute {name!r}")
