"""What tests of readers share: bytes in, what they hold out."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from lathe.core.data import Bad
from lathe.core.types import Document
from lathe.corpus.protocol import Dropped, Noted
from lathe.corpus.readers import Options, read_file


class Found(NamedTuple):
    documents: list[Document]
    dropped: list[Dropped]
    bad: list[Bad]
    noted: dict[str, int]

    @property
    def texts(self) -> list[str]:
        return [document.text for document in self.documents]

    @property
    def reasons(self) -> list[str]:
        return [dropped.reason for dropped in self.dropped]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Found]:
    """``read(content, name="a", **options)``: what a file of that content and name holds."""

    def reading(content: bytes | Path, name: str = "a", **options: object) -> Found:
        file = content if isinstance(content, Path) else tmp_path / name
        if isinstance(content, bytes):
            file.write_bytes(content)
        items = list(read_file(file, file.name, Options(**options)))
        of = {kind: [item for item in items if isinstance(item, kind)] for kind in (Document, Dropped, Bad, Noted)}
        assert sum(map(len, of.values())) == len(items)
        noted: dict[str, int] = {}
        for note in of[Noted]:
            noted[note.value] = noted.get(note.value, 0) + note.count
        return Found(of[Document], of[Dropped], of[Bad], noted)

    return reading
