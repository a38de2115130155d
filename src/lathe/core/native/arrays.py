"""numpy's arrays as C takes them."""

import ctypes
from typing import Any, TypeAlias

import numpy as np

from lathe.core.native.calls import operations

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def at(array: Array) -> ctypes.c_void_p:
    """Where its numbers are; whoever calls keeps them alive."""
    assert array.flags.c_contiguous, "C reads numbers that stand side by side"
    return ctypes.c_void_p(array.ctypes.data)


def call(name: str, fields: ctypes.Structure) -> None:
    """Call an operation that takes one structure."""
    getattr(operations(), name)(ctypes.byref(fields))
