"""Checkpoints: exact, verified, whole or absent. Safetensors and JSON only."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lathe.core.digest import file_digest, sync_folder, sync_tree, write_json
from lathe.core.report import say

TENSORS = "tensors.safetensors"
STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    step: int
    tensors: dict[str, Tensor]
    values: dict[str, Any]


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any], keep: int = 2) -> None:
    """Write checkpoint ``step`` and then drop all but the newest ``keep``.

    It is made under another name, forced to the disk, and renamed: a kill at any moment leaves the older ones intact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part, final = folder / ".part", folder / f"step-{step:09d}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, part / TENSORS)
    write_json(part / STATE, {"step": step, "sha256": file_digest(part / TENSORS), "values": dict(values)})
    sync_tree(part)
    if final.exists():  # a broken one that was passed over
        shutil.rmtree(final)
    part.rename(final)
    sync_folder(folder)
    for old in _newest_first(folder)[keep:]:
        shutil.rmtree(old)


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose bytes are as they were written; broken ones are passed over with the reason."""
    for path in _newest_first(folder):
        reason = _fault(path)
        if not reason:
            state = json.loads((path / STATE).read_text(encoding="utf-8"))
            return Checkpoint(state["step"], load_file(path / TENSORS), state["values"])
        say(f"{path}: passed over: {reason}")
    return None


def tensors_digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of the bits of some tensors, in hexadecimal."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _fault(path: Path) -> str:
    """Why a checkpoint cannot be used; empty where it can."""
    if not (path / STATE).is_file() or not (path / TENSORS).is_file():
        return "a file is missing"
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
    except ValueError:
        return f"{STATE} is not readable"
    if not isinstance(state, dict) or not {"step", "sha256", "values"} <= state.keys():
        return f"{STATE} is not complete"
    return "" if state["sha256"] == file_digest(path / TENSORS) else f"{TENSORS} is damaged (its sha256 differs)"
