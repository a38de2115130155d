"""Digests of what a run reads and writes, and writing that survives a crash."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lathe.core.errors import DataError

MANIFEST = "manifest.json"


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(path: Path) -> str:
    """SHA-256 of a file, of a bundle (its manifest, which holds the digests of its files) or of any other folder.

    Raises ``DataError`` when there is nothing at ``path``.
    """
    if path.is_file():
        return file_digest(path)
    if (path / MANIFEST).is_file():
        return file_digest(path / MANIFEST)
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder")
    sha = hashlib.sha256()
    for file in files_below(path):
        sha.update(os.fsencode(file.relative_to(path).as_posix()) + f"\0{file_digest(file)}\n".encode())
    return sha.hexdigest()


def printable(path: Path) -> str:
    r"""A path as text that any file can hold: bytes of a name that are not UTF-8 are written as ``\xff``."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def files_below(folder: Path) -> list[Path]:
    """Every file in a folder, at any depth, in a stable order."""
    return [path for path in paths_below(folder) if path.is_file()]


def paths_below(folder: Path) -> list[Path]:
    """Everything in a folder, at any depth, but for its folders, in a stable order; links are not followed.

    Raises ``DataError`` for a folder that cannot be listed: what is in it would be passed over silently.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_not_listed):
        inner = Path(place)
        found += (inner / name for name in names)
        found += (inner / name for name in folders if (inner / name).is_symlink())
    return sorted(found)


def _not_listed(error: OSError) -> None:
    raise unlisted(error.filename, error.strerror or str(error)) from None


def unlisted(folder: str | Path, reason: str) -> DataError:
    """What is to be done about a folder that may not be read."""
    return DataError(f"{folder}: this folder cannot be listed ({reason}); make it readable, or move it elsewhere")


def write_json(path: Path, values: Any) -> None:
    """Write readable JSON such that the file is whole or absent, even if the machine stops."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as stream:
        json.dump(values, stream, indent=2, ensure_ascii=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
    sync_folder(path.parent)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name only when it is complete."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as stream:
        yield stream
    part.replace(path)


def sync_tree(folder: Path) -> None:
    """Force every file and folder below ``folder`` to the disk."""
    for file in files_below(folder):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    for inner in [p for p in folder.rglob("*") if p.is_dir()] + [folder]:
        sync_folder(inner)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk: a rename is durable only after this."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
