"""The installed documentation: English that is on every machine, and a labelled set made from it.

The labelled set asks which library a docstring documents. The libraries' names are masked in the texts, whole modules
go to one split, and texts that become near duplicates under the mask are left out, so nothing but content can tell.
"""

import hashlib
import json
import platform
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from lathe.core.data import Bad
from lathe.core.digest import write_json
from lathe.core.documents import read_document_file, write_documents
from lathe.core.keyed import word
from lathe.core.recipe import recipe
from lathe.core.report import progress
from lathe.core.types import Document
from lathe.corpus.docstrings import Docstring, SourceFile, Unreadable, installed_files, read_files
from lathe.corpus.near import near_duplicates
from lathe.corpus.processes import map_processes

TEST_CODE = ("test", "tests", "testing", "test_*", "*_test.py", "conftest.py")
COPIES = ("_vendor", "vendor", "_vendored*", "externals", "third_party")

FILES_IN_PART = 256
"""Source files that one process reads before it saves."""

MASK = "library"
"""The word that stands for a library's name in the labelled set."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    "PIL": ("pillow",),
    "google": ("protobuf",),
    "matplotlib": ("mpl", "plt", "pyplot", "pylab"),
    "networkx": ("nx",),
    "numpy": ("np",),
    "onnxruntime": ("ort",),
    "pandas": ("pd",),
    "python": ("cpython", "stdlib"),
    "scipy": ("sp",),
    "sklearn": ("scikit-learn", "scikit_learn", "scikit", "skl"),
    "tensorflow": ("tf",),
    "torch": ("pytorch", "nn", "aten", "libtorch", "caffe2"),
    "transformers": ("huggingface", "hugging face", "hf"),
}
"""Other names that libraries go by in their own documentation."""


@recipe
class LibraryLabels:
    """Write labelled rows as well: which library does a text document?"""

    labels: int = Field(8, ge=2)
    """Classes: the libraries with the most text."""
    cap: int = Field(1500, ge=1)
    """Most rows of one class, over all splits."""
    characters: int = Field(60, ge=1)
    """Shortest text, after masking."""


@recipe
class Documentation:
    """Documentation strings of the Python standard library and of every package installed in this environment."""

    kind: Literal["documentation"] = "documentation"
    skip: tuple[str, ...] = TEST_CODE + COPIES
    """Names of files and folders that are left out: test code, and copies of other packages."""
    libraries: tuple[str, ...] = ()
    """Only these libraries, by import name ("python" is the standard library); all where empty."""
    labelled: LibraryLabels | None = None
    """Also write labelled rows (text, label), one file for each split."""

    def inputs(self) -> list[Path]:
        return []

    def states(self) -> dict[str, str]:
        """The digest of Python's version and every package's: another environment is another text."""
        packages = sorted(f"{found.name} {found.version}" for found in metadata.distributions())
        known = "\n".join([platform.python_version(), *packages])
        return {"installed packages": hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()}

    def read(self, cache: Path, processes: int) -> Iterator[Document | Bad]:
        """The documents, file by file in order. What was read is kept in ``cache``: a killed run goes on from there."""
        cache.mkdir(exist_ok=True)
        files = [f for f in installed_files(self.skip) if not self.libraries or f.library in self.libraries]
        parts = [Part(cache, tuple(files[i : i + FILES_IN_PART])) for i in range(0, len(files), FILES_IN_PART)]
        with progress("reading docstrings", len(files), "files") as meter:
            for part, found in zip(parts, map_processes(read_part, parts, processes), strict=True):
                meter.advance(len(part.files))
                yield from (_bad(Unreadable(**values)) for values in json.loads(found.unreadable.read_text("utf-8")))
                yield from read_document_file(found.documents)

    def group_of(self, document: Document) -> str:
        return str(document.meta["module"])


@dataclass(frozen=True)
class Part:
    """Some source files that one process reads, and where it puts what it finds."""

    cache: Path
    files: tuple[SourceFile, ...]

    @property
    def name(self) -> str:
        """Stands for the sources and their state, so that an upgraded package is read anew."""
        stats = ((file.path, Path(file.path).stat()) for file in self.files)
        state = "\n".join(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats)
        return hashlib.sha256(state.encode("utf-8", "surrogateescape")).hexdigest()[:32]


class Found(NamedTuple):
    documents: Path
    unreadable: Path


def read_part(part: Part) -> Found:
    """Write the documents of a part, and what could not be read, unless an earlier run has."""
    found = Found(part.cache / f"{part.name}.jsonl.zst", part.cache / f"{part.name}.json")
    if not found.documents.is_file():
        items = read_files(part.files)
        write_json(found.unreadable, [item._asdict() for item in items if isinstance(item, Unreadable)])
        write_documents(found.documents, (_document(item) for item in items if isinstance(item, Docstring)))
    return found


def label_by_library(
    documents: Iterable[Document],
    labels: int = 8,
    cap: int = 1500,
    characters: int = 60,
    aliases: Mapping[str, Collection[str]] = ALIASES,
) -> list[dict[str, Any]]:
    """Rows {text, label, id, module} for the ``labels`` libraries with the most text, at most ``cap`` of each.

    A pure function of the documents, in whatever order they come.
    """
    by_library: dict[str, list[Document]] = {}
    for document in documents:
        by_library.setdefault(document.meta["library"], []).append(document)
    amounts = {library: sum(len(document.text) for document in held) for library, held in by_library.items()}
    chosen = sorted(amounts, key=lambda library: (-amounts[library], library))[:labels]
    mask = partial(mask_names, pattern=names_pattern(chosen, aliases))
    drawn = [document for library in sorted(chosen) for document in _drawn(by_library[library], 2 * cap)]
    rows = list(_rows(drawn, mask, characters))
    repeated = near_duplicates([row["text"] for row in rows], threshold=0.8)
    return _capped((row for index, row in enumerate(rows) if index not in repeated), cap)


def mask_names(text: str, pattern: re.Pattern[str]) -> str:
    return pattern.sub(MASK, text)


def names_pattern(libraries: Iterable[str], aliases: Mapping[str, Collection[str]] = ALIASES) -> re.Pattern[str]:
    """Matches every name of the libraries in any case: long ones also inside words, short ones only as whole words.

    >>> names_pattern(["torch", "numpy"]).sub("X", "torch.nn.Linear, PyTorch, TorchScript, np.array, unpin, input")
    'X.X.Linear, X, XScript, X.array, unpin, input'
    """
    known = {name.lower() for library in libraries for name in (library, *aliases.get(library, ()))}
    names = sorted(known, key=lambda name: (-len(name), name))  # an alternative is tried before what it begins with
    inside = [re.escape(name) for name in names if len(name) >= 5]
    whole = [re.escape(name) for name in names if len(name) < 5]
    alone = rf"(?<![^\W_])(?:{'|'.join(whole)})(?![^\W_])" if whole else ""
    return re.compile("|".join(filter(None, (*inside, alone))), re.IGNORECASE)


def _drawn(documents: list[Document], count: int) -> list[Document]:
    """A random choice that is the same every time: those whose ids hash lowest. Twice the cap, as some fall out."""
    return sorted(documents, key=lambda document: (word(f"cap/{document.id}"), document.id))[:count]


def _rows(documents: Iterable[Document], mask: Any, characters: int) -> Iterator[dict[str, Any]]:
    for document in documents:
        text, meta = mask(document.text), document.meta
        if len(text) >= characters:
            yield {"text": text, "label": meta["library"], "id": document.id, "module": meta["module"]}


def _capped(rows: Iterable[dict[str, Any]], cap: int) -> list[dict[str, Any]]:
    """The first ``cap`` rows of each label."""
    taken: Counter[str] = Counter()
    kept = []
    for row in rows:
        taken[row["label"]] += 1
        if taken[row["label"]] <= cap:
            kept.append(row)
    return kept


def _document(found: Docstring) -> Document:
    name = f"{found.module}:{found.name}" if found.name else found.module
    return Document(found.text, name, {"library": found.library, "module": found.module})


def _bad(found: Unreadable) -> Bad:
    fix = "nothing to do unless this is your own code; to silence it, name the file in source.skip"
    return Bad(found.path, found.line, None, "", found.reason, fix)
