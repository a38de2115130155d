"""Prediction: a file of rows in, the same rows with their answers out, in order, with flat memory."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lathe.core.answers import Tally, answer_rows, open_rows, quarantine_of, refuse_place
from lathe.core.batching import Batcher
from lathe.core.bundle import Bundle
from lathe.core.calibration import refuse_unscored
from lathe.core.data import Columns
from lathe.core.errors import RecipeError
from lathe.core.predictor import Confident, TaskPredictor
from lathe.core.recipe import recipe
from lathe.core.report import Told, say
from lathe.core.runtime import Precision
from lathe.likelihood.fill import Fill
from lathe.loader import asked_of, load

ANSWER = "prediction"


@recipe
class Data:
    file: Path
    """Rows to answer: JSONL, CSV, TSV, text or Parquet, plain or compressed; `-` is standard input."""
    columns: Columns = Columns()
    """Names of the columns, where they are not found by themselves."""
    stdin: Literal["jsonl", "text"] = "jsonl"
    """What standard input holds: a JSON object a line, or a text a line."""


@recipe
class Recipe:
    bundle: Path
    """The model."""
    data: Data
    """The rows."""
    quarantine: Path | None = None
    """Where rows go that cannot be read; OUT.quarantine.jsonl where not given, standard error without -o."""
    precision: Precision = "fp32"
    """Of matrix products, for a torch model."""
    top_k: int | None = Field(None, ge=1)
    """Pieces told for each mask, most likely first, of a masked language model; 5 if not given."""
    confidence: bool = False
    """Tell beside each answer a calibrated probability that it is right."""


@dataclass
class _Answers:
    """A model's answers as JSON, and how many tokens did not fit into it on the way.

    While the model answers some rows, the next ones are read and tokenized.
    """

    model: TaskPredictor | Confident
    batcher: Batcher
    truncated: int = 0

    def __call__(self, rows: list[dict[str, Any]]) -> Callable[[], list[dict[str, Any]]]:
        encoded = self.model.task.encode(rows, self.model.tokenizer)
        self.truncated += sum(row.get("truncated", 0) for row in encoded)
        answers = self.batcher.submit(self.model.predict, encoded, self.model.sizes(encoded))
        return lambda: [prediction.to_json() for prediction in answers.result()]


def run(recipe: Recipe, out: Path | None = None) -> Told:
    """Answer every row; ``out`` is a JSONL file, or nothing for standard output."""
    refuse_place(out)
    quarantine = quarantine_of(recipe.quarantine, out)
    refuse_place(quarantine)
    asked, data = asked_of(Bundle.open(recipe.bundle, kind="model")), recipe.data
    if recipe.top_k and not isinstance(asked, Fill):
        raise RecipeError(f"top_k: {recipe.bundle} fills no masks, it answers by {asked.kind}")
    if recipe.confidence:
        refuse_unscored(asked.kind)
    reader = open_rows(data.file, data.stdin, asked.unlabelled, data.columns, ANSWER)
    model = load(recipe.bundle, recipe.precision)
    model = replace(model, task=replace(model.task, top_k=recipe.top_k)) if recipe.top_k else model
    with Batcher(model.tokens_per_batch) as batcher:
        answers = _Answers(model.confident if recipe.confidence else model, batcher)
        tally = answer_rows(reader, answers, out, quarantine, "predicting")
    return _tell(out, quarantine, tally, answers.truncated)


def _tell(out: Path | None, quarantine: Path | None, tally: Tally, truncated: int) -> Told:
    place = (quarantine or "standard error") if tally.quarantined else None
    text = f"{out or 'standard output'}: {tally.answered:,} rows answered, {tally.rate:,.0f} rows/s"
    text += f"; {tally.quarantined:,} could not be read, see {place}" if tally.quarantined else ""
    text += f"; {truncated:,} tokens did not fit and were cut off" if truncated else ""
    values = {
        "out": str(out) if out else None,
        "rows": tally.answered,
        "quarantined": tally.quarantined,
        "quarantine": str(place) if place else None,
        "truncated_tokens": truncated,
        "rows_per_second": round(tally.rate, 1),
    }
    if out is None:
        say(text)  # standard output is for the answers
    return Told(text if out else "", values)
