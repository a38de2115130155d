"""Compiles kernels.c, once for each processor, and loads it."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from lathe.core import runtime
from lathe.core.errors import LatheError
from lathe.core.report import say

SOURCE = Path(__file__).with_name("kernels.c")
OPTIONS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-Wno-psabi")
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
        file = _compiled(runtime.cache_folder())
        found = ctypes.CDLL(str(file))
    except (Missing, OSError) as error:
        return str(error)
    for name in ("attention_forward", "attention_backward", "dropout", "gelu"):
        getattr(found, name).restype = None
    return found


def _compiled(folder: Path) -> Path:
    """The library for this source, compiler and processor, made where it is not there yet."""
    if sys.platform != "linux":
        raise Missing(f"they are made for Linux, not for {sys.platform}")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Missing("no C compiler is installed (cc, gcc or clang)")
    version = _run(compiler, "--version")
    name = hashlib.sha256("\0".join([SOURCE.read_text(), version, runtime.processor_flags()]).encode()).hexdigest()
    file = folder / f"kernels-{name[:32]}.so"
    if file.is_file():
        return file
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    say("compiling operations for this processor, once")
    with TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / file.name
        _run(compiler, *OPTIONS, "-o", str(made), str(SOURCE), "-lm")
        os.replace(made, file)
    return file


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Missing(f"{command[0]} did not end within {SECONDS} s") from None
    if done.returncode:
        raise Missing(f"{command[0]} failed: {done.stderr.strip()[:500]}")
    return done.stdout
