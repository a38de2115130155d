"""A bundle: a folder that a stage has finished; its ``manifest.json`` tells what it is and how it came about."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from lathe.core.digest import MANIFEST, file_digest, files_below, write_json
from lathe.core.errors import BundleError, RecipeError
from lathe.core.recipe import dump, parse, recipe

FORMAT = 1


@recipe
class DataUse:
    """One data file that a stage has read."""

    path: str
    sha256: str
    kept: int
    quarantined: int = 0


@recipe
class File:
    sha256: str
    bytes: int


@recipe
class Runtime:
    """What turns the files into a predictor."""

    kind: Literal["torch", "onnx", "ngram", "mixture"] = "torch"
    precision: Literal["fp32", "bf16", "int8"] = "fp32"
    files: tuple[str, ...] = ()
    """The files that are read to predict; their bytes are the model's size."""


@recipe
class Ancestor:
    """A bundle that this one was made from, and its own ancestors."""

    path: str
    sha256: str
    stage: str
    scores: dict[str, Any] = field(default_factory=dict)
    parents: tuple["Ancestor", ...] = ()


@recipe
class Manifest:
    kind: Literal["model", "models", "corpus", "tokenizer", "tokens", "report", "vectors"]
    stage: str
    recipe: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    """Path of everything the stage was given -> its digest."""
    data: tuple[DataUse, ...] = ()
    task: dict[str, Any] | None = None
    """The task a head was trained for, with its labels in order."""
    preprocessing: dict[str, Any] = field(default_factory=dict)
    runtime: Runtime | None = None
    parents: tuple[Ancestor, ...] = ()
    scores: dict[str, Any] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    """How fast it went: rows and tokens a second of training."""
    files: dict[str, File] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True)
class Bundle:
    """A finished folder. It never changes."""

    path: Path
    manifest: Manifest
    reused: bool = False  # True where a run found its result already there

    @classmethod
    def open(cls, path: Path, kind: str | None = None) -> Self:
        """Read the manifest. Raises ``BundleError`` where the folder is no bundle, or not of the wanted kind."""
        manifest = _read_manifest(path)
        if kind is not None and manifest.kind != kind:
            inner = ", ".join(sorted(f"{one.parent}" for one in path.glob(f"*/{MANIFEST}")))
            raise BundleError(
                f"{path}: this is a {manifest.kind} bundle (made by `lathe {manifest.stage}`), not a {kind}"
                + (f"; take one of {inner}" if inner else "")
            )
        return cls(path, manifest)

    def verify(self) -> None:
        """Compare every file with its digest. Raises ``BundleError`` naming the first that is missing or changed."""
        for name, expected in self.manifest.files.items():
            file = self.path / name
            if not file.is_file():
                raise BundleError(f"{file}: missing; make the bundle again with `lathe {self.manifest.stage}`")
            if file_digest(file) != expected.sha256:
                raise BundleError(f"{file}: changed or damaged since it was written (sha256 differs from {MANIFEST})")

    @property
    def digest(self) -> str:
        """Stands for the whole bundle: the manifest holds the digests of all its files."""
        return file_digest(self.path / MANIFEST)

    @property
    def name(self) -> str:
        """What people call it: its folder's name, and the first digits of its digest for a version."""
        return f"{self.path.resolve().name}@{self.digest[:12]}"

    @property
    def size_bytes(self) -> int:
        """Bytes of the files that the runtime reads."""
        runtime = self.manifest.runtime
        return sum(self.manifest.files[name].bytes for name in (runtime.files if runtime else self.manifest.files))

    def as_ancestor(self) -> Ancestor:
        made = self.manifest
        return Ancestor(
            path=str(self.path), sha256=self.digest, stage=made.stage, scores=made.scores, parents=made.parents
        )


def is_bundle(path: Path) -> bool:
    return (path / MANIFEST).is_file()


def seal(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder whose other files are complete."""
    files = {
        file.relative_to(folder).as_posix(): File(sha256=file_digest(file), bytes=file.stat().st_size)
        for file in files_below(folder)
        if file.name != MANIFEST
    }
    write_json(folder / MANIFEST, dump(replace(manifest, files=files)))


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST
    if not path.exists():
        raise BundleError(f"{path}: no such folder")
    if not file.is_file():
        raise BundleError(
            f"{path}: not a bundle (no {MANIFEST}); for a Hugging Face model folder run `lathe adopt {path} -o OUT`"
        )
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise BundleError(f"{file}: not readable as JSON ({error}); the bundle is damaged, make it again") from None
    if not isinstance(values, dict) or not isinstance(values.get("format"), int):
        raise BundleError(f"{file}: not a Lathe manifest (no format number)")
    if isinstance(values["format"], bool) or values["format"] < 1:
        raise BundleError(f"{file}: has format {values['format']!r}, which no version of Lathe has written")
    if values["format"] > FORMAT:
        raise BundleError(f"{file}: has format {values['format']}, this version reads up to {FORMAT}; update lathe")
    try:
        manifest: Manifest = parse(Manifest, values)
    except RecipeError as error:
        raise BundleError(f"{file}: {error}; the bundle is damaged, make it again") from None
    _check_names(file, manifest)
    return manifest


def _check_names(file: Path, manifest: Manifest) -> None:
    """Files are named relative to the bundle and stay inside it; what the runtime reads has a digest."""
    for name in manifest.files:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleError(f"{file}: names {name!r}, which lies outside the bundle")
    if manifest.runtime and (missing := [name for name in manifest.runtime.files if name not in manifest.files]):
        raise BundleError(f"{file}: the runtime reads {missing[0]!r}, which the manifest has no digest of")
