"""``lathe ngram``: count an n-gram language model, the baseline that networks have to beat."""

import math
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import Field

from lathe.core.bundle import Bundle, Manifest, Runtime, is_bundle
from lathe.core.documents import Split, read_texts, splits_of
from lathe.core.errors import DataError
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.runtime import keep_memory
from lathe.core.work import Work, run_stage
from lathe.ngrams import AnyUnits, NGramModel, Words, count, estimate, write_arpa
from lathe.ngrams.units import BOS

ARPA = "model.arpa"


@recipe
class Data:
    train: Path
    """Text to learn from: a corpus bundle, or a file of text, JSONL, CSV or Parquet, plain or compressed."""
    validation: Path | None = None
    """Text to measure on; a corpus bundle brings its own."""


@recipe
class Recipe:
    data: Data
    """The text."""
    units: AnyUnits = Words()
    """What a word is."""
    order: int = Field(5, ge=1, le=32)
    """Longest n-gram in words."""
    arpa: bool = False
    """Also write ``model.arpa``, which SRILM and KenLM read."""


def run(recipe: Recipe, out: Path) -> Bundle:
    """Count and smooth; ``out`` becomes a bundle that `NGramModel.open` opens."""
    tokenizer = getattr(recipe.units, "tokenizer", None)
    inputs = [recipe.data.train, recipe.data.validation, tokenizer]
    return run_stage("ngram", recipe, out, inputs, partial(_make, recipe))


def _make(recipe: Recipe, work: Work) -> Manifest:
    model, scores = _learn(recipe)
    files = model.save(work.result)
    if recipe.arpa:
        write_arpa(model, work.result / ARPA)
    scores |= _validation(model, recipe.data)
    return Manifest(kind="model", stage="ngram", scores=scores, runtime=Runtime(kind="ngram", files=files))


def _learn(recipe: Recipe) -> tuple[NGramModel, dict[str, Any]]:
    keep_memory()
    vocabulary, stream = recipe.units.learn(read_texts(recipe.data.train))
    texts = int((stream == BOS).sum())
    if len(stream) == 2 * texts:
        raise DataError(f"{recipe.data.train}: no text to learn from")
    counts = count(stream, recipe.order, len(vocabulary))
    smoothed = estimate(counts)
    for n, level in enumerate(smoothed, 1):
        if level.is_fallback:
            say(f"{n}-grams: too few, or too regular, to tell their discounts; {level.discounts} are taken")
    model = NGramModel.of_counts(recipe.units, vocabulary, counts, smoothed)
    sizes = [len(level.words) for level in model.levels]
    say(f"{len(stream) - 2 * texts:,} {recipe.units.kind} in {texts:,} texts; {sum(sizes):,} n-grams, {sizes}")
    discounts = [list(level.discounts) for level in smoothed]
    return model, {"vocab_size": len(vocabulary), "ngrams": sizes, "discounts": discounts}


def _validation(model: NGramModel, data: Data) -> dict[str, Any]:
    """Mean loss on held-out text, where there is any."""
    given = data.validation
    if given is None and (not is_bundle(data.train) or "validation" not in splits_of(data.train)):
        say("no validation text: nothing is measured")
        return {}
    split: Split = "validation" if given is None or is_bundle(given) else "train"
    texts = read_texts(given or data.train, split)
    if (first := next(texts, None)) is None:
        raise DataError(f"{given or data.train}: no text to measure on")
    found = model.score(chain([first], texts))
    loss = -float(found.total.sum() / found.items.sum())
    say(f"validation loss {loss:.4f} nats, perplexity {math.exp(loss):,.1f}, of {found.items.sum():,} predictions")
    return {"validation_loss": loss, "validation_items": int(found.items.sum())}
