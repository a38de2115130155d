"""The machine: memory that is taken ahead of its use."""

import subprocess
import sys

import pytest

from lathe.core import runtime

RESIDENT = """
import pathlib
from lathe.core import runtime
def resident(): return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096
before = resident()
with runtime.memory_ahead(64 << 20):
    pass
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts pages as Linux does")
def test_memory_ahead_is_resident_when_the_block_ends() -> None:
    grown = int(subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True).stdout)
    assert grown > 48 << 20


@pytest.mark.parametrize("size", [0, 1, 4095, 1 << 20])
def test_memory_ahead_lets_errors_through(size: int) -> None:
    with pytest.raises(ValueError, match="mine"), runtime.memory_ahead(size):
        raise ValueError("mine")
