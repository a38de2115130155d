"""Docstrings are read from any source tree, broken files and all, without importing it."""

from pathlib import Path

import pytest

from lathe.corpus.docstrings import Docstring, SourceFile, Unreadable, files_below, installed_files, read_files

SOURCE = '''
"""The module.

    An indented line.
"""
import nonexistent_library
raise SystemExit("a module that is imported by mistake ends the test")

class Outer:
    """A class."""
    class Inner:
        def method(self):
            """A method
            of two lines."""

if True:
    try:
        async def hidden():
            """Under if and try."""
    except ImportError:
        def fallback():
            """Under except."""

def bare():
    "Not in triple quotes."
    x = """no docstring"""
'''


def read(folder: Path, skip: tuple[str, ...] = ()) -> list[Docstring | Unreadable]:
    return read_files(list(files_below(folder, is_standard=False, skip=skip)))


def test_docstrings_of_modules_classes_and_functions_at_any_depth(tmp_path: Path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "part.py").write_text(SOURCE.lstrip(), encoding="utf-8")
    assert read(tmp_path) == [
        Docstring("lib", "lib.part", name, text)
        for name, text in [
            ("", "The module.\n\nAn indented line."),
            ("Outer", "A class."),
            ("Outer.Inner.method", "A method\nof two lines."),
            ("hidden", "Under if and try."),
            ("fallback", "Under except."),
            ("bare", "Not in triple quotes."),
        ]
    ]


def test_an_init_file_is_the_package_itself(tmp_path: Path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text('"""A package."""', encoding="utf-8")
    assert read(tmp_path) == [Docstring("lib", "lib", "", "A package.")]


def test_left_out_folders_and_files_are_not_read(tmp_path: Path):
    (tmp_path / "lib").mkdir()
    for folder in ("tests", "_vendor", "__pycache__", "site-packages"):
        (tmp_path / "lib" / folder).mkdir(exist_ok=True)
        (tmp_path / "lib" / folder / "module.py").write_text('"""Left out."""', encoding="utf-8")
    (tmp_path / "lib" / "test_a.py").write_text('"""Left out."""', encoding="utf-8")
    (tmp_path / "lib" / "kept.py").write_text('"""Kept."""', encoding="utf-8")
    assert [d.module for d in read(tmp_path, ("tests", "_vendor", "test_*"))] == ["lib.kept"]


@pytest.mark.parametrize(
    "content",
    [
        b'"""doc"""\ndef f(:\n',
        b'"""\xff\xfe"""',
        b'# coding: nonsense\n"""doc"""',
        b'"""doc"""\n\x00',
        b'"""doc"""\nx = ' + b"(" * 1000,
        b'"""half of a pair: \\ud800"""',
    ],
    ids=["syntax", "encoding", "unknown encoding", "NUL", "nested too deeply", "surrogate"],
)
def test_a_broken_file_is_named_and_the_others_are_read(tmp_path: Path, content: bytes):
    (tmp_path / "a.py").write_bytes(content)
    (tmp_path / "b.py").write_text('"""Good."""', encoding="utf-8")
    bad, good = read(tmp_path)
    assert isinstance(bad, Unreadable) and bad.path.endswith("a.py") and bad.reason
    assert good == Docstring("b", "b", "", "Good.")


def test_a_declared_encoding_is_honoured(tmp_path: Path):
    (tmp_path / "a.py").write_bytes('# coding: gb18030\n"""很好"""'.encode("gb18030"))
    assert read(tmp_path) == [Docstring("a", "a", "", "很好")]


def test_a_file_that_vanishes_is_named():
    (found,) = read_files([SourceFile("/nonexistent/a.py", "a", "a")])
    assert isinstance(found, Unreadable) and "not readable" in found.reason


def test_the_standard_library_and_installed_packages_are_found():
    files = installed_files(("test", "tests"))
    assert {"python", "numpy", "torch"} <= {file.library for file in files}
    assert "json.decoder" in {file.module for file in files if file.library == "python"}
    assert files == installed_files(("test", "tests"))
