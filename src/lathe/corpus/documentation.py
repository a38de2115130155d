"""The installed documentation: English that is on every machine, and a labelled set made from it.

The labelled set asks which library a docstring documents. The libraries' names are masked in the texts, whole modules
go to one split, and texts that become near duplicates under the mask are left out, so nothing but content can tell.
"""

import hashlib
import platform
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lathe.core.data import Bad
from lathe.core.errors import DataError, did_you_mean
from lathe.core.keyed import word
from lathe.core.recipe import recipe
from lathe.core.types import Document
from lathe.corpus.docstrings import Docstring, SourceFile, Unreadable, installed_files, read_files
from lathe.corpus.duplicates.near import near_duplicates
from lathe.corpus.protocol import Unit

TEST_CODE = ("test", "tests", "testing", "test_*", "*_test.py", "conftest.py")
COPIES = ("_vendor", "vendor", "_vendored*", "externals", "third_party")

FILES_IN_UNIT = 256
"""Source files that one process reads at a time."""

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

    def units(self) -> list["Modules"]:
        files = [f for f in installed_files(self.skip) if not self.libraries or f.library in self.libraries]
        if not files:
            known = sorted({file.library for file in installed_files(self.skip)})
            near = "".join(did_you_mean(name, known) for name in self.libraries[:1])
            raise DataError(f"source.libraries: none of {', '.join(self.libraries)} is installed here{near}")
        parts = [tuple(files[i : i + FILES_IN_UNIT]) for i in range(0, len(files), FILES_IN_UNIT)]
        return [Modules(f"{p[0].module} to {p[-1].module}", sum(map(_bytes, p)), p) for p in parts]

    def read(self, unit: "Modules") -> Iterator[Document | Bad]:
        for found in read_files(unit.files):
            yield _bad(found) if isinstance(found, Unreadable) else _document(found)

    def group_of(self, document: Document) -> str:
        return str(document.meta["module"])


@dataclass(frozen=True)
class Modules(Unit):
    """Some source files."""

    files: tuple[SourceFile, ...]


def _bytes(file: SourceFile) -> int:
    try:
        return Path(file.path).stat().st_size
    except OSError:
        return 0


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
