"""Lathe's own operations for CPUs, in C: compiled once on the machine they run on, for its processor.

Where they cannot be (no C compiler, not Linux) everything works as well with torch's operations, slower; `missing` says
why. They draw their randomness from seeds that torch's global generator gives: whoever seeds that decides the draw.
"""

from lathe.core.native.calls import serves
from lathe.core.native.compiled import library, missing
from lathe.core.native.operations import Rows, activation, attention, dropout, gelu, suits
from lathe.core.native.optimizer import Update, adamw, norm, takes
from lathe.core.native.products import unit

__all__ = [
    "Rows",
    "Update",
    "activation",
    "adamw",
    "attention",
    "dropout",
    "gelu",
    "library",
    "missing",
    "norm",
    "serves",
    "suits",
    "takes",
    "unit",
]
