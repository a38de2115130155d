"""Documentation strings of Python source files, read from the syntax tree: no file is ever imported."""

import ast
import gc
import inspect
import os
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple, TypeAlias

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

STANDARD_LIBRARY = "python"
"""The library name of what comes with Python itself."""


class SourceFile(NamedTuple):
    path: str
    library: str  # import name of the top-level package: torch, sklearn; the standard library is "python"
    module: str  # dotted name: torch.nn.functional


class Docstring(NamedTuple):
    library: str
    module: str
    name: str  # name inside the module: Linear.forward; "" is the module's own
    text: str


class Unreadable(NamedTuple):
    """A source file that Python cannot parse."""

    path: str
    line: int
    reason: str


def installed_files(skip: Sequence[str]) -> list[SourceFile]:
    """Every Python file of the standard library and of the packages installed beside it, in a stable order.

    ``skip``: patterns; a file is left out when one matches any part of its path below the library's root.
    """
    paths = sysconfig.get_paths()
    roots = dict.fromkeys(Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    standard = {Path(paths["stdlib"]).resolve(), Path(paths["platstdlib"]).resolve()}
    return [file for root in roots for file in files_below(root, root in standard, skip)]


def files_below(root: Path, is_standard: bool, skip: Sequence[str]) -> Iterator[SourceFile]:
    """Python files below one root; other roots inside it (``site-packages``) and hidden folders are not entered."""
    for place, folders, names in os.walk(root):
        folder = Path(place)
        folders[:] = sorted(name for name in folders if not _is_left_out(name, skip))
        for name in sorted(names):
            if name.endswith(".py") and not _is_left_out(name, skip):
                module = _module(folder.relative_to(root) / name)
                library = STANDARD_LIBRARY if is_standard else module.partition(".")[0]
                yield SourceFile(str(folder / name), library, module)


def read_files(files: Sequence[SourceFile]) -> list[Docstring | Unreadable]:
    """The documentation strings of some files, in order."""
    collecting = gc.isenabled()
    gc.disable()  # a syntax tree is a million small objects: looking for cycles among them takes half of the time
    try:
        return [found for file in files for found in read_file(file)]
    finally:
        if collecting:
            gc.enable()


def read_file(file: SourceFile) -> Iterator[Docstring | Unreadable]:
    try:
        source = Path(file.path).read_bytes()
    except OSError as error:
        yield Unreadable(file.path, 0, f"not readable: {error.strerror}")
        return
    if b'"""' not in source and b"'''" not in source:
        return
    try:
        tree = _parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # whatever ast.parse raises for a bad file
        yield Unreadable(file.path, getattr(error, "lineno", 0) or 0, f"not Python of this version: {_reason(error)}")
        return
    for name, text in docstrings(tree):
        if text.isascii() or _is_encodable(text):
            yield Docstring(file.library, file.module, name, text)
        else:
            yield Unreadable(file.path, 0, f"the text of {name or 'the module'} has half of a surrogate pair")


def docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Qualified name and cleaned text of each docstring of a module, its classes and its functions, at any depth."""
    if text := _docstring(tree):
        yield "", text
    for name, definition in _definitions(tree.body, ""):
        if text := _docstring(definition):
            yield name, text


def _definitions(body: Sequence[ast.stmt], prefix: str) -> Iterator[tuple[str, Definition]]:
    for node in body:
        if isinstance(node, Definition):
            yield f"{prefix}{node.name}", node
            yield from _definitions(node.body, f"{prefix}{node.name}.")
        else:
            for block in ("body", "orelse", "handlers", "finalbody"):  # definitions under if, try, with
                inner = getattr(node, block, None)
                if isinstance(inner, list):
                    yield from _definitions(inner, prefix)


def _docstring(node: ast.Module | Definition) -> str:
    text = ast.get_docstring(node, clean=False)
    return inspect.cleandoc(text) if text else ""


def _parse(source: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes such as "\d" in other people's code
        return ast.parse(source)


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_left_out(name: str, skip: Sequence[str]) -> bool:
    return name in ("__pycache__", "site-packages", "dist-packages") or any(fnmatch(name, pattern) for pattern in skip)


def _module(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
