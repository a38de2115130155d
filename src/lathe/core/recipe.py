"""Recipes: frozen pydantic dataclasses, read from TOML, overridden as ``a.b=value``.

A component *is* its configuration: the fields are the options, their docstrings the help, the method is the behaviour.
A choice among components is a union discriminated by ``kind``; the union replaces a registry.
"""

import json
import re
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, cast, dataclass_transform, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from lathe.core.errors import RecipeError, did_you_mean
from lathe.core.known_as import known_as

R = TypeVar("R")

_CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True, coerce_numbers_to_str=True, allow_inf_nan=False)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def recipe(cls: type[R]) -> type[R]:
    """Class decorator of everything that can stand in a recipe file."""
    return cast(type[R], pydantic_dataclass(frozen=True, kw_only=True, config=_CONFIG)(cls))


def parse(schema: Any, values: Any) -> Any:
    """Validate plain values against a recipe or a union of recipes.

    Raises ``RecipeError`` with one line for each problem: option, value, reason, and the nearest name for a typo.
    """
    values = _with_kinds(schema, values)
    try:
        parsed = TypeAdapter(schema).validate_python(values)
    except ValidationError as error:
        raise RecipeError("\n".join(dict.fromkeys(_explain(schema, values, e) for e in error.errors()))) from None
    if wrong := list(_mistaken(values, parsed)):
        raise RecipeError("\n".join(wrong))
    return parsed


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; a syntax error names file and line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.toml")])
        raise RecipeError(f"{path}: no such file{near}") from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: is a folder, not a recipe") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 at byte {error.start}; save the recipe as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: {error}") from None


def override(values: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """A copy of ``values`` with ``a.b=value`` assignments applied; each value is TOML, or else a plain string.

    >>> override({"train": {"seed": 1}}, ["train.seed=2", "base=models/a"])
    {'train': {'seed': 2}, 'base': 'models/a'}
    """
    result = cast(dict[str, Any], json.loads(json.dumps(values, default=str)))
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        if not equals or not dotted:
            raise RecipeError(f"{assignment!r} is not of the form name=value")
        assign(result, dotted, _toml_value(text))
    return result


def assign(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Put a value under a dotted name into nested tables."""
    *parents, leaf = dotted.split(".")
    table = values
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise RecipeError(f"{dotted}: {parent!r} already has the value {table!r} and no options below it")
    table[leaf] = value


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merged at every depth; anything else is replaced.

    >>> merged({"train": {"seed": 1, "epochs": 2}}, {"train": {"seed": 3}})
    {'train': {'seed': 3, 'epochs': 2}}
    """
    both = {k: merged(old[k], v) for k, v in new.items() if isinstance(v, dict) and isinstance(old.get(k), dict)}
    return dict(old) | dict(new) | both


def dump(value: Any) -> dict[str, Any]:
    """A recipe as plain JSON values; ``parse`` of it gives an equal recipe."""
    return cast(dict[str, Any], json.loads(TypeAdapter(type(value)).dump_json(value)))


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Where two dumped recipes differ: ``train.seed: 1 -> 2``."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = list(dict.fromkeys([*old, *new]))
        return [line for n in names for line in differences(old.get(n), new.get(n), f"{prefix}.{n}" if prefix else n)]
    return [] if old == new else [f"{prefix}: {json.dumps(old)} -> {json.dumps(new)}"]


class Option(NamedTuple):
    """One line of ``--help``."""

    name: str
    type: str
    default: str
    help: str


def options(schema: Any, prefix: str = "") -> Iterator[Option]:
    """Every option of a recipe in reading order, nested ones dotted; members of a union under their ``kind``."""
    for field in fields(schema):
        info = schema.__pydantic_fields__[field.name]
        if field.name == "kind":
            continue
        name = f"{prefix}{field.name}"
        members = _components(info.annotation)
        yield Option(name, _type_name(info.annotation, members), _default(field), _description(schema, field.name))
        for member in members:
            label = f"{name}[{_kind(member)}]." if _kind(member) else f"{name}."
            label += "NAME." if get_origin(info.annotation) is dict else ""
            yield from options(member, label)


def _description(schema: Any, name: str) -> str:
    """The docstring of an option; pydantic forgets the ones of a base class."""
    known = [vars(cls).get("__pydantic_fields__", {}).get(name) for cls in schema.__mro__]
    return next((info.description for info in known if info is not None and info.description), "")


def _default_value(field: Any) -> Any:
    value = field.default_factory() if field.default_factory is not MISSING else field.default
    return value.default if isinstance(value, FieldInfo) else value


def _default(field: Any) -> str:
    value = _default_value(field)
    if value is MISSING or value is PydanticUndefined:
        return "required"
    if is_dataclass(value):
        return _kind(type(value)) or ""
    return json.dumps(value, default=_by_kind, ensure_ascii=False)


def _by_kind(value: Any) -> str:
    """A component among the defaults goes by its kind."""
    return (_kind(type(value)) if is_dataclass(value) else "") or str(value)


def _components(annotation: Any) -> list[Any]:
    """The recipes among the members of an annotation."""
    if isinstance(annotation, type) and is_dataclass(annotation):  # not the metadata of an Annotated
        return [annotation]
    return [c for inner in get_args(annotation) for c in _components(inner)]


def _kind(component: Any) -> str:
    kind = next((f for f in fields(component) if f.name == "kind"), None)
    return str(kind.default) if kind else ""


def _type_name(annotation: Any, members: list[Any]) -> str:
    if members and any(_kind(m) for m in members):
        return "kind: " + " | ".join(_kind(m) for m in members)
    if members:
        return "table"
    if get_origin(annotation) is Annotated:
        return _type_name(get_args(annotation)[0], [])
    if get_origin(annotation) is Literal:
        return " | ".join(str(v) for v in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return " | ".join(_type_name(a, []) for a in get_args(annotation) if a is not type(None))
    if get_origin(annotation) in (tuple, list):
        return f"list of {_type_name(get_args(annotation)[0], [])}"
    return "file" if annotation is Path else getattr(annotation, "__name__", str(annotation))


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word is a string: train.precision=bf16


def _with_kinds(annotation: Any, values: Any, default: Any = None) -> Any:
    """Fill in what a union leaves unsaid: ``train.optimizer=muon`` is its kind, ``train.optimizer.beta1=0.8`` alone
    means the default optimizer."""
    members = list(_members(annotation))
    if isinstance(values, list):
        items = [get_args(member)[0] for member in members if get_origin(member) in (tuple, list)]
        return [_with_kinds(items[0], value) for value in values] if items else values
    if isinstance(values, str) and all(is_dataclass(member) and _kind(member) for member in members):
        values = {"kind": values}
    if not isinstance(values, dict):
        return values
    if len(members) == 1 and get_origin(members[0]) is dict:
        return {name: _with_kinds(get_args(members[0])[1], value) for name, value in values.items()}
    if is_dataclass(default) and _kind(type(default)):
        values = {"kind": _kind(type(default))} | values
    chosen = [m for m in members if is_dataclass(m) and (len(members) == 1 or _kind(m) == values.get("kind"))]
    if not chosen:
        return values
    found = vars(chosen[0])["__pydantic_fields__"]
    known = [field for field in fields(chosen[0]) if field.name in values]
    return values | {f.name: _with_kinds(found[f.name].annotation, values[f.name], _default_value(f)) for f in known}


def _members(annotation: Any) -> Iterator[Any]:
    """The types that a value may have, apart from None."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for inner in get_args(annotation):
            yield from _members(inner)
    elif annotation is not type(None):
        yield annotation


def _mistaken(values: Any, parsed: Any, where: str = "") -> Iterator[str]:
    """Pydantic reads true as 1, and "" as the folder that one is in; here these are mistakes."""
    if values == "" and isinstance(parsed, Path):
        yield f'{where}: names no file or folder (got ""); "." is the one you are in'
    elif isinstance(values, bool) and not isinstance(parsed, bool):
        yield f"{where}: takes a number (got {json.dumps(values)})"
    elif isinstance(values, dict) and (is_dataclass(parsed) or isinstance(parsed, dict)):
        inner = parsed if isinstance(parsed, dict) else vars(parsed)
        for name, value in values.items():
            yield from _mistaken(value, inner.get(name, value), f"{where}.{name}" if where else name)
    elif isinstance(values, list) and isinstance(parsed, list | tuple):
        for number, (value, item) in enumerate(zip(values, parsed, strict=False)):
            yield from _mistaken(value, item, f"{where}.{number}")


def _explain(schema: Any, values: Any, error: ErrorDetails) -> str:
    """One line a person understands for one pydantic error."""
    where = ".".join(_path(values, error["loc"]))
    match error["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            name = str(error["loc"][-1])
            meant = known_as(name, _dotted(schema)) or did_you_mean(name, _names(schema))
            return f"{where}: no such option{_of_other_kinds(schema, where) or meant}"
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            return f"{where}: this option is required"
        case "tuple_type":
            given = json.dumps(str(error["input"]), ensure_ascii=False)
            return f"{where}: takes a list, such as [{given}] (got {error['input']!r})"
        case "union_tag_not_found":
            kinds = [option.type for option in options(schema) if option.name == where] if is_dataclass(schema) else []
            return f"{where}.kind: this option is required" + "".join(f" ({kind})" for kind in kinds)
        case "union_tag_invalid":
            known = [tag.strip().strip("'") for tag in error["ctx"]["expected_tags"].split(",")]
            tag = error["ctx"]["tag"]
            return f"{where}.kind: {tag!r} is not one of {', '.join(known)}{did_you_mean(tag, known)}"
    return f"{where}: {error['msg']} (got {error['input']!r})"


def _path(values: Any, location: tuple[int | str, ...]) -> Iterator[str]:
    """The location of an error without the union tags that pydantic puts into it."""
    for part in location:
        is_tag = isinstance(values, dict) and part not in values and part == values.get("kind")
        if is_tag:
            continue
        yield str(part)
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(values, list | tuple) and isinstance(part, int) and part < len(values):
            values = values[part]


def _of_other_kinds(schema: Any, where: str) -> str:
    """Which members of a union have an option that was given to another of them, or ""."""
    names = [option.name for option in options(schema) if _plain(option.name) == where] if is_dataclass(schema) else []
    owners = [name.rpartition("[") for name in names if "[" in name]  # ("decoding", "[", "sample].temperature")
    kinds = dict.fromkeys(after.partition("]")[0] for _, _, after in owners)
    return f" here; {_plain(owners[0][0])}.kind={' or '.join(kinds)} has it" if owners else ""


def _plain(name: str) -> str:
    """The name of an option without the kind that it belongs to."""
    return re.sub(r"\[.*?\]", "", name)


def _dotted(schema: Any) -> set[str]:
    """The names of all options, whatever kind they belong to."""
    return {_plain(option.name) for option in options(schema)} if is_dataclass(schema) else set()


def _names(schema: Any) -> list[str]:
    table = TypeAdapter(schema).json_schema()
    return sorted({name for part in (table, *table.get("$defs", {}).values()) for name in part.get("properties", {})})
