"""``lathe VERB [POSITIONAL...] [-o OUT] [name=value...] [--json]``: the command line."""

import errno
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from lathe import __version__
from lathe.core.errors import LatheError, RecipeError, did_you_mean
from lathe.verbs import VERBS, Verb

_TOML_AS_VALUE = (("story",), ("recipe",), ("data.file",))
"""Positional options that may be a TOML file themselves; elsewhere such a file holds the options."""
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*=")


def _may_tell() -> bool:
    """Of several processes one tells what went wrong. A process alone knows it without loading torch."""
    if "WORLD_SIZE" not in os.environ:
        return True
    from lathe.core import parallel

    return parallel.may_tell()


@dataclass
class Call:
    """A command line, taken apart."""

    verb: str
    positional: list[str] = field(default_factory=list)
    assignments: list[str] = field(default_factory=list)
    out: str = ""
    json: bool = False
    help: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 input wrong, 3 a goal missed, 130 or 143 stopped."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"lathe {__version__}")
        return 0
    call = Call(arguments[0], json="--json" in arguments)  # until more is known of it
    try:
        call = _take_apart(arguments)
        return _run(call)
    except LatheError as error:
        return _fail(call, str(error), error.exit_code)
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever read our output has seen enough: `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return _fail(call, _explain(error), 2)
    except KeyboardInterrupt:
        return _fail(call, "interrupted", 130)


def _run(call: Call) -> int:
    from lathe.core import parallel
    from lathe.core.runtime import go_offline, launch

    go_offline()
    verb = VERBS[call.verb]
    if not verb.together:
        parallel.refuse_several(call.verb)
    stage = import_module(verb.package)
    if call.help:
        print(_help(call.verb, stage.Recipe))
        return 0
    if verb.out == "required" and not call.out:
        raise RecipeError("say where the result goes: -o OUT")
    if verb.out == "" and call.out:
        raise RecipeError(f"-o {call.out}: `lathe {call.verb}` writes nothing; leave -o out")
    started_s = time.perf_counter()
    recipe = _recipe(call, stage.Recipe)
    out = call.out or (verb.out if verb.out not in ("required", "optional") else "")
    result = stage.run(recipe, Path(out)) if out else stage.run(recipe)
    if launch().rank == 0:
        _show(call, result, time.perf_counter() - started_s)
    return 0


def _take_apart(arguments: Sequence[str]) -> Call:
    call = Call(arguments[0])
    if call.verb not in VERBS:
        near = did_you_mean(call.verb, VERBS)
        raise RecipeError(f"{call.verb!r} is no verb of lathe{near}; `lathe --help` lists them")
    rest = iter(arguments[1:])
    for argument in rest:
        if argument in ("-h", "--help"):
            call.help = True
        elif argument == "--json":
            call.json = True
        elif argument in ("-o", "--out"):
            call.out = _value_of_out(next(rest, ""))
        elif argument.startswith("-") and argument != "-":
            way = f"options are written name=value, see `lathe {call.verb} --help`"
            raise RecipeError(f"{argument!r}: no such flag; {way}")
        elif _ASSIGNMENT.match(argument):
            call.assignments.append(argument)
        else:
            call.positional.append(argument)
    return call


def _value_of_out(name: str) -> str:
    if not name:
        raise RecipeError("-o needs the name of a file or folder")
    return name


def _recipe(call: Call, schema: Any) -> Any:
    """The recipe: a TOML file where one is given, positionals by their fields, and ``name=value`` on top."""
    from lathe.core.recipe import assign, override, parse, read_toml

    verb, values = VERBS[call.verb], {}
    positional: list[Any] = list(call.positional)
    if positional and positional[0].endswith(".toml") and verb.positional[:1] not in _TOML_AS_VALUE:
        values = read_toml(Path(positional.pop(0)))
        if (wanted := values.pop("verb", call.verb)) != call.verb:
            raise RecipeError(f"{call.positional[0]}: this recipe is for `lathe {wanted}`, not `lathe {call.verb}`")
    named = [one for one in call.assignments if verb.named and _is_named_folder(one, schema)]
    positional += named
    fields = [name.removesuffix("...") for name in verb.positional]
    if verb.positional and verb.positional[-1].endswith("...") and len(positional) >= len(fields):
        positional[len(fields) - 1 :] = [positional[len(fields) - 1 :]]  # the last takes all the others
    if len(positional) > len(fields):
        takes = f"takes {' '.join(_words(verb))}" if fields else "takes no positional argument but a recipe (.toml)"
        raise RecipeError(f"{positional[len(fields)]!r}: `lathe {call.verb}` {takes}; options are written name=value")
    for name, value in zip(fields, positional, strict=False):
        assign(values, name, value)
    return parse(schema, override(values, [one for one in call.assignments if one not in named]))


def _is_named_folder(assignment: str, schema: Any) -> bool:
    """Whether NAME=FOLDER gives a folder a name, and is no option."""
    name, _, folder = assignment.partition("=")
    return name.partition(".")[0] not in schema.__dataclass_fields__ and Path(folder).is_dir()


def _show(call: Call, result: Any, seconds: float) -> None:
    """What a person reads, or with ``--json`` one object on the last line."""
    from lathe.core.report import Told, say_json

    if isinstance(result, Told) and not call.json:
        print(result.text, end="\n" if result.text else "")
        return
    summary: dict[str, Any] = result.values if isinstance(result, Told) else _summary(result)
    if call.json:
        say_json(summary | {"seconds": round(seconds, 3)})
    elif "out" in summary:
        print(f"{summary['out']}: {'already there' if summary.get('reused') else 'done'} in {seconds:.1f} s")
        if "report" in summary:
            print(f"report: {summary['report']}")


def _summary(bundle: Any) -> dict[str, Any]:
    if isinstance(bundle, dict):
        return dict(bundle)
    made = bundle.manifest
    told = {"out": str(bundle.path), "kind": made.kind, "scores": made.scores, "reused": bundle.reused}
    return told | dict(made.rates)


def _fail(call: Call, message: str, code: int) -> int:
    from lathe.core.report import say, say_json

    if _may_tell():
        say(f"lathe {call.verb}: {message}")
        if call.json:
            say_json({"error": message, "exit_code": code})
    return code


def _explain(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space left on the disk; free some and run the same command again, it goes on where it was"
    return f"{error.filename or 'file'}: {error.strerror or error}"


def _overview() -> str:
    lines = ["usage: lathe VERB [POSITIONAL...] [-o OUT] [name=value...] [--json]", "", (__doc__ or "").strip(), ""]
    lines += [f"  {name:<11}{verb.purpose}" for name, verb in VERBS.items()]
    lines += ["", "`lathe VERB --help` lists every option of a verb. A recipe is a TOML file of the same options."]
    return "\n".join(lines)


def _help(name: str, schema: Any) -> str:
    from lathe.core.recipe import options

    verb = VERBS[name]
    words = [f"[{word}]" for word in _words(verb)]
    out = {"": "", "required": " -o OUT", "optional": " [-o OUT]"}.get(verb.out, f" [-o {verb.out}]")
    usage = " ".join(["usage: lathe", name, *words, "[RECIPE.toml]"])
    lines = [f"{usage}{out} [name=value...] [--json]", "", verb.purpose, ""]
    for option in options(schema):
        default = {"required": "  required", "null": "", "": ""}.get(option.default, f"  default {option.default}")
        lines += [f"  {option.name}  <{option.type}>{default}"] + ([f"      {option.help}"] if option.help else [])
    return "\n".join(lines)


def _words(verb: Verb) -> list[str]:
    """The positional arguments as the usage line names them: ``data.test`` is TEST."""
    return [name.removesuffix("...").rpartition(".")[2].upper() for name in verb.positional]
