"""What steps make of the user's files, once on a machine: kept where it can be made again, shared by all processes."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from lathe.core.digest import sync_tree
from lathe.core.disk import writing
from lathe.core.runtime import cache_folder

State: TypeAlias = tuple[int, int]


def state_of(path: Path) -> State:
    """What changes with a file or a bundle: a key beside its name for what is held in memory of it."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def made_once(name: str, known: Any, make: Callable[[Path], None]) -> Path:
    """The folder that ``make`` fills from what is ``known`` (plain JSON values); it is whole or not there.

    Of several processes that make it, the first one's is taken.
    """
    digest = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]
    folder = cache_folder() / f"{name}-{digest}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with TemporaryDirectory(dir=folder.parent) as scratch, writing(folder.parent):
        made = Path(scratch) / name
        made.mkdir()
        make(made)
        sync_tree(made)
        try:
            os.rename(made, folder)
        except OSError:
            if not folder.is_dir():
                raise
    return folder
