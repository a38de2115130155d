"""``lathe perplexity``: language models of any kind on one text, by the same figures, side by side."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from lathe.core.bundle import Bundle, Manifest
from lathe.core.charts import Bar, Unit, interval_bars
from lathe.core.digest import write_json
from lathe.core.documents import Split, read_texts
from lathe.core.errors import DataError
from lathe.core.html import Column, Section, facts, figure, page, table
from lathe.core.keyed import is_chosen
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.runtime import Precision
from lathe.core.work import Work, run_stage
from lathe.likelihood import Likelihood, MaskedNetwork, Windows, likelihood, open_language_model
from lathe.likelihood.masked import Pseudo

NOTE = (
    "Bits count the same text for every model, so they can be compared. Perplexity is a unit's, and compares only "
    "models of the same units. An unknown unit is spelt byte by byte. Where units do not give the text back "
    "(white space, capitals), a simpler text is predicted, and the bits are too low by what was left out."
)
PSEUDO = (
    "Each token is masked by itself and predicted from both sides: no probability of a text, and not to be compared "
    "with the figures above."
)


@recipe
class Data:
    test: Path
    """Text to score: a corpus bundle, or a file of text, JSONL, CSV or Parquet, plain or compressed."""
    split: Split = "test"
    """Of a corpus bundle."""
    sample_ratio: float = Field(1.0, gt=0, le=1)
    """Share of the texts that is scored, chosen by their text."""


@recipe
class Recipe:
    data: Data
    """The text."""
    bundles: tuple[Path, ...] = Field(min_length=1)
    """The models: n-grams, networks, mixtures."""
    windows: Windows = Windows()
    """How long texts are read by networks."""
    masked_tokens: int = Field(2000, ge=1)
    """Tokens that a masked network is scored on; each takes a row of its own."""
    precision: Precision = "fp32"
    """Of matrix products, for torch models."""


@dataclass(frozen=True)
class Found:
    """One model's figures."""

    name: str
    size_bytes: int
    seconds: float
    figures: Likelihood | Pseudo

    def to_json(self) -> dict[str, Any]:
        return self.figures.to_json() | {"size_bytes": self.size_bytes, "seconds": round(self.seconds, 2)}


def run(recipe: Recipe, out: Path) -> Bundle:
    """Score the models; ``out`` becomes a report."""
    inputs = [recipe.data.test, *recipe.bundles]
    return run_stage("perplexity", recipe, out, inputs, partial(_make, recipe))


def _make(recipe: Recipe, work: Work) -> Manifest:
    read = read_texts(recipe.data.test, recipe.data.split)
    texts = [text for text in read if is_chosen(text, recipe.data.sample_ratio)]
    if not any(texts):
        raise DataError(f"{recipe.data.test}: no text to score")
    found = sorted((_measure(recipe, path, texts) for path in recipe.bundles), key=_bits)
    scores = {
        kind: {one.name: one.to_json() for one in found if isinstance(one.figures, type_)}
        for kind, type_ in (("models", Likelihood), ("pseudo", Pseudo))
    }
    write_json(work.result / "scores.json", scores)
    (work.result / "report.html").write_text(report(found, str(recipe.data.test)), encoding="utf-8")
    return Manifest(kind="report", stage="perplexity", scores={name: one for name, one in scores.items() if one})


def _measure(recipe: Recipe, path: Path, texts: list[str]) -> Found:
    model, bundle = open_language_model(path, recipe.windows, recipe.precision), Bundle.open(path)
    started_s = time.perf_counter()
    figures: Likelihood | Pseudo
    if isinstance(model, MaskedNetwork):
        figures = model.pseudo_likelihood(texts, recipe.masked_tokens)
        say(f"{bundle.name}: pseudo-perplexity {figures.to_json()['pseudo_perplexity']:,} a token")
    else:
        figures = likelihood(model, texts, path.name)
        say(
            f"{bundle.name}: {figures.bits_per_byte:.4f} bits a byte, {figures.bits_per_character:.4f} a character; "
            f"perplexity {figures.perplexity:,.1f} a unit"
        )
    return Found(bundle.name, bundle.size_bytes, time.perf_counter() - started_s, figures)


def _bits(found: Found) -> float:
    return found.figures.bits_per_byte if isinstance(found.figures, Likelihood) else float("inf")


def report(found: list[Found], test: str) -> str:
    """A whole HTML document; the best model comes first."""
    models = [(one, one.figures) for one in found if isinstance(one.figures, Likelihood)]
    masked = [(one, one.figures) for one in found if isinstance(one.figures, Pseudo)]
    sections = []
    if models:
        bars = [Bar(one.name, *[figures.bits_per_byte] * 3) for one, figures in models]
        drawn = figure(interval_bars(bars, "bits a byte", Unit(decimals=3)), "Fewer are better.")
        sections.append(Section("Side by side", [_table(models), drawn, NOTE, _text(models[0][1], test)]))
    if masked:
        names = ["pseudo-perplexity", "nats a token", "tokens", "of"]
        rows = [[one.name, *(f"{value:,}" for value in figures.to_json().values())] for one, figures in masked]
        columns = [Column("masked model"), *(Column(name, "end") for name in names)]
        sections.append(Section("Masked models", [PSEUDO, table(columns, rows)]))
    lead = f"{models[0][0].name} needs the fewest bits: {models[0][1].bits_per_byte:.4f} a byte." if models else ""
    return page("Language models", sections, lead)


def _table(models: list[tuple[Found, Likelihood]]) -> str:
    names = ["bits a byte", "bits a character", "perplexity a unit", "units", "unknown", "texts given back", "MB", "s"]
    rows = [
        [
            one.name,
            f"{figures.bits_per_byte:.4f}",
            f"{figures.bits_per_character:.4f}",
            f"{figures.perplexity:,.2f}",
            f"{figures.units:,}",
            f"{figures.unknown / figures.units:.2%}",
            f"{figures.restored / figures.texts:.1%}",
            f"{one.size_bytes / 1e6:,.1f}",
            f"{one.seconds:,.1f}",
        ]
        for one, figures in models
    ]
    return table([Column("model"), *(Column(name, "end") for name in names)], rows, strong=[0])


def _text(figures: Likelihood, test: str) -> str:
    sizes = f"{figures.texts:,} texts, {figures.bytes:,} bytes, {figures.characters:,} characters"
    return facts([("text", test), ("size", sizes)])
