"""The machine: memory that is taken ahead of its use, draws, and what the collector looks at."""

import subprocess
import sys

import pytest
import torch

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


def test_memory_ahead_leaves_what_others_write_meanwhile() -> None:
    with runtime.memory_ahead(64 << 20) as size:
        written = [torch.full((1 << 20,), float(number)) for number in range(8)]
    assert size in (0, 64 << 20)
    assert all((tensor == number).all() for number, tensor in enumerate(written))


def test_zero_pages_are_zeros_that_can_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "MANY_BYTES", 1)
    zeros = runtime.zero_pages(torch.ones(300, 7))
    assert zeros.shape == (300, 7) and zeros.dtype == torch.float32 and not zeros.any()
    zeros[299] += 2
    assert zeros.sum() == 14
    assert runtime.zero_pages(torch.ones(0, 7)).shape == (0, 7)


@pytest.mark.parametrize(
    ("asked", "ranks", "threads"),
    [
        (None, 1, 6),
        ("2", 1, 2),
        ("1", 1, 1),
        ("8", 1, 8),
        ("3,2", 1, 3),
        ("many", 1, 6),
        ("0", 1, 6),
        ("1", 2, 3),  # which torchrun says where the user does not
        ("2", 2, 2),
        (None, 7, 1),
    ],
)
def test_threads_are_those_that_the_user_asks_for_or_a_share_of_the_cores(asked, ranks, threads, monkeypatch) -> None:
    monkeypatch.setattr(runtime, "cores", lambda: 6)
    monkeypatch.setattr(runtime, "launch", lambda: runtime.Launch(ranks=ranks, local_ranks=ranks))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    before, found = torch.get_num_threads(), []
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    runtime.set_up()
    assert (found, torch.get_num_threads()) == ([threads], before)


def test_draws_are_those_that_torch_makes_from_this_seed() -> None:
    torch.manual_seed(7)
    theirs = torch.rand(4)
    runtime.draw_from(7)
    assert torch.equal(torch.rand(4), theirs)
