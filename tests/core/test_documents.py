"""Documents on disk are whole or absent, and come back as they were."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core.data import Bad
from lathe.core.documents import (
    DocumentWriter,
    read_document_file,
    read_documents,
    read_rows_as_documents,
    read_texts,
    write_documents,
)
from lathe.core.errors import BundleError, DataError
from lathe.core.types import Document

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(st.builds(Document, TEXTS, TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=2)), max_size=5))
def test_documents_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, documents: list[Document]):
    file = tmp_path_factory.mktemp("documents") / "train.jsonl.zst"
    written = write_documents(file, documents)
    assert list(read_document_file(file)) == documents
    assert written.documents == len(documents)
    assert written.bytes == sum(len(d.text.encode()) for d in documents)


def test_a_writer_that_fails_leaves_no_file(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), DocumentWriter(tmp_path / "a.jsonl.zst") as writer:
        writer.write(Document("text", "1"))
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 10, -1])
def test_a_file_that_ends_early_is_refused(tmp_path: Path, keep: int):
    file = tmp_path / "a.jsonl.zst"
    write_documents(file, [Document(f"text {i}", str(i)) for i in range(100)])
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match="ends early"):
        list(read_document_file(file))


def test_a_file_with_a_changed_byte_is_refused(tmp_path: Path):
    file = tmp_path / "a.jsonl.zst"
    write_documents(file, [Document(f"text {i}", str(i)) for i in range(100)])
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        list(read_document_file(file))


def test_a_folder_that_is_no_corpus_is_refused(tmp_path: Path):
    with pytest.raises(BundleError, match="not a bundle"):
        list(read_documents(tmp_path))


def test_every_row_of_a_file_is_a_document_or_bad(tmp_path: Path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "one", "by": "x"}\nnot json\n{"by": "y"}\n{"text": "两", "by": "z"}\n', encoding="utf-8")
    first, second, third, fourth = read_rows_as_documents(file, meta="by")
    assert (first, fourth) == (Document("one", "a.jsonl:1", {"by": "x"}), Document("两", "a.jsonl:4", {"by": "z"}))
    assert isinstance(second, Bad) and isinstance(third, Bad)


def test_rows_that_are_left_out_of_a_text_stream_are_counted_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "one"}\nnot json\n', encoding="utf-8")
    assert list(read_texts(file)) == ["one"]
    assert "1 rows could not be read" in capsys.readouterr().err
