"""What every call of an operation in C needs."""

import ctypes
from contextlib import nullcontext

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from lathe.core.errors import LatheError
from lathe.core.native.compiled import library

LANES = 16
"""Numbers in a vector of the operations."""
TYPES = (torch.float32, torch.bfloat16)


def serves(x: Tensor) -> bool:
    """Whether there are operations for this tensor's device and type."""
    return x.device.type == "cpu" and x.dtype in TYPES and _are_here()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _are_here() -> bool:
    return library() is not None


def operations() -> ctypes.CDLL:
    """The library; ask before whether there is one: `serves`, `library`."""
    found = library()
    assert found is not None, "asked before: `suits`, `library`"
    return found


def run(kind: str, operation: str, *arguments: object) -> None:
    """Call an operation of the library; a profiler sees it as one of ``kind``, see `lathe.core.profile.KINDS`.

    Raises ``LatheError`` where there was no memory for it.
    """
    watched = torch._C._autograd._profiler_enabled()
    with torch.profiler.record_function(kind) if watched else nullcontext():
        failed = getattr(operations(), operation)(*arguments)
    if failed:
        raise LatheError(f"no memory is left for {kind}; lower train.tokens_per_batch or max_length")


def has_memory(x: Tensor) -> bool:
    """False in a rehearsal (`lathe.core.dry`): its tensors have shapes alone, and nothing is computed."""
    return not is_fake(x)


def at(x: Tensor) -> ctypes.c_void_p:
    """Where its numbers are."""
    return ctypes.c_void_p(x.data_ptr())


def is_half(x: Tensor) -> bool:
    """`half` in C: bfloat16, otherwise float32."""
    return x.dtype == torch.bfloat16


def new_seed() -> int:
    """For the random words of one operation."""
    return int(torch.empty((), dtype=torch.int64).random_())


def threshold(p: float) -> tuple[int, float]:
    """Of 2³² words those below it keep a number that is dropped with probability p; and what makes up for the others.

    0 where none are dropped.
    """
    below = min(round((1 - p) * 2**32), 2**32 - 1) if p else 0
    return below, 2**32 / below if p else 1.0
