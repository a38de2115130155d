"""Compiles the C files of this folder, once for each processor, and loads them as one library.

The library's name ends in a digest of its bytes: one that is cut short or damaged is made again, since what is loaded
runs, and the system kills a process that runs into its missing part.
"""

import ctypes
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from lathe.core import runtime
from lathe.core.errors import LatheError
from lathe.core.report import say

FOLDER = Path(__file__).parent
FUNCTIONS = (
    *("attention_forward", "attention_backward", "dropout", "activate", "adamw", "sum_of_squares"),
    *("bias_activate", "bias_activate_backward", "add_norm", "add_norm_backward", "sum_tokens"),
    *("products", "product_by_weight", "product_for_weight"),
    *("repeated_ngrams", "tally_words"),
    *("read_words", "move_words", "score_ngrams"),
    *("tally_ngrams", "place_words", "lengthen_ngrams", "tally_counts", "smooth_ngrams", "index_ngrams"),
    *("shingles", "minima", "shared_values"),
)
"""What the library must have: a compiler that makes no working library is found out when it is loaded."""
MAY_FAIL = ("attention_forward", "attention_backward")
"""They take memory of their own, and return another number than 0 where there is none."""
OPTIONS = ("-O3", "-march=native", "-fno-math-errno", "-fopenmp", "-shared", "-fPIC", "-Wno-psabi")
SECONDS = 60  # a compiler that has not answered by then never will


class Missing(LatheError):  # noqa: N818 - not an accident: why there is no library
    """Why there is no library; training goes on without it."""


def library() -> ctypes.CDLL | None:
    """The compiled operations; None where there are none."""
    found = _found()
    return found if isinstance(found, ctypes.CDLL) else None


def missing() -> str | None:
    """Why there are no compiled operations; None where there are."""
    found = _found()
    return found if isinstance(found, str) else None


@cache
def _found() -> ctypes.CDLL | str:
    try:
        return _loaded(_compiled(runtime.cache_folder()))
    except (LatheError, OSError) as error:
        return str(error)


def _loaded(file: Path) -> ctypes.CDLL:
    found = ctypes.CDLL(str(file))
    for name in FUNCTIONS:
        if not hasattr(found, name):
            raise Missing(f"{file}: has no {name}; the C compiler does not work")
        getattr(found, name).restype = ctypes.c_int if name in MAY_FAIL else None
    return found


def _compiled(folder: Path) -> Path:
    """The library for this source, compiler and processor, made where it is not there yet."""
    if sys.platform != "linux":
        raise Missing(f"they are made for Linux, not for {sys.platform}")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Missing("no C compiler is installed (cc, gcc or clang)")
    texts = (file.read_text(encoding="ascii") for file in sorted(FOLDER.glob("*.[ch]")))
    parts = *texts, *OPTIONS, _run(compiler, "--version"), runtime.processor_flags()
    name = "kernels-" + _short("\0".join(parts).encode())
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _refuse_of_others(folder)
    for file in folder.glob(f"{name}-*.so"):
        if file.stem == f"{name}-{_short(file.read_bytes())}":
            _refuse_of_others(file)
            return file
    say("compiling operations for this processor, once")
    with TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "kernels.so"
        sources = [str(file) for file in sorted(FOLDER.glob("*.c"))]
        _run(compiler, *OPTIONS, "-o", str(made), *sources, "-lm")
        file = folder / f"{name}-{_short(made.read_bytes())}.so"
        os.replace(made, file)
    return file


def _refuse_of_others(path: Path) -> None:
    """What another user may write to is not run in this user's name."""
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Missing(f"{path}: other users may write to it; remove it, or set XDG_CACHE_HOME to a folder of your own")


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _run(*command: str) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
            timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Missing(f"{command[0]} did not end within {SECONDS} s") from None
    if done.returncode:
        raise Missing(f"{command[0]} failed: {done.stderr.strip()[:500]}")
    return done.stdout
