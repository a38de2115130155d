"""A disk that takes no more: one error that says what was written, what it needs, what is free, and the way out."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from lathe.core.errors import DiskError

REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


@contextmanager
def writing(path: Path, needed: int = 0) -> Iterator[None]:
    """Raise ``DiskError`` where the disk refuses what is written below ``path``, ``needed`` bytes where that is known.

    Other errors pass: a file that is missing or forbidden has a message of its own.
    """
    try:
        yield
    except Exception as error:  # tokenizers raises nothing narrower
        number = _number(error)
        if number not in REFUSALS:
            raise
        needs = f"{_megabytes(needed)} needed, " if needed else ""
        raise DiskError(
            f"{path}: cannot be written: {os.strerror(number)} ({needs}{_megabytes(_free(path))} free)"
        ) from error


def _number(error: Exception) -> int:
    """The system's error number; safetensors and tokenizers have it in the text only. 0 for any other error."""
    if isinstance(error, OSError):
        return error.errno or 0
    if not isinstance(error, SafetensorError) and type(error) is not Exception:
        return 0
    found = re.search(r"os error (\d+)", str(error))
    return int(found.group(1)) if found else 0


def _free(path: Path) -> int:
    place = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(place).free


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
