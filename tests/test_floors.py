"""The shape of the source tree: what may import what, and how long a page may be."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

# A room of `lathe` (a package or a module) -> its floor. It imports lower floors and itself; a new room is named here.
FLOORS = {
    "core": 0,
    **dict.fromkeys(["objectives", "models", "runtimes", "ngrams"], 1),
    "generation": 1.2,
    "tasks": 1.5,  # a task is an objective, and may be made of others
    "likelihood": 2,
    "loader": 2.2,  # opens language models, too
    "__init__": 2.5,  # `lathe` itself, which offers `lathe.load` and `lathe.load_generator`
    "verbs": 2.5,
    "feedback": 2.6,  # kept by serve
    **dict.fromkeys(["corpus", "tokenizer", "pretrain", "negatives", "finetune", "compress"], 3),
    **dict.fromkeys(["evaluate", "predict", "generate", "serve", "inspect"], 3),
    "training": 3.5,  # opens recipes of stages
    **dict.fromkeys(["stories", "profile", "plan"], 4),
    "cli": 5,
    "__main__": 6,
}
# Inside core a module imports only earlier ones of this line.
CORE = [
    *[
        "errors",
        "predictions",
        "types",
        "scripts",
        "metrics",
        "keyed",
        "known_as",
        "recipe",
        "runtime",
        "parallel",
        "report",
        "html",
        "charts",
        "disk",
        "digest",
        "bundle",
        "card",
        "work",
    ],
    *[
        "boundaries",
        "tagging",
        "data",
        "search",
        "documents",
        "answers",
        "rows",
        "shards",
        "tokens",
        "batches",
        "turns",
        "profile",
        "native",
        "exchange",
        "linear",
        "activations",
        "heads",
        "packing",
        "layers",
        "tables",
    ],
    *["average", "recompute", "compilation", "muon", "adamw", "optim", "checkpoint", "health"],
    *["coupled", "learn", "fit", "ready", "dry", "trial"],
    *["stats", "calibration", "predictor", "batching", "measure"],
]
# Rooms of core that see less than their place would allow.
ONLY = {"metrics": {"errors", "predictions", "types", "scripts"}}
# A library that comes as a part of a declared one, and is versioned with it.
PART_OF = {"pydantic_core": "pydantic", "starlette": "fastapi"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 60

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "lathe"


class Module(NamedTuple):
    name: str  # lathe.core.types; the __init__ of a package bears the package's name
    path: Path
    tree: ast.Module


class Import(NamedTuple):
    module: Module
    target: str  # the module imported: lathe.core.types, numpy.random
    line: int

    def __str__(self) -> str:
        return f"{self.module.path.relative_to(ROOT)}:{self.line} imports {self.target}"


def test_a_module_imports_only_lower_floors():
    floors = {room: FLOORS.get(room) for room in map(room_of, modules())}
    assert None not in floors.values(), f"name these in FLOORS: {[room for room in floors if floors[room] is None]}"
    wrong = [
        str(edge)
        for edge in inner_imports()
        if room_of(edge.module) != room_of(edge.target) and FLOORS[room_of(edge.target)] >= FLOORS[room_of(edge.module)]
    ]
    assert wrong == []


def test_a_core_module_imports_only_earlier_ones():
    unnamed = {core_room(name) for name in modules() if room_of(name) == "core"} - {*CORE, ""}
    assert not unnamed, f"name these in CORE: {sorted(unnamed)}"
    wrong = []
    for edge in inner_imports():
        if room_of(edge.module) == "core" and room_of(edge.target) == "core":
            importer, target = core_room(edge.module.name), core_room(edge.target)
            allowed = ONLY.get(importer, set(CORE[: CORE.index(importer)]) if importer else set())
            wrong += [str(edge)] if target not in allowed | ({importer} - {""}) else []
    assert wrong == []


def test_no_imports_go_round_in_a_circle():
    graph: dict[str, set[str]] = {}
    for edge in inner_imports():
        graph.setdefault(edge.module.name, set()).add(edge.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" <- ".join(error.args[1])) from None


def test_what_is_imported_is_declared_and_an_optional_library_in_one_file_only():
    hard, optional = declared()
    users: dict[str, set[str]] = {}
    for edge in imports():
        users.setdefault(edge.target.split(".")[0], set()).add(str(edge.module.path.relative_to(ROOT)))
    foreign = {name: files for name, files in users.items() if name not in {"lathe", *sys.stdlib_module_names}}
    assert {name: files for name, files in foreign.items() if not distributions(name) & (hard | optional)} == {}
    shared = {name: files for name, files in foreign.items() if not distributions(name) & hard and len(files) > 1}
    assert shared == {}


def test_pages_and_functions_are_short():
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = []
    for module in modules().values():
        lines = len(module.path.read_text("utf-8").splitlines())
        long += [f"{module.path}: {lines} lines"] if lines > LONGEST_FILE else []
        for node in ast.walk(module.tree):
            if isinstance(node, functions) and (lines := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION:
                long.append(f"{module.path}:{node.lineno}: {node.name} has {lines} lines")
    assert long == []


# ---- reading the tree


@cache
def modules() -> dict[str, Module]:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path, ast.parse(path.read_text("utf-8")))
    return found


def room_of(module: Module | str) -> str:
    """``lathe.core.types`` -> ``core``."""
    name = module if isinstance(module, str) else module.name
    return name.split(".")[1] if "." in name else "__init__"


def core_room(name: str) -> str:
    """``lathe.core.metrics.spans`` -> ``metrics``; the empty string is ``lathe.core`` itself."""
    return name.split(".")[2] if name.count(".") > 1 else ""


def inner_imports() -> list[Import]:
    return [edge for edge in imports() if edge.target.split(".")[0] == "lathe"]


@cache
def imports() -> list[Import]:
    """Every import statement of the tree, also inside functions, and ``import_module("a constant")``."""
    return [
        Import(module, target, node.lineno)
        for module in modules().values()
        for node in ast.walk(module.tree)
        for target in targets(node, module)
    ]


def targets(node: ast.AST, module: Module) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        source = absolute(node, module)
        for (
            alias
        ) in node.names:  # `from lathe.core import types` imports a module, `from lathe.core.types import Row` a name
            yield name if (name := f"{source}.{alias.name}") in modules() else source
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        if called == "import_module" and isinstance(node.args[0], ast.Constant):
            yield node.args[0].value


def absolute(node: ast.ImportFrom, module: Module) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".") if module.path.name == "__init__.py" else module.name.split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def declared() -> tuple[set[str], set[str]]:
    """The distributions that pyproject.toml requires, and those of the extras that `all` takes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    inside = re.search(r"\[(.*)\]", extras["all"][0]).group(1).split(",")
    return set(map(plain, project["dependencies"])), {plain(line) for extra in inside for line in extras[extra]}


def distributions(package: str) -> set[str]:
    """``sklearn`` -> {"scikit-learn"}; a package that is not installed goes by its own name."""
    package = PART_OF.get(package, package)
    return set(map(plain, installed().get(package, [package])))


installed = cache(packages_distributions)


def plain(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement).group().lower().replace("_", "-")
