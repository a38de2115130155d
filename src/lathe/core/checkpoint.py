"""Checkpoints: exact, verified, whole or absent. Safetensors and JSON only.

A checkpoint is a folder ``step-N`` with the tensors, the state, and a manifest that has size and sha256 of both and a
digest of itself. The newest folder whose every byte is as it was written is the one to go on from: there is no file
beside it that says so, and could say otherwise.
"""

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lathe.core.digest import MANIFEST, file_digest, sync_folder, sync_tree
from lathe.core.disk import writing
from lathe.core.errors import DiskError
from lathe.core.report import say

TENSORS = "tensors.safetensors"
STATE = "state.json"
PART = ".part"
"""A checkpoint that is being written; what a kill has left of one is removed at the next start."""


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    step: int
    tensors: dict[str, Tensor]
    values: dict[str, Any]


class Saver:
    """Writes checkpoints while training goes on: the tensors are copied at once, a thread does everything else.

    One at a time. ``refused`` is told of the step whose checkpoint the disk did not take: training goes on, and the
    next one is tried again. Every other error of the thread is raised in the loop.
    """

    def __init__(self, folder: Path, keep: int, refused: Callable[[int, DiskError], None]) -> None:
        self._folder, self._keep, self._refused = folder, keep, refused
        self._copies: dict[str, Tensor] = {}  # used again by the next save: fresh memory is slow
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._under_way: tuple[int, Future[None]] | None = None

    def start(
        self, step: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any], spare: int | None = None
    ) -> None:
        """Take the state as it is now; it is on the disk after ``finish``. See `save`."""
        self.check(wait=True)
        self._copies = {name: self._copy(name, tensor) for name, tensor in tensors.items()}
        values = copy.deepcopy(dict(values))
        done = self._thread.submit(save, self._folder, step, self._copies, values, self._keep, spare)
        self._under_way = step, done

    def check(self, wait: bool = False) -> None:
        """Look how the save under way has gone, where it has ended or ``wait`` is wanted."""
        if self._under_way is not None and (wait or self._under_way[1].done()):
            step = self._under_way[0]
            try:
                self.finish()
            except DiskError as error:
                self._refused(step, error)

    def finish(self) -> None:
        """Wait for the save under way; raises ``DiskError`` where the disk refused it."""
        if self._under_way is not None:
            _, done = self._under_way
            self._under_way = None
            done.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.check(wait=True)
        finally:
            self._thread.shutdown()

    def _copy(self, name: str, tensor: Tensor) -> Tensor:
        held = self._copies.get(name)
        if held is None or (held.shape, held.dtype) != (tensor.shape, tensor.dtype):
            held = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
        return held.copy_(tensor.detach())


def save(
    folder: Path,
    step: int,
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Any],
    keep: int = 2,
    spare: int | None = None,
) -> None:
    """Write checkpoint ``step``, read it back, and then drop all but the newest ``keep`` and that of step ``spare``.

    It is made under another name, forced to the disk, and renamed: a kill at any moment leaves the older ones intact.
    Raises ``DiskError`` where the disk does not take it, or gives back something else; nothing of it stays there.
    """
    part, final = folder / PART, folder / _name(step)
    with writing(folder, sum(tensor.nbytes for tensor in tensors.values())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(part, step, tensors, values)
            shutil.rmtree(final, ignore_errors=True)  # a broken one that was passed over
            part.rename(final)
            sync_folder(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    if reason := _fault(final):
        shutil.rmtree(final)
        raise DiskError(f"{final}: was written and reads differently: {reason}")
    _rotate(folder, final, keep, spare)


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose bytes are as they were written; broken ones are passed over with the reason."""
    shutil.rmtree(folder / PART, ignore_errors=True)
    paths = _newest_first(folder)
    for path in paths:
        if (found := _read(path)) is not None:
            return found
    if paths:
        say(f"{folder}: no checkpoint is left to go on from; starting again")
    return None


def of_step(folder: Path, step: int) -> Checkpoint | None:
    """The checkpoint of one step, if it is there and whole."""
    return _read(folder / _name(step))


def tensors_digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of the bits of some tensors, in hexadecimal."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _write(part: Path, step: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, part / TENSORS)
    (part / STATE).write_text(json.dumps({"step": step, "values": dict(values)}, indent=1), encoding="utf-8")
    files = {
        name: {"size": (part / name).stat().st_size, "sha256": file_digest(part / name)} for name in (TENSORS, STATE)
    }
    (part / MANIFEST).write_bytes(_manifest(files))
    sync_tree(part)
    for file in part.iterdir():
        _forget(file)


def _manifest(files: Mapping[str, Any]) -> bytes:
    """The manifest's only form: any other bytes are damage."""
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    return (json.dumps({"sha256": digest, "files": files}, indent=1) + "\n").encode()


def _forget(file: Path) -> None:
    """Let the system drop its copy in memory, so that reading back asks the disk."""
    if hasattr(os, "posix_fadvise"):
        with file.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _read(path: Path) -> Checkpoint | None:
    if reason := _fault(path):
        say(f"{path}: passed over: {reason}")
        return None
    state = json.loads((path / STATE).read_text(encoding="utf-8"))
    return Checkpoint(path, state["step"], load_file(path / TENSORS), state["values"])


def _fault(path: Path) -> str:
    """Why a checkpoint cannot be used; empty where it can."""
    for name in (MANIFEST, STATE, TENSORS):
        if not (path / name).is_file():
            return f"{name} is missing"
    written = (path / MANIFEST).read_bytes()
    try:
        files = json.loads(written)["files"]
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST} is not readable"
    if written != _manifest(files):
        return f"{MANIFEST} is damaged (its sha256 differs)"
    for name, known in files.items():
        if (size := (path / name).stat().st_size) != known["size"]:
            return f"{name} is damaged ({size:,} bytes, {known['size']:,} were written)"
        if file_digest(path / name) != known["sha256"]:
            return f"{name} is damaged (its sha256 differs)"
    return ""


def _rotate(folder: Path, new: Path, keep: int, spare: int | None) -> None:
    """Drop what is older than the newest ``keep``, and later steps: those were passed over when this run went on."""
    paths = _newest_first(folder)
    kept = [path for path in paths if path <= new][:keep] + [path for path in paths if path.name == _name(spare)]
    for path in paths:
        if path not in kept:
            shutil.rmtree(path)


def _name(step: int | None) -> str:
    return "" if step is None else f"step-{step:09d}"


def _newest_first(folder: Path) -> list[Path]:
    """What this module has written; a copy that a user made under another name is not it."""
    return sorted(folder.glob(f"step-{'[0-9]' * 9}"), reverse=True)
