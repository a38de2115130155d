"""A team's own files as they lie on a disk: under several names, behind links, hidden, or no files at all."""

import errno
import json
import os
from pathlib import Path

import pytest

from lathe.core.errors import DataError, RecipeError
from lathe.core.recipe import parse
from lathe.core.types import Document
from lathe.corpus import Recipe, run
from lathe.corpus.files import Files
from lathe.corpus.protocol import Noted

LINES = "one two three four\nfive six seven eight\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("x/a.txt", "x/y/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(LINES, "utf-8")
    return tmp_path


def read(*paths: str | Path) -> list[str]:
    files = Files(paths=tuple(map(Path, paths)))
    items = [item for unit in files.units() for item in files.read(unit) if not isinstance(item, Noted)]
    assert all(isinstance(item, Document) for item in items)
    return [item.id for item in items]


def refused(folder: Path, **source: object) -> str:
    with pytest.raises((DataError, RecipeError)) as error:
        run(parse(Recipe, {"source": {"kind": "files"} | source, "steps": []}), folder / "c")
    return str(error.value)


@pytest.mark.parametrize(
    "paths",
    [
        ["x/a.txt", "./x/a.txt", "x/y/../a.txt"],
        ["x/a.txt", "{here}/x/a.txt"],
        ["x/a.txt", "link.txt", "lin*.txt"],
        ["x/*.txt", "x/a.t?t", "linked/a.txt"],
    ],
)
def test_a_file_is_read_once_by_however_many_names_it_is_found(folder: Path, capsys, paths: list[str]):
    (folder / "link.txt").symlink_to(folder / "x" / "a.txt")
    (folder / "linked").symlink_to(folder / "x")
    assert read(*(path.format(here=folder) for path in paths)) == ["a.txt:1", "a.txt:2"]
    assert f"not read of source.paths: {len(paths) - 1} files that were named before" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_folder_in_a_folder_is_read_once_under_its_first_name(capsys):
    assert read("x/y", "x", "**/*.txt") == ["b.txt:1", "b.txt:2", "a.txt:1", "a.txt:2"]
    assert "3 files that were named before" in capsys.readouterr().err
    assert read("x") == ["a.txt:1", "a.txt:2", "y/b.txt:1", "y/b.txt:2"]
    assert "not read" not in capsys.readouterr().err


HIDDEN, GONE, LINKS = "1 hidden files", "1 links that lead nowhere", "1 links to folders (name what they lead to)"
PIPES = "1 pipes and devices"


@pytest.mark.parametrize(
    ("paths", "kinds"), [(["x"], [HIDDEN, GONE, LINKS, PIPES]), (["x/a.txt", "x/y/[bgp]*.txt"], [GONE, PIPES])]
)
def test_what_is_not_read_is_counted_and_never_opened(folder: Path, capsys, paths: list[str], kinds: list[str]):
    os.mkfifo(folder / "x" / "y" / "pipe.txt")
    (folder / "x" / "y" / "gone.txt").symlink_to("nowhere")
    (folder / "x" / "y" / "back").symlink_to(folder / "x")
    (folder / "x" / "y" / ".hidden").write_text(LINES, "utf-8")
    assert len(read(*paths)) == 4
    assert f"not read of source.paths: {', '.join(kinds)}\n" in capsys.readouterr().err
    values = {"source": {"kind": "files", "paths": paths}, "steps": []}
    assert run(parse(Recipe, values), folder / "c").manifest.scores["kept"] == 4


SECRET = "this folder cannot be listed (permission denied); make it readable, or move it elsewhere"


def test_a_folder_that_may_not_be_read_is_refused_not_passed_over(folder: Path, monkeypatch):
    monkeypatch.setattr(os, "scandir", forbidden(os.scandir, folder / "x" / "y"))
    assert refused(folder, paths=["x"]).lower() == f"x/y: {SECRET}"
    assert refused(folder, paths=[str(folder / "x")]).lower().endswith(f"x/y: {SECRET}")
    assert read("x/a.txt") == ["a.txt:1", "a.txt:2"]


@pytest.mark.parametrize("pattern", ["x/y/*.txt", "x/*/b.txt", "x/**", "**/*.txt", "?/?/b.*"])
def test_a_folder_that_a_pattern_cannot_look_into_is_refused(folder: Path, monkeypatch, pattern: str):
    assert "b.txt:1" in " ".join(read(pattern))
    access, secret = os.access, folder / "x" / "y"
    monkeypatch.setattr(os, "access", lambda path, mode: not secret.samefile(path) and access(path, mode))
    monkeypatch.setattr(os, "scandir", forbidden(os.scandir, secret))
    assert refused(folder, paths=[pattern]).lower() == f"x/y: {SECRET}"
    assert read("x/*.txt") == ["a.txt:1", "a.txt:2"]


def forbidden(scandir, secret: Path):
    """As the system lists folders for a user who may not read ``secret``."""

    def listed(path="."):
        if secret.samefile(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return scandir(path)

    return listed


def test_a_pipe_that_is_named_is_refused_and_never_opened(folder: Path):
    os.mkfifo(folder / "pipe")
    assert refused(folder, paths=["pipe"]) == (
        "pipe: is a pipe or a device (source.paths); save what comes out of it in a file"
    )
    assert "no file to read, only 1 pipes and devices" in refused(folder, paths=["pip*"])


def test_an_empty_path_is_refused_and_the_folder_one_is_in_is_not(folder: Path):
    assert refused(folder, paths=["x", ""]) == (
        'source.paths.1: names no file or folder (got ""); "." is the one you are in'
    )
    assert len(read(".")) == 4


def test_a_path_that_is_no_list_is_refused_with_the_list(folder: Path):
    assert refused(folder, paths="mix") == """source.paths: takes a list, such as ["mix"] (got 'mix')"""


def test_a_format_that_is_not_known_is_refused_in_one_line(folder: Path):
    said = refused(folder, paths=["x"], format="docx")
    assert said.startswith("source.format: Input should be 'detect', 'text', 'markdown', 'html', 'jsonl'")
    assert said.endswith("(got 'docx')") and "\n" not in said


def test_a_group_that_no_column_has_is_refused(folder: Path):
    rows = [{"text": line, "author": "a"} for line in LINES.splitlines()]
    (folder / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    assert refused(folder, paths=["a.jsonl"], group="autor") == (
        "a.jsonl: no column 'autor' (source.group); its columns are 'text', 'author'; did you mean 'author'?"
    )


def test_rows_without_a_group_stand_for_themselves(folder: Path):
    rows = [{"text": "one two", "author": author} for author in ("a", None, None, 7, "a")] + [{"text": "three"}]
    (folder / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    files = Files(paths=(Path("a.jsonl"),), group="author")
    items = [item for unit in files.units() for item in files.read(unit) if isinstance(item, Document)]
    assert [files.group_of(item) for item in items] == ["a", "a.jsonl:2", "a.jsonl:3", "7", "a", "a.jsonl:6"]


@pytest.mark.parametrize("codec", ["utf-32", "utf-32-be", "utf-32-le"])
def test_utf_32_is_quarantined_by_its_name(folder: Path, codec: str):
    mark = "" if codec == "utf-32" else "\ufeff"
    (folder / "a.txt").write_bytes(f"{mark}{LINES}".encode(codec))
    said = refused(folder, paths=["a.txt"])
    assert "the first: a.txt: text in UTF-32, which is not read here; convert it: iconv -f UTF-32" in said
    assert "got" not in said


def test_a_source_that_holds_no_text_is_told_of_as_a_source(folder: Path):
    (folder / "a.md").write_text("---\ntitle: nothing\n---\n", "utf-8")
    said = refused(folder, paths=["a.md"])
    assert said.startswith("nothing is left: ") and "1 hold no text to keep" in said
    assert "relax" not in said
