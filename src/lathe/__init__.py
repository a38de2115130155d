"""Lathe turns a team's own text into a small, fast, hardened language model, and keeps it good while it serves.

>>> import lathe
>>> model = lathe.load("runs/reviews")      # doctest: +SKIP
>>> model(["great film"])                   # doctest: +SKIP
>>> write = lathe.load_generator("runs/stories")   # doctest: +SKIP
>>> write(["Once upon a time"])[0].text            # doctest: +SKIP
>>> lathe.load_vectors("runs/words").nearest("film")   # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lathe.generation import load_generator as load_generator
    from lathe.loader import load as load
    from lathe.models.vectors import load_vectors as load_vectors

__version__ = "0.1.0"
__all__ = ["__version__", "load", "load_generator", "load_vectors"]


_OFFERED = {
    "load": "lathe.loader",
    "load_generator": "lathe.generation",
    "load_vectors": "lathe.models.vectors",
}


def __getattr__(name: str) -> Any:
    if name in _OFFERED:  # found only when asked for: `import lathe` must not wait for torch
        return getattr(import_module(_OFFERED[name]), name)
    raise AttributeError(f"module 'lathe' has no attribute {name!r}")
