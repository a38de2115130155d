"""The machine: device, precision, threads, memory, signals. The only module that sets the environment, and (but for
`cli`, before torch is loaded) that reads it."""

import ctypes
import mmap
import os
import platform
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch._subclasses.fake_tensor import is_fake

from lathe.core.errors import LatheError, Stopped

Precision: TypeAlias = Literal["auto", "fp32", "bf16"]

MANY_BYTES = 64 << 20
"""From here on numbers that may stay 0 are worth pages of their own."""
SLICE_BYTES = 2 << 20
"""Of memory that is taken at once: meanwhile no other thread of this process gets addresses."""


def go_offline() -> None:
    """No library below us may connect anywhere. Call before ``transformers`` is imported."""
    for name in (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_DATASETS_OFFLINE",
        "HF_HUB_DISABLE_TELEMETRY",
        "DO_NOT_TRACK",
    ):
        os.environ[name] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


class Launch(NamedTuple):
    """Which of how many processes of one run this is, in all and on this machine, and how often they began anew."""

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0
    local_ranks: int = 1
    restarts: int = 0


def launch() -> Launch:
    """How torchrun started this process; alone where it did not."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        return Launch()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")
    return Launch(*(int(os.environ.get(name, alone)) for name, alone in zip(names, Launch(), strict=True)))


def end_with_parent() -> None:
    """From now on this process is killed when the one that started it ends, however that ends (Linux only)."""
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(set_death_signal, ctypes.c_ulong(signal.SIGKILL))


def end_undisturbed() -> None:
    """This process is about to end and has something to tell first: SIGINT and SIGTERM come too late."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def take_share(place: int, count: int) -> None:
    """Keep to this process's part of the cores, where there is one for each of ``count`` processes (Linux only)."""
    if hasattr(os, "sched_setaffinity") and cores() >= count:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[place::count])


def threads() -> int:
    """Threads of tensor work: as many as the user says by ``OMP_NUM_THREADS``, or this process's share of the cores.

    torchrun sets it to 1 for several processes where the user has not: from one of them, 1 says nothing.
    """
    asked, ranks = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip(), launch().local_ranks
    if asked.isdecimal() and int(asked) > (ranks > 1):
        return int(asked)
    return max(1, cores() // ranks)


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def set_up() -> torch.device:
    """Prepare the process for heavy tensor work; returns the device to work on."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")  # row lengths vary: many shapes are worth keeping
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it products on a GPU are not reproducible
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's tracer writes lines of its own to standard error
    torch.set_num_threads(threads())
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a quarter of a step's time
    keep_memory()
    return device()


def dtype_of(precision: Precision) -> torch.dtype:
    """The type matrix products run in: ``auto`` takes bf16 where this machine multiplies it at least 1.5x faster."""
    if precision == "auto":
        return torch.bfloat16 if _bf16_gain() >= 1.5 else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


@contextmanager
def autocast(place: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Matrix products in ``dtype``; weights, softmax, norms and losses stay float32."""
    with torch.autocast(place.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        yield


def draw_from(seed: int) -> None:
    """`torch.manual_seed` for the device in use alone: that notes down a stack trace for each that is not there."""
    torch.default_generator.manual_seed(seed)
    if device().type == "cuda":
        torch.cuda.manual_seed_all(seed)


@dataclass
class StopFlag:
    """Set by the first SIGINT or SIGTERM; a second one interrupts at once, but not one of several processes.

    To those torchrun passes on what they may have been sent already, and kills them itself after half a minute.
    """

    signum: int = 0

    def raise_if_set(self, where: str) -> None:
        if self.signum:
            raise Stopped(f"stopped after {where}; run the same command again to go on", self.signum)


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """Turn SIGINT and SIGTERM into a flag that a loop looks at between two steps.

    Outside the main thread signals cannot be handled, and the flag is simply never set.
    """
    flag = StopFlag()

    def remember(signum: int, _: FrameType | None) -> None:
        if flag.signum and launch().ranks == 1:
            raise KeyboardInterrupt
        flag.signum = signum

    try:
        before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread
        yield flag
        return
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def versions(*more: str) -> dict[str, str]:
    """What a result depends on, for manifests and benchmark files; ``more`` are further libraries."""
    names = ("lathe", "torch", "transformers", "tokenizers", "numpy", *more)
    found = {"python": platform.python_version(), "processor": processor()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def processor() -> str:
    """The processor's own name and the cores in use."""
    name = platform.processor() or platform.machine()
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {cores()} cores"


@cache
def processor_flags() -> str:
    """The processor's name and its instruction sets: what is compiled for it runs on no other."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return processor() + next((line for line in lines if line.startswith(("flags", "Features"))), "")


def cache_folder() -> Path:
    """Where what can be made again is kept between runs: ``$XDG_CACHE_HOME/lathe``, else ``~/.cache/lathe``.

    Raises ``LatheError`` for a user without a home. As its specification has it, a relative path there is no path.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():
        return named / "lathe"
    try:
        return Path.home() / ".cache" / "lathe"
    except RuntimeError:
        raise LatheError("this user has no home folder; set XDG_CACHE_HOME to a folder of its own") from None


@cache
def _bf16_gain() -> float:
    """How much faster this machine multiplies bf16 than float32 matrices of a small model's size (about 50 ms)."""
    if device().type == "cuda":
        return 2.0 if torch.cuda.is_bf16_supported() else 0.0
    return _product_seconds(torch.float32) / _product_seconds(torch.bfloat16)


def _product_seconds(dtype: torch.dtype) -> float:
    a, b = torch.ones(1024, 384, dtype=dtype), torch.ones(384, 1536, dtype=dtype)
    best = float("inf")
    for _ in range(8):
        started_s = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started_s)
    return best


def keep_memory() -> None:
    """From here on this process keeps freed memory for itself, and its heap grows in huge pages."""
    _tuned_libc()


@contextmanager
def memory_ahead(size: int) -> Iterator[int]:
    """Take about ``size`` bytes that training will need while the caller does something else, such as reading rows.

    Yields how many are taken: all, or none where they are not free. Taken page by page, when they are first written to,
    they hold up the first steps: by seconds on virtual machines.
    """
    libc = _tuned_libc()
    block = libc.malloc(size) if libc is not None and size < _free_memory() / 2 else None
    if libc is None or not block:
        yield 0
        return
    libc.free(block)  # it stays with this process, and goes to whoever asks next, with memory or before it has any
    work = (libc, block, size, iter(range(0, size, SLICE_BYTES)))
    with ThreadPoolExecutor(cores(), "memory") as threads:
        threads.submit(_populate, *work)
        try:
            yield size
        except BaseException:
            for _ in work[-1]:  # nobody waits for the rest
                pass
            raise
        for _ in range(
            cores() - 1
        ):  # the caller's cores are free, and in the first steps one alone would take the rest
            threads.submit(_populate, *work)


def _populate(libc: ctypes.CDLL, block: int, size: int, starts: Iterator[int]) -> None:
    """Give memory to pages that have none; what is in the others stays."""
    populate = 23  # MADV_POPULATE_WRITE; Linux before 5.14 has none, and nothing changes
    for start in starts:
        _advise(libc, block + start, min(SLICE_BYTES, size - start), populate)


def zero_pages(like: torch.Tensor) -> torch.Tensor:
    """Zeros like ``like``, contiguous; of large ones on a CPU the system gives memory for pages that are written to.

    Smaller ones come from the heap: its pages are larger, and are there already (`memory_ahead`).
    """
    if like.device.type != "cpu" or like.nbytes < MANY_BYTES or is_fake(like):
        return torch.zeros_like(like)
    pages = mmap.mmap(-1, like.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=like.dtype).view(like.shape)


def free_memory() -> int:
    """Bytes that a model could take on the device to work on; 0 where the system does not say."""
    if device().type == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return _free_memory() if sys.platform == "linux" else 0


def memory_in_use() -> tuple[int, int]:
    """Bytes that this process holds now, and the most it has held: of the GPU where it works on one."""
    if device().type == "cuda":
        return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
    if sys.platform != "linux":
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most, most
    with open("/proc/self/status", encoding="ascii") as lines:
        kib = {name: int(value.split()[0]) for name, value in (line.split(":", 1) for line in lines) if "kB" in value}
    return 1024 * kib["VmRSS"], 1024 * kib["VmHWM"]


def _free_memory() -> int:
    """Bytes that new programs could use."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), 0)


@cache
def _tuned_libc() -> ctypes.CDLL | None:
    """glibc, told to keep freed blocks and to grow the heap in huge pages; None on other systems.

    Training asks for the same large blocks in every step: fresh pages are slow, and so are small ones.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return None
    libc = ctypes.CDLL(None)
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # the names of mallopt(3)
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, -1)
    libc.mallopt(top_pad, 256 * 2**20)
    if all(
        resource.getrlimit(limit)[0] == resource.RLIM_INFINITY for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    ):
        space = min(4 << 30, _free_memory())  # of addresses; memory is taken as it is used
        block = libc.malloc(space)
        _advise(libc, block or 0, space, 14)  # MADV_HUGEPAGE
        libc.free(block)
    return libc


def _advise(libc: ctypes.CDLL, start: int, size: int, advice: int) -> None:
    """madvise(2) for the whole pages of a block."""
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (start + size) // mmap.PAGESIZE * mmap.PAGESIZE
    if start and last > first:
        libc.madvise(first, last - first, advice)
