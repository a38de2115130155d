"""Generation: one prompt, answered at the terminal as it comes, or a file of prompts, each with its answer."""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lathe.core.answers import Reader, Tally, answer_rows, open_rows, quarantine_of, refuse_place
from lathe.core.bundle import Bundle
from lathe.core.data import TEXT, Columns, Record, Role, RowError, Shape
from lathe.core.errors import DataError
from lathe.core.recipe import recipe
from lathe.core.report import Told, say
from lathe.core.runtime import Precision
from lathe.generation import Generation, Generator, Prompt, load_generator, refuse_silent

ANSWER = "generated"
PROMPT = Shape((Role("text", ("prompt", *TEXT[0].roles[0].aliases), by_elimination=True),), TEXT[0].read)
"""A text, which may also be called a prompt."""

_FILE = re.compile(r"\S+\.(jsonl|ndjson|csv|tsv|txt|parquet)(\.\w+)?", re.IGNORECASE)


@recipe
class Recipe(Generation):
    bundle: Path
    """The model: causal, or sequence to sequence."""
    prompt: str = ""
    """Text to go on from, or to answer; or a file of rows: JSONL, CSV, TSV, text or Parquet; `-`: standard input."""
    columns: Columns = Columns()
    """Names of the columns of a file, where they are not found by themselves."""
    stdin: Literal["jsonl", "text"] = "jsonl"
    """What standard input holds: a JSON object a line, or a text a line."""
    quarantine: Path | None = None
    """Where rows go that cannot be answered; OUT.quarantine.jsonl where not given, standard error without -o."""
    precision: Precision = "fp32"
    """Of matrix products."""


def run(recipe: Recipe, out: Path | None = None) -> Told:
    """Answer a prompt or every row of a file; ``out`` is a JSONL file, or nothing for standard output."""
    refuse_place(out)
    quarantine = quarantine_of(recipe.quarantine, out)
    refuse_place(quarantine)
    refuse_silent(Bundle.open(recipe.bundle, kind="model"))
    file = _file(recipe.prompt)
    if file is None and out is None:
        return _one(recipe)
    if file is None:
        rows = Reader(Path("prompt"), [Record(1, {"text": recipe.prompt})], PROMPT, {"text": "text"}, ANSWER)
    else:  # a file that is wrong is refused before a model is loaded
        rows = open_rows(file, recipe.stdin, (PROMPT,), recipe.columns, ANSWER)
    answers = _Answers(load_generator(recipe.bundle, recipe.precision), recipe)
    tally = answer_rows(rows, answers, out, quarantine, "generating")
    return _tell(out, quarantine, tally, answers)


def _file(prompt: str) -> Path | None:
    """The file that a prompt names. Raises ``DataError`` where it looks like one and is none."""
    path = Path(prompt)
    if prompt == "-" or (0 < len(prompt) < 4096 and "\n" not in prompt and _is_file(path)):
        return path
    if _FILE.fullmatch(prompt):
        raise DataError(f"{prompt}: no such file; a prompt that is called so can be given with a blank before it")
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than a name of a file may be
        return False


def _one(recipe: Recipe) -> Told:
    generator = load_generator(recipe.bundle, recipe.precision)
    started_s = time.perf_counter()

    def write(text: str) -> None:
        print(text, end="", flush=True)

    (answer,) = generator([recipe.prompt], recipe, write)
    print(flush=True)
    rate = answer.tokens / max(time.perf_counter() - started_s, 1e-9)
    say(f"{answer.tokens:,} tokens, {rate:,.0f} tokens/s; {_ENDS[answer.end]}")
    return Told("", {"out": None, **answer._asdict(), "tokens_per_second": round(rate, 1)})


_ENDS = {
    "end": "the model ended the text",
    "stop": "a stop text ended it",
    "length": "it was cut there: max_new_tokens, or the model's own limit",
}


@dataclass
class _Answers:
    """A model's answers as JSON, and how they ended."""

    generator: Generator
    options: Generation
    seen: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    seconds: float = 0.0

    def __call__(self, rows: list[dict[str, Any]]) -> Callable[[], list[Any]]:
        return lambda: self._answered(rows)

    def _answered(self, rows: list[dict[str, Any]]) -> list[Any]:
        started_s = time.perf_counter()
        read: list[Prompt | RowError] = [self._read(row["text"]) for row in rows]
        prompts = [prompt for prompt in read if isinstance(prompt, Prompt)]
        answers = iter(self.generator.answer(prompts, self.options))
        values = [prompt if isinstance(prompt, RowError) else next(answers)._asdict() for prompt in read]
        self._count([value for value in values if isinstance(value, dict)])
        self.seconds += time.perf_counter() - started_s
        return values

    def _read(self, text: str) -> Prompt | RowError:
        try:
            return self.generator.read(text, self.options, self.seen)
        except RowError as error:
            return error

    def _count(self, answers: Sequence[dict[str, Any]]) -> None:
        self.ends.update(answer["end"] for answer in answers)
        self.tokens += sum(answer["tokens"] for answer in answers)


def _tell(out: Path | None, quarantine: Path | None, tally: Tally, answers: _Answers) -> Told:
    place = (quarantine or "standard error") if tally.quarantined else None
    rate = answers.tokens / max(answers.seconds, 1e-9)
    text = f"{out or 'standard output'}: {tally.answered:,} prompts answered, {rate:,.0f} tokens/s"
    text += f"; {answers.ends['length']:,} answers cut at their longest" if answers.ends["length"] else ""
    text += f"; {tally.quarantined:,} could not be answered, see {place}" if tally.quarantined else ""
    values = {
        "out": str(out) if out else None,
        "rows": tally.answered,
        "quarantined": tally.quarantined,
        "quarantine": str(place) if place else None,
        "tokens": answers.tokens,
        "ends": dict(answers.ends),
        "tokens_per_second": round(rate, 1),
    }
    if out is None:
        say(text)  # standard output is for the answers
    return Told(text if out else "", values)
